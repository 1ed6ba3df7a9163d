"""A run in a notebook: the headline of each target beside its baselines, and the verdict's first sentence."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from medloom.cards import Grid, card, figure, plain_name
from medloom.errors import counted
from medloom.evaluation.intervals import MODEL, Estimate
from medloom.report.content import NETWORK, Answer, Entrant, Figure
from medloom.report.verdict import percent, verdict

NOBODY = "No row with a known answer judged, so nothing is known of how good this network is on new patients."


def run_card(metrics: Mapping[str, Any], folder: Path) -> str:
    """The card of a finished run. `metrics` are those of `metrics.json`."""
    targets = metrics["targets"]
    sentences = [f"{name}: {_sentence(name, of)}" for name, of in targets.items()] or [NOBODY]
    details = {f"All figures of {name}": _all(of) for name, of in targets.items()}
    return card(
        "Run",
        folder.name or str(folder),
        sentences,
        {"rows": f"{metrics['counts']['rows']:,} of {counted(metrics['counts']['patients'], 'patient')}"},
        [_headline(name, of) for name, of in targets.items()],
        {**details, "Who is in which part": _parts(metrics)},
        {"Report": _address(folder / "report.html")},
    )


def _headline(name: str, of: Mapping[str, Any]) -> Grid:
    """The headline figure of every entrant, and the model's difference from it."""
    key = of["headline"]
    rows = [(_model(of), figure(of["model"][key]), "")]
    for entrant, figures in of["baselines"].items():
        best = " (strongest)" if entrant == of["difference"]["baseline"] else ""
        rows.append((_called(of, entrant) + best, figure(figures[key]), figure(of["differences"][entrant][key])))
    held = (
        f"{counted(of['rows'], 'row')} of {counted(of['patients'], 'patient')}, with {percent(of['level'])} intervals"
    )
    return Grid(("Model", _label(of), "Difference"), rows, f"{name}, judged on {held}")


def _all(of: Mapping[str, Any]) -> Grid:
    entrants = {_model(of): of["model"], **{_called(of, name): figures for name, figures in of["baselines"].items()}}
    rows = [
        (plain_name(key), *(figure(figures[key]) for figures in entrants.values() if key in figures))
        for key in of["model"]
    ]
    return Grid(("Figure", *entrants), rows)


def _parts(metrics: Mapping[str, Any]) -> Grid:
    parts = metrics["counts"]["parts"].items()
    return Grid(("Part", "Rows", "Patients"), [(n, f"{p['rows']:,}", f"{p['patients']:,}") for n, p in parts])


def _sentence(name: str, of: Mapping[str, Any]) -> str:
    """The first sentence of the report's verdict, from the figures that a run keeps."""
    key, best = of["headline"], of["difference"]["baseline"]
    headline = Figure(key, _label(of), of.get("higher_is_better", True))

    def entrant(kept: str, label: str, figures: Mapping[str, Any]) -> Entrant:
        return Entrant(kept, label, {key: _estimate(figures[key])})

    answer = Answer(
        target=name,
        question=name,
        figures=(headline,),
        network=entrant(MODEL, _model(of), of["model"]),
        baselines=tuple(entrant(n, _called(of, n), figures) for n, figures in of["baselines"].items()),
        differences={n: {key: _estimate(figures[key])} for n, figures in of["differences"].items()},
        best=best,
    )
    return verdict(answer, of["level"]).sentence


def _label(of: Mapping[str, Any]) -> str:
    return of.get("label") or plain_name(of["headline"])


def _model(of: Mapping[str, Any]) -> str:
    return of.get("labels", {}).get(MODEL, NETWORK)


def _called(of: Mapping[str, Any], entrant: str) -> str:
    return of.get("labels", {}).get(entrant) or plain_name(entrant)


def _estimate(kept: Mapping[str, Any]) -> Estimate:
    return Estimate(kept["value"], kept.get("low"), kept.get("high"), kept.get("note", ""))


def _address(path: Path) -> str:
    """An address that a notebook opens: relative to where it runs, or a whole one on another drive."""
    try:
        return quote(Path(os.path.relpath(path)).as_posix())
    except ValueError:
        return path.resolve().as_uri()
