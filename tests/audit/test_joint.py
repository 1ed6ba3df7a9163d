"""Leaks that no column shows alone, and honest tables in which nothing is found."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from medloom.audit import joint
from medloom.audit.finding import Finding
from tests.audit.tables import evidence, honest


def found(frame: pl.DataFrame, **parts: object) -> list[Finding]:
    return list(joint.findings(evidence(frame, **parts)))


def test_honest_tables_have_no_finding() -> None:
    for seed in range(3):
        assert found(honest(300, seed)) == []


def test_a_total_of_three_that_holds_the_answer() -> None:
    frame = honest(300)
    total = frame["x0"] + 2 * frame["x1"] + frame["died"] * 0.7
    (one,) = found(frame.with_columns(total=total))
    assert one.kind == "copy-of-target" and set(one.columns) == {"total", "x0", "x1"} and one.value > 0.9999
    noisy = total + np.random.default_rng(1).normal(0, 0.5, 300)
    assert found(frame.with_columns(total=noisy)) == []


def test_two_codes_that_say_the_answer_together() -> None:
    frame, random = honest(300), np.random.default_rng(2)
    mask = random.integers(0, 2, 300)
    coded = frame.with_columns(a=pl.Series(mask), b=pl.Series(mask ^ frame["died"].to_numpy()))
    (one,) = found(coded)
    assert one.columns == ("a", "b") and one.value == pytest.approx(1.0)
    apart = frame.with_columns(a=pl.Series(mask), b=pl.Series(random.integers(0, 2, 300)))
    assert found(apart) == []


def test_a_word_inside_texts_that_are_all_different() -> None:
    frame, random = honest(300), np.random.default_rng(3)
    colour = random.choice(["red", "blue"], 300)
    told = ["autopsied" if died else "seen" for died in frame["died"]]
    notes = [f"{a} {b} {i}" for a, b, i in zip(colour, told, random.permutation(300), strict=True)]
    (one,) = found(frame.with_columns(note=pl.Series(notes)))
    assert one.kind == "code-of-cases" and one.columns == ("note",)
    neutral = [f"{a} seen {i}" for a, i in zip(colour, random.permutation(300), strict=True)]
    assert found(frame.with_columns(note=pl.Series(neutral))) == []


def test_a_value_far_off_that_cases_alone_have() -> None:
    frame, random = honest(300), np.random.default_rng(4)
    chosen = random.random(300) < 0.5
    marked = pl.Series(np.where(chosen & (frame["died"].to_numpy() == 1), -999.0, frame["x3"].to_numpy()))
    (one,) = found(frame.with_columns(x3=marked))
    assert one.kind == "code-of-cases" and one.columns == ("x3",)
    anyone = pl.Series(np.where(random.random(300) < 0.3, -999.0, frame["x3"].to_numpy()))
    assert found(frame.with_columns(x3=anyone)) == []


def test_how_many_columns_a_row_misses() -> None:
    frame, random = honest(300), np.random.default_rng(5)

    def gappy(of_cases: float) -> pl.DataFrame:
        gone = random.random((300, 4)) < np.where(frame["died"].to_numpy() == 1, of_cases, 0.1)[:, None]
        return frame.with_columns(
            pl.when(~pl.Series(gone[:, i])).then(pl.col(f"x{i}")).alias(f"x{i}") for i in range(4)
        )

    (one,) = found(gappy(0.7))
    assert one.kind == "missingness" and one.figure == "AUROC" and one.value > 0.8
    assert found(gappy(0.15)) == []
