import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from medloom.errors import DataError, StudyError
from medloom.evaluation.intervals import Estimate, difference
from medloom.evaluation.rowwise import kept
from medloom.report import compare
from medloom.report.section import Table
from medloom.run import compare as run_compare
from medloom.run import fit
from tests.cases.tables import table_binary
from tests.report.reading import Reader, faults


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[Path, Path, Path]:
    folder = tmp_path_factory.mktemp("compare")
    study = table_binary(folder)
    more = study.model_copy(update={"train": study.train.model_copy(update={"steps": 40, "epochs": None})})
    other = study.model_copy(update={"seed": 7})
    return tuple(fit(s, folder / name).folder for s, name in ((study, "first"), (more, "longer"), (other, "seed-7")))


def table_of(section) -> Table:
    return next(piece for piece in section.pieces if isinstance(piece, Table))


def test_names_the_keys_that_differ_and_no_others(runs):
    table = table_of(compare.compared(runs[:2])[0])
    assert {row[0] for row in table.rows} <= {"train.steps", "train.epochs"}
    assert ("train.steps", "–", "40") in table.rows or any(
        row[0] == "train.steps" and row[2] == "40" for row in table.rows
    )


def test_the_same_rows_are_compared_in_pairs(runs):
    section = compare.compared(runs[:2])[1]
    one, two = (kept(folder)["death"] for folder in runs[:2])
    assert one.row.to_list() == two.row.to_list()
    metrics = two.task.metrics()
    expected = difference(metrics, two.measured, one.measured, one.patient, resamples=100, seed=0)
    found = {row[0]: row[3] for row in table_of(section).rows}
    for name, metric in metrics.items():
        if metric.label in found:
            assert found[metric.label].value == pytest.approx(expected[name].value, abs=1e-12, nan_ok=True)
            assert found[metric.label].low == pytest.approx(expected[name].low, abs=1e-12)
    assert "all rows, which both judged" in section.pieces[1].text


def test_other_rows_are_compared_on_those_in_common(runs):
    section = compare.compared([runs[0], runs[2]])[1]
    one, two = (kept(folder)["death"] for folder in (runs[0], runs[2]))
    common = set(one.row) & set(two.row)
    assert 2 <= len(common) < len(one.row)
    assert f"the {len(common)} rows that both judged" in section.pieces[1].text
    assert "The figures below are of these rows" in section.pieces[1].text
    accuracy = next(row for row in table_of(section).rows if row[0] == "Accuracy")
    held = np.isin(one.row.to_numpy(), list(common))
    right = (one.measured["truth"] == one.measured["decision"])[held]
    assert accuracy[1].value == pytest.approx(right.mean())
    assert accuracy[3].value == pytest.approx(accuracy[2].value - accuracy[1].value)


def test_runs_without_rows_are_compared_by_their_intervals(runs, tmp_path):
    for name in ("metrics.json", "study.toml"):
        (tmp_path / name).write_bytes((runs[1] / name).read_bytes())
    section = compare.compared([runs[0], tmp_path])[1]
    assert "is not paired (a run kept no rows)" in section.pieces[1].text
    row = next(row for row in table_of(section).rows if row[0] == "AUROC")
    own, other, apart = row[1:]
    assert apart.value == pytest.approx(other.value - own.value)
    assert apart.low == pytest.approx(apart.value - np.hypot(other.value - other.low, own.high - own.value))


def test_rows_whose_answers_differ_are_not_paired(runs, tmp_path):
    import polars as pl

    for file in runs[1].iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    table = pl.read_parquet(tmp_path / "measured.parquet")
    table.with_columns((1 - pl.col("death.truth")).alias("death.truth")).write_parquet(tmp_path / "measured.parquet")
    assert "rows of the same id have different answers" in compare.compared([runs[0], tmp_path])[1].pieces[1].text


def test_repeated_rows_are_matched_in_their_order(runs):
    import polars as pl

    from medloom.evaluation.rowwise import Rowwise

    task = kept(runs[0])["death"].task

    def of(rows: list[str]) -> Rowwise:
        return Rowwise(task, pl.Series(rows), np.arange(len(rows)), {"truth": np.array([float(len(r)) for r in rows])})

    here, there, why = compare._joined(of(["a", "b", "a"]), of(["a", "a", "c", "b"]))
    assert (here.tolist(), there.tolist(), why) == ([0, 1, 2], [0, 3, 1], "")


def test_the_text_and_the_page_say_the_same(runs, tmp_path):
    text = run_compare(runs, tmp_path / "cmp.html")
    html = (tmp_path / "cmp.html").read_text(encoding="utf-8")
    assert faults(html) == []
    read = Reader(html).text
    for piece in ("longer minus first", "seed-7 minus first", "train.steps", "AUROC"):
        assert piece in text and piece in read
    widths = {len(line) for line in text.splitlines() if line.startswith("  Key")}
    assert len(widths) == 1


def test_what_is_no_run_is_a_mistake(runs, tmp_path):
    with pytest.raises(StudyError, match="expected two or more"):
        compare.compared(runs[:1])
    with pytest.raises(DataError, match="holds no finished run"):
        compare.compared([runs[0], tmp_path])
    (tmp_path / "metrics.json").write_text("{")
    (tmp_path / "study.toml").write_text("")
    with pytest.raises(DataError, match="is damaged"):
        compare.compared([runs[0], tmp_path])


@pytest.mark.parametrize("file", ["metrics.json", "measured.json", "measured.parquet", "study.toml"])
@pytest.mark.parametrize("text", [None, b"", b"{}", b"[1]", b'{"targets": {"death": {"model": 3}}}', b"\xff\x00"])
def test_a_damaged_run_is_a_sentence(runs, tmp_path, file, text):
    folder = tmp_path / "run"
    shutil.copytree(runs[0], folder)
    whole = (folder / file).read_bytes()
    (folder / file).write_bytes(whole[: len(whole) // 2] if text is None else text)
    if (file, text) in {("measured.json", b"{}"), ("study.toml", None)}:
        # No target is kept, and half of a study file is one where a line ends there: neither is a traceback.
        with contextlib.suppress(DataError):
            assert compare.compared([folder, runs[0]])
        return
    with pytest.raises(DataError, match="damaged"):
        compare.compared([folder, runs[0]])


def test_answers_that_are_no_numbers_are_told_and_not_compared(runs, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(runs[0], folder)
    table = pl.read_parquet(folder / "measured.parquet")
    numbers = [name for name in table.columns if ".probability" in name]
    table.with_columns(pl.lit(float("nan")).alias(name) for name in numbers).write_parquet(folder / "measured.parquet")
    text = compare.plain(compare.compared([runs[0], folder]))
    assert "AUROC" in text and "nan" not in text.lower()


def test_no_interval_where_one_has_none():
    assert compare._unpaired(Estimate(1.0), Estimate(0.5, 0.4, 0.6)).low is None
    assert compare._unpaired(Estimate(None), Estimate(0.5, 0.4, 0.6)).value is None
    assert json.dumps(compare._said(None)) == '"\\u2013"'
