from __future__ import annotations

from medloom.machine import cores, crowded, load_average


def test_several_threads_on_a_busy_machine_are_told() -> None:
    assert load_average() >= 0
    assert "train.threads=1" in crowded(2, cores() + 3.0)
    assert not crowded(1, cores() + 3.0) and not crowded(2, cores() - 0.5)
