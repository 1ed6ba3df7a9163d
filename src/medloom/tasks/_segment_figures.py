"""Figures of segmentations: overlap, borders, volumes and lesions of each row, and what is said of all rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from medloom.task import Curve, Measured, Metric, Plot
from medloom.tasks._ground import Ground
from medloom.tasks._lesions import FALSE_ALARMS, LEVELS, froc, lesions_of
from medloom.tasks._surfaces import surface_figures

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Integer

    from medloom.tasks._segment_options import SegmentOptions

EACH = ("dice", "hd95", "nsd", "volume", "true_volume")
"""Measured of each label, beside what is measured of lesions."""
LIMITS = 1.96
"""Standard deviations between the mean difference and the limits of agreement."""


def dice(answer: Bool[np.ndarray, "*spatial"], truth: Bool[np.ndarray, "*spatial"]) -> float:
    """Source: Dice, "Measures of the amount of ecologic association between species", Ecology 26, 1945."""
    voxels = int(answer.sum()) + int(truth.sum())
    return 2.0 * int((answer & truth).sum()) / voxels if voxels else float("nan")


def empty(options: SegmentOptions, rows: int) -> dict[str, np.ndarray]:
    """Arrays for all that is measured, NaN: rows without a mask stay so."""
    found = {f"{what}_{name}": np.full(rows, np.nan) for name in options.names for what in EACH}
    for name in options.lesions:
        for what, columns in (("drawn", len(options.lesion_mm) + 1), ("touched", len(options.lesion_mm) + 1)):
            found[f"{what}_{name}"] = np.full((rows, columns), np.nan)
        found |= {f"{what}_{name}": np.full((rows, LEVELS), np.nan) for what in ("found", "false")}
    return found


def measure_label(
    into: Mapping[str, np.ndarray],
    row: int,
    name: str,
    masks: tuple[Bool[np.ndarray, "*spatial"], Bool[np.ndarray, "*spatial"]],
    spacing_mm: tuple[float, ...] | None,
    options: SegmentOptions,
    ground: Ground,
    confidence: Integer[np.ndarray, "*spatial"] | None,
) -> None:
    """One label of one row, in the units of `ground`."""
    answer, truth = masks
    spacing = ground.spacing(spacing_mm, truth.ndim)
    voxel = ground.voxel(spacing_mm)
    into[f"dice_{name}"][row] = dice(answer, truth)
    into[f"hd95_{name}"][row], into[f"nsd_{name}"][row] = surface_figures(answer, truth, spacing, options.tolerance_mm)
    into[f"volume_{name}"][row] = int(answer.sum()) * voxel / ground.of_unit(truth.ndim)
    into[f"true_volume_{name}"][row] = int(truth.sum()) * voxel / ground.of_unit(truth.ndim)
    if name in options.lesions:
        sure = answer.astype(np.uint8) * np.uint8(255) if confidence is None else confidence
        found = lesions_of(answer, sure, truth, voxel, options.lesion_mm)
        for what in ("drawn", "touched", "found", "false"):
            into[f"{what}_{name}"][row] = getattr(found, what)


def with_means(measured: dict[str, np.ndarray], names: Sequence[str]) -> Measured:
    """The mean over labels of what is measured of each; a label that neither mask has does not count in a row."""
    means = {}
    for what in ("dice", "hd95", "nsd"):
        each = np.stack([measured[f"{what}_{name}"] for name in names], axis=1)
        known = ~np.isnan(each)
        total = np.where(known, each, 0.0).sum(axis=1)
        means[what] = np.divide(total, known.sum(axis=1), out=np.full(len(total), np.nan), where=known.any(axis=1))
    return {**means, **measured}


def metrics(options: SegmentOptions, ground: Ground) -> Mapping[str, Metric]:
    """All figures; the mean Dice first."""
    note = "Mean over cases. A label that neither mask nor answer has in a case is left out of that case."
    border = f"{note} {ground.note}".strip()
    missed = " A label that only one of them has counts as the diagonal of the image."
    near = ground.far(options.tolerance_mm)
    within = f"{border} Share of both borders that lies within {near} of the other."
    kinds: tuple[tuple[str, str, bool, str], ...] = (
        ("dice", "Dice", True, note),
        ("hd95", f"95th percentile of border distances, {ground.length}", False, border + missed),
        ("nsd", f"Normalised surface distance at {near}", True, within),
    )
    several = len(options.names) > 1
    over = ", mean over labels" if several else ""
    found = {what: Metric(what, partial(_mean, what), up, f"{label}{over}", why) for what, label, up, why in kinds}
    for name in options.names:
        for what, label, up, why in kinds if several else ():
            key = f"{what}_{name}"
            found[key] = Metric(key, partial(_mean, key), up, f"{label}: {name}", why, "each")
        found |= _volumes(name, ground)
    for name in options.lesions:
        found |= _of_lesions(name, options.lesion_mm, ground)
    return found


def _volumes(name: str, ground: Ground) -> dict[str, Metric]:
    note = (
        "Answer less truth, over cases with a mask: the mean, and where 95 % of differences are expected. Source: Bland & "
        "Altman, Lancet 327, 1986."
    )
    kinds = (("bias", 0.0, "mean difference"), ("low", -LIMITS, "lower limit"), ("high", LIMITS, "upper limit"))
    return {
        f"volume_{what}_{name}": Metric(
            f"volume_{what}_{name}",
            partial(_agreement, name, times),
            False,
            f"Size of {name}, {label}, {ground.size}",
            note,
            "each",
        )
        for what, times, label in kinds
    }


def _agreement(name: str, times: float, measured: Measured, weight: Float[np.ndarray, "resamples rows"]) -> np.ndarray:
    """Mean difference of volumes plus so many standard deviations."""
    away = measured[f"volume_{name}"] - measured[f"true_volume_{name}"]
    known = ~np.isnan(away)
    total = weight[:, known].sum(axis=1)
    usable = total > (1 if times else 0)
    mean = np.divide(weight[:, known] @ away[known], total, out=np.full(len(weight), np.nan), where=usable)
    if not times:
        return mean
    square = (weight[:, known] * (away[known] - mean[:, None]) ** 2).sum(axis=1)
    return np.asarray(mean + times * np.sqrt(square / np.where(usable, total - 1, np.nan)))


def _of_lesions(name: str, limits: Sequence[float], ground: Ground) -> dict[str, Metric]:
    note = "Share of drawn lesions that the answer touches, of all cases together."
    ends = ["", *(ground.far(limit) for limit in limits), ""]
    words = [_between(low, high) for low, high in itertools.pairwise(ends)]
    found = {
        f"froc_{name}": Metric(
            f"froc_{name}", partial(_froc, name), True, f"Sensitivity for each {name}, mean over false alarms (FROC)",
            f"Mean sensitivity at {', '.join(f'{one:g}' for one in FALSE_ALARMS)} false alarms an image.",
        ),
        f"sensitivity_{name}": Metric(
            f"sensitivity_{name}", partial(_sensitivity, name, None), True, f"Sensitivity for each {name}", note, "each"
        ),
    }  # fmt: skip
    for place, word in enumerate(words if limits else ()):
        key = f"sensitivity_{name}_{place + 1}"
        found[key] = Metric(
            key, partial(_sensitivity, name, place), True, f"Sensitivity for each {name} {word}", note, "each"
        )
    return found


def _between(low: str, high: str) -> str:
    if low and high:
        return f"of {low} to {high}"
    return f"from {low}" if low else f"below {high}"


def _sensitivity(
    name: str, place: int | None, measured: Measured, weight: Float[np.ndarray, "resamples rows"]
) -> np.ndarray:
    drawn, touched = (np.nan_to_num(measured[f"{what}_{name}"]) for what in ("drawn", "touched"))
    one = slice(None) if place is None else slice(place, place + 1)
    lesions = weight @ drawn[:, one].sum(axis=1)
    hits = weight @ touched[:, one].sum(axis=1)
    return np.divide(hits, lesions, out=np.full(len(weight), np.nan), where=lesions > 0)


def _froc(name: str, measured: Measured, weight: Float[np.ndarray, "resamples rows"]) -> np.ndarray:
    found, false, drawn = (np.nan_to_num(measured[f"{what}_{name}"]) for what in ("found", "false", "drawn"))
    known = ~np.isnan(measured[f"dice_{name}"]) | (drawn.sum(axis=1) == 0)
    rows = weight @ (known & ~np.isnan(measured[f"true_volume_{name}"])).astype(float)
    return np.asarray(froc(weight @ found, weight @ false, weight @ drawn.sum(axis=1), rows))


def _mean(
    name: str, measured: Measured, weight: Float[np.ndarray, "resamples rows"]
) -> Float[np.ndarray, " resamples"]:
    from medloom.statistics.forecasts import mean_known

    return mean_known(measured[name][:, None], weight)


def plots(options: SegmentOptions, measured: Mapping[str, Measured], ground: Ground) -> tuple[Plot, ...]:
    """Dice of every case, from the worst to the best; volumes against the truth; sensitivity against false alarms."""
    text = "Dice of each case, sorted from the worst case on the left to the best on the right: the further up a line lies, the better."
    sorted_ = Plot(
        "Dice of each case", "share of cases", "Dice",
        tuple(Curve(name, *_sorted(figures["dice"])) for name, figures in measured.items()),
        text, x_range=(0.0, 1.0), y_range=(0.0, 1.0),
    )  # fmt: skip
    ours = measured.get("model", {})
    volumes = [_differences(name, ours, ground) for name in options.names if f"volume_{name}" in ours]
    lesions = [_curve(name, measured) for name in options.lesions if f"found_{name}" in ours]
    return (sorted_, *volumes, *lesions)


def _sorted(figures: np.ndarray) -> tuple[list[float], list[float]]:
    known = np.sort(figures[~np.isnan(figures)])
    return ((np.arange(len(known)) + 0.5) / max(len(known), 1)).tolist(), known.tolist()


def _differences(name: str, ours: Measured, ground: Ground) -> Plot:
    """Bland and Altman's differences, as what share of cases differs by no more."""
    away = ours[f"volume_{name}"] - ours[f"true_volume_{name}"]
    share, sorted_ = _sorted(away)
    text = (
        f"Size of {name} in the answer less that in the truth, sorted over cases: a line close to 0 everywhere is best."
    )
    return Plot(
        f"Size of {name}",
        "share of cases",
        f"answer less truth, {ground.size}",
        (Curve("model", share, sorted_),),
        text,
        x_range=(0.0, 1.0),
    )


def _curve(name: str, measured: Mapping[str, Measured]) -> Plot:
    """Sensitivity over false alarms an image."""
    curves: list[Curve] = []
    reader: Callable[[np.ndarray], np.ndarray] = np.nan_to_num
    for entrant, figures in measured.items():
        if f"found_{name}" in figures:
            rows = max(1, int((~np.isnan(figures[f"true_volume_{name}"])).sum()))
            drawn = max(1.0, float(reader(figures[f"drawn_{name}"]).sum()))
            false = reader(figures[f"false_{name}"]).sum(axis=0)[::-1] / rows
            found = reader(figures[f"found_{name}"]).sum(axis=0)[::-1] / drawn
            # Where no candidate is left, no more are found, however many false alarms one would bear.
            last = max(FALSE_ALARMS[-1], float(false[-1]))
            curves.append(Curve(entrant, [*false.tolist(), last], [*found.tolist(), float(found[-1])]))
    text = (
        f"Share of all that is marked as {name} that is found, against false alarms an image, as less and less sure candidates "
        f"count, up to {FALSE_ALARMS[-1]:g} of them: the further up and left, the better."
    )
    return Plot(
        f"Finding each {name}",
        "false alarms an image",
        "sensitivity",
        tuple(curves),
        text,
        x_range=(0.0, FALSE_ALARMS[-1]),
        y_range=(0.0, 1.0),
    )
