import json
import re
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest

from medloom.errors import DataError, StudyError
from medloom.report.forms import coloured, written
from medloom.report.kept import NAME, as_json
from medloom.report.page import render
from medloom.report.sections.standards import sections
from medloom.report.standards.authors import Texts
from tests.report.sections.test_standards import SAID
from tests.report.test_kept import CONTENT


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / NAME).write_text(as_json(CONTENT), encoding="utf-8")
    return tmp_path


def test_every_form_is_written_from_what_the_run_keeps(run: Path):
    assert written(run, "html").read_text(encoding="utf-8") == render(CONTENT)
    assert written(run, "md").name == "report.md"
    again = written(run, "json", run / "sub" / "a.json").read_text(encoding="utf-8")
    assert json.loads(again) == json.loads(as_json(CONTENT))


def test_an_unknown_form_and_a_run_without_content_are_mistakes(run: Path):
    with pytest.raises(StudyError, match="no format 'htm' of a report; did you mean 'html'"):
        written(run, "htm")
    (run / NAME).unlink()
    with pytest.raises(DataError, match="run medloom fit again"):
        written(run, "html")


def test_pdf_names_the_extra_where_its_package_is_missing(run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    with pytest.raises(StudyError, match=r"medloom\[pdf\]"):
        written(run, "pdf")


def test_pdf_is_the_page_printed(run: Path, monkeypatch: pytest.MonkeyPatch):
    class Html:
        def __init__(self, string: str) -> None:
            self.string = string

        def write_pdf(self, path: str) -> None:
            Path(path).write_text(self.string, encoding="utf-8")

    monkeypatch.setitem(sys.modules, "weasyprint", types.SimpleNamespace(HTML=Html))
    printed = written(run, "pdf").read_text(encoding="utf-8")
    assert printed == coloured(render(CONTENT))
    drawings = re.findall(r"<svg.*?</svg>", printed, re.DOTALL)
    assert drawings and "#0072b2" in "".join(drawings) and "var(--" not in "".join(drawings)


def test_a_pdf_is_really_printed_where_the_package_is_there(run: Path):
    try:
        import weasyprint  # noqa: F401
    except (ImportError, OSError) as error:
        pytest.skip(f"weasyprint cannot print here: {error}")
    assert written(run, "pdf").read_bytes().startswith(b"%PDF-")


def test_what_authors_wrote_reaches_a_report_that_is_written_again(tmp_path: Path):
    beside = Texts({"tripod": {"17": "Committee 4.", "3a": "Beside the study."}})
    told = replace(CONTENT, sections=sections(SAID, beside), said=SAID, texts=beside)
    (tmp_path / NAME).write_text(as_json(told), encoding="utf-8")
    again = written(tmp_path, "html").read_text(encoding="utf-8")
    assert again == render(told) and "Beside the study." in again
    (tmp_path / "authors.toml").write_text('[tripod]\n17 = "Committee 5."\n', encoding="utf-8")
    later = written(tmp_path, "md").read_text(encoding="utf-8")
    assert "Committee 5." in later and "Committee 4." not in later and "Beside the study." in later
