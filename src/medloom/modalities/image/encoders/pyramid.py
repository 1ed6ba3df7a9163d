"""The maps that an image encoder makes, finest first: how many channels each has, and how much coarser each is."""

from __future__ import annotations

from dataclasses import dataclass

MOST_CHANNELS = 256
Stride = int | tuple[int, ...]
"""Voxels from one position to the next: one number for all axes, or one for each where they differ."""


@dataclass(frozen=True, slots=True)
class Pyramid:
    """The shape of every encoder's maps. Channels double from level to level, up to `MOST_CHANNELS`.

    `halvings` says how often each axis is halved over all levels; an axis that is halved less often than there are
    steps between levels waits, and is halved at the last ones: that of thick slices, until the others are as coarse.
    """

    dims: int
    entering: int
    width: int
    levels: int
    halvings: tuple[int, ...]
    widths: tuple[int, ...] = ()
    """Channels of each level, where they do not double."""

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each level."""
        if self.widths:
            return self.widths
        most = max(self.width, MOST_CHANNELS)
        return tuple(min(self.width * 2**level, most) for level in range(self.levels))

    def step(self, level: int) -> tuple[int, ...]:
        """By how much each axis of a level is coarser than that of the level before."""
        return tuple(2 if level and level >= self.levels - count else 1 for count in self.halvings)

    def strides(self, level: int) -> tuple[int, ...]:
        """Voxels of the image that one position of a level covers along each axis."""
        return tuple(2 ** max(0, level - (self.levels - 1 - count)) for count in self.halvings)

    @property
    def gives(self) -> tuple[tuple[int, Stride], ...]:
        """Channels and stride of each level, as decoders take them."""
        return tuple(
            (channels, strides[0] if len(set(strides)) == 1 else strides)
            for channels, strides in zip(self.channels, map(self.strides, range(self.levels)), strict=True)
        )
