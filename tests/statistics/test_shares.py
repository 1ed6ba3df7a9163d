from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import f1_score

from medloom.statistics import shares
from medloom.statistics.clusters import mover

Z = norm.ppf(0.975)


def rows(found: int, total: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.arange(total) < found, np.ones(total, bool), np.arange(total)


@pytest.mark.parametrize(
    ("found", "total", "low", "high"), [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)]
)
def test_a_share_has_wilsons_interval(found: int, total: int, low: float, high: float) -> None:
    # Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17, 1998, table I.
    counted, among, patient = rows(found, total)
    np.testing.assert_allclose(shares.share(counted, among, patient, 0.95), (found / total, low, high), atol=5e-5)


def test_repeated_rows_of_a_patient_are_worth_one() -> None:
    counted, among, patient = rows(6, 30)
    once = shares.share(counted, among, patient, 0.95)
    thrice = shares.share(np.repeat(counted, 3), np.repeat(among, 3), np.repeat(patient, 3), 0.95)
    np.testing.assert_allclose(thrice, once)
    naive = shares.share(np.repeat(counted, 3), np.repeat(among, 3), np.arange(90), 0.95)
    assert naive[2] - naive[1] < 0.65 * (once[2] - once[1])


def test_where_all_rows_agree_patients_are_counted() -> None:
    found = shares.share(np.ones(30, bool), np.ones(30, bool), np.arange(30) // 3, 0.95)
    alone = shares.share(np.ones(10, bool), np.ones(10, bool), np.arange(10), 0.95)
    assert found == alone and found[2] == 1.0


def test_f1_lies_where_its_definition_puts_it() -> None:
    random = np.random.default_rng(0)
    truth, decision = random.random(200) < 0.3, random.random(200) < 0.4
    value, low, high = shares.odds_like(truth & decision, truth | decision, np.arange(200), 0.95)
    assert value == pytest.approx(f1_score(truth, decision))
    assert low < value < high
    # The ends are those of Wilson's interval of Jaccard's share, a monotone function of F1.
    union = int((truth | decision).sum())
    share = value / (2 - value)
    for end in (low / (2 - low), high / (2 - high)):
        assert abs(share - end) / np.sqrt(end * (1 - end) / union) == pytest.approx(Z)


def test_the_ratio_of_intervals_that_are_symmetric_in_logarithms_is_that_of_theory() -> None:
    a, sa, b, sb = 0.8, 0.05, 0.3, 0.04
    log = [(v, v * np.exp(-Z * s), v * np.exp(Z * s)) for v, s in ((a, sa), (b, sb))]
    spread = np.hypot(sa, sb)
    np.testing.assert_allclose(shares.ratio(*log), a / b * np.exp(np.array([0, -Z, Z]) * spread), rtol=1e-12)
    # Where the first share is 0: Fieller's equation.
    value, low, high = shares.ratio((0.0, 0.0, Z * sa), (b, b - Z * sb, b + Z * sb))
    assert (value, low) == (0, 0) and high**2 * b**2 == pytest.approx(Z**2 * (sa**2 + high**2 * sb**2))


def test_a_ratio_over_one_row_of_many_stays_away_from_zero() -> None:
    sensitivity = (42 / 43, *shares.wilson_at(42 / 43, 43, 0.95))
    value, low, high = shares.ratio(sensitivity, (1 / 71, *shares.wilson_at(1 / 71, 71, 0.95)))
    assert 10 < low < value < high < 500


def test_the_difference_of_symmetric_intervals_is_that_of_theory() -> None:
    one, other = (0.6, 0.6 - Z * 0.1, 0.6 + Z * 0.1), (0.5, 0.5 - Z * 0.08, 0.5 + Z * 0.08)
    for correlation in (0.0, 0.5):
        spread = np.sqrt(0.1**2 + (2 * 0.08) ** 2 - 2 * correlation * 0.1 * 2 * 0.08)
        np.testing.assert_allclose(
            mover(one, other, 2.0, correlation), (-0.4, -0.4 - Z * spread, -0.4 + Z * spread), atol=1e-12
        )


def test_what_cannot_be_told_is_nan() -> None:
    none = np.zeros(4, bool)
    assert np.isnan(shares.share(none, none, np.arange(4), 0.95)).all()
    assert np.isnan(shares.inverse((0.0, 0.0, 0.2))).all()
    assert shares.inverse((0.5, 0.0, 1.0)) == (2.0, 1.0, np.inf)
    assert np.isnan(shares.ratio((0.5, 0.4, 0.6), (0.0, 0.0, 0.1))).all()
    assert shares.ratio((0.5, 0.4, 0.6), (0.05, 0.0, 0.1))[2] == np.inf
