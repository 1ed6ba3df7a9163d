"""How large a report is, and how long it takes to write, with many questions and many classes. Needs no data."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.result import Result
from medloom.evaluation.intervals import MODEL, Estimate
from medloom.report.content import Answer, Content, Entrant, Figure, Part, thinned
from medloom.report.kept import NAME, as_json, opened
from medloom.report.page import write
from medloom.report.section import Section, Table, Thresholds
from medloom.report.sections.thresholds import thresholds
from medloom.task import Curve, Plot

ID = "report-size"
QUESTIONS, FIGURES, BASELINES, POINTS, COLUMNS = 40, 30, 3, 400, 30
MEGABYTES, SECONDS = 3.0, 10.0


def run(data: Path | None) -> list[Result]:
    """Size and time of the page of many questions, each with plots, a table of thresholds and a table 1."""
    content = many()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        write(content, path)
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            (Path(folder) / NAME).write_text(as_json(content), encoding="utf-8")
            write(opened(Path(folder)), path)
            seconds.append(time.perf_counter() - start)
        size = path.stat().st_size / 1e6
    split = f"{QUESTIONS} questions of {FIGURES} figures, {BASELINES} baselines, 4 plots of {POINTS} points, thresholds"
    return [
        Result(
            id=ID,
            metric="MB of the page",
            value=size,
            low=size,
            high=size,
            higher_is_better=False,
            want=MEGABYTES,
            split=split,
        ),
        Result(
            id=ID,
            metric="seconds to keep, read and draw it",
            value=float(np.median(seconds)),
            low=min(seconds),
            high=max(seconds),
            higher_is_better=False,
            want=SECONDS,
            split=split,
        ),
    ]


def many() -> Content:
    """A report of many questions on made-up figures."""
    random = np.random.default_rng(0)
    sections = [
        Section(f"thresholds-{i}", "figures", f"Threshold {i}", (_thresholds(random, i),)) for i in range(QUESTIONS)
    ]
    cells = tuple((f"column {i}", *("12.3 [4.5, 67.8]",) * 7) for i in range(COLUMNS))
    head = ("Characteristic", "All", "Training", "Validation", "Calibration", "Test", "yes", "no")
    sections.append(Section("table-one", "patients", "Table 1", (Table("all", head, cells),)))
    return Content(
        title="many questions",
        people="100,000 patients.",
        answers=tuple(_answer(random, i) for i in range(QUESTIONS)),
        parts=(Part("train", 60_000, 60_000, {f"question {i}": 10 * i for i in range(QUESTIONS)}),),
        sections=tuple(sections),
    )


def _answer(random: np.random.Generator, place: int) -> Answer:
    names = [f"figure_{i}" for i in range(FIGURES)]
    groups = ("discrimination", "calibration", "decisions", "each")

    def estimates() -> dict[str, Estimate]:
        drawn = {name: np.sort(random.random(3)) for name in names}
        return {name: Estimate(float(of[1]), float(of[0]), float(of[2])) for name, of in drawn.items()}

    baselines = tuple(Entrant(f"baseline_{i}", f"Baseline {i}", estimates()) for i in range(BASELINES))
    return Answer(
        target=f"question_{place}",
        question=f"Question {place}?",
        figures=tuple(Figure(n, n.capitalize(), True, "a short note", groups[i % 4]) for i, n in enumerate(names)),
        network=Entrant(MODEL, "Network", estimates()),
        baselines=baselines,
        differences={one.name: estimates() for one in baselines},
        best="baseline_0",
        rows=20_000,
        patients=20_000,
        plots=tuple(
            thinned(_plot(random, title)) for title in ("ROC curve", "Precision", "Calibration", "Decision curve")
        ),
    )


def _plot(random: np.random.Generator, title: str) -> Plot:
    x = np.sort(random.random(POINTS)).tolist()
    curves = tuple(Curve(f"model {i}", x, np.sort(random.random(POINTS)).tolist()) for i in range(4))
    return Plot(title, "x", "y", curves, f"{title} of made-up figures.", True, (0.0, 1.0), (0.0, 1.0))


def _thresholds(random: np.random.Generator, place: int) -> Thresholds:
    truth = (random.random(2000) < 0.2).astype(np.float64)
    found = thresholds(truth, random.random(2000), np.arange(2000), 0.2, f"question {place}", "yes", 0.95)
    assert found is not None
    return found
