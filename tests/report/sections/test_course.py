from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from medloom.report.section import Paragraph, Table
from medloom.report.sections.course import section, timelines, warning
from medloom.task import Plot, Replies
from medloom.told import Held, Trace


@dataclass
class Course:
    """An input that counts: row r holds r events, and its heart rate falls."""

    counts: bool = True
    asked: list[int] = field(default_factory=list)

    def held(self, source: Any, rows: np.ndarray) -> Held | None:
        shares = tuple((f"code {number}", 1 / (number + 1)) for number in range(50))
        return Held("events", rows, shares, "Older ones are left out.") if self.counts else None

    def timeline(self, source: Any, row: int) -> tuple[Trace, ...]:
        self.asked.append(row)
        return (Trace("heart rate", (3.0, 2.0, 1.0), (90.0, 80.0, 70.0), unit="/min"), Trace("flat", (2.0,), (5.0,)))


def story(course: Course, test: np.ndarray, shown: int = 0) -> Any:
    study = SimpleNamespace(seed=0, evaluate=SimpleNamespace(timelines=shown))
    feed = SimpleNamespace(modalities={"course": course}, sources={"course": None})
    parts = {"train": np.arange(40), "test": test}
    cohort = SimpleNamespace(at=None, at_kind="date", patient=np.arange(200))
    prepared = SimpleNamespace(feed=feed, study=study, cohort=cohort)
    return SimpleNamespace(prepared=prepared, parts=lambda: parts, rows={})


def test_quartiles_and_shares_of_the_rows_that_judge():
    told = section(story(Course(), np.arange(101)))
    text = " ".join(piece.text for piece in told.pieces if isinstance(piece, Paragraph))
    assert "Of the 101 rows that judge" in text
    assert "1.0% of the rows have no events" in text
    assert "50 events in the middle, half of them between 26 and 75. Older ones are left out." in text
    table = next(piece for piece in told.pieces if isinstance(piece, Table))
    assert table.rows[:2] == (("code 0", "100.0%"), ("code 1", "50.0%"))
    assert len(table.rows) == 40 and "40 most frequent of 50" in table.caption


def test_nothing_to_count_and_few_rows_tell_nothing_of_single_ones():
    assert section(story(Course(counts=False), np.arange(9))) is None
    told = section(story(Course(), np.arange(5)))
    assert "in the middle" not in " ".join(piece.text for piece in told.pieces if isinstance(piece, Paragraph))
    assert "Of the 40 rows that teach" in section(story(Course(), np.arange(0))).pieces[0].text
    assert (
        section(story(Course(), np.full(12, 10))).pieces[1].text
        == "course: every row has 10 events. Older ones are left out."
    )
    assert "every row has 16 events in the middle, half" in section(story(Course(), np.arange(10, 22))).pieces[1].text


def test_no_course_is_drawn_unless_it_is_asked_for():
    course = Course()
    assert timelines(story(course, np.arange(20))) is None
    assert course.asked == []


@pytest.mark.parametrize(("asked", "drawn"), [(2, 2), (9, 4)])
def test_courses_of_test_rows_under_numbers(asked: int, drawn: int):
    course = Course()
    told = timelines(story(course, np.array([7, 11, 13, 17]), asked))
    plots = [piece for piece in told.pieces if isinstance(piece, Plot)]
    assert len(plots) == drawn == len(set(course.asked)) and set(course.asked) <= {7, 11, 13, 17}
    assert [plot.title for plot in plots][:2] == ["Case 1: course", "Case 2: course"]
    assert list(plots[0].curves[0].x) == [-3.0, -2.0, -1.0]
    np.testing.assert_allclose(plots[0].curves[0].y, [1.2247, 0, -1.2247], atol=1e-4)
    assert list(plots[0].curves[1].y) == [0.0]
    assert plots[0].text == "heart rate (70 to 90 /min), flat (5 to 5)"
    assert "data of patients" in told.pieces[0].text and plots[0].x_label == "time before the index time (days)"


def test_the_risk_of_a_case_is_drawn_over_its_stay_alone():
    asked = story(Course(), np.array([3]), 1)
    # Three rows of the stay of row 3, four of a stay a year later, and three of somebody else, in no order.
    asked.prepared.cohort.patient = np.array([5, 5, 5, 5, 5, 5, 5, 8, 8, 8])
    asked.prepared.cohort.at = 86_400.0 * np.array([400, 401, 1, 0, 2, 402, 403, 0, 1, 2])
    risk = np.arange(10.0) / 10
    places = np.array([9, 4, 3, 2, 0, 1, 5, 6, 7, 8])
    task = SimpleNamespace(dense=False, replies=lambda one: Replies(one[:, None], ("yes",), "probability", one, ""))
    asked.rows, asked.tasks, asked.measured = {"death": places}, {"death": task}, {"death": {"model": risk[places]}}
    plot = [piece for piece in timelines(asked).pieces if isinstance(piece, Plot)][-1]
    assert plot.title == "Case 1: death over time" and "days" in plot.x_label and plot.y_label == "probability"
    assert plot.curves[0].name == "death: yes" and plot.y_range == pytest.approx((0, 0.47))
    assert list(plot.curves[0].x) == [0, 1, 2] and list(plot.curves[0].y) == [0.3, 0.2, 0.4]
    asked.rows, asked.measured = {"death": np.array([2, 4, 5, 6])}, {"death": {"model": np.arange(4.0)}}
    assert len([piece for piece in timelines(asked).pieces if isinstance(piece, Plot)]) == 1
    assert "death: yes, probability at 3 times: 0.3 at first, 0.4 at last, highest 0.4 at 2" in plot.text


def test_a_window_is_drawn_lead_by_lead_under_the_attention(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Course, "timeline", lambda *_: (Trace("I", (2.0, 1.5, 1.0), (0.0, 1.0, 2.0), "s"), Trace("II", (2.0,), (1.0,), "s")))  # fmt: skip
    monkeypatch.setattr("medloom.explain.attention.looked_once", lambda *_: (np.array([0.25, 0.75]), 4.0))
    asked = story(Course(), np.array([3]), 1)
    asked.team = None
    plots = [piece for piece in timelines(asked).pieces if isinstance(piece, Plot)]
    assert [plot.title for plot in plots] == ["Case 1: course, I", "Case 1: course, II"]
    look = plots[0].curves[1]
    assert (list(look.x), list(look.y)) == ([-3.0, -1.0], [0.5, 1.5])
    assert "highest at -1 s, 1.50 times" in plots[0].text and "patients' data" in warning(asked)


def test_a_study_that_asks_for_cases_of_what_has_no_course_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Course, "timeline", lambda *_: ())
    assert "no input of this study" in warning(story(Course(), np.array([3]), 1))
