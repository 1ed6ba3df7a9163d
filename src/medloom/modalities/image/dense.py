"""Masks laid on images, and dense answers lifted back onto them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, Integer

from medloom.errors import some
from medloom.modalities.image import decoding, resample
from medloom.modalities.image.laying import on_grid
from medloom.modalities.image.packing import GridPacker, Grids, raise_refused
from medloom.modalities.image.scan import Refused, Wish
from medloom.modalities.image.views import inside, mirror
from medloom.modality import Lifted, Marks, View
from medloom.packed import Packed, Packer, Source, open_packed

MOST_MARKED = 2**16
"""Marked voxels of one mask that training crops may centre on; of more, every n-th."""


def lay(source: Source, marks: Marks, store: Path | None) -> Source:
    """Mask files as class ids (places in `marks.names`) on the grids of their images. Raises DataError.

    A row without an image has nothing to lay a mask on and counts as without one. Each mask file is read once for each
    image that it is laid on.
    """
    keys: dict[tuple[str, int], int] = {}
    unit = np.zeros(len(source.unit), np.int64)
    first_row = []
    for row in np.flatnonzero(marks.present & (source.unit > 0)).tolist():
        key = (str(marks.values[row]), int(source.unit[row]))
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
    source: Source, marks: Marks, keys: Sequence[tuple[str, int]], first_row: Sequence[int], store: Path | None
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
    refused: dict[str, list[str]] = {}
    ended = 0
    scans = decoding.read_scans([marks.folder / path for path, _ in keys], Wish(dims, 1, "mask"))
    for (_, unit), row, scan in zip(keys, first_row, scans, strict=True):
        try:
            if isinstance(scan, Refused):
                raise scan
            ids = _class_ids(on_grid(scan, images.scan(unit), dims), marks.names)
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
    raise_refused("masks", refused)
    return packer.finish({"kind": "mask", "dims": dims, "channels": 1, "labels": list(marks.names)})


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
    return Lifted(rows, [np.asarray((raw if apart[unit] else seen).unit(int(unit))) for unit in laid.unit[rows]])


def lift(source: Source, view: View, values: Float[np.ndarray, "views channels *patch"]) -> Lifted:
    """The weighted mean of all views of a row at each voxel of its file; views of a row stand side by side.

    Where the network saw another grid than the file's, its values are interpolated between its voxels. The middle of a view weighs more than its border, where the network sees less of the surroundings.
    Source: Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation",
    Nature Methods 18, 2021 (Gaussian importance weighting, sigma = patch / 8).
    """
    grids = Grids(source.packed)
    weight = importance(values.shape[2:])
    rows, lifted = [], []
    for row, places in _runs(view.rows):
        shape = tuple(grids.shapes[source.unit[row]].tolist())
        total, weights = np.zeros((values.shape[1], *shape), np.float32), np.zeros(shape, np.float32)
        for place in places:
            of_image, of_view = inside(view.at["corner"][place].tolist(), values.shape[2:], shape)
            seen = mirror(values[place], view.at["flip"][place])[(slice(None), *of_view)]
            total[(slice(None), *of_image)] += seen * weight[of_view]
            weights[of_image] += weight[of_view]
        if not (weights > 0).all():
            raise ValueError(
                "the views leave voxels uncovered, so nothing can be lifted onto them; lift the views of view(draw=None)"
            )
        rows.append(row)
        raw_shape = source.packed.arrays["raw_shape"][source.unit[row]].tolist()
        lifted.append(resample.linear(total / weights, raw_shape))
    return Lifted(np.array(rows, np.int64), lifted)


def _runs(rows: Int[np.ndarray, " views"]) -> Iterator[tuple[int, list[int]]]:
    for row, places in groupby(range(len(rows)), key=lambda place: int(rows[place])):
        yield row, list(places)


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
