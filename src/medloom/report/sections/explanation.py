"""What the answers rest on, whether that can be trusted, and what it does not mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medloom.errors import Noun, counted
from medloom.evaluation.intervals import Estimate
from medloom.explain.deletion import Deletion
from medloom.explain.effects import Effect
from medloom.explain.examine import GRADIENTS, PERMUTATION, Explained, Explanation
from medloom.explain.importance import Importance
from medloom.report.section import Listing, Paragraph, Piece, Section, Table
from medloom.report.verdict import number
from medloom.report.words import inside
from medloom.task import Curve, Plot

if TYPE_CHECKING:
    from medloom.report.story import Story

WARNINGS = (
    "Importance is of the model, not of the disease: a {one} may matter to the answers and cause nothing.",
    "{Many} that follow each other share importance: each alone may look dispensable. Those that do are also exchanged "
    "together.",
    "A {worse} whose interval holds zero is not told from none.",
)
OF_CODES = (
    "A code is exchanged with all its events: a patient gets those of another one, at the same time before the index time, "
    "and keeps all other events. Whoever had none may get some, and the other way round."
)
SHOWN = 15


def section(story: Story) -> Section | None:
    """Importances with intervals, the check of their faithfulness, effects of the foremost columns, and warnings.

    None for a study of images or records alone, which has no columns to speak of.
    """
    found = story.evidence.explanation
    if found is None or not found.columns:
        return None
    pieces: list[Piece] = []
    for target, one in found.targets.items():
        pieces += _target(target, one, found, story.unit)
    if found.targets:
        whose = " The model explained is that of the first fold, on its test rows." if story.crossed else ""
        simple = ""
        if story.team.networks and any(story.team.simple.values()):
            simple = " Contributions by gradients are those of the networks alone; everything else is of all members."
        pieces.append(
            Paragraph(
                f"From {found.rows:,} judged rows of {story.unit.counted(found.patients)}, each {_one(found)} exchanged "
                f"{counted(found.repeats, 'time')} between {story.unit.many}, all rows of a {story.unit.one} together.{whose}{simple}"
            )
        )
        many = _many(found)
        worse = " or ".join(dict.fromkeys(map(_worse, found.targets.values())))
        warnings = [said.format(one=_one(found), Many=_capital(many), worse=worse) for said in WARNINGS]
        warnings += [OF_CODES] if "code" in found.words else []
        pieces.append(Listing((*warnings, *(f"{_capital(said)}." for said in found.left_out))))
    else:
        pieces.append(Paragraph(f"Nothing was asked: {'; '.join(found.left_out)}."))
    return Section("explanation", "explanation", f"Which {_many(found)} count", tuple(pieces))


def _one(found: Explanation) -> str:
    return " or ".join(found.words)


def _many(found: Explanation) -> str:
    return " and ".join(f"{word}s" for word in found.words)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _worse(one: Explained) -> str:
    """Which way the figure goes where the model gets worse."""
    return "fall" if one.higher_is_better else "rise"


def _loss(one: Explained) -> str:
    return f"{_capital(_worse(one))} of {inside(one.label)}"


def _target(target: str, one: Explained, found: Explanation, of: Noun) -> list[Piece]:
    name = f"{target}: " if len(found.targets) > 1 else ""
    pieces: list[Piece] = [_importances(name, one, found, of)]
    if one.together:
        pieces.append(
            Table(
                f"{name}{_many(found)} that follow each other, exchanged together",
                (_capital(_many(found)), _loss(one)),
                tuple((_names(line, found), line.drop) for line in one.together),
                (_loss(one),),
            )
        )
    pieces += [
        Paragraph(_trust(ranking, deletion, inside(one.label), _many(found), of))
        for ranking, deletion in one.deletions.items()
    ]
    if PERMUTATION in one.deletions and one.deletions[PERMUTATION].gain.value is not None:
        pieces.append(_deletion_plot(name, one, found))
    for effect in one.effects:
        pieces.append(_effect(name, effect, found))
    return pieces


def _importances(name: str, one: Explained, found: Explanation, of: Noun) -> Table:
    fall = _loss(one)
    first = _capital(_one(found))
    head = (first, fall, f"Mean contribution ({one.unit})") if one.gradients else (first, fall)
    rows: list[tuple[str | Estimate, ...]] = []
    for line in one.importances[:SHOWN]:
        mean = one.gradients.get(line.pieces[0])
        more = (number(mean) if mean is not None else "–",) if one.gradients else ()
        rows.append((_names(line, found), line.drop, *more))
    left = len(one.importances) - SHOWN
    rest = f"; the {left} least are not shown" if left > 0 else ""
    caption = f"{name}{_worse(one)} of the figure where {of.many}' {_values(found)} are exchanged{rest}"
    return Table(caption[0].upper() + caption[1:], head, tuple(rows), (fall,))


def _values(found: Explanation) -> str:
    """What is exchanged, in words."""
    said = {"column": "values of a column", "code": "events of a code", "input": "whole inputs"}
    return " or ".join(said.get(word, f"values of a {word}") for word in found.words)


def _names(line: Importance, found: Explanation) -> str:
    return " + ".join(found.named(piece) for piece in line.pieces)


def _trust(ranking: str, found: Deletion, label: str, many: str, of: Noun) -> str:
    what = {PERMUTATION: "The ranking by exchange", GRADIENTS: "The ranking by gradients"}[ranking]
    gain = found.gain
    if gain.value is None or gain.low is None or gain.high is None:
        return f"{what} could not be checked: {gain.note or f'too few {of.many}'}."
    figure = f"{number(gain.value, signed=True)} ({number(gain.low, True)} to {number(gain.high, True)})"
    if found.trusted:
        return (
            f"{what} holds: with the {many} that it calls important taken out first, {label} is worse than with "
            f"random ones by {figure} in the mean over steps."
        )
    return (
        f"{what} cannot be trusted: with the {many} that it calls important taken out first, {label} is not clearly worse "
        f"than with random ones ({figure} in the mean over steps)."
    )


def _deletion_plot(name: str, one: Explained, found: Explanation) -> Plot:
    many = _many(found)
    deletion = one.deletions[PERMUTATION]
    taken = tuple(float(count) for count in deletion.taken)
    labels = {"most": "most important first", "random": "at random", "least": "least important first"}
    curves = tuple(Curve(label, taken, deletion.curves[way]) for way, label in labels.items())
    last = len(taken) // 2
    text = (
        f"With {counted(deletion.taken[last], _one(found), many)} taken out, {inside(one.label)} is {number(deletion.curves['most'][last])} where the "
        f"most important went first, {number(deletion.curves['random'][last])} at random."
    )
    return Plot(f"{name}{many} taken out", f"{_capital(many)} taken out", one.label, curves, text)


def _effect(name: str, effect: Effect, found: Explanation) -> Plot | Table:
    column = ", ".join(filter(None, (found.named(effect.piece), effect.number)))
    title = f"{name}mean {effect.what} over {column}, all else as it is"
    title = title[0].upper() + title[1:]
    if effect.words:
        rows = tuple(
            (word, *(number(float(value)) for value in mean))
            for word, mean in zip(effect.words, effect.value, strict=True)
        )
        return Table(title, (column, *effect.names), rows)
    at = tuple(float(f"{value:.4g}") for value in effect.at)
    curves = tuple(
        Curve(answer, at, tuple(effect.value[:, place].tolist())) for place, answer in enumerate(effect.names)
    )
    first, last = effect.value[0, 0], effect.value[-1, 0]
    text = (
        f"From {number(at[0])} to {number(at[-1])} of {column} the mean {effect.what} of {effect.names[0]} goes from "
        f"{number(float(first))} to {number(float(last))}."
    )
    return Plot(title, column, f"mean {effect.what}", curves, text)
