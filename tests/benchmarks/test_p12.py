"""The benchmarks of courses of events: their studies are studies, and padding is what it is by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks import p12, padding
from medloom.modality import Lengths


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "icu-physionet2012"
    folder.mkdir()
    lines = [
        "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death",
        "1,6,1,5,-1,0",
        "2,-1,8,-1,3,1",
        "3,9,2,8,9,1",
    ]
    (folder / "outcomes.csv").write_text("\n".join(lines))
    events = {"RecordID": [1, 1, 1, 2, 2], "minutes": [0, 0, 90, 6, 6], "parameter": ["RecordID", "Age", "HR", "HR", "HR"], "value": [1, -1, 70, 80, 80]}  # fmt: skip
    pl.DataFrame(events).write_csv(folder / "events.csv.gz", compression="gzip")
    return tmp_path


def test_what_is_marked_missing_is_missing_and_repeats_go(data: Path) -> None:
    stays = p12.stays(data)
    assert stays["saps"].to_list() == [6, None, 9] and stays["days"].to_list() == [5, None, 8]
    assert p12.course(data).rows() == [(1, 1.5, "HR", 70.0), (2, 0.1, "HR", 80.0)]
    assert p12.severity(stays) == 1.0


def test_the_study_is_the_example(data: Path) -> None:
    from medloom.study import read

    example = read(Path(p12.__file__).parents[1] / "examples" / "icu-course.toml")
    ours, theirs = p12.study(), example
    assert ours.train == theirs.train and ours.model == theirs.model
    same = ("encoder", "bin", "statistics", "scale", "width", "dropout", "lookback", "last")
    assert all(getattr(ours.inputs["course"], key) == getattr(theirs.inputs["course"], key) for key in same)


def test_padding_by_hand() -> None:
    each = np.array([1, 3] * padding.BATCH)
    assert padding.wasted(Lengths(each, 4, 1), 0) == 0.0
    assert 0.2 < padding.wasted(Lengths(each, 0, 1), 0) <= 1 / 3 + 1e-9
