from __future__ import annotations

from pathlib import Path

import pytest

from medloom.errors import DataError, StudyError
from medloom.ingest.door import ingest
from medloom.ingest.mapping import read_mapping
from tests.ingest.making import day, made

GOOD = """
name = "ward"
title = "a ward's own tables"
recognise = ["stays"]
[lookups.stay]
table = "stays"
key = "id"
[[tables]]
table = "charts"
patient = "stay.person"
lookup = { stay = "STAY_ID" }
empty = { result = ["?"] }
[[tables.events]]
code = ["chart:{item}", "chart:other"]
time = ["at", "{day}/{month}/2020"]
time_format = "%d/%m/%Y"
value = "result"
measured_in = "mg"
needs_value = true
"""


def files(folder: Path) -> Path:
    folder.mkdir()
    (folder / "Stays.csv").write_text("id,person\n1,ann\n2,bob\n")
    (folder / "charts.tsv").write_text(
        "stay_id\titem\tat\tday\tmonth\tresult\n1\tx\t03/02/2020\t\t\t5\n2\t\t\t4\t5\t6\n2\ty\t01/01/2020\t\t\t?\n"
    )
    return folder


def test_a_mapping_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "ward.toml").write_text(GOOD)
    found = made(files(tmp_path / "in"), tmp_path / "s", "tables", mapping=str(tmp_path / "ward.toml"))
    assert found == [("ann", day(2020, 2, 3), "chart:x", 5.0), ("bob", day(2020, 5, 4), "chart:other", 6.0)]
    (tmp_path / "ward.toml").write_text(GOOD.replace("chart:other", "other"))
    with pytest.raises(DataError, match="made with other options"):
        ingest(tmp_path / "in", tmp_path / "s", "tables", {"mapping": str(tmp_path / "ward.toml")})
    (tmp_path / "ward.toml").write_text('separator = "tab"\ndecimal = "comma"\n' + GOOD)
    (tmp_path / "in" / "Stays.csv").write_text("id\tperson\n1\tann\n2\tbob\n")
    charts = (tmp_path / "in" / "charts.tsv").read_text()
    (tmp_path / "in" / "charts.tsv").write_text(charts.replace("\t5\n", "\t5,5\n"))
    found = made(tmp_path / "in", tmp_path / "t", "tables", mapping=str(tmp_path / "ward.toml"))
    assert [row[3] for row in found] == [5.5, 6.0]


def test_tables_that_are_empty_or_not_there_are_told(tmp_path: Path) -> None:
    more = '[[tables]]\ntable = "stays"\npatient = "person"\nevents = [{ code = "stay" }]\n'
    (tmp_path / "ward.toml").write_text(GOOD + more + more.replace('"stays"', '"drugs"'))
    folder = files(tmp_path / "in")
    (folder / "charts.tsv").write_text("stay_id\titem\tat\tday\tmonth\tresult\n")
    told = ingest(folder, tmp_path / "s", "tables", {"mapping": str(tmp_path / "ward.toml")}).lines
    assert told[0].startswith("2 events of 2 patients")
    assert "tables without a line: charts.tsv: 1" in told
    assert "tables of the mapping that are not there: drugs" in told


def test_a_line_whose_key_is_not_found_has_no_patient(tmp_path: Path) -> None:
    (tmp_path / "ward.toml").write_text(GOOD)
    folder = files(tmp_path / "in")
    with open(folder / "charts.tsv", "a") as handle:
        handle.write("9\tx\t03/02/2020\t\t\t5\n")
    with pytest.raises(DataError, match="1 no patient"):
        ingest(folder, tmp_path / "s", "tables", {"mapping": str(tmp_path / "ward.toml")})
    (folder / "Stays.csv").write_text("id,person\n1,ann\n1,bob\n")
    with pytest.raises(DataError, match="column 'id' has a value twice"):
        ingest(folder, tmp_path / "t", "tables", {"mapping": str(tmp_path / "ward.toml")})


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    bad = GOOD.replace("needs_value", "need_value").replace('key = "id"', "").replace('title = "', 'titel = "')
    bad = bad.replace('"%d/%m/%Y"', '"day first"')
    (tmp_path / "bad.toml").write_text(bad)
    with pytest.raises(StudyError) as told:
        read_mapping(str(tmp_path / "bad.toml"))
    said = str(told.value)
    assert "tables.1.events.1.need_value: unknown key; did you mean 'needs_value'" in said
    assert (
        "lookups.stay.key: missing" in said
        and "titel: unknown key; did you mean 'title'?" in said
        and len(told.value.problems) == 5
    )
    assert "time_format: no format of dates" in said and "title: missing" in said


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('{ stay = "STAY_ID" }', '{ stays = "STAY_ID" }', "tables.1.lookup.stays: no lookup 'stays'; did you mean 'stay'?"),
        ('recognise = ["stays"]', 'recognise = ["stay"]', "'stay' is no table of the mapping"),
        ('value = "result"', "", "go with value"),
        ('measured_in = "mg"', 'measured_in = "mg"\nunit = "result"', "give one of them"),
        ('time = ["at", "{day}/{month}/2020"]', "", "go with time"),
        ('name = "ward"', "name = ward", "not TOML"),
        (GOOD[GOOD.index("[[tables.events]]") :], "events = []", "the table has no [[tables.events]]"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(tmp_path: Path, old: str, new: str, why: str) -> None:
    (tmp_path / "bad.toml").write_text(GOOD.replace(old, new, 1))
    with pytest.raises(StudyError) as told:
        read_mapping(str(tmp_path / "bad.toml"))
    assert why in str(told.value)


def test_no_such_mapping_names_the_nearest() -> None:
    with pytest.raises(StudyError, match="did you mean 'mimic-iv'"):
        read_mapping("mimic-4")


def test_the_mapping_of_the_how_to_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "ingest-events.md").read_text(encoding="utf-8")
    block = page[page.index("```toml") + 8 :].partition("```")[0]
    (tmp_path / "ward.toml").write_text(block)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "stays.csv").write_text("stay_id,patient_id\n1,ann\n")
    (tmp_path / "in" / "charts.csv").write_text("stay_id,item,charted,result,unit\n1,weight,01.02.2020 08:30,70,kg\n")
    found = made(tmp_path / "in", tmp_path / "s", "tables", mapping=str(tmp_path / "ward.toml"))
    assert found == [("ann", 1580545800.0, "chart:weight", 70.0)]
