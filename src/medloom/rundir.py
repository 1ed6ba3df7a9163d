"""The folder of a run: what it belongs to, what is done, and what a resumed run reads back."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medloom.errors import DataError, StudyError
from medloom.training.loop import Event
from medloom.training.plan import Plan


class RunFolder:
    """`out/`: study.toml, run.json (identity and state), log.jsonl, work/ (until the run is finished), and the results."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.work = self.path / "work"

    def claim(self, identity: Mapping[str, str], study_toml: str) -> None:
        """Begins a run here, or goes on with the same one; one that never came to training is begun anew.

        Raises StudyError or DataError where another run is held here.
        """
        record = self._record()
        if record is None:
            if self.path.exists() and any(self.path.iterdir()):
                raise StudyError(f"{self.path} is not empty and holds no run; choose another folder")
            self._begin(identity, study_toml)
            return
        begun = self.finished or any(self.work.rglob("plan.json"))
        if not begun and any(record.get(name) != value for name, value in identity.items()):
            shutil.rmtree(self.work, ignore_errors=True)
            self._begin(identity, study_toml)
            return
        if record.get("study") != identity["study"]:
            raise StudyError(
                f"{self.path} holds the run of another study; choose another folder, or delete it to start afresh"
            )
        if record.get("start") != identity.get("start"):
            raise DataError(
                f"{self.path}: the weights that the networks begin with changed since this run began; choose another folder, "
                "or delete it to start afresh"
            )
        if record.get("data") != identity["data"]:
            raise DataError(
                f"{self.path}: the data changed since this run began; choose another folder, or delete it to start afresh"
            )

    def _begin(self, identity: Mapping[str, str], study_toml: str) -> None:
        self.work.mkdir(parents=True)
        self._write_record({**identity, "state": "training"})
        write_text(self.path / "study.toml", study_toml)

    @property
    def finished(self) -> bool:
        """Whether every result is written."""
        return (self._record() or {}).get("state") == "finished"

    def training(self, name: str = "") -> TrainingFolder:
        """Where one training of the run keeps what it resumes from; a run of one training needs no name."""
        folder = TrainingFolder(self.work / name)
        folder.path.mkdir(parents=True, exist_ok=True)
        return folder

    def log(self, event: Event) -> None:
        """Appends an event to log.jsonl."""
        if event.kind != "step":
            with open(self.path / "log.jsonl", "a", encoding="utf-8") as handle:
                handle.write(json.dumps({k: v for k, v in asdict(event).items() if v is not None}) + "\n")

    def finish(self) -> None:
        """Marks the run as finished, then removes checkpoints and packed data."""
        self._write_record({**(self._record() or {}), "state": "finished"})
        shutil.rmtree(self.work, ignore_errors=True)

    def _record(self) -> dict[str, Any] | None:
        path = self.path / "run.json"
        try:
            record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(record, dict):
                raise ValueError("no record of a run")
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise DataError(f"{path} is damaged; delete {self.path} to start afresh") from error
        return record

    def _write_record(self, record: Mapping[str, Any]) -> None:
        write_text(self.path / "run.json", json.dumps(record, indent=2) + "\n")


@dataclass(frozen=True, slots=True)
class TrainingFolder:
    """What one training reads back when it is resumed: its plan and its checkpoint."""

    path: Path

    def member(self, place: int) -> TrainingFolder:
        """Where one of several networks keeps its own; the first one has the folder itself."""
        folder = TrainingFolder(self.path / f"member-{place + 1:02d}") if place else self
        folder.path.mkdir(parents=True, exist_ok=True)
        return folder

    def below(self, name: str) -> TrainingFolder:
        """Where a training that goes before this one keeps its own."""
        folder = TrainingFolder(self.path / name)
        folder.path.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def checkpoint(self) -> Path:
        """Where training resumes from."""
        return self.path / "checkpoint.safetensors"

    def plan(self) -> Plan | None:
        """The plan made when the training began."""
        path = self.path / "plan.json"
        return Plan(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None

    def keep_plan(self, plan: Plan) -> None:
        """Keeps the plan for every later resume."""
        write_text(self.path / "plan.json", json.dumps(asdict(plan), indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    with open(partial, "w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    partial.replace(path)
