"""Which windows of several inputs stand beside each other, so that together they cover every row (docs/adr/0041)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int

from medloom.errors import counted
from medloom.modality import View


def paired(rows: Int[np.ndarray, " rows"], views: Mapping[str, View], most: int | None = None) -> dict[str, View]:
    """As many views of a row for every input, side by side in the order of `rows`; each input's windows in their order.

    A row has as many as the input that cuts it into most, and every window of the others stands in as many of them as
    any other, or in one more. No more than `most` a row are kept where that is given, evenly spaced.
    """
    counts = {name: _counts(rows, view) for name, view in views.items()}
    wanted = np.max(list(counts.values()), axis=0)
    if most is not None:
        wanted = np.minimum(wanted, most)
    return {name: _spread(view, counts[name], wanted) for name, view in views.items()}


def pieces(views: Mapping[str, View], size: int) -> Sequence[dict[str, View]]:
    """The same views, so many at a time."""
    number = max((len(view.rows) for view in views.values()), default=0)
    return [
        {name: _taken(view, slice(first, first + size)) for name, view in views.items()}
        for first in range(0, max(1, number), size)
    ]


def _counts(rows: Int[np.ndarray, " rows"], view: View) -> Int[np.ndarray, " rows"]:
    """How many views each row has; those of a row stand side by side, and every row has one at least."""
    ends = np.flatnonzero(np.diff(view.rows)) + 1
    counts = np.diff(np.concatenate([[0], ends, [len(view.rows)]])) if len(view.rows) else np.zeros(0, np.int64)
    if len(counts) != len(rows):
        raise ValueError(
            f"{counted(len(counts), 'row has', 'rows have')} views; expected {len(rows)}, each once and with one view at least"
        )
    return counts


def _spread(view: View, have: Int[np.ndarray, " rows"], wanted: Int[np.ndarray, " rows"]) -> View:
    """So many views of each row: each as often as the others where it has fewer, evenly spaced ones where it has more."""
    if (have == wanted).all():
        return view
    which = np.repeat(np.arange(len(have)), wanted)
    number = np.arange(len(which)) - np.repeat(np.cumsum(wanted) - wanted, wanted)
    now, then = have[which], wanted[which]
    fewer = number * now // then
    spaced = (number * (now - 1) + (then - 1) // 2) // np.maximum(then - 1, 1)
    middle = np.where(then == 1, (now - 1) // 2, spaced)
    return _taken(view, (np.cumsum(have) - have)[which] + np.where(now <= then, fewer, middle))


def _taken(view: View, place: slice | Int[np.ndarray, " views"]) -> View:
    return View(view.rows[place], {name: array[place] for name, array in view.at.items()})
