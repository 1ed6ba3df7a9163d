from __future__ import annotations

import re

from medloom.report.content import Content
from medloom.report.page import render
from medloom.report.section import Link, Section, Table
from medloom.report.sections.standards import sections
from medloom.report.standards.authors import Texts
from medloom.report.standards.said import Computed, Measured, Said

NOTHING = Measured((), "None.", "Held-out", "20 patients", "Once")
SAID = Computed(
    {
        "21": Said("144 rows <of> 72 patients.", (("patients", "Who the patients are"),)),
        "24": Said("None.", applies=False),
    },
    {"dev-4-1": Said("72 of 383.", verdict="no")},
    {"model_name": Said("icu-death")},
    {"usefulness": NOTHING, "fairness": NOTHING, "safety": NOTHING},
    0.95,
)


def rows(section: Section) -> dict[str, tuple]:
    table = next(piece for piece in section.pieces if isinstance(piece, Table))
    return {row[0]: row for row in table.rows}


def test_all_are_folded_in_the_chapter_on_method():
    told = sections(SAID, Texts())
    assert [one.key for one in told] == ["model-card", "tripod", "probast"]
    assert all(one.folded and one.chapter == "method" for one in told)


def test_every_item_says_who_answers_and_where_it_is_shown():
    card, tripod, probast = map(rows, sections(SAID, Texts({"tripod": {"17": "Committee 4."}})))
    assert len(tripod) == 52 and len(probast) == 34
    assert tripod["21"][2:4] == ("answered by the run", "144 rows <of> 72 patients.")
    assert tripod["21"][4] == "Who the patients are" and tripod["21"][4].anchor == "patients"
    assert tripod["17"][2:] == ("written by the authors", "Committee 4.", "–")
    assert tripod["3a"][3].startswith("To write: ")
    assert probast["dev-4-1"][2:5] == ("no", "the run in part", "72 of 383.")
    assert (
        card["Name"] == ("Name", "icu-death") and card["Intended use and workflow"][1] == "Not stated by the authors."
    )
    assert "Regulatory approval" not in card


def test_links_are_drawn_and_lead_to_a_place_of_the_page():
    text = render(Content("A study", "20 patients.", (), sections=sections(SAID, Texts())))
    assert '<a href="#patients">Who the patients are</a>' in text and 'id="patients"' in text
    assert "144 rows &lt;of&gt; 72 patients." in text


def test_a_link_is_its_text_and_is_escaped():
    link = Link("a < b", 'x"y')
    assert link == "a < b" and len(link) == 5
    assert link.__html__() == '<a href="#x&quot;y">a &lt; b</a>'
    assert re.fullmatch(r"a < b", link)
