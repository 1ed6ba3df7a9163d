"""What both benchmarks of the hippocampus know of its files."""

from __future__ import annotations

from collections.abc import Sequence


def groups(numbers: Sequence[int]) -> list[list[int]]:
    """Runs of numbers that follow each other: perhaps one person's left and right."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number - found[-1][-1] <= 1:
            found[-1].append(number)
        else:
            found.append([number])
    return found
