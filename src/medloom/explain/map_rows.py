"""Where in the images of single rows the answers come from, as files and as a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from medloom.errors import BundleError
from medloom.explain.map_checks import highest
from medloom.explain.maps import ATTENTION, GRAD_CAM, GRADIENTS, OCCLUSION, Asked, can_map, lifted, maps
from medloom.feed import Feed
from medloom.modality import Modality
from medloom.model.team import Team
from medloom.task import Task

METHODS = (GRAD_CAM, GRADIENTS, OCCLUSION, ATTENTION)
LINE = {
    "target": pl.String, "answer": pl.String, "score": pl.Float64, "unit": pl.String, "input": pl.String,
    "image": pl.Int64, "share": pl.Float64, "method": pl.String, "highest": pl.Float64, "lowest": pl.Float64, "at": pl.String,
    "file": pl.String,
}  # fmt: skip


def sees_images(team: Team, modalities: Mapping[str, Modality]) -> bool:
    """Whether any network of the team sees an input that maps can be made of."""
    if not team.networks:
        return False
    encoders = team.networks[0].encoders
    return any(one.located(encoders[f"input_{name}"]) is not None for name, one in modalities.items())


def mapped_rows(
    team: Team,
    tasks: Mapping[str, Task],
    feeds: Iterable[tuple[pl.Series, Feed]],
    methods: Sequence[str],
    folder: Path | None,
) -> Iterator[pl.DataFrame]:
    """For block after block of rows (ids, feed) a table with a line for each row, target, image and method.

    Its columns are the row's id, `target`, the `answer` that the map is of and its `score` in `unit`, `input`, `image`
    (from 1), its `share` of the attention where a row may have several, `method`, the `highest` and `lowest` value of the map, `at` (the voxel of the highest, along the axes of the
    file, from 0) and `file`, where a `folder` is given. Rows without an image have no line.
    Raises BundleError where no target has answers that maps can be made of.
    """
    done = 0
    for ids, feed in feeds:
        ready = replace(feed, tasks=tasks)
        pairs = [(target, name) for target in tasks for name in feed.modalities if can_map(team, ready, target, name)]
        if not pairs:
            raise BundleError(
                "maps are of answers that are a few numbers a row, and no target of this bundle has any: `medloom predict` "
                "writes outlines"
            )
        lines: list[tuple[object, ...]] = []
        for target, name in pairs:
            asked = Asked(team.networks, ready, target, name)
            lines += _lines(asked, ids, methods, folder, done)
        schema = {ids.name: pl.String, **LINE}
        yield pl.DataFrame(lines, schema=schema, orient="row")
        done += len(ids)


def _lines(
    asked: Asked, ids: pl.Series, methods: Sequence[str], folder: Path | None, done: int
) -> Iterator[tuple[object, ...]]:
    """The lines of one target and input, row after row and method after method; writes the files."""
    if not (asked.feed.sources[asked.input].unit > 0).any():
        return
    usable, (names, unit) = asked.methods(methods), asked.answers()
    texts = ids.cast(pl.String).to_list()
    for views in asked.views(np.arange(len(ids))):
        first = np.searchsorted(views.place, np.arange(len(views.rows)))
        score = dict(zip(views.rows.tolist(), views.score[first].tolist(), strict=True))
        answer = dict(zip(views.rows.tolist(), views.answer[first].tolist(), strict=True))
        weighed = asked.shares(views)
        for method, of in maps(asked, views, usable).items():
            image, before = 0, -1
            for row, values in lifted(asked, views, of):
                image = image + 1 if row == before else 1
                before = row
                file = _saved(asked, row, image, method, values, folder, done)
                at = ",".join(map(str, highest(values)))
                share = None if weighed is None else float(weighed[views.rows.tolist().index(row)][image - 1])
                told = (asked.target, names[answer[row]], score[row], unit, asked.input, image, share, method)
                yield (texts[row], *told, float(values.max()), float(values.min()), at, file)


def _saved(
    asked: Asked, row: int, image: int, method: str, values: np.ndarray, folder: Path | None, done: int
) -> str | None:
    if folder is None:
        return None
    several = f"-{image}" if image > 1 else ""
    stem = folder / f"{done + row + 1:06d}-{asked.target}-{asked.input}{several}-{method}"
    modality, source = asked.feed.modalities[asked.input], asked.feed.sources[asked.input]
    return str(modality.save_numbers(source, row, values, stem, image - 1))
