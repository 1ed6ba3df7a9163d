"""A study file: every mistake at once with its path, and the same study again from what it writes of itself."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from medloom import find
from medloom.errors import StudyError
from medloom.parts import InputPart, Strict, TargetPart
from medloom.study import Study, make, read
from medloom.study_text import dump_json, dump_toml, schema


def raw(**changes: Any) -> dict[str, Any]:
    """A small study as plain values; `cohort__at="t"` sets a key of a section, None removes it."""
    plain: dict[str, Any] = {
        "name": "icu-death",
        "cohort": {"table": "stays.csv", "patient": "patient_id"},
        "inputs": {"labs": {"modality": "table", "known_before_index": True}},
        "targets": {"death": {"task": "classify", "column": "died"}},
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        section = plain
        for parent in parents:
            section = section.setdefault(parent, {})
        if value is None:
            section.pop(last)
        else:
            section[last] = value
    return plain


def problems(plain: dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(StudyError) as caught:
        make(plain)
    return caught.value.problems


@pytest.fixture
def third_party(monkeypatch: pytest.MonkeyPatch) -> None:
    """A modality with windows whose values carry times, and a dense task, as another package would offer them."""

    class TraceOptions(InputPart):
        proves_time: ClassVar[bool] = True
        modality: Literal["trace"] = "trace"

    class OutlineOptions(TargetPart):
        task: Literal["outline"] = "outline"
        input: str = Field()

    @dataclass(frozen=True)
    class Trace:
        Options: ClassVar[type] = TraceOptions
        windows: ClassVar[bool] = True

    @dataclass(frozen=True)
    class Outline:
        Options: ClassVar[type] = OutlineOptions
        dense: ClassVar[bool] = True
        alone: ClassVar[bool] = False
        joins: ClassVar[tuple[str, ...]] = ()

        @staticmethod
        def mistakes(options, inputs):
            return []

    points = {
        "medloom.modalities": [SimpleNamespace(name="trace", load=lambda: Trace)],
        "medloom.tasks": [SimpleNamespace(name="outline", load=lambda: Outline)],
    }
    monkeypatch.setattr(find, "_points", find._points.__wrapped__)
    monkeypatch.setattr(find, "entry_points", lambda group: points[group])


def test_every_mistake_at_once_each_with_its_path() -> None:
    found = problems(
        raw(
            seed=-1,
            cohort__independent_rows=True,
            inputs__labs__modality="tabel",
            inputs__notes={"text": "x"},
            targets__death__positiv="1",
            train={"stpes": 3, "optimizer": "adamx", "steps": "many"},
            split__test=1.5,
            trian={},
        )
    )
    expected = {
        "seed": "found -1",
        "cohort": "found both of patient and independent_rows",
        "inputs.labs": "unknown modality 'tabel'; did you mean 'table'?",
        "inputs.notes": "needs modality = one of",
        "targets.death.positiv": "unknown key; did you mean 'positive'?",
        "train.stpes": "unknown key; did you mean 'steps'",
        "train.optimizer": "did you mean 'adamw'?",
        "train.steps": "found 'many'",
        "split.test": "found 1.5",
        "trian": "unknown key; did you mean 'train'?",
    }
    by_path = dict(problem.split(": ", 1) for problem in found)
    assert set(by_path) == set(expected)
    for path, sentence in expected.items():
        assert by_path[path].startswith(sentence) or sentence in by_path[path], by_path[path]


def test_mistakes_inside_the_parts_of_parts_keep_their_whole_path() -> None:
    found = problems(raw(inputs__labs__columns={"age": {"kind": "numberic"}, "sex": {"kind": "category", "unt": "x"}}))
    assert any(
        p.startswith("inputs.labs.columns.age.kind: found 'numberic'") and "did you mean 'numeric'?" in p for p in found
    )
    assert any(p.startswith("inputs.labs.columns.sex.unt: unknown key; did you mean 'unit'") for p in found)
    assert len(found) == 2


@pytest.mark.parametrize("section", ["name", "cohort", "inputs", "targets"])
def test_what_has_no_default_is_asked_for(section: str) -> None:
    assert problems(raw(**{section: None})) == (f"{section}: missing; it has no default",)


@pytest.mark.parametrize(
    ("changes", "path", "sentence"),
    [
        ({"cohort__patient": None}, "cohort", "found neither of patient and independent_rows"),
        ({"inputs": {}}, "inputs", "at least 1"),
        ({"targets": {}}, "targets", "at least 1"),
        ({"inputs__labs": 3}, "inputs.labs", "found 3"),
        ({"name": "a b"}, "name", "found 'a b'"),
        ({"targets__death__loss_weight": 0}, "targets.death.loss_weight", "greater than 0"),
        ({"split": {"by": "column"}}, "split", "needs it"),
        ({"split": {"column": "fold"}}, "split", "goes with"),
        ({"split": {"test": 0.5, "valid": 0.3, "calibrate": 0.2}}, "split", "leave under 5 %"),
        ({"split": {"by": "time", "test": 0.0}}, "split", "test = 0 goes with"),
        ({"train": {"steps": 10, "epochs": 2}}, "train", "found steps and epochs; expected only one"),
        ({"train": {"learning_rate": 0}}, "train", "must be above 0"),
        ({"train": {"batch": "big"}}, "train.batch", "found 'big'"),
        ({"model": {"hidden": "wide"}}, "model.hidden", "expected 'auto'"),
        ({"evaluate": {"level": 1.0}}, "evaluate.level", "found 1.0"),
    ],
)
def test_one_mistake(changes: dict[str, Any], path: str, sentence: str) -> None:
    found = problems(raw(**changes))
    assert all(problem.startswith(f"{path}: ") for problem in found), found
    assert any(sentence in problem for problem in found), found


def test_a_long_value_is_not_repeated_whole() -> None:
    (problem,) = problems(raw(seed="x" * 500))
    assert len(problem) < 200


@pytest.mark.parametrize(
    ("known", "cohort_at", "input_at", "sentence"),
    [
        (False, None, None, 'inputs.labs: nothing says when these values were known: give at = "<column>"'),
        (False, "admitted", None, "inputs.labs: nothing says when these values were known"),
        (True, None, "drawn", "inputs.labs.at: is compared with the index time: give cohort.at"),
    ],
)
def test_an_undeclared_time_is_a_mistake(
    known: bool, cohort_at: str | None, input_at: str | None, sentence: str
) -> None:
    plain = raw(inputs__labs__known_before_index=known)
    plain["cohort"]["at"] = cohort_at
    plain["inputs"]["labs"]["at"] = input_at
    assert problems(plain)[0].startswith(sentence)


@pytest.mark.parametrize(
    "changes", [{"cohort__at": "t", "inputs__labs__at": "drawn", "inputs__labs__known_before_index": False}, {}]
)
def test_a_declared_time_is_not(changes: dict[str, Any]) -> None:
    assert isinstance(make(raw(**changes)), Study)


@pytest.mark.usefixtures("third_party")
def test_an_input_whose_values_carry_times_needs_only_the_index_time() -> None:
    inputs = {"ecg": {"modality": "trace"}}
    assert make(raw(inputs=inputs, cohort__at="admitted")).inputs["ecg"].modality == "trace"
    assert problems(raw(inputs=inputs)) == (
        "inputs.ecg: nothing says when these values were known: give cohort.at, or declare known_before_index = true",
    )


@pytest.mark.usefixtures("third_party")
def test_several_inputs_may_be_seen_in_windows_unless_an_answer_is_laid_on_one() -> None:
    trace = {"modality": "trace", "known_before_index": True}
    assert list(make(raw(inputs={"ecg": trace, "eeg": trace})).inputs) == ["ecg", "eeg"]
    scan = {"modality": "image", "known_before_index": True, "column": "scan", "dims": 2, "patch": [8, 8]}
    outline = {"task": "segment", "input": "scan", "column": "mask", "labels": {"tumour": 1}}
    (problem,) = problems(raw(inputs={"scan": scan, "ecg": trace}, targets={"outline": outline}))
    assert problem.startswith("targets.outline: its answers are laid on an input") and "'ecg' is" in problem


@pytest.mark.usefixtures("third_party")
def test_a_dense_target_names_an_input() -> None:
    (problem,) = problems(raw(targets={"tumour": {"task": "outline", "input": "lab"}}))
    assert problem == "targets.tumour.input: no input 'lab'; did you mean 'labs'?"
    good = make(
        raw(targets={"tumour": {"task": "outline", "input": "labs"}, "death": {"task": "classify", "column": "died"}})
    )
    assert good.dense_targets() == {"tumour": "labs"}


def test_a_study_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        make(raw()).seed = 3  # type: ignore[misc]


NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,10}", fullmatch=True)
COLUMNS = st.text(min_size=1, max_size=8).filter(lambda text: "\ud800" > text or text.isprintable())
PART_OF_TRAIN = st.fixed_dictionaries(
    {},
    optional={
        "epochs": st.floats(0.1, 1e6),
        "learning_rate": st.one_of(st.just("auto"), st.floats(1e-12, 10)),
        "optimizer": st.sampled_from(["adamw", "sgd", "rmsprop"]),
        "batch": st.one_of(st.just("auto"), st.integers(1, 10**6)),
        "keep": st.sampled_from(["best", "last"]),
    },
)


@given(
    names=st.lists(NAMES, min_size=1, max_size=3, unique=True),
    column=COLUMNS,
    kinds=st.dictionaries(
        COLUMNS, st.sampled_from([{"kind": "category"}, {"kind": "numeric", "unit": 'µg/"L"\n'}]), max_size=3
    ),
    missing=st.lists(st.one_of(st.text(max_size=3), st.floats(-1e9, 1e9)), max_size=3),
    train=PART_OF_TRAIN,
    hidden=st.one_of(st.just("auto"), st.lists(st.integers(1, 99), max_size=3)),
)
def test_the_file_a_study_writes_gives_it_back(
    names: list[str], column: str, kinds: dict[str, Any], missing: list[Any], train: dict[str, Any], hidden: Any
) -> None:
    plain = raw(cohort__patient=column, targets__death__column=column, train=train, model={"hidden": hidden})
    plain["inputs"] = {
        name: {"modality": "table", "known_before_index": True, "columns": kinds, "missing": missing} for name in names
    }
    one = make(plain)
    assert make(tomllib.loads(dump_toml(one))) == one
    assert make(json.loads(dump_json(one))) == one


def test_the_whole_of_a_study_is_written_defaults_included() -> None:
    written = tomllib.loads(dump_toml(make(raw())))
    assert written["train"]["optimizer"] == "adamw"
    assert written["inputs"]["labs"]["known_before_index"] is True


@given(st.text(max_size=60))
def test_any_text_is_a_study_or_a_study_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("study") / "study.toml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(StudyError):
        read(path)


def written(folder: Path, text: str | None = None) -> Path:
    path = folder / "study.toml"
    path.write_text(dump_toml(make(raw())) if text is None else text, encoding="utf-8")
    return path


def test_reading_a_file_remembers_its_folder(tmp_path: Path) -> None:
    read_back = read(written(tmp_path))
    assert read_back == make(raw()).within(tmp_path)
    assert read_back.folder == tmp_path
    assert read(str(tmp_path / "study.toml")).folder == tmp_path


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_bytes(b"\xef\xbb\xbf" + dump_toml(make(raw())).encode())
    assert read(path) == make(raw()).within(tmp_path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"name = ", "not TOML"),
        (b"name = 'a'\nname = 'b'", "not TOML"),
        (b"\xff\xfen\x00a\x00", "not UTF-8"),
        ("name = 'é'".encode("latin-1"), "not UTF-8"),
        (b"", "name: missing"),
    ],
)
def test_what_is_not_a_study_file(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "study.toml"
    path.write_bytes(content)
    with pytest.raises(StudyError, match=sentence):
        read(path)


def test_a_folder_and_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="is a folder"):
        read(tmp_path)
    with pytest.raises(StudyError, match=r"no such study file; `medloom guess"):
        read(tmp_path / "study.toml")


@pytest.mark.parametrize(
    ("override", "read_value"),
    [
        ("train.minutes=5", lambda s: s.train.minutes == 5),
        ("train.optimizer=sgd", lambda s: s.train.optimizer == "sgd"),
        ('train.optimizer="sgd"', lambda s: s.train.optimizer == "sgd"),
        ("model.hidden=[32, 16]", lambda s: s.model.hidden == (32, 16)),
        ("seed=7", lambda s: s.seed == 7),
        ("cohort.table=a b=c.csv", lambda s: s.cohort.table == "a b=c.csv"),
        ("targets.death.column=dead", lambda s: s.targets["death"].column == "dead"),
        ("evaluate.baselines=false", lambda s: s.evaluate.baselines is False),
    ],
)
def test_overrides(tmp_path: Path, override: str, read_value: Any) -> None:
    assert read_value(read(written(tmp_path), [override]))


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("train.minutes", "expected section.key=value"),
        ("=5", "expected section.key=value"),
        ("seed.x=5", "'seed' is a value, not a section"),
        ("train.minute=5", "train.minute: unknown key; did you mean 'minutes'"),
        ("train.steps=-5", "train.steps: found -5"),
        ("train.steps=1_", "train.steps: found '1_'"),
    ],
)
def test_overrides_with_mistakes(tmp_path: Path, override: str, sentence: str) -> None:
    with pytest.raises(StudyError, match=sentence.replace(".", r"\.")):
        read(written(tmp_path), [override])


def references(part: Any) -> list[str]:
    if isinstance(part, dict):
        here = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return here + [found for value in part.values() for found in references(value)]
    return [found for value in part for found in references(value)] if isinstance(part, list) else []


def test_the_schema_is_json_and_every_reference_resolves() -> None:
    whole = json.loads(json.dumps(schema()))
    assert set(references(whole)) <= {f"#/$defs/{name}" for name in whole["$defs"]}
    assert set(whole["properties"]) == set(Study.model_fields)
    inputs = references(whole["properties"]["inputs"]["additionalProperties"])
    assert {reference.removeprefix("#/$defs/") for reference in inputs} == {
        find.modality(name).Options.__name__ for name in find.modalities()
    }
    for options in [find.task(name).Options for name in find.tasks()]:
        assert set(whole["$defs"][options.__name__]["properties"]) == set(options.model_fields)


def test_every_key_says_what_it_means() -> None:
    """docs/reference/study.md and editors show these."""
    parts = [p.annotation for p in Study.model_fields.values() if isinstance(p.annotation, type)]
    sections = [p for p in parts if issubclass(p, Strict)]
    options = [find.modality(n).Options for n in find.modalities()] + [find.task(n).Options for n in find.tasks()]
    silent = [
        f"{model.__name__}.{name}"
        for model in [*sections, *options]
        for name, key in model.model_fields.items()
        if not key.description and name not in {"modality", "task"}
    ]
    assert len(sections) == 5
    assert silent == []
