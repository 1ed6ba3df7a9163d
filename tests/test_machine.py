from __future__ import annotations

import pytest

from medloom import machine
from medloom.machine import cores, crowded, load_average


def test_several_threads_on_a_busy_machine_are_told() -> None:
    assert load_average() >= 0
    assert "train.threads=1" in crowded(2, cores() + 3.0)
    assert not crowded(1, cores() + 3.0) and not crowded(2, cores() - 0.5)


@pytest.mark.parametrize(
    ("told", "expected"), [(None, 4), ("", 4), ("1", 1), ("3,2", 3), ("16", 4), ("0", 4), ("many", 4), ("²", 4)]
)
def test_threads_are_as_many_as_the_environment_allows(
    told: str | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if told is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert machine.threads() == expected
