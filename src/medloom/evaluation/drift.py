"""How the inputs of other rows differ from those that a bundle was trained on: means and missing values, no rows.

Source: Austin, "Balance diagnostics for comparing the distribution of baseline covariates", Statistics in Medicine 28,
2009 (standardised differences, of means and of shares); Debray et al., "A new framework to enhance the interpretation
of external validation studies", Journal of Clinical Epidemiology 68, 2015 (how related two samples are).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from medloom.feed import Feed

MOST = 2_000
"""Numbers of an input that are summed up, at most: the first ones."""
FEWEST = 10
"""Patients with a value from which on its mean is kept: fewer could tell of a person."""
ROWS = 50_000
"""Rows that are looked at, at most, evenly spaced."""
LARGE = 0.25
"""A standardised difference from which on an input is called different."""


@dataclass(frozen=True, slots=True)
class Known:
    """Mean, standard deviation and missing share of each plain number of an input, None where too few have it."""

    names: tuple[str, ...]
    mean: tuple[float | None, ...]
    deviation: tuple[float | None, ...]
    missing: tuple[float, ...]
    rows: int


@dataclass(frozen=True, slots=True)
class Drifted:
    """One number of an input: standardised differences, other rows less training rows, of mean and missing share."""

    input: str
    name: str
    mean: float | None
    missing: float
    missing_there: float
    missing_here: float

    @property
    def size(self) -> float:
        """The larger of the two, without its sign."""
        return max(abs(self.mean or 0.0), abs(self.missing))

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "input": self.input,
            "name": self.name,
            "mean": self.mean,
            "missing": self.missing,
            "missing_share": {"training": self.missing_there, "here": self.missing_here},
        }


def known(feed: Feed, rows: Int[np.ndarray, " rows"]) -> dict[str, Known]:
    """What is kept of these rows' inputs, by input. Inputs that are seen in windows (images) are left out."""
    if len(rows) > ROWS:
        rows = rows[np.linspace(0, len(rows) - 1, ROWS).astype(int)]
    found = {}
    for name, modality in feed.modalities.items():
        if modality.windows or not len(rows):
            continue
        source = feed.sources[name]
        values = np.asarray(modality.plain(source, rows), np.float64)[:, :MOST]
        named = tuple(f"{one.part}: {one.word}" if one.word else one.number for one in modality.features())
        names = named or tuple(f"number {place + 1}" for place in range(values.shape[1]))
        found[name] = _summed(values, names[:MOST], source.patient[rows])
    return found


def _summed(values: Float[np.ndarray, "rows numbers"], names: tuple[str, ...], patient: np.ndarray) -> Known:
    mean: list[float | None] = []
    deviation: list[float | None] = []
    for column in values.T:
        here = np.isfinite(column)
        few = len(np.unique(patient[here])) < FEWEST
        mean.append(None if few else float(column[here].mean()))
        deviation.append(None if few else float(column[here].std()))
    return Known(names, tuple(mean), tuple(deviation), tuple(np.isnan(values).mean(axis=0).tolist()), len(values))


def drift(trained: Mapping[str, Known], here: Mapping[str, Known]) -> tuple[Drifted, ...]:
    """Every number of every input that both have, the largest difference first."""
    found = []
    for name, one in trained.items():
        other = here.get(name)
        if other is None or other.names != one.names:
            continue
        for place, number in enumerate(one.names):
            mean = _apart(*((k.mean[place], k.deviation[place]) for k in (one, other)))
            there, now = one.missing[place], other.missing[place]
            spread = [np.sqrt(share * (1 - share)) for share in (there, now)]
            missing = _apart((there, float(spread[0])), (now, float(spread[1]))) or 0.0
            found.append(Drifted(name, number, mean, missing, there, now))
    return tuple(sorted(found, key=lambda one: -one.size))


def _apart(one: tuple[float | None, float | None], other: tuple[float | None, float | None]) -> float | None:
    """The difference in units of the pooled standard deviation; held at ±10 where nothing varies."""
    if None in one or None in other:
        return None
    apart = float(other[0] or 0.0) - float(one[0] or 0.0)
    pooled = np.sqrt((float(one[1] or 0.0) ** 2 + float(other[1] or 0.0) ** 2) / 2)
    return float(np.clip(apart / pooled, -10, 10)) if pooled > 0 else float(10 * np.sign(apart))
