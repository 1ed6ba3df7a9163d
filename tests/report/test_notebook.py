from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from medloom.cards import Grid, bundle_card, card, figure
from medloom.report.notebook import run_card
from medloom.run import Run, fit
from tests.cases.tables import table_binary

VOID = {"br", "hr", "img", "meta"}


class Page(HTMLParser):
    """Text, tags and links; fails where tags do not close in their order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open += [tag] * (tag not in VOID)
        self.links += [str(value) for key, value in attrs if key == "href"]
        assert not any(key.startswith("on") for key, _ in attrs)
        assert "color:" not in dict(attrs).get("style", "")  # type: ignore[operator]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " | ".join(self.texts)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    return fit(table_binary(folder), folder / "my run")


def test_a_run_shows_its_headline_beside_baselines_its_verdict_and_its_report(run: Run, monkeypatch: Any) -> None:
    monkeypatch.chdir(run.folder.parent)
    page = Page(run._repr_html_())
    of = run.metrics["targets"]["death"]
    for figures in (of["model"], *of["baselines"].values(), *of["differences"].values()):
        assert figure(figures["auroc"]) in page.texts
    assert of["label"] in page.text and "Gradient boosting" in page.text and "(strongest)" in page.text
    assert page.links == ["my%20run/report.html"]
    assert page.tags.count("details") == 2 and "script" not in page.tags
    report = run.report.read_text()
    sentence = next(text for text in page.texts if text.startswith("death: ")).removeprefix("death: ")
    assert sentence.split(" (")[0] in report


def test_a_run_that_nobody_judged_says_so(tmp_path: Path) -> None:
    study = table_binary(tmp_path)
    silent = study.model_copy(update={"split": study.split.model_copy(update={"test": 0.0})}).within(tmp_path)
    page = Page(fit(silent, tmp_path / "run")._repr_html_())
    assert "nothing is known of how good this network is" in page.text
    assert "test | 0 | 0" in page.text


def test_studies_and_bundles_are_short(run: Run) -> None:
    study = Page(run.bundle.study._repr_html_())
    assert "table" in study.text and "classify" in study.text and len(study.text) < 600
    bundle = Page(run.bundle._repr_html_())
    assert (
        "Research use only" in bundle.text and figure(run.metrics["targets"]["death"]["model"]["auroc"]) in bundle.texts
    )


def test_everything_is_escaped(run: Run) -> None:
    evil = "<script>alert('x')</script>\"&"
    metrics = json.loads(json.dumps(run.metrics))
    target = metrics["targets"].pop("death")
    target["label"] = evil
    target["baselines"][evil] = target["baselines"].pop("logistic")
    target["differences"][evil] = target["differences"].pop("logistic")
    target["difference"]["baseline"] = evil
    metrics["targets"][evil] = target
    pages = [
        run_card(metrics, Path(evil.replace("/", ""))),
        card(
            evil, evil, [evil], {evil: evil}, [Grid((evil,), [(evil, evil)], evil)], {evil: Grid((), [])}, {evil: evil}
        ),
        bundle_card({"use": evil, "figures": {evil: target}, "trained": evil}, evil),
    ]
    for text in pages:
        page = Page(text)
        assert "script" not in page.tags and evil.replace("/", "")[:8] in page.text


def test_figures_of_an_older_run_have_names(run: Run) -> None:
    metrics = json.loads(json.dumps(run.metrics))
    for key in ("label", "labels", "higher_is_better"):
        del metrics["targets"]["death"][key]
    assert "Auroc" in Page(run_card(metrics, run.folder)).text


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        ({"value": 0.5, "low": 0.25, "high": 0.75}, "0.500 (0.250 to 0.750)"),
        ({"value": -0.5, "low": None, "high": None}, "−0.500 (no interval)"),
        ({"value": 1234.5, "low": 1000.0, "high": 2000.0}, "1,234.5 (1,000.0 to 2,000.0)"),
        ({"value": None, "note": "cannot be estimated: x"}, "not estimable"),
    ],
)
def test_a_figure_in_words(estimate: dict[str, Any], text: str) -> None:
    assert figure(estimate) == text
