"""Each kind of leak is found where it was put in, and honest tables pass without a word."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.leak_sets import LEAKS, Case, clinic, made, shipped
from medloom.audit.finding import KINDS, Audit
from medloom.run import audit

HONEST = {
    "breast cancer": lambda: shipped("breast_cancer"),
    "iris": lambda: shipped("iris"),
    "wine": lambda: shipped("wine"),
    "diabetes": lambda: shipped("diabetes"),
    "clinic": lambda: clinic(700, 21),
    "survival": lambda: clinic(500, 22, task="survive"),
    "made": lambda: made(300, 10, 23),
}


def audited(case: Case, row_ids: bool = False) -> Audit:
    return audit(case.study(), data=case.frame, row_ids=row_ids)


@pytest.mark.parametrize("name", HONEST)
def test_honest_tables_pass(name: str) -> None:
    assert [one.plain() for one in audited(HONEST[name]()).findings] == []


@pytest.mark.parametrize("name", LEAKS)
def test_a_leak_is_found(name: str) -> None:
    leak = LEAKS[name]
    leaky = leak.put(clinic(700, 24), np.random.default_rng(25), 0.9)
    kinds = {one.kind for one in audited(leaky).findings}
    assert kinds & leak.kinds, f"found {sorted(kinds)}"


@pytest.mark.parametrize("name", [name for name, leak in LEAKS.items() if "regress" in leak.tasks and not leak.needs])
def test_a_leak_of_a_number_is_found(name: str) -> None:
    leak = LEAKS[name]
    leaky = leak.put(clinic(700, 26, task="regress"), np.random.default_rng(27), 0.9)
    assert {one.kind for one in audited(leaky).findings} & leak.kinds


def test_row_ids_stand_there_only_where_they_are_allowed() -> None:
    leaky = LEAKS["exact copies"].put(clinic(300, 28), np.random.default_rng(29), 1.0)
    without, allowed = audited(leaky), audited(leaky, row_ids=True)
    assert not any(one.row_ids or one.pairs for one in without.findings)
    named = [one for one in allowed.findings if one.row_ids]
    assert named and all(len(one.row_ids) <= 5 for one in named)
    assert set(named[0].row_ids) <= set(leaky.frame["stay"])
    (copies,) = [one for one in allowed.findings if one.kind == "duplicate-rows"]
    assert len(copies.pairs) == copies.value and all(
        len({*pair} & {*leaky.frame["stay"]}) == 2 for pair in copies.pairs
    )


def test_no_value_of_a_patient_stands_in_a_finding() -> None:
    for name in ("code of cases", "telling site", "copy of the answer"):
        leaky = LEAKS[name].put(clinic(500, 30), np.random.default_rng(31), 1.0)
        text = "\n".join(audited(leaky).lines())
        assert "Z51" not in text and "K7" not in text


def test_the_audit_is_the_same_twice_and_does_not_depend_on_the_order_of_columns() -> None:
    leaky = LEAKS["edited copies"].put(clinic(300, 32), np.random.default_rng(33), 0.5)
    first, again = audited(leaky), audited(leaky)
    assert first.plain() == again.plain()


def test_every_kind_of_finding_has_a_name_and_the_page_explains_it() -> None:
    from pathlib import Path

    page = (Path(__file__).parents[2] / "docs" / "explanation" / "leakage-audit.md").read_text(encoding="utf-8")
    assert [kind for kind in KINDS if f"`{kind}`" not in page] == []


def test_small_and_odd_tables_do_not_break_it() -> None:
    import polars as pl

    from medloom.study import make

    frame = pl.DataFrame({"x": [1.0, None, 3.0] * 6, "w": ["a", "b", None] * 6, "same": [1] * 18, "died": [0, 1] * 9})
    study = make(
        {
            "name": "small",
            "cohort": {"independent_rows": True},
            "inputs": {"table": {"modality": "table", "known_before_index": True}},
            "targets": {"death": {"task": "classify", "column": "died"}},
        }
    )
    assert audit(study, data=frame).looked_at["rows"] == 18


def test_like_weeks_of_a_forecast_are_no_copies_of_one_person() -> None:
    import polars as pl

    from medloom.study import make

    random = np.random.default_rng(3)
    weeks = [f"{year}-{1 + day // 28:02}-{1 + day % 28:02}" for year in range(2012, 2020) for day in range(0, 336, 7)]
    cases = np.where(np.arange(len(weeks)) % 48 < 20, 0, random.poisson(9, len(weeks)))
    frame = pl.DataFrame({"place": "A", "week": weeks, "cases": cases})
    panel = {"series": "place", "time": "week", "value": "cases", "step": "listed", "horizons": 2, "lags": 3}
    study = make(
        {
            "name": "weekly",
            "cohort": {"panel": panel},
            "inputs": {"past": {"modality": "table", "at": "newest"}},
            "targets": {"cases": {"task": "forecast", "horizons": 2}},
            "split": {"by": "time"},
        }
    )
    found = audit(study, data=frame)
    assert [one.plain() for one in found.findings] == []
    assert any("no copies of one another" in one for one in found.left_out)
