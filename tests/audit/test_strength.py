from __future__ import annotations

import numpy as np
import polars as pl

from medloom.audit import strength
from tests.audit.tables import evidence, honest


def kinds(frame: pl.DataFrame, **parts: object) -> dict[str, str]:
    held = evidence(frame, **parts)  # type: ignore[arg-type]
    return {name: one.kind for one in strength.findings(held, strength.tell(held)) for name in one.columns}


def test_a_strong_column_passes_where_others_say_the_same() -> None:
    frame, random = honest(500), np.random.default_rng(1)
    strong = frame["died"].to_numpy() * 2.6 + random.normal(size=(2, 500))
    alone = frame.with_columns(marker=pl.Series(strong[0] * 1.0))
    both = alone.with_columns(other=pl.Series(strong[1]), third=pl.Series(strong[0] + strong[1]))
    assert kinds(alone) == {"marker": "too-good"}
    assert kinds(both) == {}


def test_a_recoding_is_a_copy_and_noise_of_two_values_is_none() -> None:
    frame, random = honest(400), np.random.default_rng(2)
    words = np.where(frame["died"].to_numpy() == 1, "stop", "go on")
    assert kinds(frame.with_columns(plan=pl.Series(words))) == {"plan": "copy-of-target"}
    assert kinds(frame.with_columns(plan=pl.Series(random.permutation(words)))) == {}


def test_a_code_that_only_cases_have_is_found() -> None:
    frame, random = honest(400), np.random.default_rng(3)
    given = (frame["died"].to_numpy() == 1) & (random.random(400) < 0.4)
    code = pl.Series(np.where(given, "Z", random.choice(["A", "B"], 400)))
    assert kinds(frame.with_columns(code=code)) == {"code": "code-of-cases"}


def test_functions_of_a_number_are_copies() -> None:
    frame, random = honest(400), np.random.default_rng(4)
    y = frame["x0"].to_numpy() + random.normal(size=400)
    target = {"days": {"task": "regress", "column": "died"}}
    frame = frame.with_columns(died=pl.Series(y))
    assert kinds(frame, targets=target) == {}
    for copy in (np.exp(-y), np.where(y > 0.3, "long", "short"), np.round(y)):
        assert kinds(frame.with_columns(group=pl.Series(copy)), targets=target) == {"group": "copy-of-target"}


def test_two_columns_that_sum_to_the_answer_are_found_together() -> None:
    frame = honest(300)
    held = evidence(frame.with_columns(total=pl.col("x2") + 0.7 * pl.col("died")))
    assert [set(one.columns) for one in strength.pairs(held)] == [{"x2", "total"}]
    assert list(strength.pairs(evidence(frame))) == []


def test_a_name_alone_is_no_finding() -> None:
    frame = honest(400)
    named = frame.rename({"x3": "discharge_weight"})
    assert kinds(named) == {}
    tells = frame["died"].to_numpy() + np.random.default_rng(5).normal(0, 0.7, 400)
    assert kinds(frame.with_columns(discharge_weight=pl.Series(tells))) == {"discharge_weight": "after-index"}
