"""Permutation importance: by how much the headline figure falls where patients' values of a column are exchanged.

Source: Breiman, "Random forests", Machine Learning 45, 2001, section 10; Fisher, Rudin & Dominici, "All models are wrong,
but many are useful", JMLR 20, 2019 (model reliance of any model); here patients change places, not rows, and intervals are
those of a paired bootstrap of patients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from medloom.draw import generator
from medloom.errors import PATIENT, Noun
from medloom.evaluation.intervals import MODEL, Estimate, Resampled, interval, resampled
from medloom.explain.donors import donors
from medloom.explain.probe import Piece, Probe, of_rows
from medloom.task import Measured, Metric

TOGETHER = 0.7
"""Absolute rank correlation from which columns are exchanged together as well."""
Asked = Mapping[str, Mapping[str, Measured]]
"""What was measured under each question that was put to the model: question → target → arrays of all rows."""


@dataclass(frozen=True, slots=True)
class Importance:
    """What exchanging some pieces costs: the fall of the headline figure, positive where the model gets worse."""

    pieces: tuple[Piece, ...]
    drop: Estimate


def exchanges(
    probe: Probe,
    patient: Int[np.ndarray, " rows"],
    groups: Sequence[tuple[Piece, ...]],
    repeats: int,
    seed: int,
) -> dict[tuple[int, int], dict[str, Measured]]:
    """What is measured with each group exchanged, by (place of the group, repeat). Groups meet the same exchanges."""
    given = [donors(patient, generator(seed, "exchange", number)) for number in range(repeats)]
    return {
        (place, number): probe.measured(pieces, donor)
        for place, pieces in enumerate(groups)
        for number, donor in enumerate(given)
    }


def importances(
    target: str,
    headline: tuple[str, Metric],
    whole: Measured,
    found: Mapping[tuple[int, int], Mapping[str, Measured]],
    groups: Sequence[tuple[Piece, ...]],
    patient: Int[np.ndarray, " rows"],
    known: np.ndarray,
    resamples: int,
    level: float,
    seed: int,
    of: Noun = PATIENT,
) -> list[Importance]:
    """The fall of a target's headline figure for each group, the mean over exchanges, in the order of the groups."""
    name, metric = headline
    entrants = {MODEL: of_rows(whole, known)}
    entrants |= {f"{place} {number}": of_rows(one[target], known) for (place, number), one in found.items()}
    drawn = resampled({name: metric}, entrants, patient[known], resamples, seed)
    sign = 1.0 if metric.higher_is_better else -1.0
    patients = len(np.unique(patient[known]))
    results = []
    for place, pieces in enumerate(groups):
        falls = [drawn[MODEL, name].minus(drawn[f"{place} {number}", name]) for at, number in found if at == place]
        results.append(Importance(pieces, interval(mean_of(falls, sign), level, patients, of)))
    return results


def mean_of(parts: Sequence[Resampled], sign: float = 1.0) -> Resampled:
    """The mean of figures on the same resamples, times `sign`."""
    return Resampled(
        sign * float(np.mean([part.value for part in parts])),
        sign * np.mean([part.drawn for part in parts], axis=0),
        sign * np.mean([part.left_out for part in parts], axis=0),
    )


def correlated(
    pieces: Sequence[Piece], owner: Sequence[Piece], plain: Float[np.ndarray, "rows features"]
) -> list[tuple[Piece, ...]]:
    """Groups of pieces whose numbers follow each other, each piece in one group at most; `owner` of each number.

    Two pieces are as close as their two closest numbers (rank correlation, missing values at the middle), and groups hang
    together by links of at least `TOGETHER`.
    """
    from scipy.stats import rankdata

    place = {piece: number for number, piece in enumerate(pieces)}
    asked = [column for column, piece in enumerate(owner) if piece in place]
    held = {column: plain[~np.isnan(plain[:, column]), column] for column in asked}
    columns = [column for column, known in held.items() if len(np.unique(known)) > 1]
    if len(columns) < 2:
        return []
    filled = np.where(np.isnan(plain[:, columns]), np.nanmedian(plain[:, columns], axis=0), plain[:, columns])
    rank = np.apply_along_axis(rankdata, 0, filled)
    rank -= rank.mean(axis=0)
    size = np.sqrt((rank**2).sum(axis=0))
    close = np.abs((rank / np.where(size > 0, size, 1)).T @ (rank / np.where(size > 0, size, 1)))
    group = np.arange(len(pieces))
    for one, other in zip(*np.nonzero(np.triu(close >= TOGETHER, 1)), strict=True):
        first, second = (group[place[owner[columns[int(each)]]]] for each in (one, other))
        group[group == second] = first
    return [
        tuple(piece for piece in pieces if group[place[piece]] == number)
        for number in np.unique(group)
        if (group == number).sum() > 1
    ]
