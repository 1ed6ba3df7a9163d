"""The column of the best single feature is named."""

from __future__ import annotations

import numpy as np
import polars as pl

from medloom.evaluation.baseline import fit_baselines
from medloom.explain.best_columns import best_columns
from medloom.prepare import prepare, read
from medloom.study import make


def test_the_column_that_tells_is_named() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 3))
    word = random.choice(["a", "b"], 300)
    frame = pl.DataFrame({"noise": x[:, 0], "signal": x[:, 1], "other": x[:, 2], "ward": word})
    frame = frame.with_columns(died=(x[:, 1] + 0.5 * random.normal(size=300) > 0).astype(int))
    study = make(
        {
            "name": "best",
            "cohort": {"independent_rows": True},
            "inputs": {"labs": {"modality": "table", "known_before_index": True}},
            "targets": {"death": {"task": "classify", "column": "died"}},
        }
    )
    prepared = prepare(*read(study, frame))
    feed, fold = prepared.feed, prepared.fold
    simple = fit_baselines(feed, fold.train, fold.valid, 0, lambda _, name: name == "best_feature")
    assert best_columns(feed, simple) == {"death": "signal"}
    assert best_columns(feed, simple, (1, 2)) == {"death": "signal (in the first fold)"}
    assert best_columns(feed, {"death": {}}) == {}
