"""Very wide tables: what stands out is kept, and the audit says what it passed over."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from medloom.audit import gather
from medloom.audit.examine import examine
from tests.audit.tables import evidence, honest


def wide(columns: int) -> pl.DataFrame:
    noise = np.random.default_rng(7).normal(size=(200, columns))
    frame = honest(200).with_columns(pl.Series(f"n{i}", noise[:, i]) for i in range(columns))
    return frame.with_columns(copied=pl.col("died") * 2.0 + 1, discharge_code=pl.lit(1.0) * noise[:, 0].round(2))


def test_the_columns_that_stand_out_are_kept_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = wide(60)
    assert evidence(frame).passed == 0
    monkeypatch.setattr(gather, "MOST_COLUMNS", 10)
    held = evidence(frame)
    names = [column.name for column in held.columns]
    assert len(names) == 10 and held.passed == len(frame.columns) - 1 - 10
    assert {"x0", "ward", "copied", "discharge_code"} <= set(names)
    assert names == [name for name in frame.columns if name in names]


def test_the_audit_says_what_it_passed_over_and_finds_the_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "MOST_COLUMNS", 10)
    found = examine(evidence(wide(60)).prepared)
    assert ("copied",) in [one.columns for one in found.findings]
    assert any("of 67 columns" in said for said in found.left_out)


def test_gaps_and_turns_stand_out_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = wide(40)
    died = frame["died"].to_numpy()
    gap = pl.Series(np.where(died == 1, np.nan, frame["n3"].to_numpy()), nan_to_null=True)
    bent = pl.Series(np.where(died == 1, 1.0, 0.1) * frame["n5"].sign().to_numpy())
    monkeypatch.setattr(gather, "MOST_COLUMNS", 8)
    held = evidence(frame.with_columns(n3=gap, n5=bent))
    assert {"n3", "n5"} <= {column.name for column in held.columns}
