"""One image laid over others, from files to files: by a search for each pair, or by a bundle that learnt it.

What is written, and in which units, stands in docs/how-to/register-images.md.
"""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int

from medloom.bundle import Bundle, load
from medloom.errors import BundleError, DataError, counted
from medloom.modalities.image.laying import on_grid
from medloom.modalities.image.reading import decoding, resample
from medloom.modalities.image.reading.scan import Refused, Scan, Wish
from medloom.modalities.image.space import placed
from medloom.modalities.image.writing import write_mask, write_nifti
from medloom.model.outputs import outputs
from medloom.tasks.register import Register
from medloom.warping.landmarks import Landmarks, read_landmarks
from medloom.warping.landmarks import errors as landmark_errors
from medloom.warping.landmarks import told as landmarks_told
from medloom.warping.likeness import Likeness, likeness
from medloom.warping.search import Search, aligned, deformed, standardised
from medloom.warping.transform import Transform, centres, folded, inverse_error, resized, sample

MOST_SEARCHED = 2**19
"""Voxels of the grid on which a map is searched, about 80 along each axis of a volume; finer images are resampled to it."""
LEAST_OVERLAP = 0.1
"""Share of the fixed image that the moving one must cover where files say where they lie."""
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
Start = Literal["header", "centre"]


@dataclass(frozen=True, slots=True)
class Found:
    """A map on a grid over the fixed image (`warping.transform`), how far there and back misses (voxels of that grid), and who found it.

    `mirrored` says that it mirrors the axes of the files, because these count them towards other sides.
    """

    forward: Float[torch.Tensor, "1 dims *grid"]
    inverse_error: float
    by: str
    mirrored: bool = False


def register(
    moving: Path,
    fixed: Sequence[Path],
    out: Path,
    *,
    mask: Path | None = None,
    points: Path | None = None,
    bundle: Bundle | Path | None = None,
    similarity: Likeness = "lncc",
    start: Start = "header",
) -> list[dict[str, Any]]:
    """Lays `moving` over each of `fixed` and writes the results into `out`; returns the figures of each.

    Of several fixed images, each gets a folder of its own by its number, and `visits.csv` has the volumes of all.
    `mask` is drawn on `moving` and carried along; `points` is a table of landmarks on all images (`warping.landmarks`),
    which judge. Raises DataError for images that cannot be registered, BundleError for a bundle without such a task.
    """
    gone = [str(path) for path in (moving, *fixed, mask, points) if path is not None and not path.exists()]
    if gone:
        raise DataError(f"{', '.join(gone)}: no such file or folder")
    if out.exists() and not out.is_dir():
        raise DataError(f"{out}: is a file; expected a folder for the results")
    flat = [path.name.lower().endswith(PICTURES) for path in (moving, *fixed)]
    if len(set(flat)) > 1:
        raise DataError("found a picture and a volume; expected images of the same number of axes")
    dims = 2 if flat[0] else 3
    one, *others = _read([moving, *fixed], Wish(dims, 1, colour="grey"))
    outline = None if mask is None else _outline(mask, one, dims)
    marks: Sequence[Landmarks | None] = [None] * len(fixed)
    if points is not None:
        marks = read_landmarks(points, moving.name, [path.name for path in fixed], dims)
    if bundle is None:
        maps: Iterator[Found] = (_searched(one, other, similarity, start) for other in others)
    else:
        maps = _learnt(bundle if isinstance(bundle, Bundle) else load(bundle), moving, fixed)
    told = []
    for number, (path, other, found, mark) in enumerate(zip(fixed, others, maps, marks, strict=True), 1):
        folder = out if len(fixed) == 1 else out / f"{number:03d}"
        told.append({"fixed": path.name, **_write(folder, one, other, found, outline, mark, similarity)})
    if outline is not None:
        _write_visits(out / "visits.csv", told)
    return told


def _read(paths: Sequence[Path], wish: Wish) -> list[Scan]:
    """Raises DataError that names the file: these are files that the caller named one by one."""
    scans = []
    for path, scan in zip(paths, decoding.read_scans(paths, wish), strict=True):
        if isinstance(scan, Refused):
            raise DataError(f"{path}: cannot be used: such files {scan}")
        scans.append(scan)
    return scans


def _outline(path: Path, image: Scan, dims: int) -> Int[np.ndarray, "1 *spatial"]:
    (scan,) = _read([path], Wish(dims, 1, "mask"))
    try:
        labels = on_grid(scan, image, dims)
    except Refused as error:
        raise DataError(f"{path}: such masks {error}") from error
    if not labels.any():
        raise DataError(f"{path}: the mask is empty; expected labels above 0 on the moving image")
    return np.asarray(labels)


def _searched(moving: Scan, fixed: Scan, similarity: Likeness, start: Start) -> Found:
    """The best map of this pair: affine from the headers or the centres on, then a flow."""
    if not all(np.ptp(scan.values) > 0 for scan in (moving, fixed)):
        raise DataError("an image has one intensity everywhere; expected images in which something can be seen")
    one, other = _work(moving), _work(fixed)
    first = torch.from_numpy(_first(moving, fixed, start)).float()[None]
    here = other.shape[2:]
    inside = ((centres(here, first) + Transform(first).forward(here)).abs() <= 1).all(1).float().mean()
    if inside < LEAST_OVERLAP:
        raise DataError(
            f"the moving image covers {float(inside):.0%} of the fixed one by their headers; expected at least "
            f"{LEAST_OVERLAP:.0%}; where the headers are wrong, start from the centres (--start centre)"
        )
    how = Search(similarity)
    transform = deformed(one, other, aligned(one, other, first, how), how)
    forward, inverse = transform.forward(here), transform.inverse(one.shape[2:])
    mirrored = bool(torch.linalg.det(first[0, :, :-1]) < 0)
    return Found(forward, float(inverse_error(forward, inverse)), "search for this pair", mirrored)


def _work(scan: Scan) -> Float[torch.Tensor, "1 1 *spatial"]:
    """The image, standardised, on a grid that a search can afford."""
    shape = np.array(scan.values.shape[1:])
    shrink = min(1.0, (MOST_SEARCHED / shape.prod()) ** (1 / len(shape)))
    grid = [max(1, round(size * shrink)) for size in shape]
    return standardised(torch.from_numpy(resample.linear(scan.values, grid).astype(np.float32))[None])


def _first(moving: Scan, fixed: Scan, start: Start) -> Float[np.ndarray, "dims more"]:
    """The affine map to start from, normalised: by where the files say that they lie, or centre on centre."""
    there, here = placed(moving), placed(fixed)
    if start == "header" and moving.placed and fixed.placed and moving.values.ndim == 4:
        return (np.linalg.inv(there) @ here)[:-1]
    size = [np.array(one.values.shape[1:]) for one in (moving, fixed)]
    spacing = [one.spacing_mm[list(one.axes)] if one.sized else np.ones(len(size[0])) for one in (moving, fixed)]
    extent = (size[1] * spacing[1]) / (size[0] * spacing[0])
    return np.concatenate([np.diag(extent), np.zeros((len(extent), 1))], axis=1)


def _learnt(bundle: Bundle, moving: Path, fixed: Sequence[Path]) -> Iterator[Found]:
    """What a bundle's network says of the same files, read by the bundle's own path."""
    targets = [name for name, task in bundle.tasks.items() if isinstance(task, Register)]
    if len(targets) != 1:
        raise BundleError(f'the bundle has {counted(len(targets), "target")} with task = "register"; expected one')
    options = bundle.tasks[targets[0]].options  # type: ignore[attr-defined]
    columns = [str(bundle.study.inputs[name].column) for name in (options.moving, options.fixed)]  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "pairs.csv"
        with open(table, "w", newline="", encoding="utf-8") as handle:
            csv.writer(handle).writerows([columns, *([str(moving.resolve()), str(path.resolve())] for path in fixed)])
        for _, feed in bundle.feeds(table):
            rows = np.arange(len(fixed))
            for _, said, _ in outputs(bundle.team, feed, rows):
                output = said[targets[0]]
                assert isinstance(output, dict)
                for one, missed in zip(output["forward"], output["inverse_error"].tolist(), strict=True):
                    yield Found(one[None], missed, "bundle")


def _write(
    folder: Path,
    moving: Scan,
    fixed: Scan,
    found: Found,
    outline: np.ndarray | None,
    marks: Landmarks | None,
    similarity: Likeness,
) -> dict[str, Any]:
    """Files and figures of one map, on the grid of the fixed image."""
    shape = fixed.values.shape[1:]
    forward = resized(found.forward, shape)
    images = [torch.from_numpy(scan.values.astype(np.float32))[None] for scan in (moving, fixed)]
    warped = sample(images[0], forward, border=False)
    millimetres = _millimetres(moving, fixed, forward)
    distance = np.linalg.norm(millimetres, axis=-1)
    window = Search().window
    unmoved = torch.from_numpy(_first(moving, fixed, "header")).float()[None]
    before = sample(images[0], Transform(unmoved).forward(shape), border=False)
    alike = [_alike(similarity, one, images[1], window) for one in (before, warped)]
    figures: dict[str, Any] = {
        "by": found.by,
        "similarity": similarity,
        "likeness_before": alike[0],
        "likeness": alike[1],
        "folded_share": float(folded(found.forward, found.mirrored)),
        "inverse_error_voxels": found.inverse_error,
        "displacement_mean": float(distance.mean()),
        "displacement_most": float(distance.max()),
        "unit": "mm" if moving.sized and fixed.sized else "voxels",
    }
    folder.mkdir(parents=True, exist_ok=True)
    # A displacement means nothing without a space, so that every grid here is given one.
    write_nifti(warped[0, 0].numpy(), fixed, folder / "warped", in_space=True)
    write_nifti(millimetres.astype(np.float32), fixed, folder / "displacement", vectors=True, in_space=True)
    if outline is not None:
        labels, figures["volumes"] = _carried(outline, forward, moving, fixed)
        write_mask(labels, fixed, folder / "mask")
    if marks is not None:
        before_and_after = landmark_errors(marks, forward, placed(moving), placed(fixed))
        figures["landmarks"] = landmarks_told(*before_and_after, figures["unit"])
        _write_landmarks(folder / "landmarks.csv", marks.names, *before_and_after)
    (folder / "figures.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return figures


def _alike(kind: Likeness, warped: torch.Tensor, fixed: torch.Tensor, window: int) -> float:
    within = torch.ones_like(fixed[:, :1])
    return float(likeness(kind, standardised(warped), standardised(fixed), within, window))


def _millimetres(moving: Scan, fixed: Scan, forward: torch.Tensor) -> Float[np.ndarray, "*spatial 3"]:
    """What is added to the place of each voxel of the fixed image to reach its place in the moving one, RAS."""
    here = centres(forward.shape[2:], forward)
    parts = []
    for scan, place in ((moving, here + forward), (fixed, here)):
        matrix = placed(scan)
        normalised = place[0].double().flatten(1).numpy()
        parts.append(matrix[:3, :-1] @ normalised + matrix[:3, -1:])
    return (parts[0] - parts[1]).T.reshape(*forward.shape[2:], 3)


def _carried(
    outline: np.ndarray, forward: torch.Tensor, moving: Scan, fixed: Scan
) -> tuple[Int[np.ndarray, "*spatial"], list[dict[str, Any]]]:
    """Labels on the fixed image, and the volume of each before and after; a voxel counts by its share of the label."""
    values = [int(value) for value in np.unique(outline)]
    values = [0, *(value for value in values if value)]
    shares = [sample(torch.from_numpy((outline == value).astype(np.float32))[None], forward)[0, 0] for value in values]
    labels = np.array(values)[torch.stack(shares).argmax(0).numpy()]
    sized = moving.sized and fixed.sized
    each = [abs(float(np.prod(scan.spacing_mm))) / 1000 if sized else 1.0 for scan in (moving, fixed)]
    volumes = []
    for value, share in zip(values[1:], shares[1:], strict=True):
        before, after = int((outline == value).sum()) * each[0], float(share.double().sum()) * each[1]
        change = after - before
        volumes.append(
            {
                "label": value,
                "before": before,
                "after": after,
                "change": change,
                "change_percent": 100 * change / before,
                "unit": "mL" if sized else "voxels",
            }
        )
    return labels, volumes


def _write_landmarks(path: Path, names: Sequence[str], before: np.ndarray, after: np.ndarray) -> None:
    """How far each landmark is missed, as the files lie and by the map."""
    with open(path, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["point", "before", "after"])
        writer.writerows(zip(names, before.tolist(), after.tolist(), strict=True))


def _write_visits(path: Path, told: Sequence[dict[str, Any]]) -> None:
    """The volumes of every label in every visit, which are counted from 1 as their folders are."""
    names = ["visit", "fixed", "label", "before", "after", "change", "change_percent", "unit"]
    with open(path, "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, names)
        writer.writeheader()
        for number, one in enumerate(told, 1):
            for volume in one["volumes"]:
                plain = {key: f"{value:.6g}" if isinstance(value, float) else value for key, value in volume.items()}
                writer.writerow({"visit": number, "fixed": one["fixed"], **plain})
