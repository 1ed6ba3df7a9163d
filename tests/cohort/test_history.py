"""Columns of earlier rows: against a plain loop, and nothing of the index time or after it."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from medloom import bundle as bundles
from medloom.cohort.history import with_history
from medloom.cohort_part import CohortPart
from medloom.errors import DataError, StudyError
from medloom.run import evaluate, fit
from medloom.study import make
from tests.cases.made import SMALL

EVERY = {
    "n": "count()", "known": "count(x)", "top": "max(x)", "low": "min(x)", "all": "sum(x)", "mid": "mean(x)",
    "oldest": "first(x)", "newest": "last(x)", "ago": "since()", "word": "last(w)", "came": "mean(y)", "came_last": "last(y)",
}  # fmt: skip


def visits(rows: int = 300, seed: int = 0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            "row": [f"r{i}" for i in range(rows)],
            "patient": random.integers(0, rows // 5, rows).astype(str),
            "day": random.integers(0, 40, rows),
            "x": random.normal(size=rows).round(2),
            "w": random.choice(["a", "b", "c"], rows),
            "y": random.integers(0, 2, rows),
            "y_known": random.integers(0, 60, rows),
        }
    )
    hole = pl.Series(random.random(rows) < 0.3)
    return frame.with_columns(pl.when(~hole).then("x").alias("x"), pl.when(~hole.shuffle(1)).then("w").alias("w"))


def part_of(**history: Any) -> CohortPart:
    return CohortPart.model_validate({"row": "row", "patient": "patient", "at": "day", "history": history})


def made(frame: pl.DataFrame, earlier: pl.DataFrame | None = None, new: bool = True, **history: Any) -> pl.DataFrame:
    return with_history(part_of(**{"aggregate": EVERY, **history}), frame, earlier, new)


def by_hand(frame: pl.DataFrame, known: str) -> pl.DataFrame:
    """A loop over rows; `known` is the column of times at which y is known."""
    lines = frame.to_dicts()
    out = []
    for line in lines:
        past = [o for o in lines if o["patient"] == line["patient"] and o["day"] < line["day"]]
        past.sort(key=lambda o: o["day"])
        x = [o["x"] for o in past if o["x"] is not None]
        y = [o["y"] for o in past if max(o[known], o["day"]) < line["day"]]
        w = [o["w"] for o in past if o["w"] is not None]
        days = [o["day"] for o in past]
        out.append(
            {
                "n": len(past), "known": len(x), "top": max(x, default=None), "low": min(x, default=None),
                "all": sum(x) if x else None, "mid": float(np.mean(x)) if x else None, "oldest": x[0] if x else None,
                "newest": x[-1] if x else None, "ago": float(line["day"] - max(days)) if days else None,
                "word": w[-1] if w else None, "came": float(np.mean(y)) if y else None,
            }
        )  # fmt: skip
    return pl.DataFrame(out, infer_schema_length=None)


def without_ties(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.unique(["patient", "day"], keep="first", maintain_order=True)


def same(one: pl.DataFrame, other: pl.DataFrame, within: float = 1e-12) -> None:
    for name in other.columns:
        if one.schema[name].is_numeric():
            np.testing.assert_allclose(
                one[name].cast(float).fill_null(np.nan), other[name].cast(float).fill_null(np.nan), atol=within
            )
        else:
            assert one[name].to_list() == other[name].to_list()


def test_every_summary_is_that_of_a_plain_loop():
    frame = without_ties(visits())
    found = made(frame, known_at={"y": "y_known"})
    assert found.select(frame.columns).equals(frame)
    same(found, by_hand(frame, "y_known"))


def test_known_after_is_counted_from_the_row_itself():
    frame = without_ties(visits(seed=3)).with_columns(later=pl.col("day") + 7)
    same(made(frame, known_after={"y": 7}), by_hand(frame, "later"))


def test_rows_of_the_same_time_do_not_see_each_other():
    frame = pl.DataFrame({"row": ["a", "b", "c"], "patient": ["p"] * 3, "day": [1, 1, 2], "x": [1.0, 2.0, 3.0]})
    found = made(frame, aggregate={"n": "count()", "all": "sum(x)"})
    assert found["n"].to_list() == [0, 0, 2] and found["all"].to_list() == [None, None, 3.0]


def test_law_2_the_future_changes_nothing():
    frame = visits(seed=1)
    before = made(frame, known_after={"y": 5})
    late = pl.col("day") >= 20
    moved = frame.with_columns(
        pl.when(late).then(pl.col("x") + 1e6).otherwise("x").alias("x"),
        pl.when(late).then(pl.lit("z")).otherwise("w").alias("w"),
        pl.when(pl.col("day") + 5 >= 20).then(pl.col("y") + 1_000_000).otherwise("y").alias("y"),
    )
    after = made(moved, known_after={"y": 5})
    seen = (frame["day"] <= 20).to_numpy()
    assert seen.any() and before.filter(seen).select(*EVERY).equals(after.filter(seen).select(*EVERY))
    assert not before.select(*EVERY).equals(after.select(*EVERY))


def test_dates_are_counted_in_days():
    frame = pl.DataFrame(
        {"row": ["a", "b"], "patient": ["p", "p"], "day": ["2024-01-01 12:00", "2024-01-04"], "y": [1, 0]}
    )
    aggregate = {"ago": "since()", "came": "last(y)"}
    assert made(frame, aggregate=aggregate, known_after={"y": 2})["ago"].to_list() == [None, 2.5]
    assert made(frame, aggregate=aggregate, known_after={"y": 2})["came"].to_list() == [None, 1]
    assert made(frame, aggregate=aggregate, known_after={"y": 3})["came"].to_list() == [None, None]


def test_the_order_of_rows_says_nothing():
    frame = without_ties(visits())
    mixed = frame.sample(fraction=1, shuffle=True, seed=1)
    one = made(frame, known_after={"y": 0}).sort("row")
    same(made(mixed, known_after={"y": 0}).sort("row"), one)


def test_earlier_rows_of_another_table_count_and_none_counts_twice():
    frame = without_ties(visits())
    whole = made(frame, known_after={"y": 0})
    late = (frame["day"] >= 15).to_numpy()
    found = made(
        frame.filter(late).drop("y"), frame.with_columns(pl.col("patient").cast(int)), False, known_after={"y": 0}
    )
    same(found.select(*EVERY), whole.filter(late).select(*EVERY))


def test_new_rows_may_bring_the_columns():
    frame = made(visits(), known_after={"y": 0})
    assert made(frame, new=False, known_after={"y": 0}).equals(frame)
    with pytest.raises(DataError, match="columns of the same name"):
        made(frame, known_after={"y": 0})


@pytest.mark.parametrize(
    ("changed", "history", "told"),
    [
        (pl.all().exclude("x"), {"aggregate": {"a": "max(x)"}}, "no column 'x'.*tables={'history': earlier rows}"),
        (pl.all(), {"aggregate": {"a": "max(w)"}}, "a: max needs numbers, and 'w' holds none"),
        (pl.all().exclude("day"), {"aggregate": {"a": "count()"}}, "no column 'day'"),
        (
            [pl.all().exclude("patient"), pl.lit(None, pl.String).alias("patient")],
            {"aggregate": {"a": "count()"}},
            "no patient or no index time",
        ),
    ],
)
def test_tables_that_do_not_fit(changed, history, told):
    with pytest.raises(DataError, match=told):
        made(visits().select(changed), **history)


@pytest.mark.parametrize(
    ("cohort", "told"),
    [
        ({"history": {"aggregate": {"a": "mean(y)"}}}, "reads the answer 'y' of earlier rows"),
        ({"history": {"aggregate": {"a": "since(x)"}}}, "since\\(\\) goes without a column"),
        ({"history": {"aggregate": {"a": "last(x) by day"}}}, "take by out"),
        ({"history": {"aggregate": {"a": "last(x)"}, "known_after": {"y": 3}}}, "no summary reads 'y'"),
        ({"history": {"aggregate": {"a": "count()"}}, "at": None}, "give cohort.at and cohort.patient"),
    ],
)
def test_mistakes_of_the_study(cohort, told):
    with pytest.raises(StudyError, match=told):
        make(study_of({"row": "row", "patient": "patient", "at": "day", **cohort}))


def study_of(cohort: dict[str, Any]) -> dict[str, Any]:
    columns = {
        "x": {"kind": "numeric"},
        "n": {"kind": "numeric"},
        "came": {"kind": "numeric"},
        "word": {"kind": "category"},
    }
    table = {"modality": "table", "known_before_index": True, "hidden": [8], "columns": columns}
    targets = {"again": {"task": "classify", "column": "y"}}
    return {"name": "visits", "cohort": cohort, "inputs": {"t": table}, "targets": targets, "train": SMALL,
            "evaluate": {"resamples": 100}}  # fmt: skip


def test_a_study_with_a_history_predicts_the_same_whole_in_blocks_and_from_a_table(tmp_path, monkeypatch):
    frame = visits(400)
    frame.write_csv(tmp_path / "visits.csv")
    aggregate = {"n": "count()", "came": "mean(y)", "word": "last(w)"}
    cohort = {"table": "visits.csv", "row": "row", "patient": "patient", "at": "day",
              "history": {"aggregate": aggregate, "known_after": {"y": 5}},
              "exclude": [{"name": "late", "where": "day > 35"}]}  # fmt: skip
    run = fit(make(study_of(cohort)).within(tmp_path), tmp_path / "run")
    held = run.bundle
    whole = held.predict(frame)
    late = (frame["day"] >= 10).to_numpy()
    some = held.predict(frame.filter(late).drop("y"), tables={"history": frame})
    same(some.drop("again"), whole.filter(late).drop("again"), 1e-6)
    monkeypatch.setattr(bundles, "STREAM_ROWS", 64)
    streamed = pl.concat(list(held.stream(tmp_path / "visits.csv")))
    assert len(list(held.stream(tmp_path / "visits.csv"))) > 3
    same(streamed.drop("again"), whole.drop("again"), 1e-6)
    with pytest.raises(DataError, match="cohort.history: no column 'y'"):
        held.predict(frame.drop("y"))
    judged = evaluate(held, tmp_path / "visits.csv", tmp_path / "out")
    assert judged.metrics["targets"]["again"]["model"]
