from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from medloom.cohort.event_store import TIMELESS, open_store, ticks, times, write_store
from medloom.errors import DataError

EVENTS = pl.DataFrame(
    {
        "patient": ["b", "a", "b", "a"],
        "time": [5_000_000, 2_000_000, TIMELESS, 2_000_000],
        "code": ["heart rate", "lactate", "sex=female", "culture"],
        "value": [80.0, 2.5, None, None],
    }
)


def test_events_stand_by_patient_and_time_and_ties_keep_their_order(tmp_path: Path) -> None:
    write_store(tmp_path / "events", EVENTS, "number", {"source": "a frame"}, {"lactate": "mmol/L"})
    store = open_store(tmp_path / "events")
    names = ["", *store.codes["code"].to_list()]
    assert store.patients.to_list() == ["a", "b"]
    assert np.asarray(store.packed.arrays["offset"]).tolist() == [0, 0, 2, 4]
    assert [names[c] for c in store.packed.arrays["code"]] == ["lactate", "culture", "sex=female", "heart rate"]
    assert times(np.asarray(store.packed.arrays["time"])).tolist() == [2.0, 2.0, -np.inf, 5.0]
    assert store.codes.filter(pl.col("code") == "lactate").rows() == [("lactate", "mmol/L", 1, 1, 1)]
    assert (store.kind, store.provenance()) == ("number", {"source": "a frame"})


def test_times_keep_microseconds_of_this_century() -> None:
    given = np.array([1_700_000_000.123456, 0.000001, np.nan])
    assert ticks(given).tolist() == [1_700_000_000_123_456, 1, TIMELESS]


def test_a_folder_that_is_no_finished_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no finished store of events"):
        open_store(tmp_path)
