"""Packed values in memory or in memory-mapped files: no Python object a row."""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped

RELEASED_BYTES = 256 << 20
"""Mapped arrays above this size count as memory of the process only while they are read."""
UNRELEASED_BYTES = 64 << 20
"""How much may be read of them before it is taken out of memory, where it is told how much was."""


@dataclass(frozen=True, slots=True)
class Packed:
    """All units of one input as a few arrays. Depends on source and options, never on a fit."""

    arrays: Mapping[str, Shaped[np.ndarray, "..."]]
    meta: Mapping[str, Any]
    unreleased: list[int] = field(default_factory=lambda: [0], repr=False, compare=False)
    """How many bytes were read of mapped files since they were last released."""

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self.arrays.values())

    def release(self, read: int = UNRELEASED_BYTES) -> None:
        """Takes what was read of large mapped files out of this process's memory; the system keeps it while it can.

        Where it is told how many bytes were `read` since the last call, only once these are many: to fault pages in again
        costs about as much as to copy them.
        """
        self.unreleased[0] += read
        if self.unreleased[0] < UNRELEASED_BYTES:
            return
        self.unreleased[0] = 0
        for array in self.arrays.values():
            mapped = getattr(array, "_mmap", None)
            if mapped is not None and array.nbytes > RELEASED_BYTES and hasattr(mmap, "MADV_DONTNEED"):
                mapped.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True, slots=True)
class Source:
    """Which unit, and which part of it, each row of a cohort may see.

    `unit` 0 is the empty unit: the row has no such input. `start`/`stop` cut a unit's values at the row's index
    time; `newest` is the time of the newest value left, which proves that nothing at or after it is read.
    `along` holds what else goes with each row, such as its index time; `bound` what a fitted modality looked up once,
    and before that, what it asked for (see `Outcomes`).
    """

    packed: Packed
    unit: Int[np.ndarray, " rows"]
    patient: Int[np.ndarray, " rows"]
    start: Int[np.ndarray, " rows"] | None = None
    stop: Int[np.ndarray, " rows"] | None = None
    newest: Float[np.ndarray, " rows"] | None = None
    bound: Mapping[str, Any] = field(default_factory=dict)
    along: Mapping[str, Shaped[np.ndarray, "rows ..."]] = field(default_factory=dict)


class Packer:
    """Collects blocks of arrays, in memory (`store=None`) or appended to files of a folder, then gives a `Packed`."""

    def __init__(self, store: Path | None) -> None:
        self._store = store
        self._blocks: dict[str, list[np.ndarray]] = {}
        self._shapes: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
        self._lengths: dict[str, int] = {}
        if store is not None:
            store.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, block: Shaped[np.ndarray, "..."]) -> None:
        """Appends a block along the first axis. Raises ValueError where the other axes or the type change."""
        first = name not in self._shapes
        expected = self._shapes.setdefault(name, (block.shape[1:], block.dtype))
        if (block.shape[1:], block.dtype) != expected:
            raise ValueError(
                f"{name}: found {block.shape[1:]} of {block.dtype}; expected {expected[0]} of {expected[1]}"
            )
        self._lengths[name] = self._lengths.get(name, 0) + len(block)
        if self._store is None:
            self._blocks.setdefault(name, []).append(block)
            return
        # Opened for each block, so that a reader that raises leaves no open file behind.
        with open(self._store / f"{name}.bin", "wb" if first else "ab") as handle:
            handle.write(np.ascontiguousarray(block).tobytes())

    def finish(self, meta: Mapping[str, Any]) -> Packed:
        """Ends the packing. In a store, arrays are flushed to disk before `meta.json` names them."""
        if self._store is None:
            joined = {n: b[0] if len(b) == 1 else np.concatenate(b) for n, b in self._blocks.items()}
            return Packed(joined, dict(meta))
        for name in self._shapes:
            with open(self._store / f"{name}.bin", "rb+") as handle:
                os.fsync(handle.fileno())
        shapes = {
            n: {"shape": [self._lengths[n], *shape], "dtype": dtype.str} for n, (shape, dtype) in self._shapes.items()
        }
        partial = self._store / "meta.json.partial"
        partial.write_text(json.dumps({"arrays": shapes, "meta": dict(meta)}), encoding="utf-8")
        partial.replace(self._store / "meta.json")
        return open_packed(self._store)


def open_packed(store: Path) -> Packed:
    """Opens a finished store, read-only and memory-mapped."""
    described = json.loads((store / "meta.json").read_text(encoding="utf-8"))
    arrays = {}
    for name, array in described["arrays"].items():
        shape, dtype = tuple(array["shape"]), np.dtype(array["dtype"])
        empty = 0 in shape
        arrays[name] = np.zeros(shape, dtype) if empty else np.memmap(store / f"{name}.bin", dtype, "r", shape=shape)
    return Packed(arrays, described["meta"])
