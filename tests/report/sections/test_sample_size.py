from __future__ import annotations

from dataclasses import replace

from medloom.evaluation.sample_size import SampleSize
from medloom.report.section import Paragraph, Table
from medloom.report.sections.sample_size import section
from medloom.statistics.sample_size import binary, continuous


def test_what_is_needed_stands_beside_what_there_is():
    few = SampleSize("death", "1", binary(24, 0.174, 0.288), 300, 52)
    told = section((few,), 0.15)
    assert told.chapter == "trust" and told.key == "sample-size"
    said, table, assumed = told.pieces
    assert isinstance(said, Paragraph) and said.text.startswith("Too few patients for death, even for a regression")
    assert isinstance(table, Table)
    assert table.rows[0] == ("death", "24", "300 of 662", "52 of 116", "too few")
    assert [row[2] for row in table.rows[1:]] == ["300 of 221", "300 of 623", "300 of 662"]
    assert "15%" in assumed.text and "m441" in assumed.text and "as patients they are fewer" not in assumed.text
    assert "as patients they are fewer" in section((replace(few, several=True),), 0.15).pieces[2].text


def test_enough_for_a_regression_is_not_said_to_be_enough_for_a_network():
    enough = SampleSize("stay", "days", continuous(25, 1.9, 0.6, 0.2), 5000, None)
    told = section((enough,), 0.2)
    assert "A network or a forest needs more" in told.pieces[0].text
    assert told.pieces[1].rows[0][:4] == ("stay: days", "25", "5,000 of 918", "–")


def test_enough_patients_with_too_few_events_are_too_few():
    assert not SampleSize("death", "1", binary(24, 0.174, 0.288), 700, 100).enough
    assert SampleSize("death", "1", binary(24, 0.174, 0.288), 700, 120).enough


def test_nothing_is_told_of_nothing():
    assert section((), 0.15) is None
