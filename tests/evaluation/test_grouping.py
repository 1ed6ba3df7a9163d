from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from medloom.cohort.table import Cohort, make_cohort
from medloom.cohort_part import CohortPart
from medloom.errors import DataError
from medloom.evaluation.grouping import MISSING, groupings, missing_inputs
from medloom.parts import EvaluatePart, SubgroupPart
from medloom.prepare import prepare, read
from medloom.study import make


def cohort(site: str | None = None, **columns: list[object]) -> Cohort:
    frame = pl.DataFrame(columns)
    part = CohortPart(independent_rows=True, site=site)
    return make_cohort(part, frame, Path(), {}, 1)


def counted(asked: str | SubgroupPart, who: Cohort) -> dict[str, int]:
    (found,) = groupings([asked], who)
    return {name: int((found.code == code).sum()) for code, name in enumerate(found.names)}


def test_a_column_by_value_and_missing_values_in_no_group() -> None:
    who = cohort(sex=["M", "F", None, "F"], stage=[10, 9, 2, 2])
    assert counted("sex", who) == {"F": 2, "M": 1}
    (found,) = groupings(["sex"], who)
    np.testing.assert_array_equal(found.code, [1, 0, -1, 0])
    np.testing.assert_array_equal(found.take(np.array([3, 0])).code, [0, 1])
    assert list(counted("stage", who)) == ["2", "9", "10"]  # In the order of the numbers.


def test_bands_by_cuts_and_by_quantiles() -> None:
    who = cohort(age=[20.0, 49.9, 50.0, 70.0, None, 90.0])
    assert counted(SubgroupPart(column="age", cuts=(50, 70)), who) == {
        "under 50": 2,
        "50 to under 70": 1,
        "70 and over": 2,
    }
    thirds = counted(SubgroupPart(column="age", quantiles=2), who)
    assert list(thirds.values()) == [2, 3]


def test_the_site_of_the_cohort_and_a_column_of_that_name() -> None:
    assert counted("site", cohort(site="hospital", hospital=["x", "y", "x"])) == {"x": 2, "y": 1}
    frame = pl.DataFrame({"site": ["left", "right", "left"]})
    who = make_cohort(CohortPart(independent_rows=True), frame, Path(), {}, 1)
    assert counted("site", who) == {"left": 2, "right": 1}


def test_the_smallest_of_many_values_are_one_group() -> None:
    values = [f"v{i:02d}" for i in range(30) for _ in range(2 if i < 19 else 1)]
    found = counted("ward", cohort(ward=values))
    assert len(found) == 20 and found["all others"] == 11


def test_how_much_is_missing() -> None:
    study = make(
        {
            "name": "x",
            "cohort": {"independent_rows": True},
            "inputs": {
                "t": {
                    "modality": "table",
                    "known_before_index": True,
                    "columns": {"a": {"kind": "numeric"}, "b": {"kind": "numeric"}},
                }
            },
            "targets": {"y": {"task": "classify", "column": "y"}},
        }
    )
    rows = 60
    a = [None if i % 3 == 0 else float(i) for i in range(rows)]
    b = [None if i % 2 == 0 else float(i * i % 7) for i in range(rows)]
    frame = pl.DataFrame({"a": a, "b": b, "y": [i % 2 for i in range(rows)]})
    prepared = prepare(*read(study, frame))
    missing = missing_inputs(prepared.feed)
    np.testing.assert_array_equal(missing, [(i % 3 == 0) + (i % 2 == 0) for i in range(rows)])
    (found,) = groupings([MISSING], prepared.cohort, missing)
    assert found.names == ("at most 1 missing", "over 1 missing")
    np.testing.assert_array_equal(found.code, missing > 1)
    (none,) = groupings([MISSING], prepared.cohort, np.repeat([0, 2], [50, 10]))
    assert none.names == ("nothing missing", "something missing")


def test_what_cannot_be_grouped_says_what_to_do() -> None:
    who = cohort(age=[float(i) for i in range(30)], name=[f"n{i}" for i in range(30)])
    with pytest.raises(DataError, match=r"'age' holds 30 different numbers; expected groups. Give .*cuts"):
        groupings(["age"], who)
    with pytest.raises(DataError, match="evaluate.subgroups: no column 'agee' in the table; did you mean 'age'"):
        groupings(["agee"], who)
    with pytest.raises(DataError, match="'name' holds 30 values that are not numeric"):
        groupings([SubgroupPart(column="name", quantiles=2)], who)


def test_the_option_takes_names_and_bands() -> None:
    part = EvaluatePart.model_validate({"subgroups": ["sex", {"column": "age", "cuts": [50, 70]}, MISSING]})
    assert part.subgroups == ("sex", SubgroupPart(column="age", cuts=(50, 70)), MISSING)
    for wrong in ({"column": "age"}, {"column": "age", "cuts": [2, 1]}, {"column": "age", "cuts": [1], "quantiles": 2}):
        with pytest.raises(ValidationError):
            EvaluatePart.model_validate({"subgroups": [wrong]})
