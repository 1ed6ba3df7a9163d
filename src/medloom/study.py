"""The question: a `Study`, read from TOML or built in Python. Reports every mistake at once.

The parts of inputs and targets are validated by their own modality or task, through `find`. Nothing here imports
torch or polars.
"""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    SerializeAsAny,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from medloom import expression, find
from medloom.cohort_part import CohortPart
from medloom.errors import StudyError
from medloom.mistakes import BETWEEN_KEYS, is_branch, problems
from medloom.parts import EvaluatePart, InputPart, ModelPart, Name, SplitPart, Strict, TargetPart, TrainPart


def _part(room: Literal["modality", "task"]) -> Any:
    """A validator that hands a part to its own modality or task, and keeps the paths of its mistakes."""

    def validate(value: Any) -> Any:
        if isinstance(value, (InputPart, TargetPart)) or not isinstance(value, Mapping):
            return value
        name = value.get(room)
        if not isinstance(name, str):
            known = find.modalities() if room == "modality" else find.tasks()
            raise PydanticCustomError("part", "{why}", {"why": f"needs {room} = one of {', '.join(known)}"})
        try:
            options = (find.modality if room == "modality" else find.task)(name).Options
            return options.model_validate(value)
        except StudyError as error:
            raise PydanticCustomError("part", "{why}", {"why": str(error)}) from error
        except ValidationError as error:
            raise PydanticCustomError("part", "mistakes inside", {"problems": problems(error, options)}) from error

    return BeforeValidator(validate)


class Study(Strict):
    """A whole medical study: who, what is seen, what is asked, how it is judged."""

    name: Name = Field(description="name of the study")
    seed: int = Field(0, ge=0, description="everything random is a function of it")
    cohort: CohortPart
    inputs: dict[Name, Annotated[SerializeAsAny[InputPart], _part("modality")]] = Field(min_length=1)
    targets: dict[Name, Annotated[SerializeAsAny[TargetPart], _part("task")]] = Field(min_length=1)
    split: SplitPart = SplitPart()
    model: ModelPart = ModelPart()
    train: TrainPart = TrainPart()
    evaluate: EvaluatePart = EvaluatePart()
    _folder: Path = PrivateAttr(Path())

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        problems = [
            *self._undeclared_times(),
            *self._wrong_grounds(),
            *self._unmasked(),
            *self._unsplittable(),
            *self._strangers(),
            *self._early_answers(),
            *self._unbegun(),
            *self._unmixed(),
        ]
        if problems:
            raise PydanticCustomError("part", "mistakes inside", {"problems": problems})
        return self

    def _undeclared_times(self) -> Iterable[tuple[tuple[str, ...], str]]:
        for name, part in self.inputs.items():
            if part.at is not None and self.cohort.at is None:
                yield ("inputs", name, "at"), "is compared with the index time: give cohort.at"
            proved = part.at is not None or (part.proves_time and self.cohort.at is not None)
            if not proved and not part.known_before_index:
                way = "give cohort.at, or declare" if part.proves_time else 'give at = "<column>", or declare'
                yield ("inputs", name), f"nothing says when these values were known: {way} known_before_index = true"

    def _early_answers(self) -> Iterable[tuple[tuple[str, ...], str]]:
        """Answers of earlier rows that may not be known yet at the index time."""
        history = self.cohort.history
        if history is None:
            return
        answers = {column for part in self.targets.values() for column in find.task(part.task).columns(part)}
        for name, text in history.aggregate.items():
            column = expression.summary(text).column
            if column in answers - {*history.known_after, *history.known_at}:
                way = f'give known_after = {{ {column} = <time> }} or known_at = {{ {column} = "<column>" }}'
                why = (
                    f"reads the answer {column!r} of earlier rows, which may not be known yet at the index time: {way}"
                )
                yield ("cohort", "history", "aggregate", name), why

    def _unsplittable(self) -> Iterable[tuple[tuple[str, ...], str]]:
        for by, column in (("time", "at"), ("site", "site")):
            if self.split.by == by and getattr(self.cohort, column) is None:
                yield ("split", "by"), f'by = "{by}" needs cohort.{column}, the column that says it'
        if self.split.rehearsals:
            yield from self._unrehearsed()
        if self.evaluate.learning_curve and self.split.folds > 1:
            yield ("evaluate", "learning_curve"), "goes with split.folds = 1, so that all are judged on the same rows"

    def _unrehearsed(self) -> Iterable[tuple[tuple[str, ...], str]]:
        """What rehearsals cannot do."""
        key = ("split", "rehearsals")
        if self.cohort.at is None:
            yield key, "needs cohort.at, the column that says what came earlier"
        if self.model.start is not None:
            yield key, "does not go with model.start: nothing says which rows taught those weights"
        others = [name for name, part in self.targets.items() if not find.task(part.task).rehearses]
        if others:
            yield key, f"is for targets with a task that rehearses, such as forecast; {others[0]!r} does not"

    def _unbegun(self) -> Iterable[tuple[tuple[str, ...], str]]:
        """Options of encoders that began elsewhere, where none does."""
        if self.model.start is not None or any(part.weights_file for part in self.inputs.values()):
            return
        defaults = TrainPart()
        for key in ("freeze", "encoder_rate", "level_decay"):
            if getattr(self.train, key) != getattr(defaults, key):
                yield (
                    ("train", key),
                    "goes with model.start, or with weights of an input: no encoder here begins with any",
                )

    def _unmixed(self) -> Iterable[tuple[tuple[str, ...], str]]:
        """What rows cannot be mixed for."""
        if not self.train.mixup:
            return
        for name, part in self.inputs.items():
            if not find.modality(part.modality).mixes:
                yield ("train", "mixup"), f"mixes images alone; inputs.{name} is {part.modality}"
        for name, target in self.targets.items():
            kind = find.task(target.task)
            if kind.sees_inputs or kind.alone:
                yield (
                    ("train", "mixup"),
                    f"does not go with {target.task} (targets.{name}), which learns from the image itself",
                )

    def _wrong_grounds(self) -> Iterable[tuple[tuple[str, ...], str]]:
        windows = [name for name, part in self.inputs.items() if find.modality(part.modality).windows]
        windowed = [name for name in windows if not self.inputs[name].seen_whole]
        for name, part in self.targets.items():
            ground = getattr(part, "input", None)
            if ground is not None and ground not in self.inputs:
                yield ("targets", name, "input"), f"no input {ground!r}; {find.near(ground, self.inputs)}"
                continue
            kind = find.task(part.task)
            others = (
                [one for one in windowed if one != ground or len(windowed) > 1]
                if kind.dense or kind.sees_inputs
                else []
            )
            if others:
                yield (
                    ("targets", name),
                    (
                        f"its answers are laid on an input and put together from that input's windows alone, so that no other may be seen in windows; {others[-1]!r} is"
                    ),
                )
            if len(self.targets) > 1 and find.task(part.task).alone:
                yield (
                    ("targets", name, "task"),
                    f"{part.task} hides its input from other targets; give it a study of its own",
                )
            for key, why in find.task(part.task).mistakes(part, self.inputs):
                yield ("targets", name, key), why

    def _unmasked(self) -> Iterable[tuple[tuple[str, ...], str]]:
        """Masks for maps of inputs that are not there, or that nothing can be laid on."""
        for name in self.evaluate.maps.masks:
            part = self.inputs.get(name)
            if part is None:
                yield ("evaluate", "maps", "masks", name), f"no input {name!r}; {find.near(name, self.inputs)}"
            elif not find.modality(part.modality).takes_masks(part):
                yield (
                    ("evaluate", "maps", "masks", name),
                    "masks lie on an image, one a row; this input is something else",
                )

    def _strangers(self) -> Iterable[tuple[tuple[str, ...], str]]:
        joins = {name: find.task(part.task).joins for name, part in self.targets.items()}
        known = {member for members in joins.values() for member in members}
        for member in self.model.simple:
            if member not in known:
                yield (
                    ("model", "members"),
                    f"no target here has a baseline {member!r} that may join; {find.near(member, {*known, 'network'})}",
                )
        if not self.model.networks:
            for name in (name for name, members in joins.items() if not {*members} & {*self.model.simple}):
                yield ("model", "members"), f"nobody answers for targets.{name}: add a network"

    @property
    def folder(self) -> Path:
        """Where relative paths begin."""
        return self._folder

    def within(self, folder: Path) -> Study:
        """The same study with relative paths beginning at `folder`."""
        copy = self.model_copy()
        copy._folder = folder
        return copy

    def _repr_html_(self) -> str:
        """The study for a notebook, in a few lines."""
        from medloom.cards import card

        inputs = {f"input {name}": part.modality for name, part in self.inputs.items()}
        targets = {f"target {name}": part.task for name, part in self.targets.items()}
        who = f"patient in column {self.cohort.patient!r}" if self.cohort.patient else "every row is another patient"
        return card("Study", self.name, facts={"rows": who, **inputs, **targets, "split": self.split.words()})

    def dense_targets(self) -> dict[str, str]:
        """Targets that are laid on an input: target name → input name."""
        return {name: part.input for name, part in self.targets.items() if find.task(part.task).dense}  # type: ignore[attr-defined]


def read(path: str | Path, overrides: Sequence[str] = ()) -> Study:
    """Reads a study file; `overrides` are `train.minutes=5`. Raises StudyError with every mistake."""
    path = Path(path)
    try:
        raw = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError as error:
        raise StudyError(
            f"{path}: no such study file; `medloom guess table.csv --target <column>` writes one"
        ) from error
    except IsADirectoryError as error:
        raise StudyError(f"{path} is a folder; expected a study file") from error
    except UnicodeDecodeError as error:
        raise StudyError(f"{path}: not UTF-8 text (byte {error.start}); expected a TOML study file") from error
    except tomllib.TOMLDecodeError as error:
        raise StudyError(f"{path}: not TOML: {error}") from error
    for override in overrides:
        _override(raw, override)
    return make(raw).within(path.parent)


def make(raw: Mapping[str, Any]) -> Study:
    """A study from plain values. Raises StudyError with every mistake, each with its path."""
    try:
        return Study.model_validate(raw)
    except ValidationError as error:
        found = dict.fromkeys([*problems(error, Study), *_hidden(raw, error)])
        raise StudyError([f"{'.'.join(map(str, path))}: {text}" if path else text for path, text in found]) from error


def _hidden(raw: Mapping[str, Any], error: ValidationError) -> list[tuple[tuple[Any, ...], str]]:
    """Mistakes between keys, which are only looked for once each key is sound: those left when wrong ones are out."""
    mended = copy.deepcopy(dict(raw))
    for item in error.errors(include_url=False):
        path = [part for part in item["loc"] if not is_branch(part)]
        _leave_out(mended, path[:2] if path[:1] in (["inputs"], ["targets"]) else path)
    try:
        Study.model_validate(mended)
    except ValidationError as again:
        between = [item for item in again.errors(include_url=False) if item["type"] in BETWEEN_KEYS]
        found = [(tuple(item["loc"]), item) for item in between]
        nested = [
            (path + tuple(more), text) for path, item in found for more, text in item.get("ctx", {}).get("problems", ())
        ]
        return nested + [(path, str(item["msg"])) for path, item in found if "problems" not in item.get("ctx", {})]
    return []


def _leave_out(values: Any, path: Sequence[Any]) -> None:
    for part in path[:-1]:
        values = values.get(part) if isinstance(values, dict) else None
    if path and isinstance(values, dict):
        values.pop(path[-1], None)


def _override(raw: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise StudyError(f"found {text!r}; expected section.key=value, such as train.minutes=5")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    *parents, last = key.strip().split(".")
    for parent in parents:
        raw = raw.setdefault(parent, {})
        if not isinstance(raw, dict):
            raise StudyError(f"{key}: {parent!r} is a value, not a section")
    raw[last] = parsed
