from __future__ import annotations

import pytest

from medloom.evaluation.intervals import Estimate
from medloom.report.content import Answer, Entrant, Figure
from medloom.report.verdict import number, oriented, percent, verdict


def answer(
    difference: Estimate | None, higher: bool = True, own: float | None = 0.9, label: str = "Gradient boosting"
) -> Answer:
    estimate = (
        Estimate(own, 0.8, 0.95) if own is not None else Estimate(None, note="cannot be estimated: one class only")
    )
    baselines = () if difference is None else (Entrant("gb", label, {"auroc": Estimate(0.8, 0.7, 0.9)}),)
    return Answer(
        target="death",
        question="Will the patient die?",
        figures=(Figure("auroc", "AUROC", higher),),
        network=Entrant("model", "Network", {"auroc": estimate}),
        baselines=baselines,
        differences={} if difference is None else {"gb": {"auroc": difference}},
        best=None if difference is None else "gb",
    )


def test_better_where_the_interval_is_above_zero() -> None:
    found = verdict(answer(Estimate(0.031, 0.004, 0.058)), 0.95)
    assert found.tone == "better"
    assert (
        found.sentence.replace("\xa0", " ")
        == "The network beats gradient boosting by 0.031 in AUROC (95 % interval 0.004 to 0.058)."
    )


@pytest.mark.parametrize(
    "difference", [Estimate(0.031, -0.004, 0.058), Estimate(0.03, 0.0, 0.06), Estimate(-0.01, -0.02, 0.0)]
)
def test_unclear_where_the_interval_holds_zero(difference: Estimate) -> None:
    found = verdict(answer(difference), 0.95)
    assert found.tone == "unclear"
    assert "does not beat gradient boosting with an interval clear of zero" in found.sentence
    assert found.advice == "Consider the simpler model."
    assert "+0.0" in found.sentence or "−0.0" in found.sentence


def test_worse_where_the_interval_is_below_zero() -> None:
    found = verdict(answer(Estimate(-0.031, -0.058, -0.004)), 0.9)
    assert found.tone == "worse"
    assert (
        found.sentence.replace("\xa0", " ")
        == "Gradient boosting beats the network by 0.031 in AUROC (90 % interval 0.004 to 0.058)."
    )
    assert found.advice == "Use the simpler model."


def test_lower_is_better_turns_the_difference_round() -> None:
    assert verdict(answer(Estimate(-0.031, -0.058, -0.004), higher=False), 0.95).tone == "better"
    assert verdict(answer(Estimate(0.031, 0.004, 0.058), higher=False), 0.95).tone == "worse"
    assert oriented(Estimate(-2.0, -3.0, -1.0), False) == Estimate(2.0, 1.0, 3.0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (answer(None), "The network reaches AUROC 0.900"),
        (answer(None, own=None), "AUROC cannot be estimated"),
        (answer(Estimate(0.1, 0.0, 0.2), own=None), "AUROC cannot be estimated"),
        (answer(Estimate(0.1)), "is not known"),
        (answer(Estimate(None)), "is not known"),
    ],
)
def test_nothing_is_claimed_without_an_interval_and_a_baseline(given: Answer, said: str) -> None:
    found = verdict(given, 0.95)
    assert found.tone == "unknown"
    assert said in found.sentence


def test_abbreviations_stay_in_capitals() -> None:
    assert "beats KNN by" in verdict(answer(Estimate(0.1, 0.05, 0.2), label="KNN"), 0.95).sentence


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [
        (0.12345, False, "0.123"),
        (-0.5, False, "−0.500"),
        (0.5, True, "+0.500"),
        (-0.0001, True, "0.000"),
        (123.456, False, "123.5"),
        (-12345.6, False, "−12,346"),
        (None, False, "–"),
    ],
)
def test_numbers_as_text(value: float | None, signed: bool, text: str) -> None:
    assert number(value, signed) == text


def test_levels_as_text() -> None:
    assert percent(0.975) == "97.5\xa0%"
