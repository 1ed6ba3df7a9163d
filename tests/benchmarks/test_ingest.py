from __future__ import annotations

from pathlib import Path

import polars as pl

from benchmarks import ingest
from medloom.cohort.event_store import open_store


def test_both_readers_are_measured_on_the_same_events(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(ingest, "REPEATS", 1)
    results = ingest.measured(tmp_path, 5_000)
    assert [result.id for result in results] == ["ingest"] * 3 and all(result.value > 0 for result in results)
    frame = pl.read_csv(tmp_path / "events.csv")
    store = open_store(tmp_path / "store-0")
    assert len(frame) == store.codes["events"].sum() == 5_000
    assert store.codes["valued"].sum() == frame["value"].count()
    assert ingest.peak(tmp_path, 3_000, 500.0).metric == "peak memory at 0.003 million events, MB"
