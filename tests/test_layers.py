"""Imports go down only. Walks the syntax trees, so that an import inside a function counts as well.

What stands behind `if TYPE_CHECKING:` is never run, and does not count.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "src" / "medloom"
STOREYS = (
    ("errors",),
    ("cards",),
    ("find", "expression", "machine", "window"),
    ("mistakes", "strict"),
    ("event_set_part",),
    ("event_parts", "maps_part", "panel_part", "subgroup_part"),
    ("cohort_part", "parts"),
    ("study",),
    ("study_text",),
    ("batch", "packed", "tally", "draw", "fitted", "masked", "warping"),
    ("fingerprint",),
    ("told",),
    ("modality",),
    ("mixup", "pairing", "task"),
    ("cohort", "statistics"),
    ("modalities", "tasks"),
    ("feed", "ingest"),
    ("answers", "model"),
    ("prepare",),
    ("audit", "evaluation", "training"),
    ("explain",),
    ("bundle",),
    ("report",),
    ("rundir", "starting"),
    ("teaching",),
    ("rehearsing",),
    ("judging",),
    ("elsewhere", "learning", "stress", "trust"),
    ("embedding", "recalibrating", "registering", "run"),
    ("cli", "estimators", "serve", "federate", "monitor"),
    ("__init__", "__main__"),
)
HEIGHT = {room: height for height, storey in enumerate(STOREYS) for room in storey}
FILES = sorted(ROOT.rglob("*.py"))


def imported(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    """(line, dotted module) of everything of medloom that the code may import when it runs."""
    for node in walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name.split(".")[0] == "medloom")
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            if base.split(".")[0] == "medloom":
                yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those of `if TYPE_CHECKING:`."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for other in child.orelse:
                yield from walk(other)
        else:
            yield from walk(child)


def room_of(module: str) -> str:
    """The room of a dotted name of medloom; its public face where the name is no module (`medloom.__version__`)."""
    name = module.partition(".")[2].partition(".")[0]
    return name if (ROOT / name).is_dir() or (ROOT / f"{name}.py").exists() else "__init__"


def kind_of(module: str) -> str | None:
    """The single modality or task that a dotted name belongs to."""
    parts = module.split(".")
    return parts[2] if len(parts) > 2 and parts[1] in ("modalities", "tasks") and not parts[2].startswith("_") else None


def faults(source: str, module: str) -> list[str]:
    """Every import of the module's source that goes up, sideways into another room, or from one kind to another."""
    own, package = room_of(module), module if module.endswith("__init__") else module.rpartition(".")[0]
    found = []
    for line, target in imported(ast.parse(source), package.removesuffix(".__init__")):
        room = room_of(target)
        if target == "medloom.__version__" or room not in HEIGHT or own not in HEIGHT:
            continue
        if room != own and HEIGHT[room] >= HEIGHT[own]:
            found.append(f"{module}:{line} imports {target}: {room} is not below {own}")
        here, there = kind_of(module), kind_of(target)
        if room == own and there is not None and here != there and own in ("modalities", "tasks"):
            found.append(f"{module}:{line} imports {target}: one of {own} does not know another")
    return found


def module_of(path: Path) -> str:
    return ".".join(("medloom", *path.relative_to(ROOT).with_suffix("").parts))


def test_every_room_has_its_storey() -> None:
    rooms = {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in FILES}
    assert rooms - set(HEIGHT) == set(), "give the room a storey in STOREYS, as low as it can stand"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_only(path: Path) -> None:
    assert faults(path.read_text(encoding="utf-8"), module_of(path)) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("medloom.find", "import medloom.study"),
        ("medloom.errors", "from medloom.find import near"),
        ("medloom.cohort.table", "def f():\n    from medloom.feed import pack"),
        ("medloom.modalities.table.__init__", "from medloom.tasks.classify import Classify"),
        ("medloom.modalities.table.__init__", "from medloom import tasks"),
        ("medloom.modalities.table.__init__", "from medloom.modalities.image import Image"),
        ("medloom.modalities.table.encoder", "from ..image import Image"),
        ("medloom.modalities.table.encoder", "from ...tasks import classify"),
        (
            "medloom.tasks.classify",
            "try:\n    from medloom.modalities import table\nexcept ImportError:\n    table = None",
        ),
        ("medloom.tasks.classify", "from medloom.tasks import survive"),
        ("medloom.training.loop", "def fit():\n    if True:\n        from medloom import report"),
        ("medloom.training.loop", "from medloom.bundle import Bundle"),
        ("medloom.training.loop", "from medloom.evaluation import metrics"),
        ("medloom.study", "from medloom import read_study"),
        ("medloom.study", "if TYPE_CHECKING:\n    pass\nelse:\n    import medloom.run"),
    ],
)
def test_what_goes_up_or_sideways_is_found(module: str, source: str) -> None:
    assert len(faults(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("medloom.study", "from medloom.errors import StudyError\nfrom medloom import find"),
        ("medloom.modality", "if TYPE_CHECKING:\n    from medloom.cohort.table import Cohort"),
        ("medloom.modality", "if typing.TYPE_CHECKING:\n    from medloom.cohort.table import Cohort"),
        ("medloom.modalities.table.__init__", "from medloom.modalities.table.options import TableOptions"),
        ("medloom.modalities.table.encoder", "from .options import TableOptions"),
        ("medloom.tasks.classify", "from medloom.tasks import _heads\nfrom medloom.statistics.rank import auroc"),
        ("medloom.bundle", "from medloom import __version__"),
        ("medloom.run", "import torch\nimport medlook"),
    ],
)
def test_what_goes_down_is_allowed(module: str, source: str) -> None:
    assert faults(source, module) == []
