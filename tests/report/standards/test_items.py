"""The lists are whole, and what runs answer stands in them."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from medloom.report.standards import card, probast, tripod
from medloom.report.standards.items import CITED, items

ANSWERS = {"tripod": tripod.ANSWERS, "probast": probast.ANSWERS, "card": card.ANSWERS}
SUB_ITEMS = {
    3: "abc",
    5: "ab",
    6: "abc",
    8: "abc",
    9: "abc",
    12: "abcdefg",
    18: "abcdef",
    20: "abc",
    23: "ab",
    27: "abc",
}


def test_tripod_has_its_27_items_and_their_parts():
    expected = [f"{n}{letter}" for n in range(1, 28) for letter in SUB_ITEMS.get(n, [""])]
    assert list(items("tripod")) == expected and len(expected) == 52
    development = [key for key, item in items("tripod").items() if item.about == "D"]
    evaluation = [key for key, item in items("tripod").items() if item.about == "E"]
    assert development == ["9a", "12a", "12b", "12c", "15", "22", "27a", "27b"]
    assert evaluation == ["12f", "12g", "20c", "24"]


def test_probast_has_16_questions_on_development_and_18_on_evaluation():
    keys = list(items("probast"))
    assert sum(key.startswith("dev") for key in keys) == 16
    assert sum(key.startswith("eval") for key in keys) == 18
    counts = {f"dev-{d}": n for d, n in zip("1234", (3, 4, 4, 5), strict=True)}
    counts |= {f"eval-{d}": n for d, n in zip("1234", (3, 4, 4, 7), strict=True)}
    assert keys == [f"{domain}-{n}" for domain, most in counts.items() for n in range(1, most + 1)]


@pytest.mark.parametrize("standard", ["tripod", "probast", "card"])
def test_what_runs_answer_are_items_of_theirs_and_all_of_them(standard):
    for key, item in items(standard).items():
        assert item.who in ("run", "author", "both") and item.text and item.part and item.about in ("D", "E", "DE")
        assert (key in ANSWERS[standard]) == (item.who != "author"), key
        assert bool(item.ask) == item.asked, key
        assert not re.search(r"\.$", item.text), "a short title"
    assert set(ANSWERS[standard]) <= set(items(standard))
    assert re.search(r"BMJ|chai", CITED[standard])


def test_no_item_is_told_twice():
    for standard in ("tripod", "card"):
        texts = [item.text for item in items(standard).values()]
        assert all(one != other for one, other in pairwise(sorted(texts)))


def test_every_item_says_where_its_standard_has_it():
    assert items("tripod")["12g"].place == "12g"
    assert items("probast")["dev-4-5"].place == "development 4.5"
    assert items("probast")["eval-1-3"].place == "evaluation 1.3"
    assert all(item.place == key for key, item in items("card").items())
