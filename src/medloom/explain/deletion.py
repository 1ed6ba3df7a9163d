"""Whether a ranking of columns can be trusted: taking out those it calls important has to hurt more than random ones.

Columns are taken out one after the other (their values exchanged between patients). The ranking is made on one half of the
patients and tried on the other, both ways round, so that it is not rewarded for chance in the rows it was made on.

Source: Samek et al., "Evaluating the visualization of what a deep neural network has learned", IEEE TNNLS 28, 2017 (most
relevant first); Petsiuk, Das & Saenko, "RISE", BMVC 2018 (deletion, area under the curve).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from medloom.draw import generator
from medloom.errors import Noun
from medloom.evaluation.intervals import MODEL, Estimate, Resampled, interval, resampled
from medloom.explain.donors import donors
from medloom.explain.importance import mean_of
from medloom.explain.probe import Piece, Probe, of_rows
from medloom.task import Measured, Metric

STEPS = 6
RANDOM = 4
"""Random orders, whose mean the ranking is held against."""
FEWEST = 3
"""Pieces that a ranking needs to say anything."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """The headline figure with more and more columns taken out, by which went first; and what the ranking is worth.

    `gain` is the mean fall with the highest ranked first, less that of random orders, over the steps.
    """

    taken: tuple[int, ...]
    curves: Mapping[str, tuple[float, ...]]
    gain: Estimate

    @property
    def trusted(self) -> bool:
        """Whether the ranking beats random orders with an interval clear of zero."""
        return self.gain.low is not None and self.gain.low > 0


def halves(patient: Int[np.ndarray, " rows"], seed: int) -> Bool[np.ndarray, " rows"]:
    """Whether each row is in the first half of the patients, drawn at random."""
    distinct, place = np.unique(patient, return_inverse=True)
    return (generator(seed, "halves").permutation(len(distinct)) % 2 == 0)[place]


def steps(pieces: int) -> tuple[int, ...]:
    """How many pieces are taken out: a few numbers between one and all but one."""
    most = pieces - 1
    return tuple(sorted({round(float(value)) for value in np.geomspace(1, most, min(STEPS, most))}))


def orders(
    pieces: Sequence[Piece], rankings: Mapping[str, Float[np.ndarray, "halves pieces"]], seed: int
) -> dict[str, tuple[tuple[Piece, ...], tuple[Piece, ...]]]:
    """By name, in which order pieces go in the first and in the second half: each half by the ranking of the other."""
    found = {}
    for name, importance in rankings.items():
        down = [np.argsort(-importance[half], kind="stable") for half in (1, 0)]
        found[f"{name}: most"] = tuple(tuple(pieces[i] for i in order) for order in down)
        found[f"{name}: least"] = tuple(tuple(pieces[i] for i in order[::-1]) for order in down)
    for number in range(RANDOM):
        order = tuple(pieces[i] for i in generator(seed, "random order", number).permutation(len(pieces)))
        found[f"random {number}"] = (order, order)
    return found  # type: ignore[return-value]


def deletions(
    probe: Probe,
    patient: Int[np.ndarray, " rows"],
    pieces: Sequence[Piece],
    rankings: Mapping[str, Mapping[str, Float[np.ndarray, "halves pieces"]]],
    headlines: Mapping[str, tuple[str, Metric]],
    whole: Mapping[str, Measured],
    known: Mapping[str, np.ndarray],
    resamples: int,
    level: float,
    seed: int,
    of: Noun,
) -> dict[str, dict[str, Deletion]]:
    """What each target's rankings are worth, by target and ranking. `rankings` are by target and name."""
    first, taken = halves(patient, seed), steps(len(pieces))
    donor = donors(patient, generator(seed, "deletion"))
    found: dict[str, dict[str, Deletion]] = {}
    random: dict[tuple[str, int], dict[str, Measured]] = {}
    for target, own in rankings.items():
        entrants = {MODEL: of_rows(whole[target], known[target])}
        each = orders(pieces, own, seed)
        for name, pair in each.items():
            for count in taken:
                if name.startswith("random") and (name, count) in random:
                    both = random[name, count]
                else:
                    both = _both(probe, first, donor, [order[:count] for order in pair])
                if name.startswith("random"):
                    random[name, count] = both
                entrants[f"{name} {count}"] = of_rows(both[target], known[target])
        name, metric = headlines[target]
        drawn = resampled({name: metric}, entrants, patient[known[target]], resamples, seed)
        figures = {key: one for (key, _), one in drawn.items()}
        patients = len(np.unique(patient[known[target]]))
        found[target] = {
            ranking: _deletion(ranking, figures, taken, metric.higher_is_better, level, patients, of) for ranking in own
        }
    return found


def _both(
    probe: Probe, first: Bool[np.ndarray, " rows"], donor: Int[np.ndarray, " rows"], moved: Sequence[Sequence[Piece]]
) -> dict[str, Measured]:
    """Each half with its own pieces taken out."""
    one = probe.measured(moved[0], donor)
    if tuple(moved[0]) == tuple(moved[1]):
        return one
    other = probe.measured(moved[1], donor)

    def either(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.where(first.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    return {name: {key: either(one[name][key], other[name][key]) for key in one[name]} for name in one}


def _deletion(
    ranking: str,
    figures: Mapping[str, Resampled],
    taken: tuple[int, ...],
    higher: bool,
    level: float,
    patients: int,
    of: Noun,
) -> Deletion:
    random = {count: mean_of([figures[f"random {number} {count}"] for number in range(RANDOM)]) for count in taken}
    curves = {
        way: tuple(figures[key].value for key in (MODEL, *(f"{ranking}: {way} {count}" for count in taken)))
        for way in ("most", "least")
    }
    curves["random"] = (figures[MODEL].value, *(random[count].value for count in taken))
    gains = [random[count].minus(figures[f"{ranking}: most {count}"]) for count in taken]
    gain = interval(mean_of(gains, 1.0 if higher else -1.0), level, patients, of)
    return Deletion((0, *taken), curves, gain)
