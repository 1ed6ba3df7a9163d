from pathlib import Path

import pytest

from medloom.errors import DataError
from medloom.evaluation.intervals import Estimate
from medloom.fitted import same
from medloom.report.content import Content
from medloom.report.kept import NAME, as_json, opened, read_json
from medloom.report.page import render
from medloom.report.section import Facts, Listing, Paragraph, Section, Table, Thresholds
from medloom.task import Curve, Plot
from tests.report.test_page import answer

PIECES = (
    Paragraph("prose"),
    Listing(("one", "two")),
    Facts({"rows": "20"}),
    Table("t", ("Group", "AUROC"), (("men", Estimate(0.8, 0.7, 0.9)), ("women", "too few")), drawn="AUROC"),
    Thresholds(
        "c", "died", (0.1, 0.5), ((1, 2, 3, 4), (0, 1, 4, 5)), {"PPV": ((0.3, 0.1, 0.5), (None, None, None))}, 0, (0, 1)
    ),
    Plot("p", "x", "y", (Curve("model", (0.0, float("nan")), (0.1, float("inf"))),), "It falls."),
)
CONTENT = Content("A study", "20 patients.", (answer(),), sections=(Section("s", "trust", "Odd", PIECES),))


def test_what_is_kept_reads_back_as_it_was():
    again = read_json(as_json(CONTENT))
    assert same(again, CONTENT)
    assert [type(piece) for piece in again.sections[0].pieces] == [type(piece) for piece in PIECES]
    assert isinstance(again.sections[0].pieces[3].rows[0][1], Estimate)
    assert render(again) == render(CONTENT)


def test_every_page_that_is_kept_is_finite_json():
    text = as_json(CONTENT)
    assert (
        ": NaN" not in text
        and "Infinity" not in text
        and chr(34) + "nan" + chr(34) in text
        and chr(34) + "inf" + chr(34) in text
    )


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 0, "content": {}}', '{"format": 1, "content": {"title": 1}}'])
def test_what_cannot_be_read_is_a_data_error(tmp_path: Path, text: str):
    with pytest.raises(DataError, match="holds no content.json"):
        opened(tmp_path)
    (tmp_path / NAME).write_text(text)
    with pytest.raises(DataError, match="cannot be read by this medloom"):
        opened(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        opened(tmp_path / "absent")
