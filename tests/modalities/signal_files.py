"""Records for the tests of signals, written by the libraries of their formats."""

from __future__ import annotations

import datetime
import warnings
from pathlib import Path
from typing import Any

import edfio
import numpy as np
import polars as pl

from medloom.cohort.table import Cohort, make_cohort
from medloom.cohort_part import CohortPart
from medloom.modalities.signal import Signal
from medloom.modalities.signal.options import SignalOptions
from medloom.modalities.signal.wfdb_records import library

wfdb = library()
LEADS = ("I", "II", "V1")


def trace(samples: int = 1000, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Waves of different frequency on each channel with a little noise, in mV."""
    random = np.random.default_rng(seed)
    time = np.arange(samples) / 100
    waves = np.stack([np.sin(2 * np.pi * (1 + channel) * time) for channel in range(channels)])
    return waves + random.normal(0, 0.05, waves.shape)


def wrsamp(name: str, **more: Any) -> None:
    """Writes a WFDB record; the warnings are the library's, of its own use of pandas."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wfdb.wrsamp(name, **more)


def write_wfdb(
    folder: Path, name: str, values: np.ndarray, rate_hz: float = 100, names: tuple[str, ...] = LEADS, **more: Any
) -> Path:
    """A record of one segment; returns its header's path."""
    given = {"fmt": ["16"] * len(values), "units": ["mV"] * len(values), **more}
    wrsamp(name, fs=rate_hz, sig_name=list(names), p_signal=values.T, write_dir=str(folder), **given)
    return folder / f"{name}.hea"


def write_edf(path: Path, values: np.ndarray, rates_hz: Any = 100, names: tuple[str, ...] = LEADS, **more: Any) -> Path:
    """An EDF+ or BDF+ file in µV of values in mV, with physical ranges that hold them."""
    rates = rates_hz if isinstance(rates_hz, tuple) else (rates_hz,) * len(values)
    bdf = path.suffix == ".bdf"
    channels = []
    for one, rate, name in zip(values, rates, names, strict=True):
        plain = np.asarray(one) * 1000
        kind = edfio.BdfSignal if bdf else edfio.EdfSignal
        channels.append(kind(plain, rate, label=name, physical_dimension="uV", physical_range=(-5000, 5000)))
    (edfio.Bdf if bdf else edfio.Edf)(channels, **more).write(path)
    return path


STARTED = {
    "recording": edfio.Recording(startdate=datetime.date(2024, 3, 1)),
    "starttime": datetime.time(8, 30, 0),
}


def options(**more: Any) -> SignalOptions:
    """Options for the records of these tests."""
    given = {
        "column": "record", "leads": LEADS, "rate_hz": 100, "window_seconds": 2, "known_before_index": True,
        "encoder": {"channels": 4, "levels": 2, "width": 8},
    }  # fmt: skip
    return SignalOptions(**{**given, **more})


def cohort(folder: Path, records: Any, at: str | None = None, **columns: Any) -> Cohort:
    """A row for each record, each another patient."""
    paths = [None if one is None else Path(one).name for one in records]
    frame = pl.DataFrame({"record": pl.Series(paths, dtype=pl.String), **columns})
    part = CohortPart(independent_rows=True, at=at)
    return make_cohort(part, frame, folder, {})


def source(chosen: SignalOptions, who: Cohort, store: Path | None = None) -> Any:
    """Records packed and pointed at."""
    from medloom.feed import pack

    return pack(Signal, chosen, who, store)


def whole(packed: Any, unit: int) -> np.ndarray:
    """All samples of a unit, leads first."""
    from medloom.modalities.signal.packing import gather

    length = int(packed.arrays["length"][unit])
    units, first, last = np.array([unit]), np.array([0]), np.array([length])
    return gather(packed, units, first, last, length)[0][0]


def quiet_wrann(name: str, ending: str, sample: np.ndarray, symbol: list[str], **more: Any) -> None:
    """Writes a WFDB annotation file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wfdb.wrann(name, ending, sample, symbol=symbol, **more)
