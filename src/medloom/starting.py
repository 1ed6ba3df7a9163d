"""A bundle whose weights a study begins with: opened, held against the study, and offered to its networks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from medloom.audit.examine import GRAVITY
from medloom.audit.finding import Audit, Finding
from medloom.bundle import Bundle, digest, load
from medloom.cohort.split import Fold
from medloom.cohort.table import Cohort
from medloom.errors import BundleError, StudyError, counted
from medloom.modality import Modality
from medloom.model.start import Given
from medloom.study import Study
from medloom.task import Task


@dataclass(frozen=True, slots=True)
class Start:
    """The bundle of `model.start`, where it lies, and the names of the inputs that it shares with the study."""

    bundle: Bundle
    folder: Path
    inputs: tuple[str, ...]

    def carried(self, modalities: dict[str, Modality]) -> dict[str, Modality]:
        """The fitted inputs, with the bundle's own state where its weights need it. Raises BundleError."""
        return {name: self._carried(name, one) if name in self.inputs else one for name, one in modalities.items()}

    def _carried(self, name: str, modality: Modality) -> Modality:
        state = modality.carrying(self.bundle.modalities[name])
        if state is None:
            raise BundleError(
                f"model.start {self.folder.name}: its input {name!r} is asked for other columns or kinds of values than "
                f"inputs.{name} here; give both the same options, or leave model.start out"
            )
        return state

    def given(self, study: Study, tasks: Mapping[str, Task]) -> tuple[Given, ...]:
        """What each network of the bundle offers."""
        same = list(self.bundle.study.inputs) == list(study.inputs)
        heads = tuple(name for name, task in tasks.items() if _same_question(task, self.bundle.tasks.get(name)))
        name = f"{self.bundle.study.name} (bundle {self.folder.name})"
        return tuple(
            Given(name, network.state_dict(), self.inputs, heads, same) for network in self.bundle.team.networks
        )


def opened(study: Study) -> Start | None:
    """The bundle that a study begins with; None where it names none.

    Raises BundleError where it shares no input with the study, StudyError where an input has two beginnings.
    """
    if study.model.start is None:
        return None
    folder = study.folder / study.model.start
    bundle = load(folder / "bundle" if (folder / "bundle" / "manifest.json").exists() else folder)
    held = {name: part.modality for name, part in bundle.study.inputs.items()}
    asked = {name: part.modality for name, part in study.inputs.items()}
    shared = tuple(name for name, kind in asked.items() if held.get(name) == kind)
    if not shared or not bundle.team.networks:
        raise BundleError(
            f"model.start {study.model.start}: the bundle has {_listed(held)}, the study {_listed(asked)}; "
            "expected at least one input of the same name and modality in both"
        )
    twice = [name for name in shared if study.inputs[name].weights_file]
    if twice:
        raise StudyError(f"inputs.{twice[0]}: begins with weights and with model.start; give one of them")
    return Start(bundle, folder, shared)


def _listed(inputs: Mapping[str, str]) -> str:
    return "the inputs " + ", ".join(f"{name} ({kind})" for name, kind in inputs.items())


def _same_question(task: Task, other: Task | None) -> bool:
    """Whether both were asked the same: the head of one is then a beginning for the other."""
    if type(task) is not type(other):
        return False
    own, its = (_question(one) for one in (task, other))
    return own == its


def _question(task: Any) -> tuple[dict[str, Any], Any]:
    """What a task was asked, wherever its answers lie, and the classes that it found."""
    return task.options.model_dump(exclude={"column", "loss_weight"}), getattr(task, "classes", None)


def fingerprint(study: Study, start: Start | None) -> str | None:
    """A digest of the files that first weights come from; None where there are none. Raises StudyError."""
    parts = []
    if start is not None:
        folder = start.folder / "bundle" if (start.folder / "bundle" / "manifest.json").exists() else start.folder
        parts.append(digest(folder / "manifest.json"))
    for name, part in study.inputs.items():
        if part.weights_file is not None:
            path = study.folder / part.weights_file
            if not path.is_file():
                raise StudyError(
                    f"inputs.{name}.weights: no file {part.weights_file}; give a .safetensors or .pth file"
                )
            parts.append(digest(path))
    return hashlib.sha256(" ".join(parts).encode()).hexdigest() if parts else None


def findings(start: Start, study: Study, cohort: Cohort, splits: tuple[Fold, ...]) -> Iterator[Finding]:
    """Whether patients who judge were among those that taught the bundle, as far as anything tells.

    A bundle keeps no patient, not even a digest of one: ids can be counted through. What tells is the table of the split
    that lies beside it in its run's folder, where rows have ids in both studies.
    """
    taught = _taught(start, study)
    name = start.bundle.study.name
    if taught is None:
        if study.model.start_apart:
            text, severity = (
                f"that no patient who judges here taught the bundle of {name} is declared, not checked",
                "note",
            )
        else:
            text, severity = f"nothing tells whether patients who judge here taught the bundle of {name}", "suspicious"
        todo = "begin with the folder of its run, whose split is known, or declare model.start_apart = true"
        yield Finding("taught-the-start", severity, text, todo, "rows", 0.0)  # type: ignore[arg-type]
        return
    here = np.flatnonzero(cohort.row.is_in(taught.implode()).to_numpy())
    test = np.unique(np.concatenate([fold.test for fold in splits]))
    crossing = test[np.isin(cohort.patient[test], cohort.patient[here])]
    if len(crossing):
        text = f"{counted(len(crossing), 'row judges', 'rows judge')} here whose patients taught the bundle of {name} that the networks began with"
        todo = "split so that they train here too, or train the bundle anew without them"
        yield Finding("taught-the-start", "severe", text, todo, "rows", float(len(crossing)), rows=len(crossing))
        return
    away = len(taught) - len(here)
    rest = (
        f"; {away:,} of its {counted(len(taught), 'row is', 'rows are')} not in this table, and nothing tells whose they are"
        if away
        else ""
    )
    text = f"no patient of a row that taught the bundle of {name} judges here, by the ids of rows{rest}"
    yield Finding("taught-the-start", "note", text, "nothing, if ids of rows mean the same in both", "rows", 0.0)


def _taught(start: Start, study: Study) -> pl.Series | None:
    """Ids of the rows that taught the bundle, from its run's folder; None where they are not known in both studies."""
    if study.cohort.row is None or start.bundle.study.cohort.row != study.cohort.row:
        return None
    for folder in (start.folder, start.folder.parent):
        path = folder / "split.parquet"
        if path.is_file() and (folder / "bundle").is_dir():
            split = pl.read_parquet(path)
            if "fold" in split.columns:
                return split["row"].unique()
            return split.filter(pl.col("part").is_in(["train", "valid", "calibrate"]))["row"].unique()
    return None


def with_findings(audit: Audit, start: Start | None, study: Study, cohort: Cohort, splits: tuple[Fold, ...]) -> Audit:
    """The audit with what is found of a beginning; row ids only where the audit has any asked for."""
    if start is None:
        return audit
    found = sorted((*findings(start, study, cohort, splits), *audit.findings), key=lambda f: GRAVITY.index(f.severity))
    return replace(audit, findings=tuple(found))
