"""A store of events as it lies on disk: which of its patients the cohort's rows are. Nothing is packed again."""

from __future__ import annotations

from pathlib import PurePath

import numpy as np
import polars as pl

from medloom.cohort.event_store import is_store, open_store
from medloom.cohort.table import Cohort, canonical
from medloom.errors import DataError
from medloom.modalities.events.options import EventsOptions
from medloom.modality import Stored


def stored(options: EventsOptions, cohort: Cohort) -> Stored:
    """The store, memory-mapped, and each row's patient in it; 0 where it holds no event of that patient."""
    folder = cohort.stores.get(PurePath(options.table).name, cohort.folder / options.table)
    try:
        store = open_store(folder)
    except DataError as error:
        said = "" if is_store(folder) else "; --folder says where the paths of a bundle's study begin"
        raise DataError(f"{error}{said}") from error
    known = pl.DataFrame({"patient": canonical(store.patients)}).with_row_index("unit", offset=1)
    asked = cohort.record.rename("patient").to_frame()
    unit = asked.join(known, on="patient", how="left", maintain_order="left")["unit"]
    return Stored(store.packed, unit.fill_null(0).to_numpy().astype(np.int64))
