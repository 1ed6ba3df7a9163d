"""`MedloomRegressor`: a number for each row of a table, with an interval."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from jaxtyping import Float
from sklearn.base import RegressorMixin

from medloom.estimators.base import TARGET, TableEstimator
from medloom.estimators.frames import InputError, free


class MedloomRegressor(RegressorMixin, TableEstimator):
    """A number or a count, from a table of numbers and categories with anything missing, with conformal intervals.

    Parameters are those of `MedloomClassifier`, less its last three, and:

    - `loss`: `"squared"` learns the mean, `"absolute"` the median, `"huber"` something between, `"poisson"` counts.
    - `coverage`: share of new rows that `predict_interval` shall hold; set on the calibration rows.

    Fitted: `n_features_in_`, `feature_names_in_` (tables), `bundle_`, and with `out` also `run_`.
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
        loss: Literal["squared", "absolute", "huber", "poisson"] = "squared",
        coverage: float = 0.9,
    ) -> None:
        super().__init__(
            columns, encoder, hidden, dropout, epochs, learning_rate, batch, valid, calibrate, test, patient, out,
            random_state,
        )  # fmt: skip
        self.loss = loss
        self.coverage = coverage

    def fit(self, X: Any, y: Any, *, groups: Any = None) -> Self:
        """Fits to rows `X` with numbers `y`; `groups` hold the patient of each row. Raises InputError."""
        return self._fit(X, y, groups)

    def _answers(self, y: Any, taken: list[str]) -> tuple[dict[str, pl.Series], dict[str, Any]]:
        name = free(str(getattr(y, "name", None) or "answer"), taken)
        answers = pl.Series(name, self._known(y, dtype=np.float64))
        return {name: answers}, {"task": "regress", "column": name, "loss": self.loss, "coverage": self.coverage}

    def predict(self, X: Any) -> Float[np.ndarray, " rows"]:
        """The number of each row, in the unit of `y`."""
        return self._predict(X)[""].to_numpy()

    def predict_interval(self, X: Any) -> Float[np.ndarray, "rows 2"]:
        """The lower and the upper end of each row's interval, which holds the share `coverage` of rows like those of

        the training. Raises InputError where too few rows calibrated for it.
        """
        found = self._predict(X)
        if self.bundle_.tasks[TARGET].margin is None:
            rows = self.bundle_.tasks[TARGET].calibrated_on
            raise InputError(
                f"{rows} calibration rows are too few for intervals that hold {self.coverage:g} of new rows; "
                "give more rows, a larger calibrate, or a smaller coverage"
            )
        return np.stack([found["low"].to_numpy(), found["high"].to_numpy()], axis=1)
