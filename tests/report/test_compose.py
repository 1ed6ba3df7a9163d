"""The line under the title of a report: whom its figures are of."""

from __future__ import annotations

from medloom.report.compose import _fewer


def test_rows_that_lack_one_of_several_answers_are_told() -> None:
    assert _fewer({"outline": 40, "lesion": 40}, 40) == ""
    assert _fewer({"outline": 30, "lesion": 40}, 40) == " Their answer is known of 30 (outline) of these rows alone."
    told = _fewer({"outline": 1_030, "lesion": 7}, 1_040)
    assert told == " Their answer is known of 1,030 (outline) and 7 (lesion) of these rows alone."
