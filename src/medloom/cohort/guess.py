"""A first guess at a table's columns, for a study file that a person edits. Nothing here is used by a fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from jaxtyping import Int

from medloom.cohort.files import as_frame, header, read_table
from medloom.cohort.kinds import BLANKS, FILES, NAMING, ColumnGuess, judge, words_of
from medloom.cohort.split import PARTS
from medloom.cohort.table import canonical
from medloom.errors import DataError, counted
from medloom.find import near

PATIENT = frozenset(
    {"patient", "patients", "subject", "mrn", "person", "participant", "pid", "ptid", "patientid", "subjectid", "empi"}
)
"""Words that name a patient; beside them, the name of a patient column holds words of identifiers only."""
BESIDE = frozenset({"number", "num", "no", "nr", "nbr", "code", "key", "medical", "identifier", "hash", "pseudonym"})
ASKED_FOR = ("1", "true", "yes", "y", "present", "positive")
"""Names of the class that is asked for, in lower case."""
ALMOST = 0.995
"""A column that alone tells the target so well holds the answer."""
FEWEST_OF_A_CLASS = 5
MOST_CLASSES = 50
MOST_NUMBERED_CLASSES = 20
"""A target of more different numbers than these is a number."""
MASKS_LOOKED_AT = 12
"""Files of masks that are opened to see which labels there are."""
WINDOWS = {
    "window": "The ids of windows.",
    "start_s": "Where a window begins in its record, in seconds.",
    "stop_s": "Where a window ends in its record, in seconds.",
    "share": "How much of a window its label covers: known from the answer.",
}
"""Columns of a table that `medloom windows` wrote, beside `label`."""
OTHER_PARTS = frozenset({"val", "validation", "dev", "tune", "training", "testing", "holdout"})
"""Words for parts of a split that others use."""


@dataclass(frozen=True, slots=True)
class Guess:
    """What the columns of a table seem to be. `row`, `patient` and `split` are columns, None where none was found."""

    task: Literal["classify", "regress", "segment"]
    columns: tuple[ColumnGuess, ...]
    warnings: tuple[str, ...]
    target: str
    classes: tuple[str, ...]
    positive: str | None
    target_missing: tuple[str, ...]
    row: str | None
    patient: str | None
    split: str | None
    path: Path | None
    masks: tuple[str, ...] = ()
    """Where the target names masks, the files of some rows, evenly spread, as the table has them."""
    dims: int = 2
    """Axes of these masks."""
    labels: tuple[int, ...] = ()
    """The values that somebody found in them; nothing where nobody looked."""
    window_seconds: float | None = None
    """Where rows are windows of records, how long the longest is; else None."""

    @property
    def files(self) -> tuple[ColumnGuess, ...]:
        """Columns that name a file of an image or a signal in each row, to learn from."""
        return tuple(column for column in self.columns if column.kind in FILES and column.used)


def guess(frame_or_path: Any, target: str) -> Guess:
    """What each column of a table seems to be, with warnings. Raises DataError where there is no such target column."""
    path = Path(frame_or_path) if isinstance(frame_or_path, (str, Path)) else None
    frame = as_frame(frame_or_path) if path is None else read_table(path, frozenset(header(path)))
    if target not in frame.columns:
        raise DataError(f"no column {target!r} in the table; {near(target, frame.columns)}")
    answers = canonical(frame[target])
    missing = tuple(
        answers.filter(answers.str.to_lowercase().is_in(list(BLANKS))).unique().sort().drop_nulls().to_list()
    )
    answers = pl.select(pl.when(~answers.is_in(list(missing))).then(answers)).to_series()
    classes = answers.drop_nulls().unique().sort()
    task = _task(target, frame[target], classes)
    columns = tuple(_one(name, frame[name], target, answers) for name in frame.columns)
    if task == "segment" and not any(column.kind in FILES and column.used for column in columns):
        raise DataError(
            f"target {target!r} names files of images; expected another column with the image that each mask is drawn on"
        )
    patient = _patient(frame, target)
    row = _row(frame, target, patient, columns)
    splits = _splits(frame, target)
    columns = tuple(_as_id(column, row, patient, splits) for column in columns)
    seconds = _window_seconds(frame, columns)
    if seconds is not None:
        row = "window"
        columns = _windowed(frame, columns)
    return Guess(
        task=task,
        columns=columns,
        warnings=(
            *(_about_answers(target, classes, answers) if task == "classify" else ()),
            *(w for c in columns for w in c.warnings),
            *_about_patients(patient, frame),
            *_about_parts(frame, target),
        ),
        target=target,
        classes=tuple(classes.to_list()) if task == "classify" and len(classes) <= MOST_CLASSES else (),
        positive=_positive(answers, classes) if task == "classify" and len(classes) == 2 else None,
        target_missing=missing,
        row=row,
        patient=patient,
        split=next(iter(splits), None),
        path=path,
        masks=_spread(answers.drop_nulls().to_list()) if task == "segment" else (),
        dims=FILES[judge(target, frame[target]).kind].dims if task == "segment" else 2,
        window_seconds=seconds,
    )


def _spread(paths: Sequence[str]) -> tuple[str, ...]:
    """Some of these, evenly spread, so that a table in the order of its classes or hospitals shows all of them."""
    places = np.unique(np.linspace(0, len(paths) - 1, min(MASKS_LOOKED_AT, len(paths))).round().astype(int))
    return tuple(paths[place] for place in places.tolist())


def _task(target: str, values: pl.Series, classes: pl.Series) -> Literal["classify", "regress", "segment"]:
    if judge(target, values).kind in FILES:
        return "segment"
    numbers = classes.cast(pl.Float64, strict=False).is_not_null().all()
    return "regress" if len(classes) > MOST_NUMBERED_CLASSES and numbers else "classify"


def tells(values: pl.Series, answers: pl.Series) -> float:
    """How well a column alone tells the target, from 0.5 (of two classes) to 1; NaN where it cannot be said.

    Of numbers, the area under the ROC curve in the better direction (two classes); of words, the mean over classes
    of the share that is right when each word answers with its most frequent class. The better of the two, and of
    whether the column is filled in at all.
    """
    known = answers.is_not_null()
    truth = answers.filter(known)
    values = values.filter(known)
    classes = truth.unique().sort()
    if not 2 <= len(classes) <= MOST_CLASSES or int(str(truth.value_counts()["count"].min())) < FEWEST_OF_A_CLASS:
        return float("nan")
    code = np.searchsorted(classes.to_numpy().astype(str), truth.to_numpy().astype(str))
    text = canonical(values)
    filled = text.is_not_null().to_numpy()
    found = [_agreement(filled.astype(np.int64), code)]
    if text.n_unique() <= max(len(truth) // 10, 2):
        found.append(_agreement(text.fill_null("").rank("dense").to_numpy().astype(np.int64) - 1, code))
    number = text.cast(pl.Float64, strict=False)
    measured = number.is_not_null().to_numpy() & filled
    if len(classes) == 2 and measured.sum() >= 0.9 * filled.sum() and measured.any():
        found.append(_auroc(number.filter(measured), code[measured]))
    return float(np.nanmax(found))


def _agreement(word: Int[np.ndarray, " rows"], code: Int[np.ndarray, " rows"]) -> float:
    """Mean over classes of the share of rows whose word answers with their class."""
    classes = int(code.max()) + 1
    table = np.bincount(word * classes + code, minlength=(int(word.max()) + 1) * classes).reshape(-1, classes)
    right = np.where(np.arange(classes) == table.argmax(axis=1)[:, None], table, 0).sum(axis=0)
    return float((right / table.sum(axis=0)).mean())


def _auroc(number: pl.Series, code: Int[np.ndarray, " rows"]) -> float:
    """Area under the ROC curve from average ranks, in the better direction. Source: Mann & Whitney, 1947."""
    positive = int((code == 1).sum())
    negative = len(code) - positive
    if min(positive, negative) < FEWEST_OF_A_CLASS:
        return float("nan")
    ranks = number.rank("average").to_numpy()[code == 1].sum()
    area = (ranks - positive * (positive + 1) / 2) / (positive * negative)
    return float(max(area, 1 - area))


def _one(name: str, values: pl.Series, target: str, answers: pl.Series) -> ColumnGuess:
    if name == target:
        return ColumnGuess(name, "target", "The column to predict.")
    column = judge(name, values)
    if column.kind in ("constant", "free text"):
        return column
    how_well = tells(values, answers)
    if not how_well >= ALMOST:
        return column
    warning = f"column {name!r} alone tells the target almost perfectly ({how_well:.3f}): it may hold the answer, or be known only after it; left out"
    reason = f"Alone it tells the target almost perfectly ({how_well:.3f})."
    return replace(column, kind="target copy", reason=reason, used=False, warnings=(*column.warnings, warning))


def _patient(frame: pl.DataFrame, target: str) -> str | None:
    """The column named after patients, one with repeated values before one without."""
    named = [
        name
        for name in frame.columns
        if name != target
        and words_of(name) & PATIENT
        and words_of(name) <= PATIENT | BESIDE | NAMING
        and not frame[name].dtype.is_float()
        and canonical(frame[name]).null_count() == 0
        and frame[name].n_unique() > 1
    ]
    return min(
        named,
        key=lambda name: (canonical(frame[name]).n_unique() == len(frame), frame.columns.index(name)),
        default=None,
    )


def _row(frame: pl.DataFrame, target: str, patient: str | None, columns: tuple[ColumnGuess, ...]) -> str | None:
    """A column without repeated or missing values, whose name speaks of an identifier."""
    ids = {column.name for column in columns if column.kind == "id"}
    for name in frame.columns:
        if name in (target, patient) or not (name in ids or words_of(name) & {"id", "uid", "uuid", "row"}):
            continue
        if not words_of(name) & (NAMING | {"row", "index", "stay", "visit", "encounter", "admission", "case", "key"}):
            continue
        values = frame[name]
        if (
            not values.dtype.is_float()
            and canonical(values).null_count() == 0
            and canonical(values).n_unique() == len(frame)
        ):
            return name
    return None


def _splits(frame: pl.DataFrame, target: str) -> tuple[str, ...]:
    """Columns that hold the words of a split and no others, with rows that train and rows that judge."""
    texts = [name for name in frame.columns if name != target and frame[name].dtype == pl.String]
    return tuple(name for name in texts if {"train", "test"} <= set(canonical(frame[name]).to_list()) <= set(PARTS))


def _as_id(column: ColumnGuess, row: str | None, patient: str | None, splits: tuple[str, ...]) -> ColumnGuess:
    if column.name in splits:
        reason = "The part of a split that each row stands in."
        return replace(column, kind="split", reason=reason, used=False, missing=(), warnings=())
    if column.name not in (row, patient):
        return column
    what = "patients" if column.name == patient else "rows"
    return replace(column, kind="id", reason=f"The ids of {what}.", used=False, missing=(), warnings=())


def _window_seconds(frame: pl.DataFrame, columns: Sequence[ColumnGuess]) -> float | None:
    """The length of the windows that the rows are; None where they are not, or none of their records is to be read."""
    if not {*WINDOWS, "label"} <= set(frame.columns) or not any(c.kind == "signal" and c.used for c in columns):
        return None
    start, stop = (canonical(frame[name]).cast(pl.Float64, strict=False) for name in ("start_s", "stop_s"))
    longest = (stop - start).max()
    return None if start.null_count() or stop.null_count() or longest is None else float(str(longest))


def _windowed(frame: pl.DataFrame, columns: Sequence[ColumnGuess]) -> tuple[ColumnGuess, ...]:
    """The columns of a table of windows: what says where a window lies, or which record it is of, is no input."""
    paths = [column.name for column in columns if column.kind == "signal"]
    found = []
    for column in columns:
        name = column.name
        if name in WINDOWS:
            column = replace(column, kind="window", reason=WINDOWS[name], used=False, missing=(), warnings=())
        elif column.kind == "category" and any(
            frame[name].n_unique() == frame[path].n_unique() == frame.n_unique([name, path]) for path in paths
        ):
            column = replace(column, kind="id", reason="The ids of records.", used=False, missing=(), warnings=())
        found.append(column)
    return tuple(found)


def _about_answers(target: str, classes: pl.Series, answers: pl.Series) -> list[str]:
    if len(classes) < 2:
        return [f"target {target!r}: fewer than two classes; there is nothing to learn"]
    if len(classes) > MOST_CLASSES:
        return [f"target {target!r}: {counted(len(classes), 'class', 'classes')}; expected few"]
    least = int(str(answers.drop_nulls().value_counts()["count"].min()))
    return (
        [f"target {target!r}: the rarest class has {counted(least, 'row')}; too few to judge by"] if least < 10 else []
    )


def _about_patients(patient: str | None, frame: pl.DataFrame) -> list[str]:
    if patient is None:
        return [
            "no column of patients was found: the study declares independent_rows; check that every row is another patient"
        ]
    if canonical(frame[patient]).n_unique() == len(frame):
        return [f"every row has another {patient!r}; check that it names patients, and not rows"]
    return []


def _about_parts(frame: pl.DataFrame, target: str) -> list[str]:
    """A split in other words than those of a study."""
    found = []
    for name in frame.columns:
        if name == target or frame[name].dtype != pl.String or frame[name].n_unique() > len(PARTS):
            continue
        words = set(frame[name].drop_nulls().str.to_lowercase().to_list())
        if words & {"train", "training"} and words & OTHER_PARTS and words <= {*PARTS, *OTHER_PARTS}:
            found.append(
                f'column {name!r} seems to be a split; to use it, write {", ".join(PARTS)} in it and give split.by = "column"'
            )
    return found


def _positive(answers: pl.Series, classes: pl.Series) -> str:
    """The class whose name says that it is asked for, else the rarer one."""
    asked = [name for name in classes.to_list() if name.lower() in ASKED_FOR]
    counts = {name: int((answers == name).sum()) for name in classes.to_list()}
    return asked[0] if len(asked) == 1 else min(counts, key=lambda name: (counts[name], name))
