"""Rows as vectors: what the encoders of a bundle make of each, for whoever wants to search, plot or cluster them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from jaxtyping import Float

from medloom.batch import Field
from medloom.bundle import Bundle, OnProblem, load
from medloom.errors import BundleError
from medloom.feed import Feed
from medloom.model.assembly import Network
from medloom.model.outputs import averaged, joined


def embed(
    bundle: Bundle | str | Path, data: str | Path, *, problems: OnProblem = "refuse", folder: Path | None = None
) -> Iterator[pl.DataFrame]:
    """The pooled vector of each input for rows of a table file of any size, block after block, with their ids.

    Columns are `<input>_0000` and on; null where the row has no such input. Of several networks it is the first that
    speaks: each has a space of its own. Rows that are seen in several views have their mean. Nothing is hidden of an
    input, whatever the bundle's question. Raises BundleError where a bundle has no network.
    """
    held = bundle if isinstance(bundle, Bundle) else load(bundle)
    if not held.team.networks:
        raise BundleError("this bundle has simple models alone, which encode nothing; expected one with a network")
    network = held.network.eval()
    for ids, feed in held.feeds(data, problems=problems, folder=folder):
        bare = replace(feed, tasks={}, marks={}, laid={}, beneath={}, pinned={}, groups={}, bases={})
        yield ids.to_frame().hstack(_columns(_vectors(network, bare, len(ids))))


def _vectors(network: Network, feed: Feed, rows: int) -> dict[str, Float[np.ndarray, "rows width"]]:
    """Vectors by input; NaN where a row lacks it."""
    found = {name: np.full((rows, gives.width), np.nan, np.float32) for name, gives in network.gives.items()}
    for part, pieces in feed.covering(np.arange(rows)):
        outputs, seen, present = [], [], dict.fromkeys(found, np.zeros(0, bool))
        for _, batch in pieces:
            outputs.append(_pooled(network, batch.inputs))
            seen.append(batch.rows.numpy())
            for name, field in batch.inputs.items():
                present[name] = np.append(present[name], field.present.numpy())
        order = np.concatenate(seen)
        means = averaged(joined(outputs), order, part)
        for name, mean in means.items():
            known = np.isin(part, order[present[name]])
            found[name][part[known]] = mean.numpy()[known]
    return found


@torch.inference_mode()
def _pooled(network: Network, inputs: Mapping[str, Field]) -> dict[str, torch.Tensor]:
    pooled = {}
    for name, field in inputs.items():
        encoded = network.encoders[f"input_{name}"](field)
        pooled[name] = (encoded if field.index is None else encoded.take(field.index)).pooled
    return pooled


def _columns(vectors: Mapping[str, Float[np.ndarray, "rows width"]]) -> list[pl.Series]:
    return [
        pl.Series(f"{name}_{place:04d}", np.ascontiguousarray(column)).fill_nan(None)
        for name, each in vectors.items()
        for place, column in enumerate(each.T)
    ]
