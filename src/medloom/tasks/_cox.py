"""Cox's proportional hazards with a ridge penalty, by Newton's method; ties after Efron, baseline hazard after Breslow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

STEPS = 50
TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Cox:
    """Coefficients, and the cumulative hazard of a row whose features are all 0 after each event time."""

    coefficient: Float[np.ndarray, " features"]
    times: Float[np.ndarray, " times"]
    cumulative: Float[np.ndarray, " times"]

    def hazard(self, at: Float[np.ndarray, " at"]) -> Float[np.ndarray, " at"]:
        """Cumulative hazard of a row whose features are all 0, just after each of these times."""
        return np.concatenate([[0.0], self.cumulative])[np.searchsorted(self.times, at, side="right")]


def fit(
    features: Float[np.ndarray, "rows features"],
    time: Float[np.ndarray, " rows"],
    event: Float[np.ndarray, " rows"],
    penalty: float = 0.0,
) -> Cox:
    """The coefficients with the greatest partial log-likelihood a row, less penalty / 2 × the sum of their squares.

    At least one row has the event. Source: Cox, "Regression models and life-tables", JRSS B 34, 1972; Efron, "The
    efficiency of Cox's likelihood function for censored data", JASA 72, 1977; Breslow's contribution to the discussion
    of Cox 1972 (baseline hazard).
    """
    order = np.argsort(-time, kind="stable")
    risk_sets = _RiskSets(features[order], time[order], event[order] == 1)
    beta = np.zeros(features.shape[1])
    value, gradient, curvature = risk_sets.at(beta, penalty)
    for _ in range(STEPS):
        step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]
        if gradient @ step < TOLERANCE:
            break
        # Far from the top a whole step may overshoot.
        for halving in range(20):
            tried = risk_sets.at(beta + step / 2**halving, penalty)
            if tried[0] >= value:
                beta = beta + step / 2**halving
                break
        else:
            break
        value, gradient, curvature = tried
    return Cox(beta, *risk_sets.baseline(beta))


class _RiskSets:
    """Rows by falling time: the rows at risk at a time are those up to the end of its group of ties."""

    def __init__(
        self, features: Float[np.ndarray, "rows features"], time: Float[np.ndarray, " rows"], event: np.ndarray
    ) -> None:
        self.features, self.event = features, event
        self.end = np.searchsorted(-time, -time, side="right") - 1
        self.died = np.flatnonzero(event)
        self.times, self.group = np.unique(time[self.died], return_inverse=True)
        self.deaths = np.bincount(self.group, minlength=len(self.times))
        # How many of the events of the same time are taken to have happened before, as a share.
        place = np.zeros(len(self.died))
        by_time = np.argsort(self.group, kind="stable")
        first = np.concatenate([[0], np.cumsum(self.deaths)[:-1]])
        place[by_time] = np.arange(len(self.died)) - np.repeat(first, self.deaths)
        self.gone = place / self.deaths[self.group]

    def at(self, beta: np.ndarray, penalty: float) -> tuple[float, np.ndarray, np.ndarray]:
        """Penalised partial log-likelihood a row, its gradient, and the negative of its second derivative."""
        rows = len(self.features)
        line = self.features @ beta
        top = line.max()
        weight = np.exp(line - top)
        weighted = self.features * weight[:, None]
        end, group = self.end[self.died], self.group
        tied, tied_features = np.zeros(len(self.times)), np.zeros((len(self.times), len(beta)))
        np.add.at(tied, group, weight[self.died])
        np.add.at(tied_features, group, weighted[self.died])
        there = np.cumsum(weight)[end] - self.gone * tied[group]
        mean = (np.cumsum(weighted, axis=0)[end] - self.gone[:, None] * tied_features[group]) / there[:, None]
        value = (line[self.died] - np.log(there) - top).sum() / rows - penalty / 2 * beta @ beta
        gradient = (self.features[self.died] - mean).sum(axis=0) / rows - penalty * beta
        # Every row counts in each risk set it is in: the sum over those sets, less what ties take away.
        sums = np.zeros(rows)
        np.add.at(sums, end, 1 / there)
        share = np.cumsum(sums[::-1])[::-1]
        taken = np.zeros(len(self.times))
        np.add.at(taken, group, self.gone / there)
        share[self.died] -= taken[group]
        curvature = (weighted * share[:, None]).T @ self.features - mean.T @ mean
        return float(value), gradient, curvature / rows + penalty * np.eye(len(beta))

    def baseline(self, beta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Event times, and the cumulative hazard after each."""
        line = self.features @ beta
        top = line.max()
        there = np.zeros(len(self.times))
        there[self.group] = np.cumsum(np.exp(line - top))[self.end[self.died]]
        return self.times, np.cumsum(self.deaths / there) * np.exp(-top)
