from __future__ import annotations

import pytest

from medloom.machine import cores, crowded, load_average, threads_named


def test_several_threads_on_a_busy_machine_are_told() -> None:
    assert load_average() >= 0
    assert "train.threads=1" in crowded(2, cores() + 3.0)
    assert not crowded(1, cores() + 3.0) and not crowded(2, cores() - 0.5)


@pytest.mark.parametrize(
    ("named", "threads"), [("3", 3), ("4,2", 4), (" 2 ", 2), ("", None), ("0", None), ("all", None)]
)
def test_threads_are_as_many_as_the_variable_allows(monkeypatch, named, threads) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", named)
    assert threads_named() == threads
