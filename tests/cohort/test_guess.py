"""The first guess at a table: each kind of column, what is warned of, and a study file that is one."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from medloom import study
from medloom.cohort.guess import Guess, guess, tells
from medloom.cohort.guessed_study import as_name, study_toml
from medloom.cohort.kinds import judge, words_of
from medloom.errors import DataError

ROWS = 200
RANDOM = np.random.default_rng(0)
DIED = [str(number) for number in RANDOM.integers(0, 2, ROWS)]
BEGUN = RANDOM.bit_generator.state


@pytest.fixture(autouse=True)
def same_numbers_in_any_order() -> None:
    RANDOM.bit_generator.state = BEGUN


def kind_of(values: list[Any], name: str = "x") -> str:
    return judge(name, pl.Series(name, values)).kind


def guessed(died: list[Any] | None = None, **columns: Any) -> Guess:
    return guess(pl.DataFrame({**columns, "died": DIED if died is None else died}), "died")


def one(result: Guess, name: str) -> Any:
    return next(column for column in result.columns if column.name == name)


def test_numbers_and_words() -> None:
    numbers = RANDOM.normal(size=ROWS)
    assert kind_of(numbers.tolist()) == "numeric"
    assert kind_of([f" {number:.2f}" for number in numbers]) == "numeric"
    assert kind_of(RANDOM.integers(0, 90, ROWS).tolist()) == "numeric"
    assert kind_of(RANDOM.choice(["red", "green", "blue"], ROWS).tolist()) == "category"
    assert kind_of([True, False] * 50) == "category"
    assert kind_of(["0", "1"] * 50) == "category"
    assert kind_of(["007", "017", "117"] * 50) == "category"
    assert kind_of(["250", "428", "V57", "E888", "414", "401", "276", "38"] * 50) == "category"
    assert kind_of(list(range(8)) * 20, "admission_type_id") == "category"
    assert kind_of(list(range(8)) * 20, "number_of_visits") == "numeric"


def test_columns_of_codes() -> None:
    icd10 = RANDOM.choice(["E11.9", "I50.1", "J44.1", "N18.3", "Z99.2", "S72.0"], ROWS)
    atc = RANDOM.choice(["A10BA02", "C09AA05", "C07AB02", "N02BE01", "B01AC06"], ROWS)
    lists = [";".join(RANDOM.choice(atc, n)) for n in RANDOM.integers(1, 5, ROWS)]
    result = guessed(
        x=icd10.tolist(), drugs=[text or "?" for text in lists], y=atc.tolist(),
        diag_1=RANDOM.choice(["250", "428", "V57", "E888", "414.01", "38"], ROWS).tolist(),
        bed=RANDOM.choice(["A10", "A11", "B12", "C01", "D02"], ROWS).tolist(),
    )  # fmt: skip
    found = {name: one(result, name).codes for name in ("x", "drugs", "y", "diag_1", "bed")}
    assert {name: (codes.system, codes.separator) for name, codes in found.items() if codes} == {
        "x": ("icd10", None), "drugs": ("atc", ";"), "y": ("atc", None), "diag_1": ("icd9", None),
    }  # fmt: skip
    columns = tomllib.loads(study_toml(result, "codes"))["inputs"]["table"]["columns"]
    assert columns["drugs"] == {"kind": "code", "system": "atc", "separator": ";"}
    assert study.make(tomllib.loads(study_toml(result, "codes"))).inputs["table"].columns["x"].system == "icd10"


def test_constants() -> None:
    assert (
        kind_of(["a"] * 30)
        == kind_of([None] * 30)
        == kind_of([3.0, None] * 15)
        == kind_of(["?", "NA"] * 15)
        == "constant"
    )
    assert kind_of(["2020-01-01"] * 30) == "constant"


def test_identifiers() -> None:
    assert kind_of([f"u{number}" for number in range(ROWS)]) == "id"
    assert kind_of(RANDOM.permutation(10_000)[:ROWS].tolist()) == "id"
    assert kind_of([str(number) for number in range(5000, 5000 + ROWS)]) == "id"
    assert kind_of(RANDOM.integers(0, ROWS, ROWS).tolist(), "doctorID") == "id"
    assert kind_of([f"Dr {number}" for number in RANDOM.integers(0, ROWS, ROWS)], "doctor_name") == "id"
    assert kind_of(RANDOM.choice(["aspirin", "heparin"], ROWS).tolist(), "drug_name") == "category"
    assert kind_of((np.arange(ROWS) / 7).tolist()) == "numeric"
    assert kind_of(["a", "b", "c"]) == "category"
    assert words_of("patientID") == words_of("Patient id") == words_of("patient_ID") == {"patient", "id"}


@pytest.mark.parametrize(
    "values",
    [
        [f"2020-01-{day:02}" for day in range(1, 29)],
        [f"2020-01-{day:02} 10:30" for day in range(1, 29)],
        [f"{day:02}.01.2020" for day in range(1, 29)],
        [f"{day}/1/2020 10:30" for day in range(1, 29)],
        pl.date_range(pl.date(2020, 1, 1), pl.date(2020, 2, 1), eager=True).to_list(),
    ],
)
def test_dates(values: list[Any]) -> None:
    column = judge("admitted", pl.Series(values))
    assert (column.kind, column.used) == ("date", False)
    assert "cohort.at" in column.warnings[0]
    assert "births" not in column.warnings[0] and "age" in judge("date_of_birth", pl.Series(values)).warnings[0]


def test_free_text() -> None:
    words = [f"word{number}" for number in range(300)]
    notes = [" ".join(RANDOM.choice(words, 12)) for _ in range(ROWS)]
    column = judge("note", pl.Series(notes))
    assert (column.kind, column.used) == ("free text", False)
    assert kind_of(["seen in the outpatient clinic", "seen in the emergency room"] * 50) == "category"


def test_markers_of_missingness() -> None:
    values = [f"{number:.1f}" for number in RANDOM.normal(50, 9, ROWS)]
    column = judge("x", pl.Series([*values, "?", "NA", "unknown"]))
    assert (column.kind, column.used, column.missing) == ("numeric", True, ("?", "NA", "unknown"))
    assert "'?', 'NA', 'unknown'" in column.warnings[0]
    column = judge("x", pl.Series([*["red", "none", "blue"] * 30, "?"]))
    assert (column.kind, column.missing, column.reason) == ("category", ("?",), "3 different words.")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([*range(10, 90), -1, -1, -1], (-1,)),
        ([*range(10, 90), 999, 999, 999], (999,)),
        ([*range(10, 90), 999, 999, 999, -9, -9, -9], (-9, 999)),
        ([*np.linspace(1, 8, 80), *[99.0] * 5], (99,)),
        ([*range(10, 90), -1, -1], ()),
        ([*range(-30, 90), -1, -1, -1], ()),
        ([*range(200), 99, 99, 99], ()),
        ([*range(0, 1200, 10), 999, 999, 999], ()),
    ],
)
def test_numbers_that_mean_missing(values: list[float], expected: tuple[float, ...]) -> None:
    column = judge("x", pl.Series([float(value) for value in values]))
    assert column.missing == expected
    assert len(column.warnings) == len(expected)


def test_numbers_that_must_be_mended_are_left_out_with_a_warning() -> None:
    column = judge("cost", pl.Series([f"{number:,}" for number in range(900, 900 + ROWS)]))
    assert (column.kind, column.used) == ("numeric", False)
    assert "thousands separators" in column.warnings[0]
    assert "decimal commas" in judge("x", pl.Series(["3,7", "4,25", "10,1"] * 20)).warnings[0]
    column = judge("crp", pl.Series(["3.1", "0.4", "7", "9.9", "<5"] * 30))
    assert (column.kind, column.used) == ("numeric", False)
    assert "30 of 150" in column.reason and "<5" not in str(column)


@pytest.mark.parametrize("copy", ["flag", "word", "number", "noisy", "filled", "date"])
def test_copies_of_the_target(copy: str) -> None:
    died = np.array([int(value) for value in DIED])
    columns = {
        "flag": died.tolist(),
        "word": np.where(died, "deceased", "alive").tolist(),
        "number": (died * 10 + RANDOM.normal(size=ROWS)).tolist(),
        "noisy": np.where(np.arange(ROWS) == 5, 1 - died, died).tolist(),
        "filled": [number if dead else None for number, dead in zip(RANDOM.normal(size=ROWS), died, strict=True)],
        "date": [
            f"2020-01-{day:02}" if dead else None for day, dead in zip(RANDOM.integers(1, 28, ROWS), died, strict=True)
        ],
    }
    result = guessed(DIED * 3, copy=columns[copy] * 3 if copy != "noisy" else [*columns[copy], *died.tolist() * 2])
    column = one(result, "copy")
    assert (column.kind, column.used) == ("target copy", False)
    assert any("'copy' alone tells" in warning for warning in result.warnings)


def test_what_predicts_well_is_no_copy() -> None:
    died = np.array([int(value) for value in DIED])
    lactate = died * 2 + RANDOM.normal(size=ROWS)
    assert 0.85 < tells(pl.Series(lactate), pl.Series(DIED)) < 0.995
    assert one(guessed(lactate=lactate.tolist()), "lactate").used


def test_a_rare_class_makes_no_copies() -> None:
    died = ["1"] * 6 + ["0"] * 2994
    result = guessed(died, sex=RANDOM.choice(["f", "m"], 3000).tolist(), age=RANDOM.normal(size=3000).tolist())
    assert one(result, "sex").used and one(result, "age").used


def test_how_well_a_number_tells_agrees_with_scikit_learn() -> None:
    died = np.array([int(value) for value in DIED])
    number = np.round(RANDOM.normal(size=ROWS) - died, 1)
    expected = roc_auc_score(died, -number)
    assert tells(pl.Series(number), pl.Series(DIED)) == pytest.approx(expected, abs=1e-12)


def test_patient_and_row() -> None:
    patient = (np.arange(ROWS) // 3).tolist()
    result = guessed(stay_id=range(ROWS), patient_nbr=patient, patient_age=RANDOM.normal(size=ROWS))
    assert (result.row, result.patient) == ("stay_id", "patient_nbr")
    assert one(result, "patient_age").used
    assert {one(result, name).kind for name in ("stay_id", "patient_nbr")} == {"id"}
    assert not any("patient_nbr" in warning or "independent" in warning for warning in result.warnings)
    result = guessed(MRN=[f"m{number}" for number in range(ROWS)], subject_id=patient)
    assert result.patient == "subject_id"
    result = guessed(patient=[None, *patient[1:]])
    assert result.patient is None
    assert any("independent_rows" in warning for warning in result.warnings)
    assert any("names patients, and not rows" in warning for warning in guessed(patient=range(ROWS)).warnings)


def test_what_tells_who_somebody_is_never_becomes_an_input() -> None:
    column = one(guessed(surname=RANDOM.choice(["Li", "Roe", "Poe"], ROWS).tolist()), "surname")
    assert not column.used and "may tell who" in column.warnings[-1]


def test_the_target() -> None:
    result = guess(
        pl.DataFrame({"x": RANDOM.normal(size=60), "Outcome 1": ["dead", "alive", "alive"] * 19 + ["?"] * 3}),
        "Outcome 1",
    )
    assert (result.classes, result.positive, result.target_missing) == (("alive", "dead"), "dead", ("?",))
    made = study.make(tomllib.loads(study_toml(result, "s")))
    part: Any = made.targets["Outcome-1"]
    assert (part.column, part.positive, part.missing) == ("Outcome 1", "dead", ("?",))
    assert guessed(["yes"] * 150 + ["no"] * 50, x=range(ROWS)).positive == "yes"
    assert any("fewer than two classes" in w for w in guessed(["1"] * ROWS, x=DIED).warnings)
    with pytest.raises(DataError, match="did you mean 'died'"):
        guess(pl.DataFrame({"died": [1]}), "dyed")


def test_the_study_file(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "stay_id": range(ROWS),
            "patient_id": np.arange(ROWS) // 2,
            "admitted": [f"2020-01-{day:02}" for day in RANDOM.integers(1, 28, ROWS)],
            "age": [str(age) for age in RANDOM.integers(1, 90, ROWS - 4)] + ["?"] * 4,
            "blood type (ABO)": RANDOM.choice(["A", "B", "0"], ROWS),
            "always": ["x"] * ROWS,
            "died": DIED,
        }
    )
    path = tmp_path / "stays.csv"
    frame.write_csv(path)
    text = study_toml(guess(path, "died"), "my study (1)")
    made: Any = study.make(tomllib.loads(text))
    assert made.name == "my-study-1"
    assert (made.cohort.table, made.cohort.row, made.cohort.patient) == ("stays.csv", "stay_id", "patient_id")
    columns = made.inputs["table"].columns
    assert list(columns) == ["age", "blood type (ABO)"]
    assert (columns["age"].kind, columns["age"].missing) == ("numeric", ("?",))
    assert '# at = "admitted"' in text and "# always = " in text
    assert made.targets["died"].positive == "1"
    assert (
        tomllib.loads(study_toml(guess(path, "died"), "s", tmp_path.parent))["cohort"]["table"]
        == f"{tmp_path.name}/stays.csv"
    )


def test_without_patients_the_study_declares_it_and_says_so() -> None:
    text = study_toml(guessed(x=RANDOM.normal(size=ROWS)), "s")
    assert "independent_rows = true      # check" in text
    assert study.make(tomllib.loads(text)).cohort.independent_rows


def test_where_nothing_is_left_to_learn_from_nothing_is_taken() -> None:
    result = guessed(code=[f"u{number}" for number in range(ROWS)], copy=DIED)
    made: Any = study.make(tomllib.loads(study_toml(result, "s")))
    assert made.inputs["table"].columns == {}
    assert set(made.inputs["table"].exclude) == {"code", "copy"}


def test_files_become_inputs_of_their_kind(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "film": [f"films/{number}.PNG" for number in range(ROWS)],
            "scan": [f"{number}.nii.gz" for number in range(ROWS - 1)] + [None],
            "brain mask": [f"{number}.nii" for number in range(ROWS)],
            "ECG lead II": [f"r{number}.hea" for number in range(ROWS)],
            "part": ["train", "test"] * (ROWS // 2),
            "died": DIED,
        }
    )
    result = guess(frame, "died")
    assert [one(result, name).kind for name in frame.columns[:5]] == ["picture", "volume", "volume", "signal", "split"]
    assert (result.task, result.split, len(result.warnings)) == ("classify", "part", 1)
    text = study_toml(result, "s")
    made: Any = study.make(tomllib.loads(text))
    assert list(made.inputs) == ["film", "scan", "ECG-lead-II"] and "brain mask" in text
    assert (made.inputs["film"].dims, made.inputs["scan"].dims, made.inputs["scan"].intensity) == (2, 3, "image")
    assert made.inputs["film"].augment.rotate_degrees == 10 and made.inputs["ECG-lead-II"].window_seconds == 10
    assert (made.split.by, made.split.column) == ("column", "part")
    made = study.make(tomllib.loads(study_toml(guess(frame.drop("ECG lead II", "film"), "brain mask"), "s")))
    assert (made.targets["brain-mask"].task, made.targets["brain-mask"].input) == ("segment", "scan")
    assert list(made.inputs["table"].columns) == ["died"]
    with pytest.raises(DataError, match="expected another column with the image"):
        guess(frame.select("brain mask", "died"), "brain mask")


def test_windows_of_records_are_seen_as_such_and_what_says_where_they_lie_is_no_input() -> None:
    number = np.arange(ROWS)
    frame = pl.DataFrame(
        {
            "record": [f"r{n // 10}" for n in number],
            "ward": ["a", "b"] * (ROWS // 2),
            "ecg": [f"records/{n // 10}.hea" for n in number],
            "window": [f"{n // 10}-{n % 10}" for n in number],
            "start_s": 4.0 * (number % 10),
            "stop_s": 4.0 * (number % 10) + 4,
            "label": ["(N", "(AFIB", None, "(N"] * (ROWS // 4),
            "share": RANDOM.random(ROWS),
        }
    )
    text = study_toml(guess(frame, "label"), "s")
    made: Any = study.make(tomllib.loads(text))
    assert (made.cohort.row, list(made.inputs["table"].columns)) == ("window", ["ward"])
    assert made.inputs["ecg"].segment == ("start_s", "stop_s") and made.inputs["ecg"].window_seconds == 4
    (line,) = [line for line in text.splitlines() if line.startswith("# exclude")]
    made = study.make(tomllib.loads(text.replace(line, line.removeprefix("# "))))
    assert made.cohort.exclude[0].where == "share < 0.8"
    assert guess(frame.drop("window"), "label").window_seconds is None


def test_numbers_are_regressed_and_splits_in_other_words_are_told() -> None:
    result = guessed(RANDOM.normal(size=ROWS).tolist(), part=["train", "val"] * (ROWS // 2))
    made: Any = study.make(tomllib.loads(study_toml(result, "s")))
    assert made.targets["died"].task == "regress" and result.split is None and result.classes == ()
    assert any("seems to be a split; to use it, write train, valid, calibrate, test" in w for w in result.warnings)
    assert guessed([str(n % 20) for n in range(ROWS)], x=range(ROWS)).task == "classify"


@settings(max_examples=60)
@given(
    st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=5, unique=True), st.text(max_size=12), st.randoms()
)
def test_any_names_give_a_study_file(names: list[str], name: str, random: Any) -> None:
    frame = {column: [random.choice(["a", "b", "?", "\x7f\n"]) for _ in range(30)] for column in names}
    target = names[0]
    made: Any = study.make(tomllib.loads(study_toml(guess(pl.DataFrame(frame), target), name)))
    assert [part.column for part in made.targets.values()] == [target]
    assert set(made.inputs["table"].columns) <= set(names) - {target}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("died", "died"),
        ("Décès 30d", "Deces-30d"),
        ("30 days", "target-30-days"),
        ("死亡", "target"),
        ("a" * 99, "a" * 64),
        ("_x_", "x"),
    ],
)
def test_names_that_a_study_allows(text: str, expected: str) -> None:
    assert as_name(text, "target") == expected
