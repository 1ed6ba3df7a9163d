import re

import numpy as np
import polars as pl
import pytest

from medloom.report.kept import opened
from medloom.report.section import Paragraph, Table
from medloom.report.sections.table_one import _hidden, _short
from medloom.run import fit
from medloom.study import Study


def cohort(rows: int = 300) -> pl.DataFrame:
    random = np.random.default_rng(3)
    age = random.normal(60, 10, rows)
    age[:30] = np.nan
    return pl.DataFrame(
        {
            "id": [f"r{i}" for i in range(rows)],
            "age": age,
            "ward": ["heart"] * 150 + ["lung"] * 142 + ["rare"] * 5 + [None] * 3,
            "smoker": [1] * 90 + [0] * 200 + [None] * 10,
            "died": random.random(rows) < 0.4,
            "dx": [*["I50.1;I50.9;E11.9"] * 100, *["E11.2"] * 100, *["C34.1"] * 4, *[""] * 96],
        }
    ).with_columns(pl.col("age").fill_nan(None))


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    study = Study.model_validate(
        {
            "name": "t",
            "cohort": {"row": "id", "independent_rows": True},
            "inputs": {
                "labs": {
                    "modality": "table",
                    "known_before_index": True,
                    "columns": {
                        "age": {"kind": "numeric", "unit": "year"},
                        "ward": {"kind": "category"},
                        "smoker": {"kind": "numeric"},
                        "dx": {"kind": "code", "system": "icd10", "separator": ";", "missing": [""]},
                    },
                }
            },
            "targets": {"death": {"task": "classify", "column": "died"}},
            "train": {"steps": 5},
            "evaluate": {"resamples": 100},
        }
    )
    run = fit(study, tmp_path_factory.mktemp("t") / "run", data=cohort())
    content = opened(run.folder)
    section = next(one for one in content.sections if one.key == "table-one")
    return section, next(piece for piece in section.pieces if isinstance(piece, Table)), run


def line(table: Table, name: str) -> dict[str, str]:
    row = next(row for row in table.rows if row[0] == name)
    return dict(zip(table.head, row, strict=True))


def test_numbers_are_medians_with_quartiles_by_part_and_outcome(told):
    _, table, _ = told
    frame = cohort()
    assert table.head == (
        "Characteristic",
        "All",
        "Training",
        "Validation",
        "Calibration",
        "Test",
        "death: no",
        "death: yes",
    )
    for name, part in (
        ("All", frame),
        ("death: yes", frame.filter("died")),
        ("death: no", frame.filter(~pl.col("died"))),
    ):
        low, middle, high = (part["age"].quantile(q, "linear") for q in (0.25, 0.5, 0.75))
        assert line(table, "age, year")[name] == f"{_short(middle)} [{_short(low)},\xa0{_short(high)}]"
        assert line(table, "Rows")[name] == str(len(part))
    assert line(table, "age, year: missing")["All"] == "30 (10.0)"


def test_a_number_that_is_0_or_1_is_counted(told):
    _, table, _ = told
    assert [line(table, f"smoker: {one}")["All"] for one in ("1", "0", "missing")] == [
        "90 (30.0)",
        "200 (66.7)",
        "10 (3.3)",
    ]


def test_words_of_few_patients_are_pooled_and_hidden_and_never_one_alone(told):
    _, table, _ = told
    assert not any("rare" in row[0] for row in table.rows)
    assert line(table, "ward: other")["All"] == "<10"
    assert line(table, "ward: missing")["All"] == "<10"
    for name in table.head[1:]:
        cells = [row for row in table.rows if row[0].startswith("ward")]
        found = [dict(zip(table.head, row, strict=True))[name] for row in cells]
        assert sum(cell in ("<10", "hidden") for cell in found) != 1
        assert all(
            int(re.match(r"[\d,]+", cell)[0].replace(",", "")) >= 10 or cell.startswith("0 ")
            for cell in found
            if cell not in ("<10", "hidden")
        )


def test_codes_are_told_in_groups_that_enough_patients_have(told):
    _, table, _ = told
    coded = [row[0] for row in table.rows if row[0].startswith("dx")]
    assert coded == ["dx, codes a row", "dx: E11", "dx: I50"]
    assert line(table, "dx: E11")["All"] == "200 (66.7)" and line(table, "dx: I50")["All"] == "100 (33.3)"
    assert line(table, "dx, codes a row")["All"] == "1 [0,\xa03]"
    assert "C34" not in " ".join(row[0] for row in table.rows)


def test_gaps_are_told(told):
    section, _, _ = told
    said = [piece.text for piece in section.pieces if isinstance(piece, Paragraph)]
    assert said == [
        "labs: 3 of 3 columns have missing values, most of all age (10.0\xa0%), smoker (3.3\xa0%), ward (1.0\xa0%)."
    ]


def test_no_row_id_and_no_rare_word_is_kept(told):
    *_, run = told
    for name in ("content.json", "report.html"):
        text = (run.folder / name).read_text(encoding="utf-8")
        assert not re.search(r"\br\d+\b", text.replace("r0,", "")) or not any(f'"r{i}"' in text for i in range(300))
        assert "rare" not in re.findall(r"ward: \w+", text)


@pytest.mark.parametrize(
    ("value", "text"), [(1303.4, "1,303"), (13.04, "13"), (0.09587, "0.0959"), (-2.5, "−2.5"), (0, "0")]
)
def test_three_digits_count(value, text):
    assert _short(value) == text


def test_a_single_hidden_count_takes_the_next_smallest_with_it():
    patient, every = np.arange(60), np.ones(60, bool)
    masks = {"a": patient < 5, "b": (patient >= 5) & (patient < 25), "c": patient >= 25}
    assert _hidden(masks, every, patient) == {"a": "<10", "b": "hidden", "c": "35 (58.3)"}
