"""Volumes that `medloom ingest` wrote: the voxels of each in one file, and an inventory that says what they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medloom.errors import DataError
from medloom.modalities.image.packing import sorted_out
from medloom.modalities.image.reading.grids import as_wished, right_channels
from medloom.modalities.image.reading.scan import DICOM, Refused, Scan, Wish

if TYPE_CHECKING:
    import polars as pl

INVENTORY = "inventory.parquet"
NAMES = ("volume", "series", "study", "patient")
"""Columns of the inventory that may name a volume, the most exact first."""


def file_of(store: Path, volume: str) -> Path:
    """Where the voxels of a volume lie: its name may hold anything, and a folder of files stays small."""
    name = hashlib.blake2b(volume.encode(), digest_size=16).hexdigest()
    return store / "volumes" / name[:2] / f"{name}.bin"


def read_scans(store: Path, keys: Sequence[str], rows: Sequence[str], label: str, wish: Wish) -> list[Scan]:
    """The volumes that these keys name. Raises one DataError that names the rows of every kind of trouble."""
    import polars as pl

    if not (store / INVENTORY).exists():
        raise DataError(
            f"store: {store.name} holds no {INVENTORY}; write it with: medloom ingest SOURCE --to {store.name}"
        )
    inventory = pl.read_parquet(store / INVENTORY)
    usable = inventory.filter(pl.col("stored"))
    return sorted_out(_found(store, usable, inventory, keys, wish), rows, label)


def volumes(store: Path, named: Sequence[Sequence[tuple[str, int]]]) -> list[list[tuple[str, int]]]:
    """Each name of a study, a series or a patient as the names of its volumes, beside what stood beside it.

    Names of nothing stay as they are: reading them says why.
    """
    import polars as pl

    if not (store / INVENTORY).exists():
        return [list(one) for one in named]
    usable = pl.read_parquet(store / INVENTORY).filter(pl.col("stored")).sort("volume")
    held: dict[str, list[str]] = {}
    for name in reversed(NAMES):
        here: dict[str, list[str]] = {}
        for key, volume in zip(usable[name].to_list(), usable["volume"].to_list(), strict=True):
            here.setdefault(key, []).append(volume)
        held |= here
    return [[(volume, place) for key, place in one for volume in held.get(key, [key])] for one in named]


def _found(
    store: Path, usable: pl.DataFrame, inventory: pl.DataFrame, keys: Sequence[str], wish: Wish
) -> Iterator[Scan | Refused]:
    wanted = set(keys)
    place: dict[str, list[int]] = {}
    for name in reversed(NAMES):
        here: dict[str, list[int]] = {}
        for number, key in enumerate(usable[name].to_list()):
            if key in wanted:
                here.setdefault(key, []).append(number)
        place |= here
    known = {key for name in NAMES for key in inventory[name].to_list()}
    for key in keys:
        try:
            found = place.get(key, [])
            if not found:
                what = (
                    "are in the inventory and were not stored; it says why"
                    if key in known
                    else "are not in the inventory"
                )
                raise Refused(what)
            if len(found) > 1:
                raise Refused("name several volumes of the store; name one by its volume, as the inventory has it")
            yield as_wished(_opened(store, usable.row(found[0], named=True), wish), wish)
        except Refused as error:
            yield error


def _opened(store: Path, told: dict[str, object], wish: Wish) -> Scan:
    geometry = json.loads(str(told["geometry"]))
    whole, kind = tuple(geometry["shape"]), np.dtype(geometry["dtype"])
    file = file_of(store, str(told["volume"]))
    if not file.exists() or file.stat().st_size != int(np.prod(whole)) * kind.itemsize:
        raise Refused("are missing or cut short in the store; run medloom ingest again")
    values = np.memmap(file, kind, "r", shape=whole)
    shape = tuple(geometry["file_shape"])
    if wish.dims == 3 and values.ndim == 3:
        raise Refused("are pictures where dims = 3 is asked for; set dims = 2")
    if wish.dims == 2 and values.ndim == 4:
        raise Refused("have 3 axes where dims = 2 is asked for; set dims = 3")
    grid = right_channels(values, wish)
    return Scan(
        np.asarray(grid),
        DICOM,
        (shape[0], shape[1], shape[2]),
        np.array(geometry["affine"]),
        (1, 1, 2),
        geometry["placed"],
        geometry["sized"],
    )
