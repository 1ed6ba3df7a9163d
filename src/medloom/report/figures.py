"""Plots as inline SVG: text stays text, and every colour is a variable of the page, so that it reads in light and dark.

Series differ by colour (Okabe & Ito, "Color universal design", 2008) and by dash, so that print without colour reads too.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from html import escape
from typing import Any

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from medloom.report.content import Training
from medloom.report.words import inside
from medloom.task import Curve, Plot

DASHES: tuple[Any, ...] = ("solid", (0, (5, 2)), (0, (1.5, 1.5)), (0, (7, 2, 1.5, 2)), (0, (3, 1.2)), (0, (9, 3)))
"""Line styles of the series; `page.css` draws the same six in the legends."""
_INK, _RULE = "#010101", "#010102"
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.linewidth": 0.7,
    "axes.unicode_minus": True,
    "path.simplify": True,
    "path.simplify_threshold": 0.2,
}


@dataclass(frozen=True, slots=True)
class Drawing:
    """A plot as SVG; `legend` names each series by its number, from 0."""

    title: str
    text: str
    svg: str
    legend: tuple[tuple[int, str], ...]


def draw(plot: Plot, key: str, labels: Mapping[str, str] | None = None) -> Drawing:
    """Draws a plot. `key` makes its ids unique in the page; `labels` rename curves, in legend and text alike."""
    labels = labels or {}
    with matplotlib.rc_context({**_SETTINGS, "svg.hashsalt": key}):
        canvas = Canvas(figsize=(4.6, 3.7), layout="constrained")
        FigureCanvasSVG(canvas)
        axes = canvas.add_subplot()
        if plot.diagonal:
            axes.axline((0, 0), slope=1, color=_RULE, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        for number, curve in enumerate(plot.curves):
            _line(axes, number, curve, _day(plot))
        _frame(axes, plot)
        stream = io.StringIO()
        canvas.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = _renamed(plot.text, labels)
    legend = tuple(
        (number % len(DASHES), labels.get(curve.name, curve.name)) for number, curve in enumerate(plot.curves)
    )
    return Drawing(plot.title, text, _inline(stream.getvalue(), key, plot.title, text), legend)


def training_plot(training: Training) -> Plot:
    """The losses over the steps, with a line at the step whose weights were kept."""
    curves = [Curve("Training rows", training.steps, training.train_loss)]
    text = "Loss over the steps of the training."
    if training.valid_loss:
        curves.append(Curve("Validation rows", training.valid_steps, training.valid_loss))
        text += f" The validation loss ends at {training.valid_loss[-1]:.3f}; its least value is {min(training.valid_loss):.3f}."
    if training.kept_step is not None:
        values = [*training.train_loss, *training.valid_loss]
        finite = [value for value in values if abs(value) < float("inf")] or [0.0]
        curves.append(Curve("Weights kept", (training.kept_step,) * 2, (min(finite), max(finite))))
        text += f" The weights of step {training.kept_step:,} were kept."
    return Plot(f"Training of {training.name}" if training.name else "Losses", "Step", "Loss", tuple(curves), text)


def _day(plot: Plot) -> float:
    """What is added to x: where it counts days of the calendar, the number of the day that is 0."""
    return 0.0 if plot.since is None else float(date2num(date.fromisoformat(plot.since)))


def _line(axes: Any, number: int, curve: Curve, start: float) -> None:
    colour, dash = _series(number), DASHES[number % len(DASHES)]
    few, x = 1 < len(curve.x) <= 15, [start + place for place in curve.x]
    if curve.low is not None and curve.high is not None:
        axes.fill_between(x, curve.low, curve.high, color=colour, alpha=0.16, linewidth=0, zorder=2)
    axes.plot(
        x,
        curve.y,
        color=colour,
        linestyle=dash,
        linewidth=2.0 if number == 0 else 1.6,
        marker="o" if (few and curve.low is not None) or len(curve.x) == 1 else None,
        markersize=3.6,
        zorder=10 - min(number, 6),
        solid_joinstyle="round",
    )


def _frame(axes: Any, plot: Plot) -> None:
    axes.set_xlabel(plot.x_label, color=_INK)
    axes.set_ylabel(plot.y_label, color=_INK)
    if plot.x_range is not None:
        axes.set_xlim(*_padded(plot.x_range))
    if plot.y_range is not None:
        axes.set_ylim(*_padded(plot.y_range))
    if plot.since is None:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=_counted(plot)))
    else:
        axes.xaxis.set_major_locator(days := AutoDateLocator(minticks=3, maxticks=6))
        axes.xaxis.set_major_formatter(ConciseDateFormatter(days))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    for side, spine in axes.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color(_INK)
    axes.tick_params(colors=_INK, width=0.7, length=3)
    axes.grid(True, color=_RULE, linewidth=0.5, zorder=0)
    axes.set_axisbelow(True)


def _counted(plot: Plot) -> bool:
    """Whether the places along the axis are counted, as horizons are: there is nothing between them to mark."""
    x = [place for curve in plot.curves for place in curve.x]
    return bool(x) and max(x) - min(x) >= 2 and all(float(place).is_integer() for place in x)


def _padded(limits: tuple[float, float]) -> tuple[float, float]:
    """A little air, so that a curve along an edge is not cut in half."""
    air = 0.015 * (limits[1] - limits[0])
    return limits[0] - air, limits[1] + air


def _series(number: int) -> str:
    return f"#0102{number % len(DASHES):02x}"


def _inline(svg: str, key: str, title: str, text: str) -> str:
    """The drawing as an element of an HTML page: unique ids, colours of the page, a name and a description."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    view_box = re.search(r'viewBox="[^"]+"', svg)
    body = svg[svg.index(">") + 1 :]
    body = re.sub(r'\bd="[^"]+"', lambda path: re.sub(r"(\.\d)\d+", r"\1", path[0]), body)
    ids = set(re.findall(r'\bid="([^"]+)"', body))
    body = re.sub(r'\bid="([^"]+)"', rf'id="{key}-\1"', body)
    body = re.sub(r'(?:xlink:)?href="#([^"]+)"', lambda m: f'href="#{key}-{m[1]}"' if m[1] in ids else m[0], body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{key}-\1)", body)
    body = body.replace(_INK, "var(--ink-soft)").replace(_RULE, "var(--rule)")
    for number in range(len(DASHES)):
        body = body.replace(_series(number), f"var(--series-{number})")
    # Releases of matplotlib write the font in one property or in several.
    body = re.sub(r"font-family: [^;\"]+", "font-family: var(--sans)", body)
    body = re.sub(r"font: ([^;\"]*?)(\d[\d.]*px) [^;\"]+", r"font: \1\2 var(--sans)", body)
    body = re.sub(r"<style type=\"text/css\">\*\{([^}]*)\}</style>", "", body)
    name = f'<title id="{key}-title">{escape(title)}</title><desc id="{key}-desc">{escape(text)}</desc>'
    start = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {view_box[0] if view_box else ""} role="img" '
        f'aria-labelledby="{key}-title {key}-desc" stroke-linejoin="round" stroke-linecap="butt">'
    )
    return start + name + body.strip()


def _renamed(text: str, labels: Mapping[str, str]) -> str:
    if not labels:
        return text
    names = "|".join(map(re.escape, sorted(labels, key=len, reverse=True)))
    return re.sub(rf"(?<!\w)({names})(?!\w)", lambda match: inside(labels[match[1]]), text)
