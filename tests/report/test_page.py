from __future__ import annotations

import dataclasses
import itertools
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from medloom.evaluation.intervals import Comparison, Estimate
from medloom.report import page
from medloom.report.content import Answer, Content, Entrant, Figure, Input, Part, Training
from medloom.report.page import forest, render, write
from medloom.task import Curve, Metric, Plot

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Reader(HTMLParser):
    """Elements with their attributes, and whether every tag that is opened is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{tag} closed out of order"

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    def of(self, *tags: str) -> list[tuple[str, dict[str, str | None]]]:
        return [element for element in self.elements if element[0] in tags]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


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
        training=Training((0, 10), (1.0, 0.5), (0, 10), (1.0, 0.6), 10, {"steps": "10"}),
        study_toml='name = "icu"\n[cohort]\nmissing = ["<", "&"]\n',
        environment={"torch": "2.13.0"},
        reproduce=("medloom fit study.toml --out run/",),
    )


def test_is_well_formed_with_unique_ids_and_resolved_references(content: Content) -> None:
    read = Reader(render(content))
    assert read.open == []
    ids = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    for _, attributes in read.elements:
        assert set((attributes.get("aria-labelledby") or "").split()) <= set(ids)
        if (attributes.get("href") or "").startswith("#"):
            assert attributes["href"][1:] in ids


def test_headings_go_down_one_step_at_a_time(content: Content) -> None:
    levels = [int(tag[1]) for tag, _ in Reader(render(content)).of("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_tables_have_captions_and_headers_a_scope(content: Content) -> None:
    read = Reader(render(content))
    assert len(read.of("table")) == len(read.of("caption")) == 5
    assert all(attributes.get("scope") in {"row", "col"} for _, attributes in read.of("th"))
    assert len(read.of("th")) > 20


def test_asks_the_network_for_nothing_and_runs_nothing(content: Content) -> None:
    text = render(content)
    read = Reader(text)
    assert read.of("script", "link", "img", "iframe") == []
    assert set(re.findall(r"https?://[^\"' )]+", text)) == {"http://www.w3.org/2000/svg"}
    assert "url(" not in text.split("</style>")[0]
    policy = next(a["content"] for tag, a in read.of("meta") if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    assert not [name for _, attributes in read.elements for name in attributes if name.startswith("on")]


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
    pairs += [("--accent", "--paper"), ("--warn", "--warn-wash"), ("--good", "--paper"), ("--warn", "--paper")]
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
    ticks = {float(text): place for place, text in drawn.ticks}
    assert list(ticks) == [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    network, majority, best = drawn.bars
    assert (network.at, network.low, network.high) == (82, 76, 88)
    assert majority.at == 0
    assert [bar.kind for bar in drawn.bars] == ["network", "other", "best"]
    assert network.difference is None
    assert best.difference == Estimate(0.05, 0.02, 0.08)


@pytest.mark.parametrize("values", [(0.5, 0.5), (-3.0, 900.0), (1e-6, 2e-6), (0.0, 0.0), (0.9911, 0.9913)])
def test_ticks_enclose_any_values(values: tuple[float, float]) -> None:
    ticks = page._ticks(*values)
    assert ticks[0] <= values[0] + 1e-12
    assert ticks[-1] >= values[1] - 1e-12
    assert 2 <= len(ticks) <= 8
    assert len({f"{tick:.9f}" for tick in ticks}) == len(ticks)


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
