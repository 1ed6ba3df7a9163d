"""Against numbers of R's pmsampsize 1.1 (its own tests), whose binary and survival R² bounds are rounded to two digits."""

from __future__ import annotations

import math

import pytest

from medloom.statistics.sample_size import (
    binary,
    continuous,
    largest_r_squared,
    largest_r_squared_survival,
    of_rate,
    of_share,
    survival,
)


def rows(needed):
    return [criterion.rows for criterion in needed.criteria]


@pytest.mark.parametrize(
    ("explained", "parameters", "prevalence", "shrunk", "optimism", "risk"),
    [
        (0.288, 24, 0.174, 623, 668, 221),
        (0.55, 24, 0.174, 255, 532, 221),
        (0.288, 36, 0.174, 934, 1002, 221),
        (0.288, 24, 0.25, 623, 583, 289),
    ],
)
def test_two_classes(explained, parameters, prevalence, shrunk, optimism, risk):
    found = binary(parameters, prevalence, explained)
    assert rows(found)[:2] == [risk, shrunk]
    assert rows(found)[2] == pytest.approx(optimism, rel=0.02)  # the reference rounds its shrinkage to three digits
    assert found.rows == max(rows(found)) and found.events == math.ceil(found.rows * prevalence)


@pytest.mark.parametrize(
    ("explained", "parameters", "rate", "shrunk", "optimism"),
    [
        (0.051, 25, 0.065, 4286, 866),
        (0.065, 25, 0.065, 3335, 859),
        (0.051, 50, 0.065, 8572, 1731),
        (0.051, 25, 0.1, 4286, 731),
    ],
)
def test_times_to_an_event(explained, parameters, rate, shrunk, optimism):
    found = rows(survival(parameters, rate, 2.07, 2.0, explained))
    assert found[1] == shrunk
    assert abs(found[2] - optimism) <= 1  # the reference rounds the events of 10,000 people up


def test_the_overall_risk_of_times_is_known_within_a_twentieth_and_not_by_one_fewer():
    rate, followed, time = 0.3, 2.0, 1.5
    needed = rows(survival(5, rate, followed, time, 0.05))[0]

    def reach(people: int) -> float:
        error = 1.96 * math.sqrt(rate / (people * followed))
        risk = 1 - math.exp(-rate * time)
        return max(1 - math.exp(-(rate + error) * time) - risk, risk - (1 - math.exp(-(rate - error) * time)))

    assert reach(needed) <= 0.05 < reach(needed - 1)


@pytest.mark.parametrize(
    ("explained", "parameters", "mean", "deviation", "expected"),
    [
        (0.2, 25, 1.9, 0.6, [918, 401, 259, 918]),
        (0.3, 25, 1.9, 0.6, [574, 351, 259, 574]),
        (0.2, 50, 1.9, 0.6, [1924, 801, 284, 1924]),
        (0.2, 25, 10, 0.6, [918, 401, 259, 918]),
        (0.5, 100, 1.9, 2, [1264, 1001, 334, 1264]),
    ],
)
def test_numbers(explained, parameters, mean, deviation, expected):
    found = continuous(parameters, mean, deviation, explained)
    assert rows(found) == expected
    assert found.events is None and found.rows == max(expected)


def test_a_mean_that_is_small_beside_its_deviation_asks_for_more_and_one_at_zero_cannot_be_asked_for():
    assert rows(continuous(5, 0.2, 2.0, 0.3))[3] > rows(continuous(5, 2.0, 2.0, 0.3))[3]
    assert len(rows(continuous(5, -1.0, 2.0, 0.3))) == 3


def test_the_largest_r_squared_is_that_of_the_likelihood_of_no_predictors():
    events, people = 174, 1000
    null = events * math.log(events / people) + (people - events) * math.log(1 - events / people)
    assert largest_r_squared(0.174) == pytest.approx(1 - math.exp(2 * null / people))
    # Riley 2019, part II: of 0.5 it is 0.75, of 0.05 about 0.33, of 0.01 about 0.11.
    assert [round(largest_r_squared(share), 2) for share in (0.5, 0.05, 0.01)] == [0.75, 0.33, 0.11]


def test_nagelkerke_is_turned_into_cox_snell():
    assert of_share(10, 0.2, 0.15) == binary(10, 0.2, 0.15 * largest_r_squared(0.2))
    assert rows(of_rate(10, 0.4, 5.0, 2.0, 0.15)) == rows(
        survival(10, 0.08, 5.0, 2.0, 0.15 * largest_r_squared_survival(0.4))
    )


@pytest.mark.parametrize("more", [2, 5, 20])
def test_more_parameters_need_more_people(more):
    assert binary(5 * more, 0.3, 0.1).rows > binary(5, 0.3, 0.1).rows
    assert continuous(5 * more, 2.0, 1.0, 0.3).rows > continuous(5, 2.0, 1.0, 0.3).rows


@pytest.mark.parametrize("wrong", [(10, 0.0, 0.1), (10, 1.0, 0.1), (0, 0.5, 0.1), (10, 0.01, 0.5), (10, 0.5, 0.0)])
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="no sample size"):
        binary(*wrong)
