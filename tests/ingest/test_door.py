"""The command as a person types it, and how the kind of a source is found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from medloom import find
from medloom.errors import DataError, StudyError
from medloom.ingest.door import ingest, parse_options
from medloom.ingest.source import IngestSource
from tests.ingest.making import rows
from tests.ingest.official import write


def medloom(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "medloom", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=folder, check=False)


def test_the_command_says_what_it_did_and_exits_with_2_where_it_does_not(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "patient,time,code,value\nann,2020-01-02,hr,80\nbob,soon,hr,70\nann,2020-01-01,hr,900\n"
    )
    (tmp_path / "codes.csv").write_text("code,high\nhr,350\n")
    done = medloom(tmp_path, "ingest", "a.csv", "--to", "s", "codes=codes.csv")
    assert done.returncode == 2 and "1 line cannot be read: 1 not a time" in done.stderr
    assert "Traceback" not in done.stderr and "bob" not in done.stderr + done.stdout
    done = medloom(tmp_path, "ingest", "a.csv", "--to", "s", "--broken", "skip", "codes=codes.csv")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "1 event of 1 patient, 1 code, 2020-01-02 to 2020-01-02",
        "broken lines left out, listed in s/broken.csv:",
        "  1 not a time",
        "impossible values left out:",
        "  1 of hr",
        "days without a time: 2",
        "store: s",
    ]
    assert (tmp_path / "s" / "broken.csv").read_text() == "file,line,reason\na.csv,3,not a time\n"
    done = medloom(tmp_path, "ingest", "a.csv", "--to", "t", "brokn=skip", "zone=Mars")
    assert (
        done.returncode == 2 and "did you mean 'broken'" in done.stderr and "no time zone of that name" in done.stderr
    )


def test_every_kind_of_source_is_complete() -> None:
    assert {"long", "meds", "fhir", "tables"} <= set(find.sources())
    for name in find.sources():
        kind = find.source(name)
        assert issubclass(kind, IngestSource) and kind.__name__ == name.capitalize() and kind.__doc__
        assert all(field.description for field in kind.Options.model_fields.values())


@pytest.mark.parametrize("kind", ["omop", "mimic-iv", "eicu", "claims"])
def test_a_folder_of_tables_is_recognised_by_its_mapping_alone(tmp_path: Path, kind: str) -> None:
    # No line in any table: recognised, and then nothing is left.
    with pytest.raises(DataError, match="no event is left"):
        ingest(write(tmp_path / "in", kind, {}), tmp_path / "s")


def test_a_download_that_kept_the_folders_of_its_address_is_recognised_and_two_releases_are_not_mixed(
    tmp_path: Path,
) -> None:
    files = tmp_path / "in" / "physionet.org" / "files" / "mimiciv"
    held = {"hosp/patients": [{"subject_id": "1", "gender": "F", "anchor_age": "50", "anchor_year": "2150"}]}
    write(files / "2.2", "mimic-iv", held)
    ingest(tmp_path / "in", tmp_path / "s")
    assert ("1", "gender=F") in {(who, code) for who, _, code, _ in rows(tmp_path / "s")}
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "there").symlink_to(files)
    with pytest.raises(DataError, match="folders down to 6 below, not in links"):
        ingest(tmp_path / "linked", tmp_path / "t")
    write(files / "3.1", "mimic-iv", held)
    with pytest.raises(DataError, match=r"'patients' lies there more than once: '.*2\.2/hosp/patients\.csv.*3\.1"):
        ingest(tmp_path / "in", tmp_path / "u")
    gathered = write(tmp_path / "claims", "claims", {})
    (gathered / "members.tsv").write_text((gathered / "members.csv").read_text().replace(",", "\t"))
    with pytest.raises(DataError, match="'members' lies there more than once"):
        ingest(gathered, tmp_path / "v")


def test_what_may_be_two_things_is_asked_for(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", "claims", {"members": [{"member_id": "m", "sex": "f"}]})
    (folder / "aaa.csv").write_text("patient,time,code\na,1,x\n")
    with pytest.raises(DataError, match="may be long or claims; say which with --as"):
        ingest(folder, tmp_path / "s")
    ingest(folder, tmp_path / "s", "claims")
    assert rows(tmp_path / "s") == [("m", float("-inf"), "sex=f", None)]


def test_json_that_is_no_resource_is_not_recognised(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(DataError, match="not recognised as any kind of source"):
        ingest(tmp_path / "a.json", tmp_path / "s")


def test_options_are_words_with_an_equals_sign() -> None:
    assert parse_options(["time=charttime", "missing=NA,?", "zone=UTC"]) == {
        "time": "charttime",
        "missing": ["NA", "?"],
        "zone": "UTC",
    }
    for words, why in (
        (["time"], "expected key=value"),
        (["a=1", "a=2"], "stands twice"),
        (["=1"], "expected key=value"),
    ):
        with pytest.raises(StudyError, match=why):
            parse_options(words)


def test_a_folder_that_is_nearly_of_a_kind_is_told_which_tables_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "omop").mkdir()
    (tmp_path / "omop" / "person.csv").write_text("person_id\n1\n")
    with pytest.raises(DataError, match="looks like omop, but lacks the tables observation_period, concept"):
        ingest(tmp_path / "omop", tmp_path / "store")


def test_lines_without_a_time_are_told_of_facts_that_have_none(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("patient,time,code,value\nann,,sex=f,\nann,2020-01-01,hr,80\n")
    with pytest.raises(DataError, match="timeless=true"):
        ingest(tmp_path / "a.csv", tmp_path / "store")
    assert ingest(tmp_path / "a.csv", tmp_path / "store", options={"timeless": "true"})


def test_a_source_of_other_resources_alone_names_them(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text('{"resourceType": "Slot", "id": "1"}\n')
    with pytest.raises(DataError, match="Slot: 1"):
        ingest(tmp_path / "a.ndjson", tmp_path / "store", kind="fhir")
