"""A report as Markdown: the same content, for a repository, an issue or a colleague without a browser."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from medloom.errors import counted
from medloom.evaluation.intervals import Estimate
from medloom.report.content import Answer, Content
from medloom.report.page import grouped
from medloom.report.section import Facts, Images, Listing, Paragraph, Piece, Section, Table, Thresholds
from medloom.report.verdict import number, percent, verdict
from medloom.report.words import CHAPTERS, PARTS, PURPOSES, heading, how_to_read
from medloom.task import Plot


def render(content: Content) -> str:
    """The whole report as text; plots are told in words."""
    return "\n".join(_lines(content)).rstrip() + "\n"


def _lines(content: Content) -> Iterator[str]:
    yield from (f"# {_plain(content.title)}", "", _plain(content.people), "")
    yield from ("Research use only, not a medical device." + (f" {content.made}" if content.made else ""), "")
    yield from _listed("## Until this is settled, believe no figure below", content.severe)
    for answer in content.answers:
        yield from _answer(answer, content)
    yield from _listed("## Warnings", content.warnings)
    yield from _patients(content)
    for answer in content.answers:
        yield from _figures(answer)
    for name, title in CHAPTERS.items():
        told = [section for section in content.sections if section.chapter == name]
        if told and name not in ("patients", "method"):
            yield from (f"## {title}", "")
            for section in told:
                yield from section_lines(section)
    yield from _method(content)


def _answer(answer: Answer, content: Content) -> Iterator[str]:
    level, of = content.level, content.who
    said, name = verdict(answer, level, of), answer.headline.name
    yield from (f"## {_plain(answer.question)}", "", f"**{_plain(said.sentence)}** {_plain(said.advice)}", "")
    yield f"{answer.headline.label} on {counted(answer.rows, 'test row')} of {of.counted(answer.patients)}, {percent(level)} intervals."
    yield ""
    rows = [(answer.network.label, value(answer.network.estimates[name]), "–")]
    for one in answer.baselines:
        best = " (strongest)" if one.name == answer.best else ""
        rows.append((one.label + best, value(one.estimates[name]), value(answer.differences[one.name][name], True)))
    yield from table(("Model", answer.headline.label, "Difference"), rows)


def _patients(content: Content) -> Iterator[str]:
    people = content.who.many.capitalize()
    yield from (f"## {heading(content.who)}", "")
    if content.flow:
        rows = [
            (s.name, f"{s.rows:,}", f"{s.patients:,}", f"{s.left_out:,}" if i else "–", s.reason)
            for i, s in enumerate(content.flow)
        ]
        yield from table(("Step", "Rows", people, "Left out", "Why"), rows)
    if content.parts:
        names = list(dict.fromkeys(name for part in content.parts for name in part.events))
        yield from (f"{_plain(content.split)}.", "") if content.split else ()
        yield from table(
            ("Part", "Rows", people, *names, "What it is for"),
            [
                (
                    PARTS.get(part.name, part.name),
                    f"{part.rows:,}",
                    f"{part.patients:,}",
                    *(f"{part.events[name]:,}" if name in part.events else "–" for name in names),
                    PURPOSES.get(part.name, ""),
                )
                for part in content.parts
            ],
        )
    yield from _listed("### Proved on the data", content.proved)
    yield from _listed("### Declared by the study, not checked", content.declared)
    for section in content.sections:
        if section.chapter == "patients":
            yield from section_lines(section)


def _figures(answer: Answer) -> Iterator[str]:
    yield from (f"## All figures: {_plain(answer.target)}", "")
    head = ("Figure", answer.network.label, *(one.label for one in answer.baselines))
    paired = answer.differences.get(answer.best or "", {})
    for title, figures in grouped(answer):
        yield from (f"### {title}", "") if title else ()
        rows = [
            (
                figure.label,
                *(value(one.estimates[figure.name]) for one in (answer.network, *answer.baselines)),
                *((value(paired[figure.name], True),) if paired else ()),
            )
            for figure in figures
        ]
        yield from table((*head, "Difference") if paired else head, rows)
    yield from _listed("", [f"{plot.title}: {plot.text}" for plot in answer.plots])
    yield from _listed("### What was fitted", [f"{name}: {fact}" for name, fact in answer.facts.items()])


def _method(content: Content) -> Iterator[str]:
    yield from (f"## {CHAPTERS['method']}", "")
    for one in content.inputs:
        yield from _listed(f"### Input {one.name} ({one.modality})", [f"{n}: {fact}" for n, fact in one.facts.items()])
    for section in content.sections:
        if section.chapter == "method":
            yield from section_lines(section)
    yield from (how_to_read(percent(content.level), f"{content.resamples:,}", content.who), "")
    yield from ("## How to make it again", "")
    if content.reproduce:
        yield from ("```sh", *content.reproduce, "```", "")
    yield from _listed("", [f"{name}: {version}" for name, version in content.environment.items()])
    if content.study_toml:
        yield from ("```toml", content.study_toml.strip(), "```", "")


def section_lines(section: Section) -> Iterator[str]:
    """A section under a heading of the third level."""
    yield from (f"### {_plain(section.title)}", "")
    for piece in section.pieces:
        yield from _piece(piece)


def _piece(piece: Piece) -> Iterable[str]:
    if isinstance(piece, Paragraph):
        return (_plain(piece.text), "")
    if isinstance(piece, Listing):
        return _listed("", piece.items)
    if isinstance(piece, Facts):
        return _listed("", [f"{name}: {fact}" for name, fact in piece.facts.items()])
    if isinstance(piece, Plot):
        return (f"{_plain(piece.title)}: {_plain(piece.text)}", "")
    if isinstance(piece, Thresholds):
        return _thresholds(piece)
    if isinstance(piece, Images):
        said = (*(f"{image.title}: {image.text}" for image in piece.images), *piece.told)
        return (_plain(piece.caption), "", *_listed("", said))
    return (_plain(piece.caption), "", *table(piece.head, cells(piece)))


def _thresholds(piece: Thresholds) -> Iterator[str]:
    yield from (f"{_plain(piece.caption[:1].upper() + piece.caption[1:])}; * is the study's own.", "")
    rows = [
        (
            f"{piece.grid[place]:.3f}{' *' if place == piece.own else ''}",
            *(value(Estimate(*of[place])) for of in piece.figures.values()),
        )
        for place in piece.shown
    ]
    yield from table(("Threshold", *piece.figures), rows)


def cells(piece: Table) -> list[list[str]]:
    """The cells of a table as text."""
    return [
        [
            cell if isinstance(cell, str) else value(cell, name in piece.signed)
            for name, cell in zip(piece.head, row, strict=True)
        ]
        for row in piece.rows
    ]


def value(estimate: Estimate, signed: bool = False) -> str:
    """An estimate on one line."""
    if estimate.value is None:
        return "not estimable"
    if estimate.low is None or estimate.high is None:
        return number(estimate.value, signed)
    return f"{number(estimate.value, signed)} ({number(estimate.low, signed)} to {number(estimate.high, signed)})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table of Markdown; the first column from the left, all others from the right."""
    yield f"| {' | '.join(map(_cell, head))} |"
    yield f"| --- |{' ---: |' * (len(head) - 1)}"
    yield from (f"| {' | '.join(map(_cell, row))} |" for row in rows)
    yield ""


def _listed(title: str, items: Sequence[str]) -> Iterator[str]:
    if items:
        yield from (title, "") if title else ()
        yield from (f"- {_plain(item)}" for item in items)
        yield ""


def _plain(text: str) -> str:
    """Text that is no HTML where Markdown is shown as a page."""
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|").replace("\n", " ")
