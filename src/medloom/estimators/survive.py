"""`MedloomSurvival`: the risk of an event over time for each row of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from jaxtyping import Float
from sklearn.utils.validation import check_is_fitted

from medloom.estimators.base import TARGET, TableEstimator
from medloom.estimators.frames import InputError, followed, free


class MedloomSurvival(TableEstimator):
    """Risks over time where some rows are censored, from a table of numbers and categories with anything missing.

    `y` is a structured array with the fields event and time, as scikit-survival's, or a frame with two such columns.
    Parameters are those of `MedloomClassifier`, less its last three, and:

    - `horizons`: times, rising, by which the report tells the risk; left out: quartiles of the event times.

    Fitted: `n_features_in_`, `feature_names_in_` (tables), `bundle_`, `last_time_` (the latest time a risk is known
    for), and with `out` also `run_`.
    """

    def __init__(
        self,
        *,
        columns: Mapping[str, Any] | None = None,
        encoder: str = "mlp",
        hidden: tuple[int, ...] | None = None,
        dropout: float = 0.1,
        epochs: float = 40,
        learning_rate: float | Literal["auto"] = "auto",
        batch: int | Literal["auto"] = "auto",
        valid: float = 0.1,
        calibrate: float = 0.1,
        test: float = 0.0,
        patient: str | None = None,
        out: str | Path | None = None,
        random_state: Any = 0,
        horizons: Sequence[float] = (),
    ) -> None:
        super().__init__(
            columns, encoder, hidden, dropout, epochs, learning_rate, batch, valid, calibrate, test, patient, out,
            random_state,
        )  # fmt: skip
        self.horizons = horizons

    def fit(self, X: Any, y: Any, *, groups: Any = None) -> Self:
        """Fits to rows `X` followed as `y` says; `groups` hold the patient of each row. Raises InputError."""
        self._fit(X, y, groups)
        self.last_time_ = float(self.bundle_.tasks[TARGET].edges[-1])
        return self

    def _answers(self, y: Any, taken: list[str]) -> tuple[dict[str, pl.Series], dict[str, Any]]:
        event, time = followed(y)
        names = {"time": free("time", taken), "event": free("event", taken)}
        columns = {names["time"]: pl.Series(time), names["event"]: pl.Series(event.astype(np.int64))}
        return columns, {"task": "survive", **names, "horizons": tuple(self.horizons)}

    def predict(self, X: Any) -> Float[np.ndarray, " rows"]:
        """A score of each row: its risk averaged over time up to `last_time_`. Higher means earlier events."""
        return self._predict(X)["score"].to_numpy()

    def predict_risk(self, X: Any, times: Sequence[float] | float) -> Float[np.ndarray, "rows times"]:
        """The chance of the event by each of `times`, in the unit of `y`.

        Between the edges of the model's intervals the hazard is constant, as it was taken to be in training. Raises
        InputError for times below 0 or after `last_time_`.
        """
        check_is_fitted(self, "bundle_")
        asked = np.atleast_1d(np.asarray(times, dtype=np.float64))
        task = self.bundle_.tasks[TARGET]
        edges = np.array([0.0, *task.edges])
        if asked.ndim != 1 or not ((asked >= 0) & (asked <= edges[-1])).all():
            raise InputError(
                f"times: expected numbers from 0 to {edges[-1]:g}, the latest time the training rows tell of"
            )
        everywhere = replace(self.bundle_, tasks={TARGET: replace(task, horizons=task.edges)})
        found = self._answered(everywhere, X)
        survival = 1 - np.stack([found[name].to_numpy() for name in found.columns if name.startswith("risk_")], axis=1)
        hazard = -np.log(np.clip(np.concatenate([np.ones((len(survival), 1)), survival], axis=1), 1e-300, 1.0))
        after = np.clip(np.searchsorted(edges, asked, side="left"), 1, len(edges) - 1)
        share = (asked - edges[after - 1]) / (edges[after] - edges[after - 1])
        return -np.expm1(-(hazard[:, after - 1] * (1 - share) + hazard[:, after] * share))

    def score(self, X: Any, y: Any) -> float:
        """Harrell's concordance of the scores with what happened."""
        from medloom.statistics.survival import harrell

        event, time = followed(y)
        return float(harrell(time, event.astype(np.float64), self.predict(X), np.ones((1, len(time))))[0])
