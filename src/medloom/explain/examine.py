"""Everything that is said of what a model's answers rest on, within a bound on what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from medloom.draw import generator
from medloom.errors import PATIENT, Noun
from medloom.evaluation.baseline import answered
from medloom.evaluation.intervals import Estimate
from medloom.explain import bounds
from medloom.explain.deletion import FEWEST, Deletion, deletions, halves
from medloom.explain.effects import Effect, effects
from medloom.explain.gradients import ROUGH, can_explain, contributions
from medloom.explain.importance import Importance, correlated, exchanges, importances
from medloom.explain.probe import Piece, Probe, asked_of, of_rows
from medloom.explain.windows import windows_of
from medloom.feed import Feed
from medloom.model.team import Team

RESAMPLES = 400
PERMUTATION, GRADIENTS = "permutation", "gradients"


@dataclass(frozen=True, slots=True)
class Explained:
    """One target: importances, the most important first; of `together` columns that follow each other.

    `gradients` are the mean absolute contributions to the networks' answers, in `unit`. `deletions` are by ranking.
    """

    headline: str
    label: str
    higher_is_better: bool
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
    words: tuple[str, ...] = ("column",)
    """What parts are: columns, codes."""
    called: Mapping[Piece, str] = field(default_factory=dict)
    """What people call those pieces whose names are codes."""
    columns: bool = True
    """Whether there is anything to exchange between patients: not where one image or record is all that a row has."""

    def named(self, piece: Piece) -> str:
        """The piece for people, with what its code is called."""
        said = self.called.get(piece)
        return piece.named(self.several) + (f" ({said})" if said else "")

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        targets = {name: _plain(one, self.several) for name, one in self.targets.items()}
        counts = {"rows": self.rows, "patients": self.patients, "exchanges": self.repeats}
        called = {piece.named(self.several): said for piece, said in self.called.items()}
        return {"targets": targets, **counts, "left_out": list(self.left_out), **({"called": called} if called else {})}


def explain(
    team: Team,
    feed: Feed,
    rows: Int[np.ndarray, " rows"],
    patient: Int[np.ndarray, " rows"],
    level: float,
    seed: int,
    of: Noun = PATIENT,
) -> Explanation | None:
    """What the answers for these rows rest on; None where no target has answers of a few numbers a row.

    `feed` holds calibrated tasks, and answers of the rows. `patient` says whose each row is, and `of` what those are called.
    Inputs that are seen in views (windows, or whole images) are exchanged whole. Where one is all there is, or asking is
    too costly, nothing is found and `left_out` says why.
    """
    if not any(not task.dense and len(answered(feed, name, rows)) for name, task in feed.tasks.items()):
        return None
    targets = [name for name in asked_of(feed) if len(answered(feed, name, rows))]
    some = len(Probe(team, feed, rows[: bounds.MOST_ROWS]).pieces())
    if feed.windowed is not None and (some < 2 or not targets):
        return _nothing(_why_kept(feed, feed.windowed, of), columns=False)
    left_out: list[str] = []
    a_row = bounds.of_a_row(team, feed, rows[: bounds.MOST_ROWS])
    once = bounds.of_windows(team, feed, rows)
    most = min(bounds.affordable(a_row, some), int(bounds.OPERATIONS / once) if once else bounds.MOST_ROWS)
    rows, patient = bounds.sampled(rows, patient, most, seed, left_out, of)
    if len(rows) < min(bounds.LEAST_ROWS, len(patient)) or len(np.unique(patient)) < 2:
        return _nothing("asking this model again and again takes too long; `medloom explain` explains single rows")
    left_out += _kept_whole(feed)
    windows = None if feed.windowed is None else windows_of(team, feed, rows)
    asking = _Asking(Probe(team, feed, rows, windows), patient, tuple(targets), level, seed, of)
    raw = asking.contributed(bounds.for_gradients(a_row))
    pieces = bounds.foremost(asking.probe.pieces(), _weight(asking.probe.pieces(), raw.values()), feed, left_out)
    gradients = {name: one.of(pieces) for name, one in raw.items()}
    owner = [Piece(name, one.part) for name, one in asking.probe.features()]
    groups = correlated(pieces, owner, asking.probe.plain())
    results, repeats = asking.explained(pieces, groups, gradients)
    words = tuple(dict.fromkeys(feed.modalities[p.input].part_word if p.part else "input" for p in pieces))
    several = len(feed.modalities) > 1
    called = {piece: said for piece in pieces if (said := feed.modalities[piece.input].called(piece.part))}
    return Explanation(results, len(rows), len(np.unique(patient)), repeats, several, tuple(left_out), words, called)


def _why_kept(feed: Feed, name: str, of: Noun) -> str:
    """Why an input of views stays with its patients where there is none beside it."""
    seen = "seen whole" if feed.modalities[name].options.seen_whole else "seen in windows"  # type: ignore[attr-defined]
    return f"input {name} is {seen}, and there are no columns beside it that could be exchanged between {of.many}"


def _kept_whole(feed: Feed) -> list[str]:
    """What is not told of inputs of views, whose parts are not exchanged."""
    found = []
    for name, modality in feed.modalities.items():
        if modality.windows:
            why = "it is seen whole" if modality.options.seen_whole else "it is seen in windows"  # type: ignore[attr-defined]
            found.append(f"input {name} was exchanged whole, as {why}: what within it counts is not told by this")
    return found


@dataclass(frozen=True, slots=True)
class _Asking:
    """What is asked again and again: the same rows of the same patients, for the same targets."""

    probe: Probe
    patient: Int[np.ndarray, " rows"]
    targets: tuple[str, ...]
    level: float
    seed: int
    of: Noun

    def contributed(self, most: int) -> dict[str, _Contributed]:
        """Contributions by gradients of some rows, by target."""
        rows, first = self.probe.rows, halves(self.patient, self.seed)
        some = np.sort(generator(self.seed, "rows of gradients").permutation(len(rows))[:most])
        return {name: _contributed(self.probe, name, rows[some], first[some]) for name in self.targets}

    def explained(
        self,
        pieces: Sequence[Piece],
        groups: Sequence[tuple[Piece, ...]],
        gradients: Mapping[str, _Gradients],
    ) -> tuple[dict[str, Explained], int]:
        """Everything of each target, and how often pieces were exchanged."""
        asked = [*((piece,) for piece in pieces), *groups]
        repeats = int(np.clip(bounds.MOST_ASKED // len(asked), 2, bounds.REPEATS))
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
                self.of,
            )
            for name in self.targets
        }
        ranked = {name: _ranked(each[name][: len(pieces)]) for name in self.targets}
        tried = self._tried(pieces, gradients, found, whole, known, headlines)
        top = {name: tuple(one.pieces[0] for one in ranked[name][: bounds.EFFECTS]) for name in self.targets}
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
            self.probe,
            self.patient,
            pieces,
            rankings,
            headlines,
            whole,
            known,
            RESAMPLES,
            self.level,
            self.seed,
            self.of,
        )


@dataclass(frozen=True, slots=True)
class _Gradients:
    """Mean absolute contributions over all rows, and over each half of the patients."""

    mean: Mapping[Piece, float]
    unit: str = ""
    halves: Mapping[Piece, tuple[float, float]] | None = None


@dataclass(frozen=True, slots=True)
class _Contributed:
    """Contributions to all answers of some rows, "rows answers pieces", and which rows are of the first half."""

    pieces: tuple[Piece, ...]
    unit: str
    value: Float[np.ndarray, "rows answers pieces"]
    first: Bool[np.ndarray, " rows"]

    def of(self, pieces: Sequence[Piece]) -> _Gradients:
        """Means of these pieces, whose parts count together, and of all others by themselves."""
        if not self.pieces:
            return _Gradients({})
        whole = {Piece(piece.input, part): piece for piece in pieces for part in piece.parts}
        owner = [whole.get(piece, piece) for piece in self.pieces]
        named = tuple(dict.fromkeys(owner))
        column = {piece: place for place, piece in enumerate(named)}
        total = np.zeros((*self.value.shape[:2], len(named)))
        place = np.array([column[piece] for piece in owner], np.int64)
        np.add.at(np.moveaxis(total, 2, 0), place, np.moveaxis(self.value, 2, 0))
        size = np.abs(total).mean(axis=1)
        sides = [_means(size[side]) for side in (self.first, ~self.first)]
        apart = {piece: (one, other) for piece, one, other in zip(named, *sides, strict=True)}
        return _Gradients(dict(zip(named, _means(size), strict=True)), self.unit, apart)


def _contributed(probe: Probe, target: str, rows: np.ndarray, first: np.ndarray) -> _Contributed:
    team, feed = probe.team, probe.feed
    if not can_explain(team, feed, target):
        return _Contributed((), "", np.zeros((len(rows), 0, 0)), first)
    blocks = [one for _, one in contributions(team, feed, target, rows, ROUGH, probe.windows)]
    pieces = tuple(dict.fromkeys(piece for one in blocks for piece in one.pieces))
    column = {piece: place for place, piece in enumerate(pieces)}
    value = []
    for one in blocks:
        wide = np.zeros((*one.value.shape[:2], len(pieces)))
        wide[:, :, [column[piece] for piece in one.pieces]] = one.value
        value.append(wide)
    return _Contributed(pieces, blocks[0].unit, np.concatenate(value), first)


def _weight(pieces: Iterable[Piece], raw: Iterable[_Contributed]) -> dict[Piece, float]:
    """How much the contribution of each piece differs between rows, of the most in the target where it does so most.

    What it adds to every row alike tells no row from another, and exchanging it changes little. Whole inputs, which
    gradients do not reach, come before all parts.
    """
    weight: dict[Piece, float] = {}
    for one in raw:
        spread = one.value.std(axis=0).mean(axis=0) if one.pieces else np.zeros(0)
        most = float(spread.max(initial=0.0)) or 1.0
        for piece, value in zip(one.pieces, (spread / most).tolist(), strict=True):
            weight[piece] = max(weight.get(piece, 0.0), value)
    return weight and {**weight, **{piece: np.inf for piece in pieces if not piece.part}}


def _means(values: Float[np.ndarray, "rows pieces"]) -> list[float]:
    return (values.mean(axis=0) if len(values) else np.zeros(values.shape[1])).tolist()


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
    # A whole input, which gradients do not reach, has no place in their ranking.
    if gradients.halves is not None and all(piece.part for piece in pieces):
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
        name,
        metric.label,
        metric.higher_is_better,
        tuple(ranked),
        tuple(together),
        gradients.mean,
        gradients.unit,
        tried,
        tuple(drawn),
    )


def _nothing(why: str, columns: bool = True) -> Explanation:
    return Explanation({}, 0, 0, 0, False, (why,), columns=columns)


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
