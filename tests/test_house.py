"""How this house is written, as far as a machine can see it."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from medloom import find
from medloom.modality import Modality
from medloom.task import Task

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCE = REPOSITORY / "src" / "medloom"
OURS = ("src", "tests", "docs", "benchmarks", "examples", ".ci")
CODE = sorted(SOURCE.rglob("*.py"))
WRITTEN = sorted(
    path
    for path in [*(p for name in OURS for p in (REPOSITORY / name).rglob("*")), *REPOSITORY.glob("*")]
    if path.is_file()
    and "__pycache__" not in path.parts
    and path.suffix in {"", ".py", ".md", ".toml", ".txt", ".yml", ".jinja", ".json"}
)
PICKLES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
VAGUE = re.compile(r"^_?(utils?|helpers?|common|misc|tools?)$")


def name(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def code_faults(source: str, imports_by_name: bool = False) -> Iterator[str]:
    """What runs code that came as data, loads pickles, or couples the rows of a batch."""
    for node in ast.walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Import):
            yield from (f"{line}: imports {a.name}" for a in node.names if a.name.split(".")[0] in PICKLES)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PICKLES:
            yield f"{line}: imports {node.module}"
        if isinstance(node, ast.Attribute | ast.Name):
            word = node.attr if isinstance(node, ast.Attribute) else node.id
            if re.match(r"(Sync)?BatchNorm|batch_norm$|(Lazy)?InstanceNorm.*track", word):
                yield f"{line}: {word}: a row must not depend on its batch (law 3)"
        if isinstance(node, ast.Call):
            yield from (f"{line}: {fault}" for fault in call_faults(node, imports_by_name))


def call_faults(node: ast.Call, imports_by_name: bool) -> Iterator[str]:
    called = ast.unparse(node.func)
    if called in {"eval", "exec", "compile", "__import__", "pydoc.locate", "pkgutil.resolve_name"}:
        yield f"{called}() runs what may be data (law 6)"
    if called in {"import_module", "importlib.import_module"} and not imports_by_name:
        if not (node.args and isinstance(node.args[0], ast.Constant)):
            yield "import by a name that may be data (law 6); find.py alone does it, for the registry"
    if called == "torch.load":
        safe = any(
            k.arg == "weights_only" and isinstance(k.value, ast.Constant) and k.value.value is True
            for k in node.keywords
        )
        if not safe:
            yield "torch.load without weights_only=True (law 6)"
    if called in {"torch.save", "np.save", "numpy.save"}:
        yield f"{called}: tensors are kept as safetensors, arrays by packed.py (law 6)"
    if called in {"np.load", "numpy.load"} and any(k.arg == "allow_pickle" for k in node.keywords):
        yield "np.load with allow_pickle (law 6)"


@pytest.mark.parametrize("path", CODE, ids=name)
def test_no_code_in_data_and_no_batch_statistics(path: Path) -> None:
    registry = path in {SOURCE / "find.py", SOURCE / "__init__.py"}
    assert list(code_faults(path.read_text(encoding="utf-8"), registry)) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "def f():\n    from joblib import dump",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.save(model, path)",
        "np.load(path, allow_pickle=True)",
        "eval(text)",
        "exec(text)",
        "importlib.import_module(options['class'])",
        "nn.BatchNorm2d(8)",
        "F.batch_norm(x)",
    ],
)
def test_the_walk_finds(source: str) -> None:
    assert len(list(code_faults(source))) == 1


@pytest.mark.parametrize(
    "source",
    ["model.eval()", "torch.load(p, weights_only=True)", "importlib.import_module('nibabel')", "re.compile(x)"],
)
def test_the_walk_lets_pass(source: str) -> None:
    assert list(code_faults(source)) == []


@pytest.mark.parametrize("path", [p for p in WRITTEN if p.suffix == ".py"], ids=name)
def test_a_file_is_read_in_one_sitting(path: Path) -> None:
    assert path.read_text(encoding="utf-8").count("\n") <= 500, "split the file where its two subjects part"


@pytest.mark.parametrize("path", CODE, ids=name)
def test_names_say_what_is_inside(path: Path) -> None:
    assert not VAGUE.match(path.stem), "name the file after its subject"
    assert not VAGUE.match(path.parent.name), "name the folder after its subject"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef):
            assert not node.name.endswith(("Manager", "Mixin", "Helper", "Utils")), (
                f"{node.name}: name it after what it is"
            )


@pytest.mark.parametrize("path", CODE, ids=name)
def test_nothing_is_left_for_later(path: Path) -> None:
    found = re.findall(r"\b(TODO|FIXME|XXX|NotImplementedError)\b", path.read_text(encoding="utf-8"))
    assert found == []


@pytest.mark.parametrize("path", WRITTEN, ids=name)
def test_nothing_names_a_folder_of_one_machine(path: Path) -> None:
    folders = "|".join(("work", "home", "root", "Users", "mnt"))
    found = re.findall(rf"(?<![\w.)}}])/(?:{folders})/\S*", path.read_text(encoding="utf-8"))
    assert found == []


def test_every_file_is_utf8_and_the_walk_sees_the_repository() -> None:
    assert {"pyproject.toml", "src/medloom/study.py", "tests/test_house.py"} <= {name(path) for path in WRITTEN}


def is_complete(kind: type, base: type, word: str) -> None:
    assert issubclass(kind, base)
    assert kind.__name__ == word.capitalize()
    assert not inspect.isabstract(kind), f"{word} lacks {sorted(kind.__abstractmethods__)}"  # type: ignore[attr-defined]
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen, "fitted state is frozen"  # type: ignore[attr-defined]
    assert not hasattr(kind, "__dict__") or "__slots__" in vars(kind), "slots=True"
    assert kind.__doc__
    for room in ("Options", "Summary"):
        assert isinstance(getattr(kind, room), type), f"{word}.{room} is missing"


def folders(room: str) -> list[str]:
    """Every folder and file of a room whose name does not begin with an underscore, whatever the registry says."""
    found = [p for p in (SOURCE / room).iterdir() if p.is_dir() or p.suffix == ".py"]
    return sorted(p.stem for p in found if not p.stem.startswith("_"))


@pytest.mark.parametrize("word", folders("modalities"))
def test_every_modality_folder_holds_a_complete_modality(word: str) -> None:
    assert word in find.modalities()
    is_complete(find.modality(word), Modality, word)
    assert find.modality(word).Options.model_fields["modality"].default == word


@pytest.mark.parametrize("word", folders("tasks"))
def test_every_task_file_holds_a_complete_task(word: str) -> None:
    assert word in find.tasks()
    is_complete(find.task(word), Task, word)
    assert find.task(word).needs in {"pooled", "tokens", "finer", "ahead"}
    assert find.task(word).Options.model_fields["task"].default == word


def test_the_registry_is_the_file_system() -> None:
    assert {"table"} <= set(folders("modalities"))
    assert {"classify"} <= set(folders("tasks"))
