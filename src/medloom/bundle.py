"""The artefact: a fitted study that predicts the same anywhere. JSON and safetensors, a digest of each file."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from medloom import find, fitted
from medloom.answers import Answers
from medloom.cohort import event_cohort, history, joins, panel
from medloom.cohort.files import as_frame, read_blocks, read_table
from medloom.cohort.table import Cohort, make_cohort
from medloom.cohort_part import CohortPart
from medloom.errors import BundleError, DataError, StudyError, counted, some
from medloom.evaluation.drift import Known
from medloom.feed import Feed, pack, text_columns
from medloom.modality import Modality
from medloom.model.assembly import Network, assemble
from medloom.model.outputs import outputs
from medloom.model.team import Team
from medloom.study import Study, make
from medloom.study_text import dump_json, without_folders
from medloom.task import Member, Task
from medloom.told import Problem

FORMAT = 2
FILES = ("study.json", "state.json", "weights.safetensors", "card.json")
STREAM_ROWS = 16_384
OnProblem = Literal["refuse", "column"]


@dataclass(frozen=True, slots=True)
class Beside:
    """The best simple model of a target, with the task calibrated to it: what other data are judged beside."""

    name: str
    member: Member
    task: Task


@dataclass(frozen=True, slots=True)
class Bundle:
    """A fitted study: what to read, how it was fitted, who answers, and a card that says where it comes from.

    `beside` are simple models by target and `inputs` the summaries of the training rows, which other data are judged by.
    """

    study: Study
    modalities: Mapping[str, Modality]
    tasks: Mapping[str, Task]
    team: Team
    card: Mapping[str, Any]
    beside: Mapping[str, Beside] = field(default_factory=dict)
    inputs: Mapping[str, Known] = field(default_factory=dict)

    @property
    def network(self) -> Network:
        """The first of the networks."""
        return self.team.networks[0]

    def predict(
        self,
        data: Any,
        *,
        problems: OnProblem = "refuse",
        tables: Mapping[str, Any] | None = None,
        folder: str | Path = ".",
    ) -> pl.DataFrame:
        """Answers for a polars, pandas or Arrow frame: one row a row, with its id.

        What does not fit is a DataError; with `problems="column"` it is made missing and named in that column.
        `tables` are frames for inputs that have a table of their own; relative paths begin at `folder`. Where rows are made
        of a store of events, `data` may be the folder of another one.
        """
        if self._is_store(data):
            return pl.concat(self.stream(data, problems=problems, folder=Path(folder)))
        named = {name: as_frame(table) for name, table in (tables or {}).items()}
        frame, text = panel.with_panel(self.study.cohort, as_frame(data)), text_columns(self.study)
        earlier = history.read_earlier(self.study.cohort, Path(folder), tables or {}, text, needed=False)
        frame = history.with_history(self.study.cohort, frame, earlier, new=False)
        named |= joins.read_tables(self.study.cohort, Path(folder), named, text_columns(self.study), needed=False)
        return self._answer(frame, problems, named, Path(folder), 1, None, {})

    def stream(
        self, path: str | Path, *, problems: OnProblem = "refuse", folder: Path | None = None, masks: Path | None = None
    ) -> Iterator[pl.DataFrame]:
        """Answers for a table file of any size, or a store of events, block after block. Dense answers are written to the folder `masks`.

        Of a history, the columns it needs are read of all rows first, so that earlier rows of other blocks count.
        """
        for block, tables, start, first, stores in self._blocks(Path(path), folder):
            yield self._answer(block, problems, tables, start, first, masks, stores)

    def feeds(
        self, path: str | Path, *, problems: OnProblem = "refuse", folder: Path | None = None
    ) -> Iterator[tuple[pl.Series, Feed]]:
        """Row ids and fitted inputs of a table file of any size, block after block, as `stream` answers them."""
        for block, tables, start, first, stores in self._blocks(Path(path), folder):
            cohort, feed, _ = self._ready(block, problems, tables, start, first, stores)
            yield cohort.row.alias(self._id_name(cohort)), feed

    def _blocks(
        self, path: Path, folder: Path | None
    ) -> Iterator[tuple[pl.DataFrame, Mapping[str, pl.DataFrame], Path, int, Mapping[str, Path]]]:
        """Blocks of a file with its history, the tables it is joined with, the folder of paths, its first row, and the

        store that its rows were made of."""
        part = self.study.cohort
        ids = {
            name for name in (part.row, part.patient, part.person, part.site, part.panel and part.panel.series) if name
        }
        text = frozenset(ids | text_columns(self.study))
        if part.panel is not None:
            # Rows of a panel look back over lines of the whole file.
            yield panel.with_panel(part, read_table(path, text)), {}, folder or path.parent, 1, {}
            return
        tables = joins.read_tables(part, folder or path.parent, {}, text, needed=False)
        earlier = history.read_earlier(part, folder or path.parent, {}, text, needed=False)
        if self._is_store(path):
            made = event_cohort.from_store(part, path, path.parent, own=False, answered=False)
            frame = history.with_history(part, made.frame, earlier, new=False)
            for first in range(0, len(frame), STREAM_ROWS):
                stores = {str(part.events and part.events.name): path}
                yield frame[first : first + STREAM_ROWS], tables, folder or path.parent, first + 1, stores
            return
        past = history.of_file(part, path, text, earlier)
        first = 1
        for block in read_blocks(path, STREAM_ROWS, text):
            block = block if past is None else block.hstack(past[first - 1 : first - 1 + len(block)])
            yield block, tables, folder or path.parent, first, {}
            first += len(block)

    def _answer(
        self,
        frame: pl.DataFrame,
        problems: OnProblem,
        tables: Mapping[str, pl.DataFrame],
        folder: Path,
        first: int,
        masks: Path | None,
        stores: Mapping[str, Path],
    ) -> pl.DataFrame:
        cohort, feed, found = self._ready(frame, problems, tables, folder, first, stores)
        answers = Answers(feed, masks, first)
        for rows, raw, _ in outputs(self.team, feed, np.arange(len(cohort))):
            for name, task in self.tasks.items():
                answers.add(name, task.decode(raw[name]), rows)
        answer = answers.frame(cohort.row.alias(self._id_name(cohort)))
        if problems == "column":
            words: list[list[str]] = [[] for _ in range(len(cohort))]
            for problem in found:
                words[problem.row].append(problem.text)
            answer = answer.with_columns(pl.Series("problems", ["; ".join(w) or None for w in words], pl.String))
        return answer

    def _ready(
        self,
        frame: pl.DataFrame,
        problems: OnProblem,
        tables: Mapping[str, pl.DataFrame],
        folder: Path,
        first: int,
        stores: Mapping[str, Path],
    ) -> tuple[Cohort, Feed, list[Problem]]:
        frame = joins.joined(self.study.cohort, frame, tables, new=False)
        cohort = replace(make_cohort(self._cohort_part(frame), frame, folder, tables, first), stores=stores)
        feed, found = self.feed(cohort, problems)
        if found and problems == "refuse":
            raise DataError(_refusal(found, cohort))
        return cohort, feed, found

    def _is_store(self, data: Any) -> bool:
        return self.study.cohort.events is not None and event_cohort.is_folder_of_store(data)

    def _id_name(self, cohort: Cohort) -> str:
        """What the ids of rows are called: as in the study, where the rows bring them."""
        name = self.study.cohort.row
        return name if name in cohort.frame.columns else "row"

    def _repr_html_(self) -> str:
        """The bundle's card for a notebook."""
        from medloom.cards import bundle_card

        return bundle_card(self.card, self.study.name)

    def feed(self, cohort: Cohort, problems: OnProblem = "refuse") -> tuple[Feed, list[Problem]]:
        """The cohort's rows through read, pack, point and bind; with all that does not fit."""
        sources, found = {}, []
        missing = [] if problems == "column" else self._missing_columns(cohort)
        if missing:
            raise DataError("\n".join(missing))
        for name, options in self.study.inputs.items():
            kind = find.modality(options.modality)
            seen = cohort
            if problems == "column":
                seen, mended = kind.mend(options, cohort)
                found += [Problem(problem.row, f"{name}.{problem.text}") for problem in mended]
            source = self.modalities[name].bind(pack(kind, options, seen))
            found += [Problem(p.row, f"{name}.{p.text}") for p in self.modalities[name].problems(source, seen)]
            sources[name] = source
        return Feed(self.modalities, sources, self.tasks).grouped(cohort, problems == "refuse"), found

    def _missing_columns(self, cohort: Cohort) -> list[str]:
        have = set(cohort.frame.columns)
        lacking = joins.lacking(self.study.cohort, cohort.folder, cohort.tables)
        return [
            f"inputs.{name}: no column {column!r}; {lacking or find.near(column, have)}"
            for name, options in self.study.inputs.items()
            for column in find.modality(options.modality).columns(options)
            if column not in have
        ]

    def _cohort_part(self, frame: pl.DataFrame) -> CohortPart:
        """The study's cohort, less what new rows need not carry: a site, an id, a patient where no input looks it up."""
        part, have = self.study.cohort, set(frame.columns)
        update: dict[str, Any] = {"site": None, "answered": None, "person": None}
        if part.row not in have:
            update["row"] = None
        looked_up = any(find.modality(options.modality).needs_patient for options in self.study.inputs.values())
        if part.patient is not None and part.patient not in have and not looked_up:
            update |= {"patient": None, "independent_rows": True}
        timed = any(options.at or options.proves_time for options in self.study.inputs.values())
        if part.at not in have and not timed:
            update["at"] = None
        return part.model_copy(update=update)

    def save(self, folder: str | Path) -> Path:
        """Writes the bundle whole or not at all: into a folder beside, flushed, then renamed. Returns the folder."""
        folder = Path(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists() and not (folder / "manifest.json").exists():
            raise BundleError(f"{folder} exists and is no bundle; choose another folder")
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        partial.chmod(0o755)
        try:
            self._write(partial)
            if folder.exists():
                shutil.rmtree(folder)
            partial.rename(folder)
        except OSError as error:
            raise BundleError(
                f"{folder}: the bundle could not be written ({error.strerror or error}); nothing was left behind"
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return folder

    def _write(self, folder: Path) -> None:
        state = {
            "modalities": {name: fitted.dump(modality) for name, modality in self.modalities.items()},
            "tasks": {name: fitted.dump(task) for name, task in self.tasks.items()},
            "networks": len(self.team.networks),
            "simple": {target: list(members) for target, members in self.team.simple.items()},
            "shares": {target: dict(shares) for target, shares in self.team.shares.items()},
            "beside": {n: {"name": one.name, "task": fitted.dump(one.task)} for n, one in self.beside.items()},
            "inputs": {name: fitted.dump(one) for name, one in self.inputs.items()},
        }
        _write_text(folder / "study.json", dump_json(without_folders(self.study)))
        _write_text(folder / "state.json", json.dumps(state, allow_nan=False) + "\n")
        _write_text(folder / "card.json", json.dumps(self.card, indent=2, allow_nan=False) + "\n")
        save_file({**_tensors(self.team), **_beside_tensors(self.beside)}, folder / "weights.safetensors")
        _flush(folder / "weights.safetensors")
        manifest = {"format": FORMAT, "sha256": {name: digest(folder / name) for name in FILES}}
        _write_text(folder / "manifest.json", json.dumps(manifest, indent=2) + "\n")


def load(folder: str | Path) -> Bundle:
    """Loads a bundle after checking the digest of every file. Raises BundleError."""
    folder = Path(folder)
    _check(folder)
    try:
        study = make(json.loads((folder / "study.json").read_text(encoding="utf-8")))
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        modalities = {
            n: fitted.load(find.modality(p.modality), state["modalities"][n]) for n, p in study.inputs.items()
        }
        tasks = {n: fitted.load(find.task(p.task), state["tasks"][n]) for n, p in study.targets.items()}
        tensors = load_file(folder / "weights.safetensors")
        team = _team(study, modalities, tasks, state, tensors)
        beside = {n: _restored(study, n, one, tensors) for n, one in state.get("beside", {}).items()}
        inputs = {name: fitted.load(Known, one) for name, one in state.get("inputs", {}).items()}
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    except (ValidationError, StudyError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BundleError(f"{folder}: the bundle does not fit this version of medloom: {error}") from error
    return Bundle(study, modalities, tasks, team, card, beside, inputs)


def _beside_tensors(beside: Mapping[str, Beside]) -> dict[str, Tensor]:
    return {
        f"beside/{target}/{key}": torch.from_numpy(np.array(array))
        for target, one in beside.items()
        for key, array in one.member.arrays().items()
    }


def _restored(study: Study, target: str, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Beside:
    task = fitted.load(find.task(study.targets[target].task), state["task"])
    member = task.baselines(study.seed)[state["name"]]
    assert isinstance(member, Member)
    member.restore({key: one.numpy() for key, one in fitted.below(tensors, f"beside/{target}/").items()})
    return Beside(state["name"], member, task)


def _tensors(team: Team) -> dict[str, Tensor]:
    """Weights of the first network by their own names, then those of the others and what simple models learnt."""
    tensors: dict[str, Tensor] = {}
    for place, network in enumerate(team.networks):
        state = network.state_dict().items()
        tensors |= {_of_network(place) + name: tensor.detach().contiguous() for name, tensor in state}
    for target, members in team.simple.items():
        for name, member in members.items():
            arrays = member.arrays().items()
            tensors |= {f"simple/{target}/{name}/{key}": torch.from_numpy(np.array(array)) for key, array in arrays}
    return tensors


def _team(
    study: Study,
    modalities: Mapping[str, Modality],
    tasks: Mapping[str, Task],
    state: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
) -> Team:
    networks = []
    for place in range(state.get("networks", 1)):
        network = assemble(modalities, tasks, study.model, study.seed)
        prefix = _of_network(place)
        own = fitted.below(tensors, prefix) if prefix else {n: t for n, t in tensors.items() if "/" not in n}
        network.load_state_dict(own)
        networks.append(network.eval())
    simple: dict[str, dict[str, Member]] = {target: {} for target in state.get("simple", {})}
    for target, names in state.get("simple", {}).items():
        known = tasks[target].baselines(study.seed)
        for name in names:
            member = known[name]
            assert isinstance(member, Member)
            arrays = fitted.below(tensors, f"simple/{target}/{name}/")
            member.restore({key: tensor.numpy() for key, tensor in arrays.items()})
            simple[target][name] = member
    return Team(tuple(networks), simple, state.get("shares", {}))


def _of_network(place: int) -> str:
    return f"network/{place + 1}/" if place else ""


def _check(folder: Path) -> None:
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        version, digests = manifest["format"], dict(manifest["sha256"])
    except FileNotFoundError as error:
        raise BundleError(
            f"{folder}: no bundle here; expected a folder with manifest.json, as `medloom fit` writes in run/bundle"
        ) from error
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise BundleError(f"{folder}: manifest.json cannot be read; the bundle is damaged, copy it again") from error
    if not isinstance(version, int) or version > FORMAT:
        raise BundleError(
            f"{folder}: the bundle has format {version}, this medloom reads up to {FORMAT}; update medloom"
        )
    for name in FILES:
        if not (folder / name).is_file():
            raise BundleError(f"{folder}: {name} is missing; the bundle is damaged, copy it again")
        if digest(folder / name) != digests.get(name):
            raise BundleError(f"{folder}: {name} was changed after the bundle was saved; copy it again")


def digest(path: Path) -> str:
    """SHA-256 of a file, as hex."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    _flush(path)


def _flush(path: Path) -> None:
    with open(path, "rb") as handle:
        os.fsync(handle.fileno())


def _refusal(found: list[Problem], cohort: Cohort) -> str:
    by_text: dict[str, list[int]] = {}
    for problem in found:
        by_text.setdefault(problem.text, []).append(problem.row)
    lines = [
        f"{text}: {counted(len(rows), 'row')} ({some(cohort.row.gather(rows).to_list())})"
        for text, rows in by_text.items()
    ]
    return "\n".join([*lines[:20], "mend these rows, or predict anyway with problems in a column (--problems column)"])
