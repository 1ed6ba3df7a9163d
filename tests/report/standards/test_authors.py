from __future__ import annotations

import tomllib

import pytest

from medloom.errors import StudyError
from medloom.report.standards.authors import NAME, answered, template, texts
from medloom.report.standards.items import items


def wrong(folder, text):
    (folder / NAME).write_text(text, encoding="utf-8")
    with pytest.raises(StudyError) as error:
        texts(folder, folder / "run")
    return str(error.value)


def test_the_template_asks_for_everything_that_authors_write_and_says_nothing_itself(tmp_path):
    raw = tomllib.loads(template())
    for standard, part in raw.items():
        assert list(part) == [key for key, item in items(standard).items() if item.asked]
        assert not any(part.values())
    for item in items("tripod").values():
        assert (f"\n{item.key} = " in template()) == item.asked
        assert item.ask in template()
    (tmp_path / NAME).write_text(template(), encoding="utf-8")
    assert texts(tmp_path, tmp_path).written == {"tripod": {}, "probast": {}, "card": {}}
    assert "no patient" in template()


def test_the_text_beside_the_study_stands_before_the_one_in_the_run(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (tmp_path / NAME).write_text('[tripod]\n3a = "Beside."\n17 = ""\n', encoding="utf-8")
    (run / NAME).write_text(
        '[tripod]\n3a = "Inside."\n17 = " Committee 4. "\n[card]\nintended_use = "None."\n', "utf-8"
    )
    found = texts(tmp_path, run)
    assert (found.of("tripod", "3a"), found.of("tripod", "17")) == ("Beside.", "Committee 4.")
    assert found.of("card", "intended_use") == "None." and found.of("card", "summary") == ""


def test_without_files_nothing_is_written(tmp_path):
    assert texts(tmp_path, tmp_path / "nowhere").of("tripod", "1") == ""


def test_unknown_keys_name_the_nearest(tmp_path):
    found = wrong(tmp_path, '[card]\nintended_uses = "x"\n[tripods]\n3a = "x"\n[tripod]\n3d = "x"\n')
    assert "card.intended_uses: unknown key; did you mean 'intended_users' or 'intended_use'?" in found
    assert "unknown section [tripods]; did you mean 'tripod'?" in found
    assert "tripod.3d: unknown key; known: 1, 10, 11" in found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('[tripod]\n12a = "x"\n', "tripod.12a is answered by the run alone; leave it out"),
        ("[tripod]\n3a = 5\n", "tripod.3a: expected a text between quotes"),
        ('tripod = "x"\n', "tripod is a value; expected a section"),
        ('[probast]\ndev-1-1 = "perhaps: who knows"\n', "probast.dev-1-1: expected an answer"),
        ("[tripod\n", "not TOML"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, text, found):
    assert found in wrong(tmp_path, text)


def test_bytes_that_are_no_text_are_said(tmp_path):
    (tmp_path / NAME).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StudyError, match="not UTF-8"):
        texts(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Yes: one laboratory.", ("yes", "one laboratory.")), (" no  information ", ("no information", ""))],
)
def test_an_answer_and_its_reason(text, expected):
    assert answered(text) == expected
