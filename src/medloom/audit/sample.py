"""Of very large tables a part is searched for leaks: whole patients, chosen by their ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Int

from medloom.cohort.split import Fold
from medloom.modality import Marks, Pinned
from medloom.packed import Source
from medloom.prepare import Prepared

MOST_CELLS = 1_000_000
"""Rows × columns up to which everything is searched."""
FEWEST_ROWS = 20_000


def sampled(prepared: Prepared) -> Prepared:
    """The prepared study with all rows of some patients, where the table is very large; else as it is."""
    cohort = prepared.cohort
    most = max(FEWEST_ROWS, MOST_CELLS // max(1, len(cohort.frame.columns)))
    if len(cohort) <= most:
        return prepared
    ids = cohort.patient_id.hash(seed=prepared.study.seed).to_numpy()
    rows = np.flatnonzero((ids >> np.uint64(40)) % np.uint64(1 << 20) < (1 << 20) * most / len(cohort))
    place = np.full(len(cohort), -1)
    place[rows] = np.arange(len(rows))
    parts = {name: _moved(place, part) for name, part in prepared.fold.parts().items()}
    left_out = {why: _moved(place, part) for why, part in prepared.fold.left_out.items()}
    feed, taken = prepared.feed, cohort.take(rows)
    patient = np.unique(taken.patient, return_inverse=True)[1]
    return replace(
        prepared,
        cohort=replace(taken, patient=patient),
        marks=_marks(prepared.marks, rows),
        fold=Fold(**parts, left_out=left_out, number=prepared.fold.number, repeat=prepared.fold.repeat),
        feed=replace(
            feed,
            sources={name: _source(one, rows, patient) for name, one in feed.sources.items()},
            marks=_marks(feed.marks, rows),
            laid={name: (ground, _source(one, rows, patient)) for name, (ground, one) in feed.laid.items()},
            beneath={
                name: {ground: _source(one, rows, patient) for ground, one in under.items()}
                for name, under in feed.beneath.items()
            },
            pinned={
                name: {ground: Pinned(one.place[rows], one.step[rows]) for ground, one in marked.items()}
                for name, marked in feed.pinned.items()
            },
        ),
    )


def _moved(place: Int[np.ndarray, " rows"], part: Int[np.ndarray, " part"]) -> Int[np.ndarray, " some"]:
    found = place[part]
    return found[found >= 0]


def _marks(marks: Mapping[str, Marks], rows: Int[np.ndarray, " some"]) -> dict[str, Marks]:
    return {
        name: replace(one, values=np.asarray(one.values)[rows], present=np.asarray(one.present)[rows])
        for name, one in marks.items()
    }


def _source(source: Source, rows: Int[np.ndarray, " some"], patient: Int[np.ndarray, " some"]) -> Source:
    def of(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else values[rows]

    return replace(
        source,
        unit=source.unit[rows],
        patient=patient,
        start=of(source.start),
        stop=of(source.stop),
        newest=of(source.newest),
        along={name: values[rows] for name, values in source.along.items()},
    )
