"""Short HTML for notebooks: a title, facts, a table, and what can be unfolded. Everything is escaped.

Colours are those of the notebook, light or dark: nothing sets one but lines, which take that of the text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from medloom.errors import counted

LINE = "border-bottom:1px solid color-mix(in srgb, currentColor 25%, transparent)"
CELL = f"text-align:left;padding:0.15em 1em 0.15em 0;{LINE}"


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: what its columns are called, and its rows as text."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


def card(
    kind: str,
    title: str,
    sentences: Sequence[str] = (),
    facts: Mapping[str, str] | None = None,
    grids: Sequence[Grid] = (),
    details: Mapping[str, Grid] | None = None,
    links: Mapping[str, str] | None = None,
) -> str:
    """One card; `details` are folded up at first, `links` are text → address. All arguments are plain text."""
    parts = [
        f'<p style="margin:0 0 0.3em 0"><strong>{escape(title)}</strong> <small>medloom {escape(kind.lower())}</small></p>'
    ]
    parts += [f'<p style="margin:0.3em 0">{escape(sentence)}</p>' for sentence in sentences]
    parts += [_grid(Grid((), list((facts or {}).items())))] if facts else []
    parts += [_grid(grid) for grid in grids]
    parts += [
        f"<details><summary>{escape(name)}</summary>{_grid(grid)}</details>" for name, grid in (details or {}).items()
    ]
    parts += [
        f'<p style="margin:0.3em 0"><a href="{escape(address)}">{escape(text)}</a></p>'
        for text, address in (links or {}).items()
    ]
    return f'<div class="medloom-card" style="max-width:60em">{"".join(parts)}</div>'


def _grid(grid: Grid) -> str:
    head = "".join(f'<th scope="col" style="{CELL}">{escape(name)}</th>' for name in grid.head)
    body = "".join(
        f'<tr><th scope="row" style="{CELL};font-weight:normal">{escape(str(first))}</th>'
        + "".join(f'<td style="{CELL}">{escape(str(cell))}</td>' for cell in rest)
        + "</tr>"
        for first, *rest in grid.rows
    )
    caption = f'<caption style="text-align:left">{escape(grid.caption)}</caption>' if grid.caption else ""
    top = f"<thead><tr>{head}</tr></thead>" if grid.head else ""
    return f'<table style="border-collapse:collapse;margin:0.3em 0">{caption}{top}<tbody>{body}</tbody></table>'


def figure(estimate: Mapping[str, Any]) -> str:
    """A figure as it stands in `metrics.json`, with its interval."""
    if estimate.get("value") is None:
        return "not estimable"
    low, high = estimate.get("low"), estimate.get("high")
    interval = "no interval" if low is None or high is None else f"{_number(low)} to {_number(high)}"
    return f"{_number(estimate['value'])} ({interval})"


def _number(value: float) -> str:
    return f"{value:,.{3 if abs(value) < 100 else 1}f}".replace("-", "−")


def plain_name(name: str) -> str:
    """A name of a figure or a model as words: gradient_boosting is Gradient boosting."""
    text = name.replace("_", " ")
    return text[:1].upper() + text[1:]


def bundle_card(held: Mapping[str, Any], name: str) -> str:
    """A bundle: when and on whom it was trained, and what it reached."""
    parts = held.get("counts", {}).get("parts", {})
    trained = parts.get("train", {})
    facts = {
        "trained": f"{held.get('trained', 'unknown day')}, medloom {held.get('medloom', '')}",
        "training rows": f"{trained.get('rows', 0):,} of {counted(trained.get('patients', 0), 'patient')}",
        "parameters": f"{held.get('parameters', 0):,}",
    }
    for target, of in held.get("figures", {}).items():
        headline = of["headline"]
        facts[f"{target}: {of.get('label', plain_name(headline))}"] = figure(of["model"][headline])
    sentences = [str(held[key]) for key in ("use", "judged") if held.get(key)]
    return card("Bundle", name, sentences, facts)
