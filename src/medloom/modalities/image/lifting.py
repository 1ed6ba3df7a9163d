"""Windows of dense outputs back onto their images, a slab at a time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from jaxtyping import Float, Shaped

from medloom.batch import Output
from medloom.errors import counted
from medloom.modalities.image.packing import Grids
from medloom.modalities.image.reading import resample
from medloom.modalities.image.views import inside, mirror
from medloom.modality import Lifted, Lifting, Settle, View
from medloom.packed import Source

SLAB_VOXELS = 1 << 21
"""Voxels of an answer that are settled at a time."""


UNCOVERED = "the views leave voxels uncovered, so nothing can be lifted onto them; lift the views of view(draw=None)"
NOTHING = -30.0
"""Score of every channel where no view looked: the first of several, and none of labels that may overlap."""


class ImageLifting(Lifting):
    """The weighted mean of all views of a row at each voxel of its file.

    Views come in the order of their corners along the first axis: what lies before the next corner is final, settled,
    and let go. Where the network saw another grid than the file's, values are interpolated between its voxels, and
    settled by slabs of the file's grid. The middle of a view weighs more than its border, where the network sees less of
    the surroundings. A voxel that no view covers is nothing: `NOTHING` of every channel, or 0 of what is kept.
    Source: Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation",
    Nature Methods 18, 2021 (Gaussian importance weighting, sigma = patch / 8).
    """

    def __init__(self, source: Source, dims: int, settle: Settle | None, sparse: bool) -> None:
        self._source: Final = source
        self._dims: Final = dims
        self._settle: Final = settle
        self._sparse: Final = sparse
        self._grids: Final = Grids(source.packed)
        self._row: int | None = None
        self._open: _Open | None = None
        self._rows: list[int] = []
        self._values: list[np.ndarray] = []

    def add(self, view: View, output: Output) -> None:
        """The one dense tensor of the output, `[views, channels, *patch]`."""
        spatial = [values for values in output.values() if values.ndim == 2 + self._dims]
        if len(spatial) != 1:
            raise TypeError(
                f"found {counted(len(spatial), 'tensor')} of {2 + self._dims} axes in an output; expected one to lift"
            )
        values = spatial[0].detach().float().cpu().numpy()
        for place, row in enumerate(view.rows.tolist()):
            if self._open is None or row != self._row:
                self._close()
                self._row, self._open = row, self._opened(row, values.shape[1], values.shape[2:])
            self._open.add(values[place], view.at["corner"][place].tolist(), view.at["flip"][place])

    def finish(self) -> Lifted:
        self._close()
        scans = [self._grids.scan(int(self._source.unit[row])) for row in self._rows]
        return Lifted(np.array(self._rows, np.int64), self._values, [scan.raw_spacing_mm for scan in scans])

    def _opened(self, row: int, channels: int, patch: Sequence[int]) -> _Open:
        shape = tuple(self._grids.shapes[self._source.unit[row]].tolist())
        whole = shape != self._raw_shape(row)
        return _Open(channels, shape, tuple(patch), None if whole else self._settle, self._sparse)

    def _raw_shape(self, row: int) -> tuple[int, ...]:
        return tuple(self._source.packed.arrays["raw_shape"][self._source.unit[row]].tolist())

    def _close(self) -> None:
        if self._open is None or self._row is None:
            return
        values, raw = self._open.finish(), self._raw_shape(self._row)
        if values.shape[1:] != raw:
            values = _on_raw_grid(values, raw, self._settle)
        self._rows.append(self._row)
        self._values.append(values)
        self._open = None


class _Open:
    """One row while its views come in: sums over the slab that views may still reach, and what is kept of the rest."""

    def __init__(
        self, channels: int, shape: tuple[int, ...], patch: tuple[int, ...], settle: Settle | None, sparse: bool
    ) -> None:
        self._shape, self._patch, self._settle, self._sparse = shape, patch, settle, sparse
        depth = min(shape[0], patch[0])
        self._total = np.zeros((channels, depth, *shape[1:]), np.float32)
        self._weight = np.zeros((depth, *shape[1:]), np.float32)
        self._first = 0
        self._kept: np.ndarray | None = None
        self._importance = importance(patch)

    def add(self, values: Float[np.ndarray, "channels *patch"], corner: Sequence[int], flip: np.ndarray) -> None:
        of_image, of_view = inside(corner, self._patch, self._shape)
        if of_image[0].start < self._first:
            raise ValueError("views of a row must come in the order of their corners along the first axis")
        self._advance(of_image[0].start)
        slab = (slice(of_image[0].start - self._first, of_image[0].stop - self._first), *of_image[1:])
        weight = self._importance[of_view]
        self._total[(slice(None), *slab)] += mirror(values, flip)[(slice(None), *of_view)] * weight
        self._weight[slab] += weight

    def finish(self) -> Shaped[np.ndarray, "kept *spatial"]:
        self._advance(self._shape[0])
        return self._total[:, :0] if self._kept is None else self._kept

    def _advance(self, first: int) -> None:
        """Settles what lies before `first`, and moves the sums along."""
        done = min(first - self._first, len(self._weight))
        if done <= 0 and self._kept is not None:
            return
        step = max(1, SLAB_VOXELS // max(1, int(np.prod(self._shape[1:]))))
        for start in range(0, max(done, 1), step):
            self._settle_part(start, min(start + step, done))
        for sums in (np.moveaxis(self._total, 1, 0), self._weight):
            for start in range(0, len(sums) - done, max(done, 1)):
                ahead = sums[start + done : start + 2 * done]
                sums[start : start + len(ahead)] = ahead
            sums[len(sums) - done :] = 0
        self._first += done
        if first > self._first and not self._sparse:
            raise ValueError(UNCOVERED)
        # Views may leave a gap between slabs: what no view reaches is nothing.
        self._first = max(first, self._first)

    def _settle_part(self, start: int, stop: int) -> None:
        weight = self._weight[start:stop]
        covered = weight > 0
        whole = bool(covered.all())
        if not whole and not self._sparse:
            raise ValueError(UNCOVERED)
        mean = self._total[:, start:stop] / (weight if whole else np.where(covered, weight, 1))
        values = mean if self._settle is None else self._settle(mean)
        if self._kept is None:
            self._kept = np.full((len(values), *self._shape), self._nothing, values.dtype)
        if not whole:
            values[:, ~covered] = self._nothing
        self._kept[:, self._first + start : self._first + stop] = values

    @property
    def _nothing(self) -> float:
        return 0 if self._settle is not None else NOTHING


def _on_raw_grid(
    values: Float[np.ndarray, "channels *spatial"], raw: tuple[int, ...], settle: Settle | None
) -> Shaped[np.ndarray, "kept *raw"]:
    """Interpolated to the grid of the file, slab by slab along the first axis where it is settled."""
    if settle is None or 0 in values.shape:
        return resample.linear(values, raw)
    step = max(1, SLAB_VOXELS // max(1, int(np.prod(raw[1:]))))
    kept: np.ndarray | None = None
    for first in range(0, raw[0], step):
        part = settle(resample.linear_slab(values, raw, first, min(first + step, raw[0])))
        if kept is None:
            kept = np.zeros((len(part), *raw), part.dtype)
        kept[:, first : first + part.shape[1]] = part
    assert kept is not None
    return kept


@lru_cache(maxsize=8)
def importance(patch: tuple[int, ...]) -> Float[np.ndarray, "*patch"]:
    """Weights of a view's voxels: a Gaussian around its middle, 1 there, and nowhere under 10⁻⁶."""
    weight = np.ones(patch)
    for axis, size in enumerate(patch):
        place = (np.arange(size) - (size - 1) / 2) / (size / 8)
        weight *= np.exp(-0.5 * place**2).reshape([-1 if other == axis else 1 for other in range(len(patch))])
    clipped = np.maximum(weight / weight.max(), 1e-6).astype(np.float32)
    clipped.flags.writeable = False
    return clipped
