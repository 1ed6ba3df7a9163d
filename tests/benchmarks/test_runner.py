"""Benchmarks are found by file, kept one by one, and not run again at the same commit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as runner
from benchmarks.result import Result, commit_of, keep, read
from benchmarks.table import table


def result(name: str = "speed", value: float = 2.0, **changes: Any) -> Result:
    return Result(
        **{
            "id": name,
            "metric": "steps/s",
            "value": value,
            "higher_is_better": True,
            "split": "none",
            "want": 1.5,
            **changes,
        }
    )


@pytest.mark.parametrize(
    ("value", "higher", "want", "met"),
    [
        (2.0, True, 1.5, True),
        (2.0, True, 2.0, True),
        (1.0, True, 1.5, False),
        (1.0, False, 1.5, True),
        (2.0, False, 1.5, False),
        (2.0, True, None, None),
    ],
)
def test_what_is_wanted_is_met_in_the_right_direction(
    value: float, higher: bool, want: float | None, met: bool | None
) -> None:
    assert result(value=value, higher_is_better=higher, want=want).met is met


def test_every_benchmark_file_is_found_by_its_id() -> None:
    found = runner.discover()
    assert "start-up" in found
    files = {path.stem.replace("_", "-") for path in runner.HERE.glob("*.py")} - {
        "--init--",
        "--main--",
        "result",
        "table",
        "table-sets",
        "bonn",
        "by-hand",
        "hippocampus",
        "leak-sets",
        "simulated",
        "xray-pictures",
    }
    assert set(found) == files


def test_kept_results_replace_those_of_their_id_alone(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    keep(path, [result("a"), result("a", metric="ms"), result("b", seeds=(1, 2))], "one")
    lines = keep(path, [result("a", 3.0)], "two")
    assert [(line["id"], line["value"], line["commit"]) for line in lines] == [("a", 3.0, "two"), ("b", 2.0, "one")]
    assert read(path) == lines
    assert lines[1]["seeds"] == [1, 2]
    assert {"low", "high", "baseline", "difference", "published", "machine", "date", "met"} <= set(lines[0])


def test_a_figure_that_is_no_number_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        keep(tmp_path / "results.json", [result(value=float("nan"))], "one")
    assert not (tmp_path / "results.json").exists()


def test_the_table_shows_ours_beside_the_others(tmp_path: Path) -> None:
    lines = keep(tmp_path / "r.json", [result(low=1.9, high=2.1, baseline="raw | 1.0"), result("z", 1.0)], "abc")
    text = table(lines)
    assert "| speed | steps/s | 2.000 [1.900, 2.100] | raw \\| 1.0 |" in text
    assert "≥ 1.500 | yes |" in text
    assert "≥ 1.500 | **no** |" in text


def test_what_is_done_at_a_commit_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[str] = []

    def run(data: Path | None) -> list[Result]:
        runs.append("speed")
        return [result()]

    kept = tmp_path / "results.json"
    for commit, again, expected in (
        ("one", False, 1),
        ("one", False, 1),
        ("one", True, 2),
        ("two", False, 3),
        ("two+", False, 4),
        ("two+", False, 5),
    ):
        monkeypatch.setattr(runner, "commit_of", lambda folder, commit=commit: commit)
        runner.measure({"speed": run}, ["speed"], None, kept, again)
        assert len(runs) == expected
    assert (tmp_path / "RESULTS.md").read_text() == table(read(kept))


def test_unknown_ids_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no benchmark 'start-pu'; expected one of start-up"):
        runner.main(["--only", "start-pu"])
    with pytest.raises(SystemExit, match="no such folder"):
        runner.main(["--data", str(tmp_path / "none")])


def test_the_commit_is_marked_where_the_code_was_changed(tmp_path: Path) -> None:
    assert commit_of(tmp_path) == "unknown"
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("")
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    assert commit_of(tmp_path).isalnum()
    (tmp_path / "notes.md").write_text("")
    assert commit_of(tmp_path).isalnum()
    (tmp_path / "src" / "a.py").write_text("x = 1\n")
    assert commit_of(tmp_path).endswith("+")


def test_start_up_is_a_ratio_of_fresh_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import start_up

    monkeypatch.setattr(start_up, "seconds", lambda command: 0.2 if command is start_up.HELP else 1.0)
    (found,) = start_up.run(None)
    assert (found.value, found.low, found.high, found.met) == (0.2, 0.2, 0.2, True)
    json.dumps(found.split)


def test_seconds_are_those_of_a_process() -> None:
    from benchmarks.start_up import seconds

    assert 0.2 < seconds([sys.executable, "-c", "import time; time.sleep(0.2)"]) < 10
    with pytest.raises(subprocess.CalledProcessError):
        seconds([sys.executable, "-c", "raise SystemExit(1)"])
