"""Images of different patients that are copies of each other, side by side, for reports whose study asks for pictures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int

from medloom.audit.copies import copied
from medloom.explain.cases import Case, Panel, cut, hung
from medloom.feed import Feed
from medloom.modality import Modality
from medloom.packed import Source

MOST_COMPARED = 20_000
"""Rows that are compared with one another: the audit counts the pairs of all, here some are shown."""


def with_copies(feed: Feed, patient: Int[np.ndarray, " rows"], pictures: int) -> tuple[Case, ...]:
    """So many pairs of each input whose images can be drawn, in the order of the rows."""
    found: list[Case] = []
    for name, modality in feed.modalities.items():
        source = feed.sources[name]
        rows = np.flatnonzero(source.unit > 0)[:MOST_COMPARED]
        if modality.copies_within is None or not len(rows) or not modality.pictures(source, int(rows[0])):
            continue
        pairs = copied(modality.fingerprint(source, rows), patient[rows], modality.copies_within)
        every = len(pairs.one)
        for number in range(min(every, pictures)):
            both = (int(rows[pairs.one[number]]), int(rows[pairs.other[number]]))
            panels = [
                panel
                for row, word in zip(both, ("one", "another"), strict=True)
                for panel in _drawn(modality, source, row, word)
            ]
            found.append(Case(f"Copies {number + 1} of {every}: {name}, under two patients", tuple(panels)))
    return tuple(found)


def _drawn(modality: Modality, source: Source, row: int, word: str) -> Iterator[Panel]:
    """The first image of a row; of a volume the slice with its brightest voxel, which a copy shares."""
    for picture in modality.pictures(source, row)[:1]:
        (image, spacing), at = cut(picture, picture.values[0])
        sides, told = hung(picture)
        yield Panel(f"of {word} patient{at}", f"An image that two patients have.{told}", image, spacing, sides=sides)
