"""What the documentation says is there is there, and what is generated is as the source says."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer.main

import medloom
from medloom.cli.app import app
from medloom.modality import Modality
from medloom.study import make
from medloom.task import Task

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = sorted([*(REPOSITORY / "docs").rglob("*.md"), REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md"])
STUDIES = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))
    if block.startswith("name = ")
]


def test_the_reference_is_what_the_source_says(tmp_path: Path) -> None:
    subprocess.run([sys.executable, REPOSITORY / "docs" / "generate.py", tmp_path], check=True, timeout=120)
    written = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert set(written) == {"study.md", "contracts.md", "estimators.md", "ingest.md"}
    for name, text in written.items():
        assert (REPOSITORY / "docs" / "reference" / name).read_text(encoding="utf-8") == text, "run: make docs"


@pytest.mark.parametrize("text", STUDIES)
def test_every_study_of_the_documentation_is_a_study(text: str) -> None:
    make(tomllib.loads(text))


def test_there_are_studies_in_the_documentation() -> None:
    assert len(STUDIES) >= 4


def test_every_command_and_option_is_described() -> None:
    page = (REPOSITORY / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    described = set(re.findall(r"^\| `medloom ([a-z-]+)", page, re.MULTILINE))
    assert described == set(commands)
    for name, command in commands.items():
        line = next(line for line in page.splitlines() if line.startswith(f"| `medloom {name}"))
        options = {
            flag for option in command.params for flag in option.opts if flag.startswith("--") and flag != "--help"
        }
        assert options == set(re.findall(r"--[a-z]+", line.split("|` |")[0].split("` |")[0])), name


def test_every_public_name_is_described_with_its_arguments() -> None:
    page = (REPOSITORY / "docs" / "reference" / "python-api.md").read_text(encoding="utf-8")
    described = dict(re.findall(r"^\| `medloom\.(\w+)(\([^`]*\))?`", page, re.MULTILINE))
    assert set(described) == set(medloom.__all__)
    for name, arguments in described.items():
        if arguments:
            named = re.findall(r"(\w+)(?==|,|\))(?![\"'])", re.sub(r"=[^,)]+(\(\))?", "", arguments))
            assert named == list(inspect.signature(getattr(medloom, name)).parameters), name


@pytest.mark.parametrize("contract", [Modality, Task])
def test_contributing_names_every_method(contract: type) -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    methods = [
        name
        for name, member in vars(contract).items()
        if not name.startswith("_") and callable(getattr(contract, name))
    ]
    methods = [
        name for name in methods if name not in {"Options", "Summary"} and not isinstance(vars(contract)[name], type)
    ]
    assert [name for name in methods if f"`{name}`" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_is_in_the_navigation() -> None:
    navigation = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [path.relative_to(REPOSITORY / "docs").as_posix() for path in (REPOSITORY / "docs").rglob("*.md")]
    assert [page for page in pages if page not in navigation] == []


def test_decisions_are_a_page_each() -> None:
    decisions = sorted((REPOSITORY / "docs" / "adr").glob("*.md"))
    assert [int(path.name[:4]) for path in decisions] == list(range(1, len(decisions) + 1))
    for path in decisions:
        text = path.read_text(encoding="utf-8")
        assert text.startswith(f"# {path.name[:4]} ")
        assert text.count("\n") <= 60
        assert all(f"## {part}" in text for part in ("Context", "Decision", "Consequences"))


def test_the_version_is_one() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == medloom.__version__


def test_every_dependency_has_its_exact_version() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [name for group in [project["dependencies"], *project["optional-dependencies"].values()] for name in group]
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {
        re.split("==", line)[0].lower().replace("_", "-") for line in lines if "==" in line and not line.startswith("#")
    }
    assert [name for name in wanted if re.split(r"[<>=\[]", name)[0].lower() not in pinned] == []
    assert "torch==2.13.0" in lines
    assert not pinned & {"torchvision", "torchaudio"}
