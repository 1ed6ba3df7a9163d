"""Rehearsals: earlier rows teach, later ones set widths and shares, and all of them teach in the end."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest

from medloom import fitted
from medloom.cohort.split import rehearsals
from medloom.errors import DataError, StudyError
from medloom.judging import train_one
from medloom.parts import TrainPart
from medloom.prepare import folds, prepare, read
from medloom.rehearsing import last_part
from medloom.rundir import RunFolder
from medloom.study import Study, make
from medloom.tasks.forecast import Forecast


def _table(weeks: int = 90, places: int = 3) -> pl.DataFrame:
    random = np.random.default_rng(0)
    wave = 60 + 40 * np.sin(2 * np.pi * np.arange(weeks) / 26)
    counts = random.poisson(wave[:, None] * random.gamma(20, 1 / 20, (weeks, places)))
    return pl.DataFrame(
        {
            "place": np.tile([f"place {i}" for i in range(places)], weeks),
            "week": np.repeat(np.arange(weeks), places),
            "cases": counts.ravel(),
        }
    )


def _study(**split: Any) -> Study:
    return make(
        {
            "name": "waves",
            "cohort": {
                "panel": {"series": "place", "time": "week", "value": "cases", "horizons": 2, "lags": 4, "step": 1}
            },
            "inputs": {"past": {"modality": "table", "at": "newest"}},
            "targets": {"cases": {"task": "forecast", "horizons": 2, "quantiles": [0.1, 0.25, 0.5, 0.75, 0.9]}},
            "split": {"by": "time", "test": 0.3, "valid": 0, "calibrate": 0, "rehearsals": 2, **split},
            "model": {"members": ["network", "ridge"]},
            "train": {"steps": 4},
            "evaluate": {"baselines": False},
        }
    )


def test_rehearsals_learn_from_what_was_known_and_no_judging_row_is_among_them():
    study, cohort, marks = read(_study(rehearsed=0.6), _table())
    fold = folds(study, cohort, marks)[0]
    found = rehearsals(study.split, cohort, fold)
    assert cohort.at is not None and cohort.answered is not None and len(found) == 2
    for one in found:
        assert cohort.answered[one.train].max() < cohort.at[one.test].min()
        assert not np.isin(one.rows(), fold.test).any() and len(one.test) and not len(one.calibrate)
    assert len(found[0].train) < len(found[1].train) < len(fold.train)
    answered = np.concatenate([one.test for one in found])
    assert len(np.unique(answered)) == len(answered)
    dates = np.unique(cohort.at[fold.train])
    assert len(np.unique(cohort.at[answered])) == pytest.approx(0.6 * len(dates), abs=1)


def test_widths_and_shares_are_those_of_rehearsals_and_every_row_teaches(tmp_path):
    told: list[tuple[str, int]] = []
    study, cohort, marks = read(_study(), _table())
    prepared = prepare(study, cohort, marks)
    folder = RunFolder(tmp_path).training()
    trained = train_one(prepared, study.train, folder, lambda event: told.append((event.kind, event.step)))
    assert [one for one in told if one[0] == "rehearsal"] == [("rehearsal", 1), ("rehearsal", 2)]
    task: Any = trained.tasks["cases"]
    assert len(task.factor) == 2 and all(factor != 1 for factor in task.factor)
    dates = np.unique(np.asarray(cohort.at)[prepared.fold.train])
    assert task.dates == pytest.approx(len(dates) / 2, abs=1) and not len(prepared.fold.calibrate)
    shares = trained.team.shares["cases"]
    assert sum(shares.values()) == pytest.approx(1) and shares["ridge"] > shares["network"]
    # The simple model beside is calibrated to its own answers, and so is the team without each member.
    beside: Any = trained.beside["cases"]["ridge"]
    assert beside.factor == trained.without["cases"]["network"].factor != task.factor  # type: ignore[attr-defined]
    kept = fitted.load(Forecast, json.loads(json.dumps(fitted.dump(task))))
    assert kept == task and "asked for" in kept.describe()["intervals"]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"split": {"rehearsals": 2, "calibrate": 0.1}}, "give calibrate = 0"),
        ({"split": {"rehearsed": 0.3, "calibrate": 0}}, "goes with rehearsals"),
        (
            {"split": {"rehearsals": 2, "calibrate": 0}, "targets": {"sick": {"task": "classify", "column": "sick"}}},
            "task that rehearses",
        ),
        ({"split": {"rehearsals": 2, "calibrate": 0}, "cohort": {"table": "x.csv", "patient": "p"}}, "needs cohort.at"),
        ({"split": {"rehearsals": 2, "calibrate": 0}, "model": {"start": "bundle"}}, "does not go with model.start"),
    ],
)
def test_what_cannot_be_rehearsed_is_said(changed, told):
    asked: dict[str, Any] = {
        "name": "x",
        "cohort": {"table": "x.csv", "patient": "p", "at": "day"},
        "inputs": {"a": {"modality": "table", "known_before_index": True}},
        "targets": {"next": {"task": "forecast"}},
    }
    with pytest.raises(StudyError, match=told):
        make({**asked, **changed})


def test_too_few_dates_to_rehearse_are_refused():
    study, cohort, marks = read(_study(rehearsals=30, rehearsed=0.94), _table(weeks=30))
    with pytest.raises(DataError, match=r"split\.rehearsals: .* give fewer rehearsals"):
        rehearsals(study.split, cohort, folds(study, cohort, marks)[0])


def test_minutes_are_those_of_all_rehearsals_and_the_training_after_them():
    assert last_part(TrainPart(minutes=6), 2).minutes == 2
    assert last_part(TrainPart(epochs=4), 2) == TrainPart(epochs=4)
