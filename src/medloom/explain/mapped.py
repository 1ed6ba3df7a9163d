"""Maps over the images of rows that judge, checked, within a bound on what it costs. No single row is told of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from medloom.cohort.table import Cohort, canonical
from medloom.draw import generator, seed_of
from medloom.evaluation.intervals import Estimate, figures
from medloom.explain.map_checks import CHANCE, MIDDLE, RANDOM, SHARES, gains, hits, likeness
from medloom.explain.maps import ATTENTION, GRAD_CAM, GRADIENTS, OCCLUSION, STEPS, Asked, can_map, maps
from medloom.explain.regions import boxes
from medloom.feed import Feed
from medloom.modality import Marks
from medloom.model.assembly import Network, assemble
from medloom.model.team import Team
from medloom.packed import Source
from medloom.statistics.forecasts import mean_known
from medloom.study import Study
from medloom.task import Measured, Metric

MOST_ROWS, LEAST_ROWS = 48, 6
COMPARED_ROWS = 8
"""Rows whose maps are made a second time, of networks that learnt nothing."""
OPERATIONS = 3e11
"""Multiplications of the networks, at most: some twenty seconds of one core."""
LIKE = 0.5
"""Rank correlation with maps of networks that learnt nothing from which on a map is warned of."""


@dataclass(frozen=True, slots=True)
class MapFigures:
    """One method: means over rows with intervals over patients.

    `likeness` is the rank correlation with maps of networks that learnt nothing, `gain` by how much more the answer falls
    where the highest regions are flattened than where random ones are, `hit` how often the highest point lies in the mask,
    and `over_chance` that less the share of the image that is marked.
    """

    likeness: Estimate
    gain: Estimate
    hit: Estimate | None = None
    over_chance: Estimate | None = None

    @property
    def learnt(self) -> bool:
        """Whether the map is another one where nothing was learnt."""
        return self.likeness.value is not None and self.likeness.value < LIKE

    @property
    def moves(self) -> bool:
        """Whether the regions that it calls high move the answer more than others, with an interval clear of zero."""
        return self.gain.low is not None and self.gain.low > 0

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        found = {"likeness": self.likeness, "gain": self.gain, "hit": self.hit, "over_chance": self.over_chance}
        return {name: one.plain() for name, one in found.items() if one is not None}


@dataclass(frozen=True, slots=True)
class Mapped:
    """The maps of one input for one target; `unit` is that of the answer. `chance` and `middle` point without a map."""

    input: str
    target: str
    unit: str
    figures: Mapping[str, MapFigures]
    rows: int
    patients: int
    marked: int = 0
    chance: Estimate | None = None
    middle: Estimate | None = None
    left_out: str = ""

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        counts = {"rows": self.rows, "patients": self.patients, "rows_with_mask": self.marked}
        pointing = {n: one.plain() for n, one in ((CHANCE, self.chance), (MIDDLE, self.middle)) if one is not None}
        methods = {name: one.plain() for name, one in self.figures.items()}
        said = {"left_out": self.left_out} if self.left_out else {}
        return {"unit": self.unit, "methods": methods, **pointing, **counts, **said}


def masks_of(study: Study, cohort: Cohort, needed: bool = True) -> dict[str, Marks]:
    """Paths of the masks of `evaluate.maps.masks`, by input. A column that is not there raises DataError if `needed`."""
    found = {}
    for name, part in study.evaluate.maps.masks.items():
        if not needed and part.column not in cohort.frame.columns:
            continue
        paths = canonical(cohort.column(part.column, f"evaluate.maps.masks.{name}"))
        values = np.array(paths.to_list(), dtype=object)
        found[name] = Marks(values, paths.is_not_null().to_numpy(), (0, *part.labels), cohort.files)
    return found


def mapped(study: Study, cohort: Cohort, team: Team, feed: Feed, rows: Int[np.ndarray, " rows"]) -> tuple[Mapped, ...]:
    """For each image and each target with scores, what maps of it are worth. Nothing where the study asks for no maps."""
    # Other data that a bundle is judged on may have no masks; a fit has looked for the column before it began.
    masks = masks_of(study, cohort, needed=False)
    return tuple(
        _of_input(study, cohort, Asked(team.networks, feed, target, name), rows, masks.get(name))
        for target in feed.tasks
        for name in feed.modalities
        if study.evaluate.maps.methods and feed.tasks[target].hiding() is None and can_map(team, feed, target, name)
    )


def _of_input(study: Study, cohort: Cohort, asked: Asked, rows: np.ndarray, masks: Marks | None) -> Mapped:
    seen = rows[asked.feed.sources[asked.input].unit[rows] > 0]
    first = next(asked.views(seen), None)
    if first is None:
        why = (
            "no judged row has an image that is seen in few enough windows"
            if len(seen)
            else "no judged row has an image"
        )
        return Mapped(asked.input, asked.target, "", {}, 0, 0, left_out=why)
    methods = asked.methods(study.evaluate.maps.methods)
    most = min(MOST_ROWS, _affordable(asked, methods, len(first.view.rows) / len(first.rows)))
    if most < min(LEAST_ROWS, len(seen)):
        why = "to ask these networks again and again takes too long; `medloom explain` makes maps of single rows"
        return Mapped(asked.input, asked.target, "", {}, 0, 0, left_out=why)
    drawn = seen[np.sort(_first_masked(seen, masks, study.seed)[:most])]
    kept, measured = _measured(study, asked, drawn, methods, laid(asked, masks, drawn))
    names = {key: Metric(key, partial(_mean, key), True, key) for key in measured}
    options = study.evaluate
    found = figures(
        names, measured, cohort.patient[kept], resamples=options.resamples, level=options.level, seed=study.seed
    )
    each = {
        method: MapFigures(
            found[f"{method} likeness"],
            found[f"{method} gain"],
            found.get(f"{method} hit"),
            found.get(f"{method} over chance"),
        )
        for method in methods
    }
    marked = int((~np.isnan(measured[CHANCE])).sum()) if CHANCE in measured else 0
    patients = len(np.unique(cohort.patient[kept]))
    pointing = found.get(CHANCE), found.get(MIDDLE)
    return Mapped(asked.input, asked.target, asked.answers()[1], each, len(kept), patients, marked, *pointing)


def _first_masked(rows: np.ndarray, masks: Marks | None, seed: int) -> np.ndarray:
    """Places of the rows in an order drawn at random, those with a mask first: each is asked about once."""
    order = generator(seed, "rows of maps").permutation(len(rows))
    if masks is None:
        return order
    return order[np.argsort(~masks.present[rows[order]], kind="stable")]


def laid(asked: Asked, masks: Marks | None, rows: np.ndarray) -> Source | None:
    """The masks of these rows alone, laid on their images."""
    if masks is None:
        return None
    here = np.zeros(len(masks.present), bool)
    here[rows] = True
    marks = Marks(masks.values, masks.present & here, masks.names, masks.folder)
    return asked.feed.modalities[asked.input].lay(asked.feed.sources[asked.input], marks, None)


def _measured(
    study: Study, asked: Asked, rows: np.ndarray, methods: Sequence[str], marked: Source | None
) -> tuple[np.ndarray, Measured]:
    """The rows that were asked about, and what was measured of each."""
    fresh = _untrained(study, asked)
    kept: list[np.ndarray] = []
    parts: dict[str, list[np.ndarray]] = {}
    # The rows were drawn in an order at random, and stand in that of the cohort: every n-th is as good as any.
    compared = rows[np.unique(np.linspace(0, len(rows) - 1, COMPARED_ROWS).astype(int))]
    others = rows[~np.isin(rows, compared)]
    for views in chain(asked.views(compared), asked.views(others)):
        found = maps(asked, views, methods)
        one: dict[str, np.ndarray] = {f"{m} gain": gain for m, gain in gains(asked, views, found, study.seed).items()}
        none = np.full(len(views.rows), np.nan)
        first = bool(np.isin(views.rows[0], compared))
        like = likeness(asked, views, found, fresh) if first else dict.fromkeys(methods, none)
        one |= {f"{method} likeness": value for method, value in like.items()}
        if marked is not None:
            pointed = hits(asked, views, found, marked)
            one |= {name: pointed[name] for name in (CHANCE, MIDDLE)}
            one |= {f"{method} hit": pointed[method] for method in methods}
            one |= {f"{method} over chance": pointed[method] - pointed[CHANCE] for method in methods}
        kept.append(views.rows)
        for name, value in one.items():
            parts.setdefault(name, []).append(value)
    return np.concatenate(kept), {name: np.concatenate(each) for name, each in parts.items()}


def _untrained(study: Study, asked: Asked) -> tuple[Network, ...]:
    """Networks of the same form with weights drawn anew."""
    feed = asked.feed
    return tuple(
        assemble(feed.modalities, feed.tasks, study.model, seed_of(study.seed, "untrained", place)).to(
            next(network.parameters()).device
        )
        for place, network in enumerate(asked.networks)
    )


def _affordable(asked: Asked, methods: Sequence[str], views: float) -> int:
    """Rows that can be asked about within `OPERATIONS`, where each has so many views."""
    from torch.utils.flop_counter import FlopCounterMode

    row = next(asked.views(np.flatnonzero(asked.feed.sources[asked.input].unit > 0)))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        for network in asked.networks:
            asked.score(network, row, row.batch.inputs[asked.input].value)
    field = row.batch.inputs[asked.input]
    images = 1 if field.value.ndim == asked.dims + 2 else int(field.value.shape[1])
    number = sum(1 for _ in boxes(tuple(field.value.shape[-asked.dims :]))) * images
    cost = {ATTENTION: 1, GRAD_CAM: 3, GRADIENTS: 3 * STEPS, OCCLUSION: number + 1}
    asking = sum(cost[method] for method in methods)
    once = counter.get_total_flops() / 2 / len(row.view.rows) * views
    left = OPERATIONS - once * asking * COMPARED_ROWS
    return max(0, int(left / (once * (asking + (len(methods) + RANDOM) * (len(SHARES) + 1)))))


def _mean(
    name: str, measured: Measured, weight: Float[np.ndarray, "resamples rows"]
) -> Float[np.ndarray, " resamples"]:
    """The mean over rows that have this figure."""
    return mean_known(measured[name][:, None], weight)
