"""The benchmark of tables, on little: entrants meet on the same rows, ranks and differences are what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import tables
from benchmarks.table_sets import every


def test_made_tables_are_the_same_again_and_their_optimum_is_beyond_chance() -> None:
    sets = every(None)
    assert len(sets) >= 8 and "icu-physionet2012" not in sets
    for name in ("linear", "interaction", "sparse", "noisy", "heavy_tailed"):
        one, two = sets[name](), sets[name]()
        assert one.frame.equals(two.frame) and one.chance is not None
        answer = one.frame["answer"].to_numpy()
        assert abs(answer.mean() - one.chance.mean()) < 0.05 and 0.2 < answer.mean() < 0.8


def test_ranks_and_differences() -> None:
    figures = {"mlp": 0.7, "tabm": 0.9, "transformer": 0.6, "gradient_boosting": 0.8, "logistic": 0.5, "optimum": 0.95}
    lines = {line.metric: line for line in tables.results({"one": figures, "two": figures})}
    assert lines["mean rank of tabm among 5, by AUROC"].value == 1.0
    assert lines["mean rank of mlp among 5, by AUROC"].value == 3.0
    assert lines["AUROC of mlp less gradient boosting's, mean over tables"].value == pytest.approx(-0.1)
    assert (
        "tabm -0.2000 [-0.2000, -0.2000]" in lines["AUROC of mlp less gradient boosting's, mean over tables"].difference
    )
    assert lines["optimum's AUROC less tabm's, mean over made tables"].value == pytest.approx(0.05)
    low, high = tables.interval(np.arange(10.0))
    assert low < 4.5 < high


@pytest.mark.slow
def test_entrants_on_one_table_and_again_from_what_is_kept(tmp_path: Path) -> None:
    sets = {name: read for name, read in every(None).items() if name == "breast_cancer"}
    found = tables.measure(sets, tmp_path, 30)
    assert set(found["breast_cancer"]) == {"mlp", "tabm", "transformer", "gradient_boosting", "logistic"}
    assert all(value > 0.9 for value in found["breast_cancer"].values())
    assert tables.measure(sets, tmp_path, 30) == found
