"""What the network of a table is built for, known once the table is fitted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BagShape:
    """A column of codes: `words` learnt at each level, the widest first; whether its main code stands in slot 0.

    `name` is the part of the field that holds its ids, "batch slots levels".
    """

    name: str
    words: tuple[int, ...]
    primary: bool
    pool: str


@dataclass(frozen=True, slots=True)
class Layout:
    """Numbers with the `edges` of their bins (scaled; none where they are not parted), ids of categories, and bags."""

    numbers: int
    edges: tuple[tuple[float, ...], ...]
    vocabulary: tuple[int, ...]
    bags: tuple[BagShape, ...] = ()
