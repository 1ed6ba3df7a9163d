"""The benchmark of the Bonn EEG: its study is a study, and fewer classes are sums of the five sets."""

from __future__ import annotations

import numpy as np
import polars as pl

from benchmarks import bonn, bonn_3, bonn_seizure


def test_fewer_classes_are_sums_of_probabilities_joined_by_segment() -> None:
    frame = pl.DataFrame({"segment": ["a", "b", "c"], "path": [""] * 3, "state": ["A", "C", "E"]})
    each = {"c": [0.1, 0.1, 0.1, 0.3, 0.4], "b": [0.1, 0.1, 0.3, 0.1, 0.4], "a": [0.3, 0.25, 0.35, 0.0, 0.1]}
    said = pl.DataFrame(
        {
            "row": list(each),
            **{f"state_probability_{s}": [p[i] for p in each.values()] for i, s in enumerate(bonn.SETS)},
        }
    )
    assert bonn.correct(said, frame, dict(zip(bonn.SETS, bonn.SETS, strict=True))).tolist() == [0, 0, 1]
    # 0.55 for healthy; 0.4 each for between and in a seizure, of which the first name wins; 0.4 for either.
    assert bonn.correct(said, frame, bonn_3.CLASSES).tolist() == [1, 1, 0]
    assert bonn.correct(said, frame, bonn_seizure.CLASSES).tolist() == [1, 1, 0]


def test_the_window_is_the_whole_segment() -> None:
    asked = bonn.study("bonn")
    assert asked.inputs["eeg"].samples == 4097  # type: ignore[attr-defined]
    assert asked.model.simple == ("ridge",) and np.isclose(asked.split.valid + asked.split.calibrate, 0)
