"""How the mean answer moves with one column, all others as they are (partial dependence).

Values of the column are those of real rows, put into every row; combinations that no patient has can come up, so a curve says
what the model does and not what a change would do to a patient.

Source: Friedman, "Greedy function approximation", Annals of Statistics 29, 2001, section 8.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from medloom.explain.probe import Piece, Probe
from medloom.told import Feature

POINTS = np.linspace(0.05, 0.95, 10)
"""Quantiles of a number at which the answer is asked."""
MOST_ROWS = 500
MOST_WORDS = 12
FEW = 10
"""A word that fewer of the rows have is not asked about."""


@dataclass(frozen=True, slots=True)
class Effect:
    """The mean answers, "points answers", over numbers `at` or over `words`; `number` says which of the piece `at` are."""

    piece: Piece
    names: tuple[str, ...]
    what: str
    value: Float[np.ndarray, "points answers"]
    at: tuple[float, ...] = ()
    words: tuple[str, ...] = ()
    number: str = ""


def effects(
    probe: Probe, pieces: Mapping[str, tuple[Piece, ...]], patient: Int[np.ndarray, " rows"]
) -> dict[str, tuple[Effect, ...]]:
    """The effects of those pieces of each target that are one number or a few words, on the first rows of the probe."""
    asked = replace(probe, rows=probe.rows[:MOST_ROWS])
    features = probe.features()
    plain = probe.plain()
    found: dict[str, list[Effect]] = {target: [] for target in pieces}
    for piece in dict.fromkeys(piece for own in pieces.values() for piece in own):
        columns = [place for place, (name, one) in enumerate(features) if Piece(name, one.part) == piece]
        grid = _grid([features[place][1] for place in columns], plain[:, columns], patient)
        if len(grid) < 2:
            continue
        givers = np.array([place for place, _ in grid])
        answers = [_answers(asked, probe, piece, int(giver)) for giver in givers]
        for target, own in pieces.items():
            if piece in own and answers[0].get(target) is not None:
                number = features[columns[0]][1].what if len(columns) == 1 else ""
                found[target].append(_effect(piece, grid, [one[target] for one in answers], number))
    # An answer that is no number has no mean, and nothing to be drawn.
    return {target: tuple(one for one in own if np.isfinite(one.value).all()) for target, own in found.items()}


def _grid(
    features: list[Feature], plain: Float[np.ndarray, "rows columns"], patient: Int[np.ndarray, " rows"]
) -> list[tuple[int, float | str]]:
    """Rows that give their value, each with what it is: for a number at its quantiles, for words one row a word."""
    if not features or not features[0].part:
        return []
    if len(features) == 1 and not features[0].word:
        known = np.flatnonzero(~np.isnan(plain[:, 0]))
        if len(np.unique(patient[known])) < FEW:
            return []
        order = known[np.argsort(plain[known, 0], kind="stable")]
        givers = [int(order[round(share * (len(order) - 1))]) for share in POINTS]
        each = {float(plain[giver, 0]): giver for giver in givers}
        return [(giver, value) for value, giver in each.items()]
    if any(not one.word for one in features) or len(features) > MOST_WORDS or (plain.sum(axis=1) > 1).any():
        return []
    held = [np.flatnonzero(plain[:, column] == 1) for column in range(len(features))]
    return [
        (int(rows[0]), one.word)
        for one, rows in zip(features, held, strict=True)
        if len(np.unique(patient[rows])) >= FEW
    ]


def _answers(
    asked: Probe, probe: Probe, piece: Piece, giver: int
) -> dict[str, tuple[np.ndarray, tuple[str, ...], str]]:
    """The mean answers of every target where all rows have the giver's value."""
    # The giver stands behind the rows that are asked, so that they can take its value; its own answer does not count.
    rows = np.append(asked.rows, probe.rows[giver])
    measured = replace(asked, rows=rows).measured({piece}, np.full(len(rows), len(rows) - 1))
    found = {}
    for target, one in measured.items():
        replies = asked.feed.tasks[target].replies(one)
        if replies is not None:
            found[target] = (replies.value[:-1].mean(axis=0), replies.names, replies.what)
    return found


def _effect(
    piece: Piece,
    grid: list[tuple[int, float | str]],
    answers: list[tuple[np.ndarray, tuple[str, ...], str]],
    number: str,
) -> Effect:
    _, names, what = answers[0]
    value = np.stack([mean for mean, _, _ in answers])
    places = [place for _, place in grid]
    if isinstance(places[0], str):
        return Effect(piece, names, what, value, words=tuple(map(str, places)))
    return Effect(piece, names, what, value, at=tuple(float(place) for place in places), number=number)
