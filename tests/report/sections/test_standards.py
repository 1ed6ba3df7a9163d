from __future__ import annotations

from medloom.report.content import Content
from medloom.report.page import render
from medloom.report.section import Facts, Led, Section
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


def facts(section: Section) -> dict[str, str]:
    held = next(piece for piece in section.pieces if isinstance(piece, Facts))
    return {name.split(" ")[0]: text for name, text in held.facts.items()}


def test_all_are_folded_in_the_chapter_on_method():
    told = sections(SAID, Texts())
    assert [one.key for one in told] == ["model-card", "tripod", "probast"]
    assert all(one.folded and one.chapter == "method" for one in told)


def test_every_item_says_who_answers_and_where_it_is_shown():
    told = sections(SAID, Texts({"tripod": {"17": "Committee 4."}}))
    tripod, probast = facts(told[1]), facts(told[2])
    assert len(tripod) == 52 and len(probast) == 34
    assert tripod["21"] == "144 rows <of> 72 patients. See: Who the patients are."
    assert tripod["17"] == "Committee 4." and tripod["24"] == "Not applicable: None."
    assert tripod["3a"].startswith("To write: ")
    assert probast["dev-4-1"] == "No. 72 of 383. To add: Is the sample large enough for this model?"
    card = next(piece for piece in told[0].pieces if isinstance(piece, Facts)).facts
    assert card["Name"] == "icu-death" and card["Intended use and workflow"] == "Not stated by the authors."
    assert "Regulatory approval" not in card
    assert "52 items: " in told[1].pieces[0].text and "1 not applicable" in told[1].pieces[0].text


def test_links_are_drawn_and_lead_to_a_place_of_the_page():
    text = render(Content("A study", "20 patients.", (), sections=sections(SAID, Texts())))
    assert '144 rows &lt;of&gt; 72 patients. See: <a href="#patients">Who the patients are</a>.' in text
    assert 'id="patients"' in text


def test_a_text_that_leads_is_a_text_and_is_escaped():
    led = Led("a < b.", (('x"y', "T & U"),))
    assert led == "a < b. See: T & U." and isinstance(led, str)
    assert led.__html__() == 'a &lt; b. See: <a href="#x&quot;y">T &amp; U</a>.'
    assert Led("plain", ()) == "plain" == Led("plain", ()).__html__()
