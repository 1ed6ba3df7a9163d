"""RESULTS.md: what is kept in results.json, as a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

HEADING = """\
# Results

Written by `python -m benchmarks` from `results.json`; do not edit. "Ours" is what a user would get, on the rows that
stand under "split"; brackets hold 95 % intervals unless the metric says otherwise. A simple baseline on the same rows
stands beside it, with the paired difference. Published figures are often of other splits: the cell says which.
"""
COLUMNS = (
    "benchmark",
    "metric",
    "ours",
    "baseline",
    "difference",
    "published",
    "want",
    "met?",
    "split",
    "seeds",
    "commit",
    "date",
)


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """The text of RESULTS.md."""
    rows = [COLUMNS, ("---",) * len(COLUMNS), *map(_row, lines)]
    body = "\n".join("| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows)
    machines = sorted({str(line["machine"]) for line in lines})
    return f"{HEADING}\n{body}\n\nMeasured on: {'; '.join(machines) or 'nothing yet'}.\n"


def _row(line: Mapping[str, Any]) -> tuple[str, ...]:
    sign = "≥" if line["higher_is_better"] else "≤"
    met = {True: "yes", False: "**no**", None: ""}[line["met"]]
    want = "" if line["want"] is None else f"{sign} {_number(line['want'])}"
    seeds = ", ".join(map(str, line["seeds"]))
    return (
        line["id"], line["metric"], _interval(line), line["baseline"], line["difference"], line["published"],
        want, met, line["split"], seeds, line["commit"], line["date"],
    )  # fmt: skip


def _interval(line: Mapping[str, Any]) -> str:
    if line["low"] is None or line["high"] is None:
        return _number(line["value"])
    return f"{_number(line['value'])} [{_number(line['low'])}, {_number(line['high'])}]"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) >= 100 else f"{value:.3f}"


def _cell(text: str) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")
