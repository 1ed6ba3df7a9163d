"""Steps that estimators share."""

from __future__ import annotations

import gc

import numpy as np

from medloom.statistics._rows import read_only, remembered, sums_by_code


def test_sums_by_code_are_those_of_a_loop() -> None:
    random = np.random.default_rng(0)
    weight, code = random.random((4, 50)), random.integers(0, 6, 50)
    expected = [[sum(row[code == each]) for each in range(7)] for row in weight]
    np.testing.assert_allclose(sums_by_code(weight, code, 7), expected, atol=1e-12)
    assert sums_by_code(np.zeros((0, 50)), code, 7).shape == (0, 7)
    none = sums_by_code(np.zeros((2, 0)), code[:0], 7)
    assert none.shape == (2, 7) and none.dtype == np.float64


def test_only_read_only_arrays_are_remembered_and_only_while_they_live() -> None:
    asked = []

    @remembered
    def total(values: np.ndarray) -> float:
        asked.append(1)
        return float(values.sum())

    values = np.arange(4.0)
    assert total(values) == 6.0
    values[0] = 10.0
    assert total(values) == 16.0 and len(asked) == 2
    held = read_only({"a": values})["a"]
    assert total(held) == total(held) == 16.0 and len(asked) == 3
    del held
    gc.collect()
    other = read_only({"a": np.ones(4)})["a"]
    assert total(other) == 4.0
