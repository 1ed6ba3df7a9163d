from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from medloom.cohort.criteria import Step
from medloom.evaluation.intervals import Comparison, Estimate
from medloom.report import page
from medloom.report.content import Answer, Content, Entrant, Figure, Input, Part, Training
from medloom.report.forest import forest, ticks
from medloom.report.page import render, write
from medloom.report.section import Section, Table, Thresholds
from medloom.task import Curve, Metric, Plot
from tests.report.reading import Reader, faults


def answer(**changes: object) -> Answer:
    given = Answer(
        target="death",
        question="Will the patient <die>?",
        figures=(Figure("auroc", "AUROC", True), Figure("slope", "Calibration slope", True, "1 is ideal")),
        network=Entrant("model", "Network", {"auroc": Estimate(0.91, 0.88, 0.94), "slope": Estimate(1.1, 0.9, 1.3)}),
        baselines=(
            Entrant(
                "majority",
                "Prevalence alone",
                {"auroc": Estimate(0.5, 0.5, 0.5, "flat"), "slope": Estimate(None, note="cannot be estimated: x")},
            ),
            Entrant("gb", "Gradient boosting", {"auroc": Estimate(0.86, 0.82, 0.9), "slope": Estimate(0.8, 0.7, 0.9)}),
        ),
        differences={
            "majority": {"auroc": Estimate(0.41, 0.38, 0.44), "slope": Estimate(None)},
            "gb": {"auroc": Estimate(0.05, 0.02, 0.08), "slope": Estimate(0.3, 0.1, 0.5)},
        },
        best="gb",
        rows=1200,
        patients=1100,
        plots=(
            Plot(
                "ROC curve", "x", "y", (Curve("model", [0, 1], [0, 1]), Curve("gb", [0, 1], [0, 0.9])), "model and gb"
            ),
        ),
        facts={"threshold": "0.2"},
    )
    return dataclasses.replace(given, **changes)


@pytest.fixture
def content() -> Content:
    return Content(
        title="Death & more",
        people="Stays of adults.",
        answers=(answer(), answer(target="sepsis", question="Sepsis?")),
        counts={"Patients": "1,100"},
        warnings=("Few <events>.",),
        split="by patient",
        parts=(Part("train", 3000, 2800, {"death: died": 600}), Part("test", 1200, 1100)),
        proved=("No patient stands in two parts.",),
        declared=("Table labs was known before.",),
        inputs=(Input("labs", "table", {"columns": "12"}),),
        trainings=(Training((0, 10), (1.0, 0.5), (0, 10), (1.0, 0.6), 10, {"steps": "10"}),),
        study_toml='name = "icu"\n[cohort]\nmissing = ["<", "&"]\n',
        environment={"torch": "2.13.0"},
        reproduce=("medloom fit study.toml --out run/",),
    )


THRESHOLDS = Thresholds(
    "who is flagged",
    "</script><b>died</b>",
    (0.1, 0.5, 0.9),
    ((5, 4, 1, 2), (4, 2, 2, 4), (0, 0, 6, 6)),
    {
        "Sensitivity": ((0.83, 0.4, 0.97), (0.67, 0.3, 0.9), (0.0, 0.0, 0.4)),
        "PPV": ((0.6, 0.3, 0.8), (0.7, 0.3, 0.9), (None, None, None)),
    },
    1,
    (0, 1, 2),
)


def test_breaks_no_rule_of_access_and_safety(content: Content) -> None:
    table = Table(
        "Groups", ("Group", "AUROC"), (("men", Estimate(0.8, 0.7, 0.9)), ("women", "too few")), drawn="AUROC", mark=0.75
    )
    section = Section("s", "figures", "Thresholds", (THRESHOLDS, table))
    for told in (content, dataclasses.replace(content, sections=(section,), severe=("A leak.",))):
        assert faults(render(told)) == []


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        ('<main id="answers">', '<main id="answers"><h4>x</h4>', "heading 4 after"),
        ('id="patients"', 'id="method"', "id twice"),
        ("</main>", '<input type="range"></main>', "input without a label"),
        ("</main>", "<table><caption>x</caption></table></main>", "wider than a phone"),
        ("</main>", '<p onclick="x()">x</p></main>', "onclick"),
        ("</main>", "<a href='http://example.org'>x</a></main>", "asks the network"),
    ],
)
def test_the_rules_can_be_broken(content: Content, good: str, bad: str, found: str) -> None:
    text = render(content)
    assert good in text
    assert any(found in fault for fault in faults(text.replace(good, bad, 1)))


def test_runs_no_script_but_the_one_its_policy_names(content: Content) -> None:
    plain = render(content)
    assert "<script" not in plain and "script-src" not in plain
    text = render(dataclasses.replace(content, sections=(Section("s", "figures", "T", (THRESHOLDS,)),)))
    scripts = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    policy = next(a["content"] for tag, a in Reader(text).of("meta") if a.get("http-equiv"))
    assert len(scripts) == 1
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def test_the_slider_gets_the_figures_and_the_page_shows_them_without_it(content: Content) -> None:
    text = render(dataclasses.replace(content, sections=(Section("s", "figures", "T", (THRESHOLDS,)),)))
    held = json.loads(re.findall(r'<script type="application/json">(.*?)</script>', text, flags=re.DOTALL)[0])
    assert held["counts"] == [list(one) for one in THRESHOLDS.counts]
    assert held["grid"] == [0.1, 0.5, 0.9] and held["own"] == 1
    assert held["figures"]["PPV"][2] == [None, None, None]
    read = Reader(text)
    assert "0.500 * 0.670 0.300 to 0.900" in read.text and "0.900 0.000" in read.text
    assert 'class="slider" hidden' in text
    assert "&lt;/script&gt;&lt;b&gt;died" in text and "<b>died" not in text


def test_nothing_is_wider_than_a_phone_but_what_scrolls_by_itself() -> None:
    css = Path(page.__file__).with_name("page.css").read_text()
    wide = re.findall(r"([^{}]+)\{[^{}]*?(?<!max-)(?:min-width|width): ([\d.]+)(rem|px)", css.split("@media print")[0])
    for selector, size, unit in wide:
        pixels = float(size) * (16 if unit == "rem" else 1)
        assert pixels <= 320 or selector.strip().startswith(".wide"), selector
    for selector in (".wide", ".toc", "pre"):
        assert re.search(rf"(?m)^{re.escape(selector)} {{[^}}]*overflow-x: auto", css), selector
    assert "overflow-wrap: break-word" in css
    assert not re.search(r"minmax\(\d", css.replace("minmax(8rem", "").replace("minmax(7rem", "")), (
        "use minmax(min(100%, …))"
    )


def test_says_what_a_clinician_looks_for_first(content: Content) -> None:
    text = Reader(render(content)).text
    order = [
        "Death & more",
        "Stays of adults.",
        "Will the patient <die>?",
        "beats gradient boosting by 0.050",
        "0.880 to 0.940",
        "Few <events>.",
        "Who the patients are",
    ]
    places = [text.replace("\xa0", " ").index(part) for part in order]
    assert places == sorted(places)
    assert text.count("Research use only, not a medical device") == 1
    assert "+0.020 to +0.080" in text
    assert "not estimable" in text
    assert "Proved on the data No patient stands in two parts." in text
    assert "Declared by the study, not checked Table labs was known before." in text
    assert "medloom fit study.toml --out run/" in text
    assert 'missing = ["<", "&"]' in text


def test_light_dark_and_print_are_provided_for(content: Content) -> None:
    text = render(content)
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert 'name="viewport"' in text


def colours(block: str) -> dict[str, str]:
    return dict(re.findall(r"(--[a-z0-9-]+): (#[0-9a-f]{6})", block))


def luminance(colour: str) -> float:
    channel = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(channel <= 0.03928, channel / 12.92, ((channel + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(scheme: str) -> None:
    css = Path(page.__file__).with_name("page.css").read_text()
    light, dark = css.split("@media screen and (prefers-color-scheme: dark)")
    palette = {**colours(light), **(colours(dark.split("* {")[0]) if scheme == "dark" else {})}
    pairs = [
        (ink, ground)
        for ink in ("--ink", "--ink-soft")
        for ground in ("--paper", "--card", "--good-wash", "--warn-wash", "--bad-wash", "--plain-wash")
    ]
    pairs += [
        ("--accent", "--paper"),
        ("--warn", "--warn-wash"),
        ("--good", "--paper"),
        ("--warn", "--paper"),
        ("--bad", "--bad-wash"),
    ]
    for ink, ground in pairs:
        brighter, darker = sorted((luminance(palette[ink]), luminance(palette[ground])), reverse=True)
        assert (brighter + 0.05) / (darker + 0.05) >= 4.5, (ink, ground)
    brighter, darker = sorted((luminance(palette["--series-0"]), luminance(palette["--paper"])), reverse=True)
    assert (brighter + 0.05) / (darker + 0.05) >= 3


def test_the_least_content_renders() -> None:
    bare = answer(baselines=(), differences={}, best=None, plots=(), facts={})
    read = Reader(render(Content(title="t", people="p", answers=(bare,))))
    assert read.open == []
    assert "No simple model could be judged" in read.text
    empty = Entrant(
        "model", "Network", {name: Estimate(None, note="cannot be estimated: no rows") for name in ("auroc", "slope")}
    )
    assert (
        "AUROC cannot be estimated."
        in Reader(render(Content("t", "p", (dataclasses.replace(bare, network=empty),)))).text
    )


def test_the_forest_places_everything_on_one_scale() -> None:
    drawn = forest(answer())
    places = {float(text): place for place, text in drawn.ticks}
    assert list(places) == [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    network, majority, best = drawn.bars
    assert (network.lane.at, network.lane.low, network.lane.high) == (82, 76, 88)
    assert majority.lane.at == 0
    assert [bar.kind for bar in drawn.bars] == ["network", "other", "best"]
    assert network.difference is None
    assert best.difference == Estimate(0.05, 0.02, 0.08)


@pytest.mark.parametrize("values", [(0.5, 0.5), (-3.0, 900.0), (1e-6, 2e-6), (0.0, 0.0), (0.9911, 0.9913)])
def test_ticks_enclose_any_values(values: tuple[float, float]) -> None:
    places = ticks(*values)
    assert places[0] <= values[0] + 1e-12
    assert places[-1] >= values[1] - 1e-12
    assert 2 <= len(places) <= 8
    assert len({f"{tick:.9f}" for tick in places}) == len(places)


def test_an_answer_from_a_comparison() -> None:
    metric = Metric("auroc", lambda m, w: np.zeros(len(w)), True, "AUROC", "of ranks")
    estimates = {"model": {"auroc": Estimate(0.9, 0.8, 1.0)}, "gb": {"auroc": Estimate(0.7, 0.6, 0.8)}}
    comparison = Comparison(estimates, {"gb": {"auroc": Estimate(0.2, 0.1, 0.3)}}, 20, 10, 100, 0.95)
    made = Answer.of("death", "?", comparison, {"auroc": metric}, {"gb": "Gradient boosting"})
    assert made.figures == (Figure("auroc", "AUROC", True, "of ranks"),)
    assert made.labels == {"model": "Network", "gb": "Gradient boosting"}
    assert (made.best, made.rows, made.patients) == ("gb", 20, 10)


def test_writing_leaves_the_old_page_or_the_new_one(
    content: Content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    write(content, path)
    first = path.read_text(encoding="utf-8")
    assert first == render(content)

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write(dataclasses.replace(content, title="new"), path)
    assert path.read_text(encoding="utf-8") == first
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_the_flow_tells_how_many_windows_were_not_observed(content: Content) -> None:
    steps = (
        Step("index times", "each discharge", 9, 5, tells=True),
        Step("before death", "the index time is at or after death", 9, 5),
        Step("outcome back", "7 rows with an answer; 2 not observed to the end", 9, 5, tells=True),
    )
    page = render(dataclasses.replace(content, flow=steps))
    assert "2 not observed to the end" in page and "each discharge" in page
    assert "at or after death" not in page
