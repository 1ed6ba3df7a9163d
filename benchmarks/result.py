"""What a benchmark measured, where, and how it stands beside what others reached."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Result:
    """One figure of a benchmark, in the words of whoever measured it.

    `low`, `high` bound the interval of `value`; `baseline` is a figure of the best simple model on the same rows, and
    `difference` the paired one to it, with its interval as text; `published` is what others print, on the split that
    `published` itself names; `want` is the value to reach. `split` says on which rows, `seeds` from which seeds.
    """

    id: str
    metric: str
    value: float
    higher_is_better: bool
    split: str
    seeds: tuple[int, ...] = ()
    low: float | None = None
    high: float | None = None
    baseline: str = ""
    difference: str = ""
    published: str = ""
    want: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the value reaches what is wanted; None where nothing is."""
        if self.want is None:
            return None
        return self.value >= self.want if self.higher_is_better else self.value <= self.want


def read(path: Path) -> list[dict[str, Any]]:
    """All lines that were kept, each a `Result` with `commit`, `machine` and `date`; none where there is no file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def keep(path: Path, results: Sequence[Result], commit: str) -> list[dict[str, Any]]:
    """Replaces what is kept of these ids, and returns all lines. The file is written whole or not at all."""
    ids = {result.id for result in results}
    made = {"commit": commit, "machine": machine(), "date": f"{datetime.now(UTC):%Y-%m-%d}"}
    fresh = [{**asdict(result), "seeds": list(result.seeds), "met": result.met, **made} for result in results]
    lines = sorted([line for line in read(path) if line["id"] not in ids] + fresh, key=lambda line: line["id"])
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(lines, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(path)
    return lines


def commit_of(folder: Path) -> str:
    """The commit that is measured, with "+" where the measured code differs from it; "unknown" outside git."""
    what = ["--", "src", "benchmarks/*.py", "examples", "constraints.txt"]
    try:
        commit = _git(folder, "rev-parse", "--short=12", "HEAD")
        return commit + ("+" if _git(folder, "status", "--porcelain", *what) else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def machine() -> str:
    """Processor and cores, for a reader who compares speeds."""
    name = platform.processor() or platform.machine()
    described = Path("/proc/cpuinfo")
    if described.exists():
        models = [
            line.partition(":")[2].strip()
            for line in described.read_text().splitlines()
            if line.startswith("model name")
        ]
        name = models[0] if models else name
    return f"{name}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
