from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

from medloom.report.content import Training
from medloom.report.figures import draw, training_plot
from medloom.task import Curve, Plot

PLOT = Plot(
    "ROC <curve>",
    "1 − specificity",
    "Sensitivity",
    (
        Curve("model", [0, 0.2, 1], [0, 0.8, 1]),
        Curve("gradient_boosting", [0, 0.4, 1], [0, 0.6, 1], [0, 0.5, 0.9], [0.1, 0.7, 1]),
    ),
    "Area: model 0.8, gradient_boosting 0.6.",
    diagonal=True,
    x_range=(0, 1),
    y_range=(0, 1),
)
LABELS = {"model": "Network", "gradient_boosting": "Gradient boosting"}
SVG = "{http://www.w3.org/2000/svg}"


def test_is_well_formed_and_named_for_a_screen_reader() -> None:
    drawing = draw(PLOT, "p1", LABELS)
    root = ElementTree.fromstring(drawing.svg)
    assert root.get("role") == "img"
    named = {element.get("id"): element.text for element in root if element.tag in (f"{SVG}title", f"{SVG}desc")}
    assert [named[key] for key in root.get("aria-labelledby").split()] == [
        "ROC <curve>",
        "Area: network 0.8, gradient boosting 0.6.",
    ]


def test_text_stays_text_in_the_fonts_of_the_page() -> None:
    root = ElementTree.fromstring(draw(PLOT, "p1").svg)
    texts = {"".join(element.itertext()).strip() for element in root.iter(f"{SVG}text")}
    assert {"1 − specificity", "Sensitivity", "0.0", "1.0"} <= texts
    assert all("var(--sans)" in element.get("style") for element in root.iter(f"{SVG}text"))
    assert "DejaVu" not in draw(PLOT, "p1").svg


def test_colours_are_those_of_the_page() -> None:
    svg = draw(PLOT, "p1").svg
    assert "var(--series-0)" in svg
    assert "var(--series-1)" in svg
    assert "var(--rule)" in svg
    assert set(re.findall(r"#[0-9a-fA-F]{6}\b", svg)) == set()


def test_series_differ_by_dash_as_well_as_by_colour() -> None:
    svg = draw(PLOT, "p1").svg
    first, second = (re.findall(rf'style="fill: none; [^"]*stroke: var\(--series-{n}\)[^"]*"', svg)[0] for n in (0, 1))
    assert "dasharray" not in first
    assert "dasharray" in second


def test_the_legend_and_the_text_use_the_labels() -> None:
    drawing = draw(PLOT, "p1", LABELS)
    assert drawing.legend == ((0, "Network"), (1, "Gradient boosting"))
    assert drawing.text == "Area: network 0.8, gradient boosting 0.6."


def test_ids_are_unique_over_plots_and_references_resolve() -> None:
    one, two = draw(PLOT, "p1").svg, draw(PLOT, "p2").svg
    ids = re.findall(r'\bid="([^"]+)"', one)
    assert len(set(ids)) == len(ids)
    assert not set(ids) & set(re.findall(r'\bid="([^"]+)"', two))
    used = set(re.findall(r'href="#([^"]+)"', one)) | set(re.findall(r"url\(#([^)]+)\)", one))
    assert used
    assert used <= set(ids)


def test_the_same_plot_gives_the_same_bytes() -> None:
    assert draw(PLOT, "p1") == draw(PLOT, "p1")


def test_nothing_of_the_network_is_asked_for() -> None:
    assert re.findall(r"https?://[^\"' ]+", draw(PLOT, "p1").svg) == ["http://www.w3.org/2000/svg"]


def test_plots_without_curves_and_with_single_points_are_drawn() -> None:
    for curves in ((), (Curve("x", [0.5], [0.5]),), (Curve("x", [0, float("nan"), 1], [0, 1, float("nan")]),)):
        ElementTree.fromstring(draw(Plot("t", "x", "y", curves, "text"), "k").svg)


def test_the_training_curve_says_which_step_was_kept() -> None:
    plot = training_plot(Training((0, 10, 20), (1.0, 0.5, 0.2), (0, 20), (1.1, 0.6), kept_step=1000))
    assert [curve.name for curve in plot.curves] == ["Training rows", "Validation rows", "Weights kept"]
    assert set(plot.curves[2].x) == {1000}
    assert (min(plot.curves[2].y), max(plot.curves[2].y)) == (0.2, 1.1)
    assert "step 1,000" in plot.text
    assert len(training_plot(Training((0, 1), (1.0, 0.5))).curves) == 1


def test_days_of_the_calendar_are_told_as_dates() -> None:
    plot = Plot("Fan", "Date", "admissions", (Curve("a", (0, 60, 120), (1, 2, 3)),), "text", since="2021-10-02")
    words = re.findall(r"<text[^>]*>([^<]*)</text>", draw(plot, "f").svg)
    assert {"Nov", "Dec"} <= set(words) and any("2022" in word for word in words)
