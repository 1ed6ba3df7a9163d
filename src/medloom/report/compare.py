"""Runs side by side: what differs in their studies, their figures, and the differences with intervals.

Where two runs judged the same rows, the difference is paired: both meet the same resamples of patients. Where they did
not, it is made of the two intervals, which is wider (Zou & Donner, Statistics in Medicine 27, 2008).
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int
from pydantic import BaseModel

from medloom.errors import DataError, StudyError, counted
from medloom.evaluation.intervals import Estimate, closed, figures, interval, resampled
from medloom.evaluation.rowwise import Rowwise, kept
from medloom.report.section import Paragraph, Piece, Section, Table
from medloom.statistics.clusters import mover
from medloom.task import Metric

TRUTHS = ("truth", "time", "event")
"""What a task measures that is no answer of the model."""
FEWEST = 2
"""Rows in common that a paired difference needs."""


class _Figure(BaseModel):
    value: float | None
    low: float | None
    high: float | None


class _Answered(BaseModel):
    model: dict[str, _Figure]
    headline: str
    label: str
    rows: int
    patients: int


class _Figures(BaseModel):
    """What of `metrics.json` is read here; there may be more."""

    targets: dict[str, _Answered]


@dataclass(frozen=True, slots=True)
class Judgement:
    """One run as it is read from its folder: its study as plain keys, its figures, and its rows where they were kept."""

    name: str
    study: Mapping[str, Any]
    metrics: Mapping[str, Any]
    rowwise: Mapping[str, Rowwise]
    seed: int


def read(folder: Path) -> Judgement:
    """A finished run. Raises DataError where the folder holds none."""
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        _Figures.model_validate(metrics)
        study = tomllib.loads((folder / "study.toml").read_text(encoding="utf-8"))
        if "name" not in study:
            raise ValueError("a study has a name")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{folder} holds no finished run; expected a folder as `medloom fit` writes it") from error
    except ValueError as error:
        raise DataError(
            f"{folder}: metrics.json or study.toml is damaged, or was written by another medloom; run medloom fit again"
        ) from error
    keys = dict(_keys(study))
    return Judgement(str(folder), keys, metrics, kept(folder) or {}, int(keys.get("seed", 0)))


def compared(folders: Sequence[Path]) -> tuple[Section, ...]:
    """What differs in the studies, and every target that all runs answer; differences are from the first run.

    Raises StudyError for fewer than two runs, DataError for a folder that holds no run.
    """
    if len(folders) < 2:
        raise StudyError(f"found {len(folders)} run; expected two or more to compare")
    runs = [read(folder) for folder in folders]
    names = _names(runs)
    sections = [_studies(runs, names)]
    shared = [t for t in runs[0].metrics["targets"] if all(t in run.metrics["targets"] for run in runs)]
    sections += [_target(target, runs, names) for target in shared]
    alone = sorted({t for run in runs for t in run.metrics["targets"]} - set(shared))
    if alone:
        text = f"Not answered by all of these runs, and so not compared: {', '.join(alone)}."
        sections.append(Section("alone", "figures", "Other targets", (Paragraph(text),)))
    return tuple(sections)


def _names(runs: Sequence[Judgement]) -> list[str]:
    """The last part of each folder's name where these differ, else the whole."""
    last = [Path(run.name).name or run.name for run in runs]
    return last if len(set(last)) == len(last) else [run.name for run in runs]


def _keys(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _keys(value, f"{above}{key}.")
        else:
            yield above + key, value


def _studies(runs: Sequence[Judgement], names: Sequence[str]) -> Section:
    keys = dict.fromkeys(key for run in runs for key in run.study)
    rows: list[tuple[str | Estimate, ...]] = []
    for key in keys:
        said = [_said(run.study.get(key)) for run in runs]
        if len(set(said)) > 1:
            rows.append((key, *said))
    if not rows:
        return Section(
            "studies", "method", "What differs in the studies", (Paragraph("Nothing: every key is the same."),)
        )
    head = ("Key", *names)
    table = Table(f"{len(rows)} of {counted(len(keys), 'key')} differ.", head, tuple(rows), prose=head[1:])
    return Section("studies", "method", "What differs in the studies", (table,))


def _said(value: Any) -> str:
    return "–" if value is None else json.dumps(value, ensure_ascii=False, default=str)


def _target(target: str, runs: Sequence[Judgement], names: Sequence[str]) -> Section:
    """All figures of one target; the differences of every other run from the first."""
    found = [run.metrics["targets"][target] for run in runs]
    own = [
        {n: Estimate(e["value"], e["low"], e["high"], e.get("note", "")) for n, e in of["model"].items()}
        for of in found
    ]
    labels = {n: _label(n, found[0], runs[0].rowwise.get(target)) for n in own[0]}
    labels = {n: label for n, label in labels.items() if all(n in of for of in own)}
    said, differences = [], []
    for place in range(1, len(runs)):
        apart, text, pair = _apart(target, runs[0], runs[place], (names[0], names[place]), own[0], own[place])
        differences.append(apart)
        said.append(text)
        if len(runs) == 2 and pair is not None:
            own = [dict(pair[0]), dict(pair[1])]
    several = len(runs) > 2
    columns = [f"{names[place]} minus {names[0]}" for place in range(1, len(runs))]
    head = ("Figure", *names, *columns)
    rows: tuple[tuple[str | Estimate, ...], ...] = tuple(
        (label, *(of.get(n, Estimate(None)) for of in own), *(apart.get(n, Estimate(None)) for apart in differences))
        for n, label in labels.items()
    )
    judged = "; ".join(
        f"{n}: {counted(of['rows'], 'row')} of {counted(of['patients'], 'patient')}"
        for n, of in zip(names, found, strict=True)
    )
    pieces: list[Piece] = [Paragraph(f"Judged in {judged}."), *(Paragraph(text) for text in said)]
    caption = f"{target}: figures with intervals, and their differences" + (" from the first run." if several else ".")
    return Section(f"target-{target}", "figures", target, (*pieces, Table(caption, head, rows, signed=tuple(columns))))


def _label(name: str, found: Mapping[str, Any], rowwise: Rowwise | None) -> str:
    metrics = rowwise.task.metrics() if rowwise is not None else {}
    if name in metrics:
        return metrics[name].label
    return str(found["label"]) if name == found["headline"] else name.replace("_", " ")


Estimates = Mapping[str, Estimate]


def _apart(
    target: str, first: Judgement, other: Judgement, names: tuple[str, str], own: Estimates, others: Estimates
) -> tuple[Estimates, str, tuple[Estimates, Estimates] | None]:
    """Differences of the other run from the first, what they are of in words, and the figures on the rows of both."""
    one, two = first.rowwise.get(target), other.rowwise.get(target)
    here, there, why = (None, None, "a run kept no rows") if one is None or two is None else _joined(one, two)
    if one is None or two is None or here is None or there is None:
        text = (
            f"{names[1]} minus {names[0]} is not paired ({why}): its interval is made of both intervals, and is wide."
        )
        return {name: _unpaired(others[name], own[name]) for name in own if name in others}, text, None
    level = first.metrics["targets"][target]["level"]
    resamples = first.metrics["targets"][target]["resamples"]
    differences = paired(one, two, here, there, level, resamples, first.seed)
    whole = len(here) == len(one.row) == len(two.row)
    rows = "all rows, which both judged" if whole else f"the {counted(len(here), 'row')} that both judged"
    text = f"{names[1]} minus {names[0]} is paired, on {rows}, matched by their ids; the answers of all of them agree."
    if whole:
        return differences, text, None
    figured = tuple(
        figures(
            of.task.metrics(), _taken(of, rows), of.patient[rows], resamples=resamples, level=level, seed=first.seed
        )
        for of, rows in ((one, here), (two, there))
    )
    return differences, f"{text} The figures below are of these rows.", (figured[0], figured[1])


def _joined(one: Rowwise, two: Rowwise) -> tuple[Int[np.ndarray, " rows"] | None, Int[np.ndarray, " rows"] | None, str]:
    """Places of the rows that both judged; nothing, and why, where there are too few or their answers differ.

    A row that was judged several times, in a repeated cross-validation, is matched in the order of the repeats.
    """
    if type(one.task) is not type(two.task) or getattr(one.task, "classes", ()) != getattr(two.task, "classes", ()):
        return None, None, "they do not answer with the same classes"
    tables = [
        pl.DataFrame({"row": of.row.cast(pl.String)}).with_columns(
            pl.int_range(pl.len()).over("row").alias("time"), pl.int_range(pl.len()).alias(f"place_{side}")
        )
        for side, of in (("one", one), ("two", two))
    ]
    both = tables[0].join(tables[1], on=["row", "time"], how="inner").sort("place_one")
    if len(both) < FEWEST:
        return None, None, "they judged different rows"
    here, there = both["place_one"].to_numpy(), both["place_two"].to_numpy()
    for key in TRUTHS:
        if key in one.measured and key in two.measured:
            a, b = one.measured[key][here], two.measured[key][there]
            if a.shape != b.shape or not np.array_equal(a, b, equal_nan=True):
                return None, None, "rows of the same id have different answers"
    return here, there, ""


def paired(
    one: Rowwise,
    two: Rowwise,
    here: Int[np.ndarray, " rows"],
    there: Int[np.ndarray, " rows"],
    level: float,
    resamples: int,
    seed: int,
) -> dict[str, Estimate]:
    """Figures of the second minus those of the first on the same rows; both meet the same resamples of patients."""
    own, others, patient = one.task.metrics(), two.task.metrics(), one.patient[here]
    shared = [name for name, metric in own.items() if name in others and others[name].label == metric.label]
    first, second = _taken(one, here), _taken(two, there)
    patients = len(np.unique(patient))
    drawn = [name for name in shared if others[name].difference is None]

    def scored(metrics: Mapping[str, Metric], measured: Mapping[str, np.ndarray]) -> dict[str, Any]:
        found = resampled({name: metrics[name] for name in drawn}, {"": measured}, patient, resamples, seed)
        return {name: value for (_, name), value in found.items()}

    before, after = scored(own, first), scored(others, second)
    differences = {}
    for name in shared:
        difference = others[name].difference
        if difference is not None:
            differences[name] = closed(difference(second, first, patient, level), patients)
        else:
            differences[name] = interval(after[name].minus(before[name]), level, patients)
    return differences


def _taken(of: Rowwise, rows: Int[np.ndarray, " rows"]) -> dict[str, np.ndarray]:
    return {key: values[rows] for key, values in of.measured.items()}


def _unpaired(other: Estimate, own: Estimate) -> Estimate:
    if other.value is None or own.value is None:
        return Estimate(None, note="cannot be estimated in both runs")
    if other.low is None or other.high is None or own.low is None or own.high is None:
        return Estimate(other.value - own.value, note="no interval: one of the figures has none")
    return Estimate(*mover((other.value, other.low, other.high), (own.value, own.low, own.high)))


def plain(sections: Sequence[Section]) -> str:
    """The comparison for a terminal."""
    from medloom.report.markdown import cells

    lines: list[str] = []
    for section in sections:
        lines += ["", section.title]
        for piece in section.pieces:
            if isinstance(piece, Paragraph):
                lines.append(f"  {piece.text}")
            elif isinstance(piece, Table):
                rows = [list(piece.head), *cells(piece)]
                widths = [max(len(row[place]) for row in rows) for place in range(len(piece.head))]
                lines += [
                    "  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows
                ]
    return "\n".join(lines[1:]) + "\n"


def page(sections: Sequence[Section], folders: Sequence[Path]) -> str:
    """The comparison as one self-contained HTML file."""
    from medloom.report.page import page as rendered
    from medloom.report.page import pieces

    return rendered(
        "compare.html.jinja", False, names=[str(folder) for folder in folders], told=[pieces(s) for s in sections]
    )
