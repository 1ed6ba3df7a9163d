"""Importing costs nothing (law 8): each check runs in a fresh process, as a person at a terminal would start it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "polars", "sklearn", "scipy", "matplotlib", "pandas", "pyarrow", "nibabel", "PIL"}
MAIN = "import runpy, sys; sys.argv = ['medloom', *{arguments!r}]; runpy.run_module('medloom', run_name='__main__', alter_sys=True)"
STUDY = """
name = "icu-death"
cohort = { table = "stays.csv", patient = "patient_id", at = "admitted" }
inputs.labs = { modality = "table", known_before_index = true }
targets.death = { task = "classify", column = "died" }
"""


def loaded(code: str, folder: Path) -> tuple[set[str], str, int]:
    """Heavy packages that a fresh process has loaded when `code` ends, what it printed, and its exit code."""
    watched = (
        "import atexit, json, sys, pathlib\n"
        "atexit.register(lambda: pathlib.Path('modules.json').write_text(json.dumps(list(sys.modules))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", watched + code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    modules = {module.split(".")[0] for module in json.loads((folder / "modules.json").read_text())}
    return modules & HEAVY, done.stdout + done.stderr, done.returncode


def test_the_watch_sees_what_is_loaded(tmp_path: Path) -> None:
    assert loaded("import polars", tmp_path)[0] == {"polars"}


def test_import_medloom(tmp_path: Path) -> None:
    heavy, text, code = loaded("import medloom; medloom.__version__", tmp_path)
    assert (heavy, code) == (set(), 0), text


def test_the_public_names_are_listed_without_loading_them(tmp_path: Path) -> None:
    heavy, text, code = loaded(
        "import medloom; print(len(medloom.__all__), set(medloom.__all__) <= set(dir(medloom)))", tmp_path
    )
    assert (heavy, code) == (set(), 0), text
    count, listed = text.split()
    assert int(count) <= 12
    assert listed == "True"


@pytest.mark.parametrize("arguments", [["--help"], ["fit", "--help"], ["schema"]])
def test_help_and_schema(tmp_path: Path, arguments: list[str]) -> None:
    heavy, text, code = loaded(MAIN.format(arguments=arguments), tmp_path)
    assert (heavy, code) == (set(), 0), text
    assert "cohort" in text if arguments == ["schema"] else "Usage" in text


def test_check_of_a_study(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY)
    heavy, text, code = loaded(MAIN.format(arguments=["check", "study.toml"]), tmp_path)
    assert (heavy, code) == (set(), 0), text


def test_check_of_a_study_with_mistakes_exits_with_2_and_names_them_all(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY.replace("died", 'died", positiv = "1') + "train.stpes = 3\n")
    heavy, text, code = loaded(MAIN.format(arguments=["check", "study.toml"]), tmp_path)
    assert (heavy, code) == (set(), 2), text
    assert "train.stpes" in text
    assert "targets.death.positiv" in text
    assert "Traceback" not in text
