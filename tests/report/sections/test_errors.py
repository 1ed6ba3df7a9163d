import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from medloom.report.sections.errors import confusion, furthest_off


def test_the_confusion_table_is_that_of_scikit_learn():
    random = np.random.default_rng(0)
    truth, decision = random.integers(0, 3, 200), random.integers(0, 3, 200)
    table = confusion("kind", ("a", "b", "c"), truth, decision)
    counts = np.array([[int(cell) for cell in row[1:]] for row in table.rows])
    assert (counts[:3, :3] == confusion_matrix(truth, decision)).all()
    assert (counts[3, :3] == counts[:3, :3].sum(axis=0)).all() and counts[3, 3] == 200


def test_the_group_that_is_furthest_off_comes_first():
    probability = np.repeat([0.1, 0.3, 0.5, 0.7, 0.9], 20)
    truth = np.concatenate([np.arange(20) < 20 * share for share in (0.1, 0.3, 0.9, 0.6, 0.9)]).astype(int)
    table = furthest_off("death", "died", truth, probability, np.arange(100), 0.95)
    assert table.rows[0][0] == "0.500 to 0.500"
    assert table.rows[0][2] == "0.500"
    assert table.rows[0][3].value == pytest.approx(0.9)
    assert table.rows[0][3].low < 0.9 < table.rows[0][3].high


def test_few_rows_or_few_patients_are_not_grouped():
    probability, truth = np.linspace(0, 1, 30), np.arange(30) % 2
    assert furthest_off("death", "died", truth, probability, np.arange(30), 0.95) is None
    many = np.linspace(0, 1, 300)
    assert furthest_off("death", "died", np.arange(300) % 2, many, np.arange(300) // 100, 0.95) is None
