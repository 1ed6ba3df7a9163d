"""Everything that is said of what a model's answers rest on, within a bound on what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from medloom.draw import generator
from medloom.evaluation.baseline import answered
from medloom.evaluation.intervals import Estimate
from medloom.explain.deletion import FEWEST, RANDOM, Deletion, deletions, halves, steps
from medloom.explain.effects import Effect, effects
from medloom.explain.gradients import ROUGH, can_explain, contributions
from medloom.explain.importance import Importance, correlated, exchanges, importances
from medloom.explain.probe import Piece, Probe, of_rows
from medloom.feed import Feed
from medloom.model.outputs import said
from medloom.model.team import Team

MOST_ROWS, LEAST_ROWS = 2_000, 100
MOST_PIECES = 25
MOST_ASKED = 100
"""Pieces and groups times exchanges, at most; but always two exchanges."""
REPEATS = 5
RESAMPLES = 400
OPERATIONS = 2e11
"""Multiplications of the networks, at most: some ten seconds of one core."""
CELL_OPERATIONS = 500
"""What it costs to gather one number of a row, about, in multiplications."""
SIMPLE_OPERATIONS = 3e5
"""What a simple model costs a row, about."""
GRADIENT_ROWS = 256
EFFECTS = 4
PERMUTATION, GRADIENTS = "permutation", "gradients"


@dataclass(frozen=True, slots=True)
class Explained:
    """One target: importances, the most important first; of `together` columns that follow each other.

    `gradients` are the mean absolute contributions to the networks' answers, in `unit`. `deletions` are by ranking.
    """

    headline: str
    label: str
    importances: tuple[Importance, ...]
    together: tuple[Importance, ...]
    gradients: Mapping[Piece, float]
    unit: str
    deletions: Mapping[str, Deletion]
    effects: tuple[Effect, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What was found of each target, from how many rows and patients, with how many exchanges; `left_out` in words."""

    targets: Mapping[str, Explained]
    rows: int
    patients: int
    repeats: int
    several: bool
    left_out: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        targets = {name: _plain(one, self.several) for name, one in self.targets.items()}
        counts = {"rows": self.rows, "patients": self.patients, "exchanges": self.repeats}
        return {"targets": targets, **counts, "left_out": list(self.left_out)}


def explain(
    team: Team, feed: Feed, rows: Int[np.ndarray, " rows"], patient: Int[np.ndarray, " rows"], level: float, seed: int
) -> Explanation | None:
    """What the answers for these rows rest on; None where no target has answers of a few numbers a row.

    `feed` holds calibrated tasks, and answers of the rows. `patient` says whose each row is. Where an input is seen in
    views (windows, or whole images), or asking is too costly, nothing is found and `left_out` says why.
    """
    targets = [name for name, task in feed.tasks.items() if not task.dense and len(answered(feed, name, rows))]
    if not targets:
        return None
    left_out: list[str] = []
    if feed.windowed is not None:
        return _nothing(f"input {feed.windowed} is {_why_kept(feed, feed.windowed)}")
    pieces = Probe(team, feed, rows).pieces()
    rows, patient = _sampled(rows, patient, _affordable(team, feed, rows, len(pieces)), seed, left_out)
    if len(rows) < min(LEAST_ROWS, len(patient)) or len(np.unique(patient)) < 2:
        return _nothing("asking this model again and again takes too long; `medloom explain` explains single rows")
    asking = _Asking(Probe(team, feed, rows), patient, tuple(targets), level, seed)
    gradients = asking.gradients()
    pieces = _foremost(pieces, gradients, left_out)
    owner = [Piece(name, one.part) for name, one in asking.probe.features()]
    groups = correlated(pieces, owner, feed.plain(rows))
    results, repeats = asking.explained(pieces, groups, gradients)
    return Explanation(results, len(rows), len(np.unique(patient)), repeats, len(feed.modalities) > 1, tuple(left_out))


def _why_kept(feed: Feed, name: str) -> str:
    """Why an input of views stays with its patients."""
    if feed.modalities[name].options.seen_whole:  # type: ignore[attr-defined]
        return "seen whole, and too large to be exchanged between patients again and again"
    return "seen in windows, which cannot be exchanged between patients"


@dataclass(frozen=True, slots=True)
class _Asking:
    """What is asked again and again: the same rows of the same patients, for the same targets."""

    probe: Probe
    patient: Int[np.ndarray, " rows"]
    targets: tuple[str, ...]
    level: float
    seed: int

    def gradients(self) -> dict[str, _Gradients]:
        """Contributions by gradients of some rows, by target."""
        rows, first = self.probe.rows, halves(self.patient, self.seed)
        some = np.sort(generator(self.seed, "rows of gradients").permutation(len(rows))[:GRADIENT_ROWS])
        team, feed = self.probe.team, self.probe.feed
        return {name: _gradients(team, feed, name, rows[some], first[some]) for name in self.targets}

    def explained(
        self,
        pieces: Sequence[Piece],
        groups: Sequence[tuple[Piece, ...]],
        gradients: Mapping[str, _Gradients],
    ) -> tuple[dict[str, Explained], int]:
        """Everything of each target, and how often pieces were exchanged."""
        asked = [*((piece,) for piece in pieces), *groups]
        repeats = int(np.clip(MOST_ASKED // len(asked), 2, REPEATS))
        found = exchanges(self.probe, self.patient, asked, repeats, self.seed)
        whole = self.probe.measured()
        known = {name: self.probe.known(name) for name in self.targets}
        headlines = {name: next(iter(self.probe.feed.tasks[name].metrics().items())) for name in self.targets}
        each = {
            name: importances(
                name,
                headlines[name],
                whole[name],
                found,
                asked,
                self.patient,
                known[name],
                RESAMPLES,
                self.level,
                self.seed,
            )
            for name in self.targets
        }
        ranked = {name: _ranked(each[name][: len(pieces)]) for name in self.targets}
        tried = self._tried(pieces, gradients, found, whole, known, headlines)
        top = {name: tuple(one.pieces[0] for one in ranked[name][:EFFECTS]) for name in self.targets}
        drawn = effects(self.probe, top, self.patient)
        results = {
            name: _explained(
                headlines[name],
                ranked[name],
                each[name][len(pieces) :],
                gradients[name],
                tried.get(name, {}),
                drawn.get(name, ()),
            )
            for name in self.targets
        }
        return results, repeats

    def _tried(
        self,
        pieces: Sequence[Piece],
        gradients: Mapping[str, _Gradients],
        found: Mapping[tuple[int, int], Mapping[str, Any]],
        whole: Mapping[str, Any],
        known: Mapping[str, np.ndarray],
        headlines: Mapping[str, tuple[str, Any]],
    ) -> dict[str, dict[str, Deletion]]:
        """What the rankings are worth, by target; nothing where there are too few pieces to rank."""
        if len(pieces) < FEWEST:
            return {}
        first = halves(self.patient, self.seed)
        rankings = {
            name: _rankings(name, headlines[name], whole, found, known[name], first, pieces, gradients[name])
            for name in self.targets
        }
        return deletions(
            self.probe, self.patient, pieces, rankings, headlines, whole, known, RESAMPLES, self.level, self.seed
        )


@dataclass(frozen=True, slots=True)
class _Gradients:
    """Mean absolute contributions over all rows, and over each half of the patients."""

    mean: Mapping[Piece, float]
    unit: str = ""
    halves: Mapping[Piece, tuple[float, float]] | None = None


def _gradients(team: Team, feed: Feed, target: str, rows: np.ndarray, first: np.ndarray) -> _Gradients:
    if not can_explain(team, feed, target):
        return _Gradients({})
    blocks = [one for _, one in contributions(team, feed, target, rows, ROUGH)]
    pieces, unit = blocks[0].pieces, blocks[0].unit
    whole = np.concatenate([np.abs(one.value).mean(axis=1) for one in blocks])
    sides = [_means(whole[side]) for side in (first, ~first)]
    apart = {piece: (one, other) for piece, one, other in zip(pieces, *sides, strict=True)}
    return _Gradients(dict(zip(pieces, _means(whole), strict=True)), unit, apart)


def _means(values: Float[np.ndarray, "rows pieces"]) -> list[float]:
    return (values.mean(axis=0) if len(values) else np.zeros(values.shape[1])).tolist()


def _affordable(team: Team, feed: Feed, rows: np.ndarray, pieces: int) -> int:
    """Rows that the model can be asked about within `OPERATIONS`."""
    from torch.utils.flop_counter import FlopCounterMode

    probe = Probe(team, feed, rows[:8])
    _, batch, plain = next(probe.blocks())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        said(team, feed, batch, plain)
    simple = SIMPLE_OPERATIONS * sum(map(len, team.simple.values()))
    gathered = CELL_OPERATIONS * len(probe.features())
    a_row = counter.get_total_flops() / 2 / len(probe.rows) + simple + gathered
    asked = min(max(2 * min(pieces, MOST_PIECES), MOST_ASKED), REPEATS * min(pieces, MOST_PIECES))
    times = asked + len(steps(max(2, min(pieces, MOST_PIECES)))) * (RANDOM + 8) + EFFECTS * 10
    return int(OPERATIONS / (a_row * times))


def _sampled(
    rows: np.ndarray, patient: np.ndarray, affordable: int, seed: int, left_out: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of whole patients drawn at random, as many as are asked about; in the order of the cohort."""
    most = min(MOST_ROWS, affordable)
    if len(rows) <= most:
        return rows, patient
    distinct, place, count = np.unique(patient, return_inverse=True, return_counts=True)
    order = generator(seed, "rows explained").permutation(len(distinct))
    taken = np.zeros(len(distinct), bool)
    taken[order[np.cumsum(count[order]) <= most]] = True
    held = taken[place]
    left_out.append(f"{int(held.sum()):,} of {len(rows):,} judged rows were asked about, of patients drawn at random")
    return rows[held], patient[held]


def _foremost(pieces: Sequence[Piece], gradients: Mapping[str, _Gradients], left_out: list[str]) -> tuple[Piece, ...]:
    """The pieces that are exchanged: all, or the foremost by gradients, which look at all of them at once."""
    if len(pieces) <= MOST_PIECES:
        return tuple(pieces)
    weight = dict.fromkeys(pieces, 0.0)
    for one in gradients.values():
        most = max(one.mean.values(), default=0.0) or 1.0
        for piece, value in one.mean.items():
            weight[piece] = max(weight[piece], value / most)
    chosen = set(sorted(pieces, key=lambda piece: -weight[piece])[:MOST_PIECES])
    by = "the highest mean contribution" if any(one.mean for one in gradients.values()) else "the first places"
    left_out.append(f"{MOST_PIECES} of {len(pieces):,} columns were exchanged: those with {by}")
    return tuple(piece for piece in pieces if piece in chosen)


def _ranked(found: Sequence[Importance]) -> list[Importance]:
    return sorted(found, key=lambda one: -(one.drop.value if one.drop.value is not None else -np.inf))


def _rankings(
    target: str,
    headline: tuple[str, Any],
    whole: Mapping[str, Any],
    found: Mapping[tuple[int, int], Mapping[str, Any]],
    known: np.ndarray,
    first: np.ndarray,
    pieces: Sequence[Piece],
    gradients: _Gradients,
) -> dict[str, Float[np.ndarray, "halves pieces"]]:
    """The importance of each piece among the first and the second half of the patients, by ranking."""
    weight = np.stack([first[known], ~first[known]]).astype(np.float64)
    metric, sign = headline[1], 1.0 if headline[1].higher_is_better else -1.0
    start = metric.of(of_rows(whole[target], known), weight)
    falls = np.zeros((2, len(pieces)))
    counted = np.zeros(len(pieces))
    for (place, _), one in found.items():
        if place < len(pieces):
            falls[:, place] += sign * (start - metric.of(of_rows(one[target], known), weight))
            counted[place] += 1
    rankings = {PERMUTATION: np.nan_to_num(falls / counted)}
    if gradients.halves is not None:
        rankings[GRADIENTS] = np.array([gradients.halves.get(piece, (0.0, 0.0)) for piece in pieces]).T
    return rankings


def _explained(
    headline: tuple[str, Any],
    ranked: Sequence[Importance],
    together: Sequence[Importance],
    gradients: _Gradients,
    tried: Mapping[str, Deletion],
    drawn: Sequence[Effect],
) -> Explained:
    """What was found of one target, under the name and label of its headline."""
    name, metric = headline
    return Explained(
        name, metric.label, tuple(ranked), tuple(together), gradients.mean, gradients.unit, tried, tuple(drawn)
    )


def _nothing(why: str) -> Explanation:
    return Explanation({}, 0, 0, 0, False, (why,))


def _plain(one: Explained, several: bool) -> dict[str, Any]:
    def line(found: Importance) -> dict[str, Any]:
        return {"columns": [piece.named(several) for piece in found.pieces], "drop": found.drop.plain()}

    def deletion(found: Deletion) -> dict[str, Any]:
        gain: Estimate = found.gain
        curves = {way: [v if np.isfinite(v) else None for v in values] for way, values in found.curves.items()}
        return {"taken": list(found.taken), "curves": curves, "gain": gain.plain(), "trusted": found.trusted}

    return {
        "headline": one.headline,
        "importance": [line(found) for found in one.importances],
        "together": [line(found) for found in one.together],
        "gradients": {piece.named(several): value for piece, value in one.gradients.items()},
        "unit": one.unit,
        "deletion": {name: deletion(found) for name, found in one.deletions.items()},
    }
