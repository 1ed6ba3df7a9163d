"""Several images a row: read, packed and seen as a bag, of which any number may be missing.

The images of a row lie side by side in the pack. `Source.unit` is the first of them, `Source.along["images"]` how many there
are, so that each image is looked at as the one image of a row is, and only then put beside the others. In a `View` and in a
`Field` images are the second axis, and places without one are padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from medloom.draw import Draw
from medloom.errors import DataError, counted, rows_named, those
from medloom.modalities.image import packing, stored
from medloom.modalities.image.options import ImageOptions
from medloom.modalities.image.reading.scan import Scan
from medloom.modality import Lifted, Lifting, Settle, View
from medloom.packed import Packed, Source

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor

    from medloom.batch import Field, Output
    from medloom.cohort.table import Cohort

BETWEEN_COLUMNS, BETWEEN_IMAGES = "\x1f", ";"
"""What parts the cells of several columns in a key, and the names of several images in a cell."""
HELD, IMAGES, PLACE = "held", "images", "place"
MOST_IMAGES = 256
"""Images that a row may have, at most."""
One = Callable[[Source, np.ndarray, np.ndarray, Draw | None], View]
"""Views of images from (source, units, numbers that the draw is keyed by, draw)."""


@dataclass(frozen=True, slots=True)
class Bag:
    """The images of one row, and the column that each is named by."""

    scans: tuple[Scan, ...]
    place: tuple[int, ...]


@dataclass(slots=True)
class Ends:
    """Where each bag ends in the pack, and the column of each image, noted while the images are packed one by one."""

    end: list[int] = field(default_factory=lambda: [1])
    place: list[int] = field(default_factory=lambda: [0])

    def noted(self, blocks: Iterable[Sequence[Bag]]) -> Iterator[Sequence[Scan]]:
        """The images of all bags."""
        for block in blocks:
            for bag in block:
                self.place += bag.place
                self.end.append(self.end[-1] + len(bag.scans))
                yield bag.scans

    def arrays(self) -> Mapping[str, np.ndarray]:
        """What stands beside the images in the pack."""
        return {"bag_end": np.array(self.end, np.int64), PLACE: np.array(self.place, np.int64)}


def keys(options: ImageOptions, cohort: Cohort) -> pl.Series:
    """The cells of all columns as one text; null where all of them are empty."""
    import polars as pl

    from medloom.cohort.table import canonical

    cells = [canonical(cohort.column(name, "image")) for name in options.columns]
    whole = pl.select(pl.concat_str([cell.fill_null("") for cell in cells], separator=BETWEEN_COLUMNS)).to_series()
    empty = pl.select(pl.all_horizontal([cell.is_null() for cell in cells])).to_series()
    return pl.select(pl.when(~empty).then(whole).alias("key")).to_series()


def read(options: ImageOptions, cohort: Cohort, keys: Sequence[str]) -> list[Bag]:
    """The decoded images of these rows. Raises DataError naming rows: files that cannot be used, and too many of them."""
    rows = cohort.row.to_list()
    named = [_named(key) for key in keys]
    if options.store is not None:
        named = stored.volumes(cohort.folder / options.store, named)
    many = [row for row, one in zip(rows, named, strict=True) if len(one) > options.most_images]
    if many and len(options.columns) == 1:
        raise DataError(
            f"{options.label}: {those(len(many), 'row', f'name more than most_images = {options.most_images} images')} ({rows_named(many)}); "
            "raise most_images, or name fewer"
        )
    owner = [row for row, one in zip(rows, named, strict=True) for _ in one]
    paths = [path for one in named for path, _ in one]
    if options.store is not None:
        scans = stored.read_scans(cohort.folder / options.store, paths, owner, options.label, options.wish)
    else:
        scans = packing.read_scans([cohort.files / path for path in paths], owner, options.label, options.wish)
    left = iter(scans)
    return [Bag(tuple(next(left) for _ in one), tuple(place for _, place in one)) for one in named]


def first_names(options: ImageOptions, cohort: Cohort, keys: Sequence[str | None]) -> list[str | None]:
    """What names the first image of each row; None where it has none."""
    named = [_named(key) if key is not None else [] for key in keys]
    if options.store is not None:
        named = stored.volumes(cohort.folder / options.store, named)
    return [one[0][0] if one else None for one in named]


def _named(key: str) -> list[tuple[str, int]]:
    """What a key names: each image, and the place of its column."""
    return [
        (name.strip(), place)
        for place, cell in enumerate(key.split(BETWEEN_COLUMNS))
        for name in cell.split(BETWEEN_IMAGES)
        if name.strip()
    ]


def point(packed: Packed, bag: Int[np.ndarray, " rows"]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The first image of each row, and how many it has, from the number of its bag; 0 where it has none."""
    end = np.asarray(packed.arrays["bag_end"])
    first = np.where(bag > 0, end[np.maximum(bag, 1) - 1], 0)
    count = np.where(bag > 0, end[bag] - first, 0)
    return np.where(count > 0, first, 0), {IMAGES: count}


def count_of(source: Source, rows: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
    """Images of each row."""
    unit = source.unit[rows]
    return np.where(unit > 0, source.along[IMAGES][rows] if IMAGES in source.along else 1, 0)


def units(
    source: Source, rows: Int[np.ndarray, " rows"]
) -> tuple[Int[np.ndarray, " images"], Int[np.ndarray, " images"]]:
    """The units of all images of these rows, one after another, and the place of the row that each is of."""
    count = count_of(source, rows)
    place = np.repeat(np.arange(len(rows)), count)
    within = np.arange(len(place)) - np.repeat(np.cumsum(count) - count, count)
    return source.unit[rows][place] + within, place


def view(source: Source, rows: Int[np.ndarray, " rows"], draw: Draw | None, one: One) -> View:
    """One view a row, each number of it "views images ...": `one` views images as if each were the image of a row.

    What is drawn for an image depends on its row and on its place among the row's images, and on nothing else.
    """
    unit, place = units(source, rows)
    held = _held(count_of(source, rows))
    number = rows[place] * MOST_IMAGES + np.nonzero(held)[1]
    own = None if draw is None else Draw(draw.seed, np.asarray(draw.epoch)[place])
    each = one(source, unit, number, own)
    return View(rows, {HELD: held, **{name: _padded(array, held) for name, array in each.at.items()}})


def apart(seen: View) -> View:
    """The views of all images one after another, as if each were the one image of a row."""
    held = seen.at[HELD]
    at = {name: array[held] for name, array in seen.at.items() if name != HELD}
    return View(np.arange(int(held.sum())), at)


def joined(source: Source, seen: View, values: Tensor, valid: Tensor) -> Field:
    """Images one after another, `values` [images, channels, *patch], as the bags of the views."""
    import torch

    from medloom.batch import Field

    held = torch.from_numpy(seen.at[HELD])
    place = torch.zeros(held.shape, dtype=torch.int64)
    unit, _ = units(source, seen.rows)
    place[held] = torch.from_numpy(np.asarray(source.packed.arrays[PLACE])[unit])
    bags = values.new_zeros((*held.shape, *values.shape[1:]))
    bags[held] = values
    seen_of = valid.new_zeros((*held.shape, *valid.shape[1:]))
    seen_of[held] = valid
    return Field(bags, torch.from_numpy(source.unit[seen.rows] > 0), seen_of, {PLACE: place})


class BagLifting(Lifting):
    """Values at raw positions, an entry for each image of each row, in their order."""

    def __init__(self, source: Source, dims: int, settle: Settle | None) -> None:
        self._source: Final = source
        self._dims: Final = dims
        self._settle: Final = settle
        self._rows: list[int] = []
        self._values: list[np.ndarray] = []
        self._spacing: list[tuple[float, ...] | None] = []

    def add(self, view: View, output: Output) -> None:
        """The one dense tensor of the output, `[views, images, channels, *patch]`."""
        from medloom.modalities.image.lifting import ImageLifting

        spatial = [values for values in output.values() if values.ndim == 3 + self._dims]
        if len(spatial) != 1:
            raise TypeError(
                f"found {counted(len(spatial), 'tensor')} of {3 + self._dims} axes in an output; expected one to lift"
            )
        unit, place = units(self._source, view.rows)
        inner = Source(self._source.packed, unit, self._source.patient[view.rows][place])
        lifting = ImageLifting(inner, self._dims, self._settle, False)
        lifting.add(apart(view), {"images": spatial[0].detach().cpu()[view.at[HELD]]})
        found = lifting.finish()
        self._rows += view.rows[place].tolist()
        self._values += list(found.values)
        self._spacing += list(found.spacing_mm)

    def finish(self) -> Lifted:
        return Lifted(np.array(self._rows, np.int64), self._values, self._spacing)


def means(source: Source, rows: Int[np.ndarray, " rows"], values: Float[np.ndarray, "images features"]) -> np.ndarray:
    """The mean of numbers over the images of each row, and the highest of them; NaN where it has none."""
    _, place = units(source, rows)
    count = count_of(source, rows)
    total, most = np.zeros((len(rows), values.shape[1])), np.full((len(rows), values.shape[1]), -np.inf)
    np.add.at(total, place, values)
    np.maximum.at(most, place, values)
    none = (count == 0)[:, None]
    mean = np.where(none, np.nan, total / np.maximum(count, 1)[:, None])
    return np.concatenate([mean, np.where(none, np.nan, most)], axis=1)


def _held(count: Int[np.ndarray, " rows"]) -> Bool[np.ndarray, "rows images"]:
    return np.arange(max(1, int(count.max(initial=0)))) < count[:, None]


def _padded(array: Shaped[np.ndarray, "images ..."], held: Bool[np.ndarray, "rows most"]) -> np.ndarray:
    """Values of images put side by side for each row; 0 in places without one."""
    whole = np.zeros((*held.shape, *array.shape[1:]), array.dtype)
    whole[held] = array
    return whole
