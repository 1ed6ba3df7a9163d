import numpy as np

from medloom.explain.weak_groups import weak_groups
from medloom.task import Replies
from medloom.told import Feature

NAMES = (("labs", Feature("age")), ("labs", Feature("ward", "surgical")))


def found(error: np.ndarray, plain: np.ndarray, patient: np.ndarray):
    replies = Replies(error[:, None], ("x",), "value", error, "absolute error")
    return weak_groups(replies, NAMES, plain, patient, 200, 0.95, 0)


def data(rows: int = 1200, seed: int = 0):
    random = np.random.default_rng(seed)
    plain = np.stack([random.uniform(20, 90, rows), random.integers(0, 2, rows)], axis=1)
    plain[random.random(rows) < 0.05, 0] = np.nan
    return random, plain, np.arange(rows) // 2


def test_a_group_with_larger_errors_is_named_in_words():
    random, plain, patient = data()
    error = np.abs(random.normal(size=len(plain))) * np.where((plain[:, 1] == 1) & (plain[:, 0] > 60), 4.0, 1.0)
    groups = found(error, plain, patient)
    assert len(groups.worse) == 1
    assert "ward is surgical" in groups.worse[0] and "age over 6" in groups.worse[0]
    shown = next(group for group in groups.groups.groups if group.name == groups.worse[0])
    assert shown.contrasts["error"].difference.low > 1


def test_chance_finds_no_group():
    named = 0
    for seed in range(20):
        random, plain, patient = data(400, seed)
        groups = found(np.abs(random.normal(size=len(plain))), plain, patient)
        named += bool(groups is not None and groups.worse)
    assert named <= 3


def test_few_patients_or_unknown_errors_give_nothing():
    random, plain, patient = data(150)
    assert found(np.abs(random.normal(size=150)), plain, patient) is None
    assert found(np.full(150, np.nan), plain, np.arange(150)) is None
