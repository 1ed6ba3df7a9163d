"""`MedloomClassifier`: one of several classes for each row of a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from jaxtyping import Float, Shaped
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets

from medloom.estimators.base import TableEstimator
from medloom.estimators.frames import InputError, free, labels_of


class MedloomClassifier(ClassifierMixin, TableEstimator):
    """Two classes or several, from a table of numbers and categories with anything missing; calibrated probabilities.

    `X` is a pandas, polars or Arrow table, or an array. Giving a column declares that its values were known before the
    answer. Without `groups` and without `patient` every row is declared to be another patient.

    Parameters, named and meant as in the study file:

    - `columns`: column → its kind, unit, missing values, range, as in `[inputs.<name>.columns]`; those left out are
      read by their storage type.
    - `encoder`, `hidden`, `dropout`: the network. `epochs`, `learning_rate`, `batch`: its training.
    - `valid`, `calibrate`: shares of patients that stop the training, and that set temperature and threshold; all others
      teach. `test`: share that judges, for the report in `out`; with 0 there are no figures.
    - `patient`: column of `X` that names the patient; it is never read as an input. Rows of a patient stay together.
    - `out`: folder for the run: report, bundle, metrics. It must hold no other run.
    - `random_state`: everything random is a function of it.
    - `class_weights`: `"balanced"` lets rare classes weigh more in the loss; probabilities stay those of the cohort.
    - `threshold`: of two classes, the probability from which the second one is predicted; or `"youden"`, `"accuracy"`,
      which set it on calibration rows. `calibration`: `"platt"`, `"isotonic"`; `"none"` leaves probabilities
      as the network gives them.

    Fitted: `classes_`, `n_features_in_`, `feature_names_in_` (tables), `bundle_`, and with `out` also `run_`.
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
        class_weights: Literal["none", "balanced"] = "none",
        threshold: float | Literal["youden", "accuracy"] = 0.5,
        calibration: Literal["temperature", "platt", "isotonic", "none"] = "temperature",
    ) -> None:
        super().__init__(
            columns, encoder, hidden, dropout, epochs, learning_rate, batch, valid, calibrate, test, patient, out,
            random_state,
        )  # fmt: skip
        self.class_weights = class_weights
        self.threshold = threshold
        self.calibration = calibration

    def fit(self, X: Any, y: Any, *, groups: Any = None) -> Self:
        """Fits to rows `X` with classes `y`; `groups` hold the patient of each row. Raises InputError."""
        return self._fit(X, y, groups)

    def _answers(self, y: Any, taken: list[str]) -> tuple[dict[str, pl.Series], dict[str, Any]]:
        name = free(str(getattr(y, "name", None) or "answer"), taken)
        held = self._known(y, dtype=None)
        check_classification_targets(held)
        self.classes_, codes = np.unique(held, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError("found 1 class; a classifier needs rows of at least two classes")
        self._labels = labels_of(self.classes_)
        answers = pl.Series(name, np.array(self._labels, dtype=object)[codes].tolist(), pl.String)
        asked = {"positive": self._labels[1]} if len(self._labels) == 2 else {}
        options = {key: getattr(self, key) for key in ("class_weights", "threshold", "calibration")}
        return {name: answers}, {"task": "classify", "column": name, **options, **asked}

    def predict(self, X: Any) -> Shaped[np.ndarray, " rows"]:
        """The class of each row."""
        text = self._predict(X)[""].to_list()
        place = {label: index for index, label in enumerate(self._labels)}
        return self.classes_[[place[label] for label in text]]

    def predict_proba(self, X: Any) -> Float[np.ndarray, "rows classes"]:
        """Calibrated probabilities, in the order of `classes_`."""
        found = self._predict(X)
        if len(self._labels) == 2:
            positive = found["probability"].to_numpy()
            return np.stack([1 - positive, positive], axis=1)
        return np.stack([found[f"probability_{label}"].to_numpy() for label in self._labels], axis=1)
