"""What is mended in answers: small islands, all but the largest part, holes. Learnt on calibration rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Integer

LEAST_MM3 = (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
"""Sizes of islands that may be too small to be believed; voxels where a file tells no spacing."""


@dataclass(frozen=True, slots=True)
class Cleanup:
    """What is done to the answers of one label: holes filled, then islands below a size, or all but the largest, removed."""

    fill: bool = False
    largest: bool = False
    least_mm3: float = 0.0

    def __call__(self, mask: Bool[np.ndarray, "*spatial"], voxel_mm3: float) -> Bool[np.ndarray, "*spatial"]:
        """The mended mask. Parts are connected through faces, edges and corners; holes through faces alone."""
        from scipy.ndimage import binary_fill_holes, find_objects, generate_binary_structure, label

        if not mask.any() or self == Cleanup():
            return mask
        reach = find_objects(mask.astype(np.uint8))[0]
        box = mask[reach]
        if self.fill:
            box = binary_fill_holes(box)
        if self.largest or self.least_mm3:
            parts, _ = label(box, generate_binary_structure(mask.ndim, mask.ndim))
            sizes = np.bincount(parts.ravel())[1:]
            kept = np.concatenate([[False], _kept(sizes, self, voxel_mm3)])
            box = kept[parts]
        mended = np.zeros_like(mask)
        mended[reach] = box
        return mended

    def words(self, unit: str = "mm³") -> str:
        """What is done, for a reader; sizes are in `unit`."""
        done = ["holes filled"] if self.fill else []
        done += ["only the largest part kept"] if self.largest else []
        done += [f"parts below {self.least_mm3:g} {unit} removed"] if self.least_mm3 else []
        return ", ".join(done) or "nothing"


def candidates() -> tuple[Cleanup, ...]:
    """All that is tried; the first does nothing."""
    islands = (Cleanup(), Cleanup(largest=True), *(Cleanup(least_mm3=least) for least in LEAST_MM3))
    return (*islands, *(Cleanup(True, one.largest, one.least_mm3) for one in islands))


def learnt(rows: Iterable[Sequence[Float[np.ndarray, " candidates"]]], labels: int) -> tuple[Cleanup, ...]:
    """For each label the candidate of the best mean Dice over rows (for each, Dice of each label and candidate).

    It is taken where it gains more than the standard error of its gain, so that chance alone seldom chooses; nothing is
    done otherwise, and where fewer than two rows have the label.
    """
    tried, figures = candidates(), [np.stack(row) for row in rows]
    if not figures:
        return (Cleanup(),) * labels
    chosen = []
    for dice in np.stack(figures, axis=1):
        known = dice[~np.isnan(dice).any(axis=1)]
        gain = known - known[:, :1]
        if len(known) < 2:
            chosen.append(Cleanup())
            continue
        best = int(gain.mean(axis=0).argmax())
        error = gain[:, best].std(ddof=1) / np.sqrt(len(known))
        chosen.append(tried[best] if gain[:, best].mean() > error else Cleanup())
    return tuple(chosen)


def tried_on(
    answer: Bool[np.ndarray, "*spatial"], truth: Bool[np.ndarray, "*spatial"], voxel_mm3: float
) -> Float[np.ndarray, " candidates"]:
    """Dice of one label of one row after each candidate; NaN where neither mask has a voxel.

    Where nothing is drawn, an answer that is emptied altogether counts as 1.
    """
    if not answer.any():
        return np.full(len(candidates()), 0.0 if truth.any() else np.nan)
    parts = {fill: _parts(Cleanup(fill=fill)(answer, voxel_mm3), truth) for fill in (False, True)}
    drawn, found = int(truth.sum()), []
    for one in candidates():
        sizes, shared = parts[one.fill]
        kept = _kept(sizes, one, voxel_mm3)
        total = int(sizes[kept].sum()) + drawn
        found.append(2.0 * int(shared[kept].sum()) / total if total else 1.0)
    return np.array(found)


def _parts(
    mask: Bool[np.ndarray, "*spatial"], truth: Bool[np.ndarray, "*spatial"]
) -> tuple[Integer[np.ndarray, " parts"], Integer[np.ndarray, " parts"]]:
    """Voxels of each connected part, and those of them that are drawn."""
    from scipy.ndimage import find_objects, generate_binary_structure, label

    reach = find_objects(mask.astype(np.uint8))[0]
    parts, count = label(mask[reach], generate_binary_structure(mask.ndim, mask.ndim))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    return sizes, np.bincount(parts[truth[reach]], minlength=count + 1)[1:]


def _kept(sizes: Integer[np.ndarray, " parts"], one: Cleanup, voxel_mm3: float) -> Bool[np.ndarray, " parts"]:
    """Which parts a candidate leaves."""
    kept = sizes * voxel_mm3 >= one.least_mm3
    return kept & (np.arange(len(sizes)) == sizes.argmax()) if one.largest else kept
