"""Of every case: the report keeps the rules, is drawn again without data, and a run compared with itself is no different."""

from __future__ import annotations

import re

from medloom.fitted import same
from medloom.report import compare, markdown
from medloom.report.kept import as_json, opened, read_json
from medloom.report.page import render
from tests.report.reading import Reader, faults


def test_the_page_keeps_every_rule_and_is_small(case):
    text = case.run.report.read_text(encoding="utf-8")
    assert faults(text) == []
    assert len(text) < 3_000_000


def test_the_report_is_drawn_again_from_what_the_run_keeps(case):
    content = opened(case.run.folder)
    words = [
        Reader(text).text.replace(" ", "") for text in (render(content), case.run.report.read_text(encoding="utf-8"))
    ]
    assert words[0] == words[1]
    assert same(read_json(as_json(content)), content)
    assert {section.key for section in content.sections} <= set(re.findall(r'id="([^"]+)"', render(content)))
    assert markdown.render(content).startswith(f"# {content.title}\n")


def test_no_row_id_is_in_the_report(case):
    ids = set(case.prepared.cohort.row.to_list())
    assert not ids & set(re.findall(r"[\w.-]+", Reader(case.run.report.read_text(encoding="utf-8")).text)) or all(
        one.isdigit() for one in ids
    )


def test_a_run_is_no_different_from_itself(case):
    sections = compare.compared([case.run.folder, case.run.folder])
    targets = [section for section in sections if section.key.startswith("target-")]
    assert len(targets) == len(case.run.metrics["targets"])
    for section in targets:
        table = section.pieces[-1]
        assert "paired" in section.pieces[1].text and "not paired" not in section.pieces[1].text
        for row in table.rows:
            assert row[-1].value in (None, 0), row[0]
            assert row[1] == row[2]
    assert faults(compare.page(sections, [case.run.folder] * 2)) == []
