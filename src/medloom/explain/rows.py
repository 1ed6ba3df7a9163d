"""What each column, and each code, adds to the answers of single rows, as a table."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import polars as pl

from medloom.errors import BundleError
from medloom.explain.gradients import Contributions, can_explain, contributions
from medloom.feed import Feed
from medloom.model.team import Team
from medloom.task import Task

START = "(start)"
"""In place of a column: the answer for a row of nothing, from which all contributions count."""
REST = "(rest)"
"""In place of a column: what the steps along the path missed."""


def explained(team: Team, tasks: Mapping[str, Task], feeds: Iterable[tuple[pl.Series, Feed]]) -> Iterator[pl.DataFrame]:
    """For block after block of rows (ids, feed) a table with a line for each row, answer and column or code.

    Its columns are the row's id, `target`, `answer`, `input`, `column`, `contribution` and `unit`. The lines of a row and
    answer add up to what the networks say; the first one, `(start)`, is what they say of nothing in particular, and the
    last one, `(rest)`, is what adding up in steps missed. Codes that add nothing to a row, as it has none of them, have no line.
    Raises BundleError where no network or no column can be explained.
    """
    for ids, feed in feeds:
        ready = replace(feed, tasks=tasks)
        targets = [name for name in tasks if can_explain(team, ready, name)]
        if not targets:
            raise BundleError(f"the columns of these rows cannot be explained one by one: {_why_not(team, ready)}")
        parts = [
            _lines(ids.gather(place), name, one, {n for n, m in feed.modalities.items() if m.rest_as_one})
            for name in targets
            for place, one in contributions(team, ready, name, np.arange(len(ids)))
        ]
        yield pl.concat(parts)


def _why_not(team: Team, feed: Feed) -> str:
    """What keeps integrated gradients from the columns of rows, and where else to look."""
    if not team.networks:
        return "the bundle holds no network; the report of its run says which columns matter"
    if feed.windowed is not None:
        return f"input {feed.windowed} is seen in windows, and no other has columns or codes; see the report of its run"
    return "no input has columns or codes; the report of its run says what the answers rest on"


def _lines(ids: pl.Series, target: str, found: Contributions, many: Collection[str]) -> pl.DataFrame:
    """Rows × answers × (start, columns, rest), in this order; of inputs with `many` parts those that add something."""
    rows, answers, pieces = found.value.shape
    whole = np.concatenate([found.start[:, :, None], found.value, found.gap[:, :, None]], axis=2).reshape(-1)
    inputs = [None, *(piece.input for piece in found.pieces), None]
    columns = [START, *(piece.part for piece in found.pieces), REST]
    wide = pieces + 2
    always = np.array([name not in many for name in inputs])
    told = np.flatnonzero(np.tile(always, rows * answers) | (whole != 0))
    row, answer, piece = np.unravel_index(told, (rows, answers, wide))
    return pl.DataFrame(
        {
            ids.name: ids.gather(row),
            "target": pl.Series([target]).gather(np.zeros(len(told), np.int64)),
            "answer": pl.Series(list(found.names)).gather(answer),
            "input": pl.Series(inputs, dtype=pl.String).gather(piece),
            "column": pl.Series(columns).gather(piece),
            "contribution": whole[told],
            "unit": pl.Series([found.unit]).gather(np.zeros(len(told), np.int64)),
        }
    )
