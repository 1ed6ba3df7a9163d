from __future__ import annotations

from medloom.report.standards.authors import Texts
from medloom.report.standards.items import items
from medloom.report.standards.said import Said, counted, together


def of(standard, key, run=None, written=""):
    texts = Texts({standard: {key: written}} if written else {})
    return {one.item.key: one for one in together(standard, {key: run} if run else {}, texts)}[key]


def test_who_answers_an_item():
    run = Said("Four rows.", (("patients", "Who"),))
    assert of("tripod", "3a").state == "for the authors"
    assert of("tripod", "3a").text == items("tripod")["3a"].ask
    assert of("tripod", "3a", written="Sepsis.").state == "written by the authors"
    assert of("tripod", "12a", run).state == "answered by the run"
    assert of("tripod", "11", run).state == "answered in part"
    both = of("tripod", "11", run, "By nature.")
    assert (both.state, both.text, both.links) == (
        "written by the authors",
        "Four rows. Authors: By nature.",
        (("patients", "Who"),),
    )


def test_what_does_not_apply_says_why():
    run = Said("Nothing was updated.", applies=False)
    assert (of("tripod", "24", run).state, of("tripod", "24", run).text) == ("not applicable", "Nothing was updated.")


def test_an_answer_of_the_authors_keeps_the_one_of_the_run_beside_it():
    run = Said("72 of 383 patients.", verdict="no")
    one = of("probast", "dev-4-1", run, "Probably yes: an external calculation.")
    assert one.verdict == "probably yes"
    assert one.text == "72 of 383 patients. Authors: an external calculation. (The run answers: no.)"
    assert of("probast", "dev-1-1", None, "yes").text == "no reason given"


def test_every_item_is_told_once_and_counted():
    told = together("probast", {}, Texts())
    assert [one.item.key for one in told] == list(items("probast"))
    assert counted(told) == "34 for the authors"
