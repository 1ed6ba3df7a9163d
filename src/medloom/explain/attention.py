"""Where along their views networks look: the mean over many rows, by class. No single row is told of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from medloom.batch import Field
from medloom.draw import generator
from medloom.feed import Feed
from medloom.modality import Modality
from medloom.model.outputs import threads_set
from medloom.model.team import Team

MOST_ROWS = 200
FEWEST_PATIENTS = 10
"""Patients whose mean is shown, at least (law 10)."""
BINS = 40
BLOCK = 16
EVERYBODY = "all"


@dataclass(frozen=True, slots=True)
class Looked:
    """One input: `share` of the attention in each of equal parts of a view, which is `length` long in `unit`.

    By group: all rows, then each class of each target with enough patients. An even look has 1 / parts everywhere.
    `half` is the share of a view, in the median over views, that holds half of the attention.
    """

    input: str
    length: float
    unit: str
    share: Mapping[str, Float[np.ndarray, " parts"]]
    half: float
    rows: int

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        shares = {name: values.tolist() for name, values in self.share.items()}
        return {"length": self.length, "unit": self.unit, "share": shares, "half_within": self.half, "rows": self.rows}


def looked(
    team: Team, feed: Feed, rows: Int[np.ndarray, " rows"], patient: Int[np.ndarray, " rows"], seed: int
) -> tuple[Looked, ...]:
    """Where the networks looked in at most `MOST_ROWS` of these rows; nothing of inputs that weigh no positions.

    `patient` says whose each row is.
    """
    if not team.networks or not len(rows):
        return ()
    chosen = np.sort(generator(seed, "rows of attention").permutation(len(rows))[:MOST_ROWS])
    found = [_of_input(name, team, feed, rows[chosen], patient[chosen]) for name in feed.modalities]
    return tuple(one for one in found if one is not None)


def looked_once(team: Team, feed: Feed, name: str, row: int) -> tuple[Float[np.ndarray, " parts"], float] | None:
    """The share of the attention in each of equal parts of the first view of one row, and how long a view is: a patient's
    data, for reports whose study asks for single cases. None where an input weighs no positions, or the row has none.
    """
    modality, source = feed.modalities[name], feed.sources[name]
    view = modality.view(source, np.array([row]), None)
    weight = _weights(team, name, modality, modality.batch(source, view)) if team.networks else None
    if weight is None or not weight[0][0].sum():
        return None
    return _parts(weight[0][:1])[0], weight[0].shape[1] * weight[1]


def _weights(team: Team, name: str, modality: Modality, field: Field) -> tuple[np.ndarray, float, str] | None:
    """The mean over networks of what they look at in each view, the distance of neighbouring positions and its unit."""
    total: Any = 0.0
    step, unit = 1.0, ""
    for network in team.networks:
        device = next(network.parameters()).device
        network.eval()
        with torch.inference_mode(), threads_set(1):
            one = modality.attention(network.encoders[f"input_{name}"], field.to(device))
        if one is None:
            return None
        total = total + one.weight.cpu().numpy().astype(np.float64) / len(team.networks)
        step, unit = one.step, one.unit
    return total, step, unit


def _of_input(name: str, team: Team, feed: Feed, rows: np.ndarray, patient: np.ndarray) -> Looked | None:
    modality, source = feed.modalities[name], feed.sources[name]
    shares, halves, places = [], [], []
    length, unit = 0.0, ""
    for start in range(0, len(rows), BLOCK):
        view = modality.view(source, rows[start : start + BLOCK], None)
        weights = _weights(team, name, modality, modality.batch(source, view))
        if weights is None:
            return None
        total, step, unit = weights
        length = total.shape[1] * step
        there = total.sum(axis=1) > 0
        shares.append(_parts(total[there]))
        halves.append(_half(total[there]))
        places.append(np.searchsorted(rows, view.rows[there]))
    share, place = np.concatenate(shares), np.concatenate(places)
    if len(np.unique(patient[place])) < FEWEST_PATIENTS:
        return None
    grouped = {EVERYBODY: share.mean(axis=0), **_by_class(feed, rows, patient, place, share)}
    return Looked(name, length, unit, grouped, float(np.median(np.concatenate(halves))), len(np.unique(place)))


def _by_class(
    feed: Feed, rows: np.ndarray, patient: np.ndarray, place: np.ndarray, share: np.ndarray
) -> dict[str, Float[np.ndarray, " parts"]]:
    """The mean of the views of each class of each target whose answers are classes."""
    found = {}
    for target, marks in feed.marks.items():
        if marks.values.ndim != 1 or not np.issubdtype(marks.values.dtype, np.integer):
            continue
        code = np.where(marks.present[rows], marks.values[rows], -1)[place]
        for number, word in enumerate(marks.names):
            held = code == number
            if len(np.unique(patient[place[held]])) >= FEWEST_PATIENTS:
                found[f"{target}: {word}"] = share[held].mean(axis=0)
    return found


def _parts(weight: Float[np.ndarray, "views positions"]) -> Float[np.ndarray, "views parts"]:
    """The weight in each of equal parts of a view; positions that a border cuts count for both by their shares."""
    parts = min(BINS, weight.shape[1])
    reached = np.concatenate([np.zeros((len(weight), 1)), weight.cumsum(axis=1)], axis=1)
    border = np.linspace(0, weight.shape[1], parts + 1)
    low = np.minimum(border.astype(np.int64), weight.shape[1] - 1)
    at = reached[:, low] + (border - low) * (reached[:, low + 1] - reached[:, low])
    return np.diff(at, axis=1)


def _half(weight: Float[np.ndarray, "views positions"]) -> Float[np.ndarray, " views"]:
    """The least share of positions that holds half of the weight of each view."""
    reached = np.sort(weight, axis=1)[:, ::-1].cumsum(axis=1)
    return ((reached < 0.5 * reached[:, -1:]).sum(axis=1) + 1) / weight.shape[1]
