import re

from medloom.evaluation.intervals import Estimate
from medloom.report.content import Content
from medloom.report.page import render
from medloom.report.section import Facts, Listing, Paragraph, Section, Table
from medloom.task import Curve, Plot

PLOT = Plot("Net benefit", "Threshold", "Net benefit", (Curve("model", (0.0, 1.0), (0.1, 0.0)),), "It falls.")


def page(*pieces, **more) -> str:
    section = Section("odd", more.pop("chapter", "trust"), "What <we> found", pieces, **more)
    return render(Content("A study", "20 patients.", (), sections=(section,)))


def test_every_piece_is_drawn_and_escaped():
    table = Table(
        "By <sex>",
        ("Group", "AUROC", "Gain"),
        (
            ("men", Estimate(0.8, 0.7, 0.9), Estimate(0.1, -0.1, 0.3)),
            ("women", "too few", Estimate(None, note="cannot be estimated: one class")),
        ),
        ("Gain",),
    )
    text = page(Paragraph("a < b"), Listing(("one", "two")), Facts({"rows": "20"}), table, PLOT)
    assert "What &lt;we&gt; found" in text and "a &lt; b" in text and "By &lt;sex&gt;" in text
    assert "<li>two</li>" in text and "<dd>20</dd>" in text
    assert "0.700 to 0.900" in text and "−0.100 to +0.300" in text and "not estimable" in text and "too few" in text
    assert text.count("<svg") == 1 and "It falls." in text


def test_a_section_stands_in_its_chapter_and_may_be_folded():
    for chapter, heading in (
        ("trust", "Whether it can be believed"),
        ("explanation", "What the answers rest on"),
        ("patients", "Who the patients are"),
        ("method", "How it was made"),
        ("figures", "The figures, closer"),
    ):
        text = page(Paragraph("here"), chapter=chapter, folded=True)
        assert text.index(f">{heading}</h2>") < text.index('<details class="told" id="odd">')
    assert "Whether it can be believed" not in render(Content("A study", "20 patients.", ()))


def test_keys_of_sections_are_anchors_once():
    text = page(Paragraph("x"))
    assert len(re.findall(r'id="odd"', text)) == 1
