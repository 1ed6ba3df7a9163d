"""Masks laid on images, and dense answers lifted back onto them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int, Integer

from medloom.errors import some
from medloom.modalities.image.laying import on_grid
from medloom.modalities.image.packing import GridPacker, Grids, raise_refused
from medloom.modalities.image.reading import decoding, resample
from medloom.modalities.image.reading.scan import Refused, Scan, Wish
from medloom.modality import Lifted, Marks
from medloom.packed import Packed, Packer, Source, open_packed

MOST_MARKED = 2**16
"""Marked voxels of one mask that training crops may centre on; of more, every n-th."""


def lay(source: Source, marks: Marks, store: Path | None) -> Source:
    """Mask files as class ids (places in `marks.names`) on the grids of their images. Raises DataError.

    Where a row has several masks, the id is made of a bit for each of them.

    A row without an image has nothing to lay a mask on and counts as without one. Each mask file is read once for each
    image that it is laid on.
    """
    keys: dict[tuple[tuple[str, ...], int], int] = {}
    unit = np.zeros(len(source.unit), np.int64)
    first_row = []
    for row in np.flatnonzero(marks.present & (source.unit > 0)).tolist():
        key = (tuple(map(str, np.atleast_1d(marks.values[row]))), int(source.unit[row]))
        if key not in keys:
            keys[key] = len(keys) + 1
            first_row.append(row)
        unit[row] = keys[key]
    packed = _stored(store, marks, len(keys)) or _pack_masks(source, marks, list(keys), first_row, store)
    return Source(packed, unit, source.patient)


def _stored(store: Path | None, marks: Marks, masks: int) -> Packed | None:
    """What was packed before, unless it was packed for other labels or another number of masks."""
    if store is None or not (store / "meta.json").exists():
        return None
    packed = open_packed(store)
    same = packed.meta["labels"] == list(marks.names) and len(packed.arrays["shape"]) == masks + 1
    return packed if same else None


def row_names(source: Source) -> Sequence[str]:
    """Row ids for messages, as `point` put them; numbers from 1 where it did not."""
    return source.bound.get("row_ids") or [str(row + 1) for row in range(len(source.unit))]


def _pack_masks(
    source: Source,
    marks: Marks,
    keys: Sequence[tuple[tuple[str, ...], int]],
    first_row: Sequence[int],
    store: Path | None,
) -> Packed:
    dims = int(source.packed.meta["dims"])
    names = row_names(source)
    packer = Packer(store)
    grids, raw = GridPacker(packer), GridPacker(packer, "raw_")
    images = Grids(source.packed)
    grids.add(np.zeros((1, *[0] * dims), np.uint8))
    raw.add(np.zeros((1, *[0] * dims), np.uint8))
    packer.add("marked", np.zeros(0, np.int64))
    packer.add("marked_end", np.zeros(1, np.int64))
    packer.add("spacing_mm", np.full((1, dims), np.nan))
    refused: dict[str, list[str]] = {}
    ended = 0
    scans = iter(
        decoding.read_scans([marks.folder / path for paths, _ in keys for path in paths], Wish(dims, 1, "mask"))
    )
    for (paths, unit), row in zip(keys, first_row, strict=True):
        read = [next(scans) for _ in paths]
        image = images.scan(unit)
        try:
            drawn = [_drawn(scan, image, dims) for scan in read]
            ids = _class_ids(drawn[0], marks.names) if marks.values.ndim == 1 else _bits(drawn)
        except Refused as error:
            refused.setdefault(str(error), []).append(names[row])
            continue
        seen = resample.nearest(ids, images.shapes[unit].tolist())
        marked = np.flatnonzero(seen)
        marked = marked[:: -(-len(marked) // MOST_MARKED) or 1]
        ended += len(marked)
        grids.add(seen)
        # What was drawn, voxel by voxel: stored apart only where the network sees another grid.
        raw.add(ids if seen.shape != ids.shape else ids[(slice(None), *[slice(0, 0)] * dims)])
        packer.add("marked", marked)
        packer.add("marked_end", np.array([ended]))
        packer.add("spacing_mm", np.array([image.raw_spacing_mm or [np.nan] * dims]))
    raise_refused("masks", refused)
    return packer.finish({"kind": "mask", "dims": dims, "channels": 1, "labels": list(marks.names)})


def _drawn(scan: Scan | Refused, image: Scan, dims: int) -> Int[np.ndarray, "1 *spatial"]:
    if isinstance(scan, Refused):
        raise scan
    return on_grid(scan, image, dims)


def _bits(masks: Sequence[Int[np.ndarray, "1 *spatial"]]) -> Integer[np.ndarray, "1 *spatial"]:
    """A bit for each mask, the first the lowest: set where the mask is not 0."""
    bits = sum((mask != 0).astype(np.uint16) << place for place, mask in enumerate(masks))
    return np.asarray(bits).astype(np.uint8 if len(masks) <= 8 else np.int16)


def _class_ids(values: Int[np.ndarray, "1 *spatial"], labels: Sequence[int]) -> Integer[np.ndarray, "1 *spatial"]:
    """Label values → places in `labels`, in as few bits as hold them."""
    found = np.unique(values)
    unknown = found[~np.isin(found, np.array(labels))]
    if len(unknown):
        raise Refused(
            f"hold the labels {some(unknown.tolist())}; expected only {some(list(labels), 20)}; add them to labels, or correct the masks"
        )
    order = np.argsort(labels)
    places = order[np.searchsorted(np.array(labels)[order], values)]
    return places.astype(np.uint8 if len(labels) <= 256 else np.int16)


def truth(laid: Source, rows: Int[np.ndarray, " rows"]) -> Lifted:
    """Class ids `[1, *shape]` of each row as they were drawn; without voxels where the row has no mask."""
    seen, raw = Grids(laid.packed), Grids(laid.packed, "raw_")
    apart = raw.shapes.prod(axis=1) > 0
    units = laid.unit[rows].tolist()
    spacing = [_spacing(laid.packed, unit) for unit in units]
    return Lifted(rows, [np.asarray((raw if apart[unit] else seen).unit(unit)) for unit in units], spacing)


def _spacing(packed: Packed, unit: int) -> tuple[float, ...] | None:
    spacing = packed.arrays["spacing_mm"][unit]
    return tuple(spacing.tolist()) if np.isfinite(spacing).all() else None
