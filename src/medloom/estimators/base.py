"""What the estimators share: parameters → a study, rows → a frame, and a bundle that is kept as its own files."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl
from jaxtyping import Shaped
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, check_random_state, column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from medloom.errors import MedloomError, counted, some
from medloom.estimators.frames import InputError, Rows, free, is_frame, names_of, rows_of

if TYPE_CHECKING:
    from medloom.run import Run
    from medloom.study import Study

TARGET, INPUT = "answer", "table"
TOLERATED = "category not among those learnt"
"""Words of a problem that is none here: rare and new categories are read as one category of their own."""


class TableEstimator(BaseEstimator, ABC):
    """A study of one table behind `fit` and `predict`. Parameters are those of the study file."""

    bundle_: Any
    """The fitted bundle, a `medloom.Bundle`."""
    run_: Run
    """The run in the folder `out`; not there where none was asked for."""

    def __init__(
        self,
        columns: Mapping[str, Any] | None,
        encoder: str,
        hidden: tuple[int, ...] | None,
        dropout: float,
        epochs: float,
        learning_rate: float | str,
        batch: int | str,
        valid: float,
        calibrate: float,
        test: float,
        patient: str | None,
        out: str | Path | None,
        random_state: Any,
    ) -> None:
        self.columns = columns
        self.encoder = encoder
        self.hidden = hidden
        self.dropout = dropout
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.batch = batch
        self.valid = valid
        self.calibrate = calibrate
        self.test = test
        self.patient = patient
        self.out = out
        self.random_state = random_state

    @abstractmethod
    def _answers(self, y: Any, taken: list[str]) -> tuple[dict[str, pl.Series], dict[str, Any]]:
        """Columns with the answers, by names that are not taken, and the target of the study that reads them."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.target_tags.required = True
        return tags

    def _fit(self, X: Any, y: Any, groups: Any) -> Self:
        """Makes the study, trains it through `medloom.fit`, and keeps the bundle."""
        from medloom.run import fit

        rows = self._rows(X, reset=True)
        if y is None:
            raise InputError("requires y to be passed, but the target y is None")
        if len(rows) < 2:
            raise InputError(f"found {len(rows)} sample: n_samples = 1 is too few to learn from; give more rows")
        try:
            study, data = self._posed(rows, y, groups)
            if self.out is not None:
                self.run_ = fit(study, self.out, data=data)
                self.bundle_ = self.run_.bundle
            else:
                with tempfile.TemporaryDirectory(prefix="medloom-") as folder:
                    self.bundle_ = fit(study, Path(folder) / "run", data=data).bundle
        except InputError:
            raise
        except MedloomError as error:
            raise InputError(str(error)) from error
        return self

    def _posed(self, rows: Rows, y: Any, groups: Any) -> tuple[Study, pl.DataFrame]:
        """The study, and its table: features, answers and patients side by side."""
        patient = self._patients(rows, groups)
        frame = rows.frame if self.patient is None else rows.frame.drop(self.patient)
        added, target = self._answers(y, rows.frame.columns)
        cohort: dict[str, Any] = {"independent_rows": True}
        if patient is not None:
            name = self.patient or free("patient", [*frame.columns, *added])
            added, cohort = {**added, name: patient}, {"patient": name}
        for column in added.values():
            if len(column) != len(frame):
                raise InputError(
                    f"found {counted(len(frame), 'row')} of X and {len(column)} of y or groups; expected as many"
                )
        study = self._study(Rows(frame, rows.categories & set(frame.columns)), cohort, target)
        return study, frame.with_columns(column.alias(name) for name, column in added.items())

    def _study(self, rows: Rows, cohort: Mapping[str, Any], target: Mapping[str, Any]) -> Study:
        from medloom.study import make

        given = {"hidden": tuple(self.hidden)} if self.hidden is not None else {}
        part = {
            "modality": "table",
            "known_before_index": True,
            "columns": self._columns(rows),
            "encoder": self.encoder,
            "dropout": self.dropout,
            **given,
        }
        return make(
            {
                "name": type(self).__name__,
                "seed": _seed(self.random_state),
                "cohort": dict(cohort),
                "inputs": {INPUT: part},
                "targets": {TARGET: dict(target)},
                "split": {"test": self.test, "valid": self.valid, "calibrate": self.calibrate},
                "train": {"epochs": self.epochs, "learning_rate": self.learning_rate, "batch": self.batch},
            }
        )

    def _columns(self, rows: Rows) -> dict[str, Any]:
        """What is known of every column: what `columns` says, categories by their type, the others as a study reads them."""
        from medloom import find
        from medloom.cohort.table import make_cohort
        from medloom.cohort_part import CohortPart

        said: dict[str, Any] = {name: {"kind": "category"} for name in rows.categories} | dict(self.columns or {})
        unknown = [name for name in said if name not in rows.frame.columns]
        if unknown:
            raise InputError(f"columns: {some(unknown)} not among the columns of X; take them out, or mend their names")
        rest = [name for name in rows.frame.columns if name not in said]
        if rest:
            table = find.modality(INPUT)
            cohort = make_cohort(CohortPart(independent_rows=True), rows.frame.select(rest), Path(), {})
            found: Any = table.complete(table.Options(modality=INPUT), cohort, frozenset())
            said |= {name: column.model_dump(exclude_none=True) for name, column in found.columns.items()}
        return {name: said[name] for name in rows.frame.columns}

    def _rows(self, X: Any, reset: bool) -> Rows:
        """Features as a frame, with the checks that scikit-learn makes of every estimator's features."""
        if is_frame(X):
            names = names_of(X)
            validate_data(self, X, reset=reset, skip_check_array=True)
            if not len(X):
                raise InputError("found 0 rows; at least one row is needed")
            return rows_of(X, names)
        checked = check_array(X, dtype=None, ensure_all_finite="allow-nan", estimator=self)
        validate_data(self, checked, reset=reset, skip_check_array=True)
        known = getattr(self, "feature_names_in_", None)
        return rows_of(checked, [f"x{place}" for place in range(checked.shape[1])] if known is None else list(known))

    def _known(self, y: Any, dtype: Any) -> Shaped[np.ndarray, " rows"]:
        """Answers as one array, none of them missing or infinite."""
        held = column_or_1d(y, warn=True)
        if held.dtype == object and any(value is None for value in held):
            raise InputError("y has empty values: Input contains NaN; leave out the rows whose answer is not known")
        return check_array(held, ensure_2d=False, dtype=dtype, input_name="y", estimator=self)

    def _patients(self, rows: Rows, groups: Any) -> pl.Series | None:
        if groups is not None and self.patient is not None:
            raise InputError("patients are given twice, by patient and by groups; give one of them")
        if self.patient is not None:
            if self.patient not in rows.frame.columns:
                raise InputError(f"patient: no column {self.patient!r} in X; give a frame that has it")
            return rows.frame[self.patient]
        if groups is None:
            return None
        held = np.asarray(groups)
        if held.ndim != 1:
            raise InputError(f"groups has {held.ndim} dimensions; expected one patient id for each row")
        return rows_of(held[:, None].astype(object), ["patient"]).frame["patient"]

    def _predict(self, X: Any) -> pl.DataFrame:
        """The bundle's answers for these rows. Raises InputError for what does not fit, new categories aside."""
        check_is_fitted(self, "bundle_")
        return self._answered(self.bundle_, X)

    def _answered(self, bundle: Any, X: Any) -> pl.DataFrame:
        rows = self._rows(X, reset=False)
        try:
            found = bundle.predict(rows.frame, problems="column")
        except MedloomError as error:
            raise InputError(str(error)) from error
        told = [
            (place, text)
            for place, texts in enumerate(found["problems"].to_list(), 1)
            for text in (texts or "").split("; ")
            if text and not text.endswith(TOLERATED)
        ]
        if told:
            held = list(dict.fromkeys(place for place, _ in told))
            raise InputError(
                f"{counted(len(held), 'row does', 'rows do')} not fit ({some(held)}): {told[0][1]}; mend them, or leave them empty"
            )
        return found.rename({name: name.removeprefix(TARGET).removeprefix("_") for name in found.columns})

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "bundle_")

    def __getstate__(self) -> dict[str, Any]:
        """Parameters and fitted attributes; the bundle as the bytes of its own files, which hold no code."""
        state = dict(self.__dict__)
        bundle, run = state.pop("bundle_", None), state.pop("run_", None)
        if run is not None:
            state["_run"] = {"folder": str(run.folder), "metrics": dict(run.metrics)}
        if bundle is not None:
            with tempfile.TemporaryDirectory(prefix="medloom-") as folder:
                files = sorted(bundle.save(Path(folder) / "bundle").iterdir())
                state["_bundle_files"] = {file.name: file.read_bytes() for file in files}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        from medloom.bundle import load

        held = dict(state)
        files, run = held.pop("_bundle_files", None), held.pop("_run", None)
        self.__dict__.update(held)
        if run is not None:
            from medloom.run import Run

            self.run_ = Run(Path(run["folder"]), run["metrics"])
        if files is not None:
            with tempfile.TemporaryDirectory(prefix="medloom-") as folder:
                for name, content in files.items():
                    (Path(folder) / Path(name).name).write_bytes(content)
                self.bundle_ = load(folder)


def _seed(random_state: Any) -> int:
    """The study's seed: the number given, or one drawn from the generator given."""
    if isinstance(random_state, (int, np.integer)) and random_state >= 0:
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))
