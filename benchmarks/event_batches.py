"""Batches of 64 patients × 1,000 events, beside a Dataset of single patients and a DataLoader. Needs no data.

Both read the same packed arrays and make the same tensors, which is checked: code, scaled value, whether there is one,
whether there is a time, age and gap, padded to the longest row.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from benchmarks.result import Result
from medloom.cohort.ticks import TICKS
from medloom.modalities.events import FIRST_CODE, Events
from medloom.modalities.events.options import EventsOptions
from medloom.modality import View
from medloom.packed import Packed, Source

ID = "event-batches"
PATIENTS, EVENTS, CODES, BATCH = 2_000, 1_000, 500, 64
PAIRS, BATCHES = 7, 30
LARGEST = 10.0


def made() -> tuple[Events, Source]:
    """A fitted input of random events, and its source: about `EVENTS` events a patient, one row each."""
    random = np.random.default_rng(0)
    count = random.integers(EVENTS * 8 // 10, EVENTS + 1, PATIENTS)
    offset = np.concatenate([[0, 0], np.cumsum(count)])
    moments = [np.sort(random.integers(0, 2_000 * TICKS, n)) for n in count]
    arrays = {
        "code": random.integers(1, CODES + 1, offset[-1]).astype(np.int32),
        "time": np.concatenate(moments),
        "value": np.where(random.random(offset[-1]) < 0.3, np.nan, random.normal(2, 1, offset[-1])).astype(np.float32),
        "offset": offset,
    }
    codes = [f"c{number:04d}" for number in range(CODES)]
    none = np.zeros(PATIENTS, np.int64)
    along = {"index_time": np.full(PATIENTS, 2_001 * TICKS), "fixed_start": none, "fixed_stop": none}
    unit = np.arange(1, PATIENTS + 1)
    source = Source(
        Packed(arrays, {"kind": "number", "codes": codes}), unit, unit, offset[unit], offset[unit + 1], along=along
    )
    options = EventsOptions(table="made", last=EVENTS, statistics=False, scale="robust")
    scale = tuple(random.uniform(0.5, 2, CODES).tolist())
    modality = Events(
        options, "number", tuple(codes), (2.0,) * CODES, scale, ((),) * CODES, (1.0,) * CODES, (FIRST_CODE,), False
    )
    return modality, modality.bind(source)


class Patients(Dataset[dict[str, Tensor]]):
    """One patient at a time, as it is usually written."""

    def __init__(self, source: Source) -> None:
        self.arrays, self.bound = source.packed.arrays, source.bound
        self.start, self.stop = source.start, source.stop
        self.index_time = source.along["index_time"]

    def __len__(self) -> int:
        return len(self.index_time)

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        assert self.start is not None and self.stop is not None
        part = slice(self.start[row], self.stop[row])
        code, moment, value = (self.arrays[name][part] for name in ("code", "time", "value"))
        scale = self.bound["scale"][code]
        has_value = ~np.isnan(value) & (scale > 0)
        scaled = np.where(has_value, (value - self.bound["centre"][code]) / np.where(scale > 0, scale, 1), 0)
        age = (self.index_time[row] - moment) / TICKS
        gap = -np.diff(age, prepend=age[:1])
        found = {
            "value": np.clip(scaled, -LARGEST, LARGEST).astype(np.float32),
            "code": self.bound["id"][code],
            "has_value": has_value,
            "has_time": np.ones(len(code), bool),
            "age": np.log1p(age).astype(np.float32),
            "gap": np.log1p(gap).astype(np.float32),
        }
        return {name: torch.from_numpy(array) for name, array in found.items()}


def collate(samples: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Patients padded to the longest, and which positions are theirs."""
    padded = {name: pad_sequence([one[name] for one in samples], batch_first=True) for name in samples[0]}
    valid = pad_sequence([torch.ones(len(one["value"]), dtype=torch.bool) for one in samples], batch_first=True)
    return {**padded, "valid": valid}


def ours(modality: Events, source: Source, rows: np.ndarray) -> dict[str, Tensor]:
    """The same tensors from our gather."""
    field = modality.batch(source, View(rows))
    assert field.valid is not None
    return {"value": field.value, **field.extra, "valid": field.valid}


def run(data: Path | None) -> list[Result]:
    """Ratio of batches a second, ours to the faster of DataLoaders without and with two workers; one thread each."""
    torch.set_num_threads(1)
    modality, source = made()
    orders = [np.random.default_rng(pair).permutation(PATIENTS)[: BATCHES * BATCH] for pair in range(PAIRS)]
    _same(ours(modality, source, orders[0][:BATCH]), collate([Patients(source)[row] for row in orders[0][:BATCH]]))
    times = np.array(
        [[_ours(modality, source, order), *(_theirs(source, order, n) for n in (0, 2))] for order in orders]
    )
    mine, theirs = BATCHES / times[:, 0], BATCHES / times[:, 1:].min(axis=1)
    ratio = mine / theirs
    return [
        Result(
            id=ID,
            metric="batches a second, ours / Dataset and DataLoader",
            value=float(np.median(ratio)),
            low=float(ratio.min()),
            high=float(ratio.max()),
            higher_is_better=True,
            want=2.5,
            baseline=f"DataLoader {np.median(theirs):,.0f} batches a second (the faster of 0 and 2 workers), ours {np.median(mine):,.0f}",
            split=f"{BATCH} patients × 800 to {EVENTS} events, {PAIRS} alternating rounds of {BATCHES} batches; least and largest ratio",
        )
    ]


def _same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    for name, tensor in other.items():
        torch.testing.assert_close(one[name], tensor, rtol=1e-5, atol=1e-6, check_dtype=False)


def _ours(modality: Events, source: Source, order: np.ndarray) -> float:
    began = time.perf_counter()
    for rows in order.reshape(-1, BATCH):
        ours(modality, source, rows)
    return time.perf_counter() - began


def _theirs(source: Source, order: np.ndarray, workers: int) -> float:
    sampler: Any = order.tolist()
    began = time.perf_counter()
    for _ in DataLoader(Patients(source), BATCH, sampler=sampler, collate_fn=collate, num_workers=workers):
        pass
    return time.perf_counter() - began
