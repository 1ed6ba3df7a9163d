"""A run's results as the content of a report, and as the card of a bundle. Counts and figures only, no rows."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np

from medloom import __version__
from medloom.errors import counted
from medloom.evaluation.intervals import MODEL
from medloom.evaluation.result import WITHOUT, target_result
from medloom.panel_part import PanelPart
from medloom.report import asked
from medloom.report.content import Answer, Content, Input, Part, Training
from medloom.report.section import Section
from medloom.report.sections import (
    attention,
    course,
    coverage,
    drift,
    errors,
    kept,
    maps,
    stress,
    table_one,
    thresholds,
)
from medloom.report.sections import audit as audit_section
from medloom.report.sections.collected import collected
from medloom.report.story import Story
from medloom.study_text import dump_toml, without_folders
from medloom.task import Plot

USE = "Research use only; not a medical device."
FEW_ROWS = 100
FEW_EVENTS = 10
MOST_HISTORIES = 6
"""Networks whose training is drawn."""


SECTIONS: tuple[Callable[[Story], Section | None], ...] = (
    table_one.section,
    thresholds.section,
    audit_section.section,
    errors.section,
    kept.section,
    coverage.section,
    stress.section,
    drift.section,
    attention.section,
)
"""Who tells something in the report, in the order of each chapter."""


def compose(story: Story) -> Content:
    """The content of the report, with the sections of all parts of the evaluation."""
    return collected(story, _plain(story))


def _plain(story: Story) -> Content:
    study, counts = story.prepared.study, story.counts()
    proof = story.prepared.proof["folds"][0] if story.crossed else story.prepared.proof
    times = proof["index_time"]
    return Content(
        title=study.name,
        people=_people(story, counts),
        answers=tuple(_answer(story, name) for name in story.comparisons),
        counts={"rows": f"{counts['rows']:,}", study.cohort.unit.many: f"{counts['patients']:,}"},
        severe=audit_section.severe(story.audit),
        warnings=tuple(_warnings(story)),
        flow=story.flow(),
        split=_split(story),
        parts=tuple(_part(story, name, part) for name, part in counts["parts"].items() if part["rows"]),
        proved=(
            f"No {study.cohort.unit.one} is in two parts of the split: every {study.cohort.unit.one} id was compared.",
            "Scaling, vocabularies and class names were fitted on the rows of the part that trains, and on no others.",
            *(f"Of the split: {proof[by]}." for by in ("time", "site") if by in proof),
            *(f"{name}: {text.removeprefix('proved: ')}" for name, text in times.items() if text.startswith("proved")),
        ),
        declared=(
            *(("Every row is another patient (independent_rows = true).",) if study.cohort.independent_rows else ()),
            *(
                f"{name}: all values were known before the index time."
                for name, text in times.items()
                if text.startswith("declared")
            ),
        ),
        inputs=tuple(
            Input(n, study.inputs[n].modality, {**m.describe(), **_learnt(story, n)})
            for n, m in story.prepared.feed.modalities.items()
        ),
        trainings=_trainings(story),
        study_toml=dump_toml(without_folders(study)),
        environment=environment(),
        reproduce=("medloom fit study.toml --out run",)
        if story.trained
        else ("medloom evaluate bundle/ data.csv --out other/",),
        made=datetime.now(UTC).strftime("%Y-%m-%d"),
        level=study.evaluate.level,
        resamples=study.evaluate.resamples,
        sections=tuple(told for tell in SECTIONS if (told := tell(story)) is not None),
        audit=story.audit,
        who=study.cohort.unit,
    )


def card(story: Story) -> dict[str, Any]:
    """The card that travels with a bundle: where it comes from and what it reached."""
    proof = story.prepared.proof
    return {
        "use": USE,
        "name": story.prepared.study.name,
        "medloom": __version__,
        "trained": datetime.now(UTC).strftime("%Y-%m-%d"),
        "parameters": story.team.parameters,
        **({"began_with": _told(story)} if story.begun else {}),
        "members": {name: list(story.team.members(name)) for name in story.tasks},
        "counts": story.counts(),
        "figures": {
            n: target_result(c, story.tasks[n].metrics(), story.labels(n), story.team.shares.get(n))
            for n, c in story.comparisons.items()
        },
        "split": {"by": proof["by"], "patients_in_two_parts": proof["patients_in_two_parts"]},
        "judged": _judged(story),
        "index_time": dict(proof["index_time"]),
        "environment": environment(),
    }


def _told(story: Story) -> list[str]:
    """What the networks began with, each source once."""
    return list(dict.fromkeys(sentence for one in story.begun for sentence in one.told))


def _learnt(story: Story, name: str) -> Mapping[str, str]:
    """What the first network's encoder of an input chose."""
    if not story.team.networks:
        return {}
    encoder = story.team.networks[0].encoders[f"input_{name}"]
    return story.prepared.feed.modalities[name].learnt(encoder)


def environment() -> dict[str, str]:
    """Versions that decide whether a run can be repeated to the bit."""
    packages = ("torch", "numpy", "polars", "scikit-learn")
    known = {name: version(name) for name in packages}
    return {
        "medloom": __version__,
        "Python": platform.python_version(),
        **known,
        "machine": f"{platform.system()} {platform.machine()}",
    }


def _judged(story: Story) -> str:
    if story.crossed:
        return (
            f"The figures come from cross-validation ({_split(story).split(';')[0]}): rows were judged by networks that "
            f"had not seen their {story.unit.one}. The network of this bundle was trained on all rows afterwards."
        )
    if not story.prepared.study.split.judges:
        return (
            f"No row judged this network (split.test = 0): nothing is known of how good it is on new {story.unit.many}."
        )
    return "The figures are of this network, on rows it has not seen."


def _people(story: Story, counts: Mapping[str, Any]) -> str:
    sites, panel = story.prepared.cohort.site, story.prepared.study.cohort.panel
    unit = story.unit
    where = "" if sites is None else f" at {counted(sites.n_unique(), 'site')}"
    rows = f"{counted(counts['rows'], 'row')} of " if counts["rows"] != counts["patients"] else ""
    judged = counts["parts"]["test"]
    all_of_them = f"{rows}{unit.counted(counts['patients'])}{where}"
    test = f"{unit.counted(judged['patients'])} ({counted(judged['rows'], 'row')})"
    meant = "" if panel is None else _meant(panel)
    if story.crossed:
        return (
            f"{all_of_them}; each of the {test} that the figures are of "
            f"was judged by networks that had not seen {'this patient' if panel is None else 'it'}.{meant}"
        )
    if not story.prepared.study.split.judges and story.trained:
        return f"{all_of_them}; nobody was held out, so there are no figures.{meant}"
    known = [len(rows) for rows in story.rows.values()]
    were = "was" if judged["patients"] == 1 else "were"
    if len(known) == 1 and known[0] < judged["rows"]:
        told = f"the figures are of those {counted(known[0], 'row')} whose answer is known, of the {test} that {were} held out"
        return f"{all_of_them}; {told}.{meant}"
    fewer = _fewer({name: len(rows) for name, rows in story.rows.items()}, judged["rows"])
    return f"{all_of_them}; the figures are of the {test} that {were} held out.{fewer}{meant}"


def _fewer(known: Mapping[str, int], rows: int) -> str:
    """Which of several questions have an answer in some of the rows alone; nothing where all have all."""
    told = [f"{count:,} ({name})" for name, count in known.items() if count < rows]
    return f" Their answer is known of {' and '.join(told)} of these rows alone." if told else ""


def _meant(panel: PanelPart) -> str:
    """What stays together in a forecast."""
    if panel.cluster == 1:
        return " All series of a forecast date stay together."
    return f" A period is {panel.cluster} forecast dates, one after the other, with all series of each."


def _answer(story: Story, name: str) -> Answer:
    task = story.tasks[name]
    labels = story.labels(name)
    answer = Answer.of(
        name,
        asked.question(story.prepared.study, name) or task.question(),
        story.comparisons[name],
        task.metrics(),
        labels,
        _plots(story, name),
        {**task.describe(), **({"best single feature": story.single[name]} if name in story.single else {})},
        labels[MODEL],
        story.team.shares.get(name),
    )
    return replace(answer, joins=task.joins)


def _plots(story: Story, name: str) -> tuple[Plot, ...]:
    """The figures of a target; who gave answers that are no numbers cannot be drawn."""
    task, drawn = story.tasks[name], {}
    for entrant, measured in story.measured[name].items():
        replies = task.replies(measured)
        if not entrant.startswith(WITHOUT) and (replies is None or not np.isnan(replies.value).any()):
            drawn[entrant] = {**measured, "patient": story.patient[name]}
    return task.plots(drawn) if MODEL in drawn else ()


def _part(story: Story, name: str, part: Mapping[str, int]) -> Part:
    rows = story.parts()[name]
    events = {f"{target}: {what}": n for target in story.tasks for what, n in story.told(target, rows).items()}
    return Part(name, part["rows"], part["patients"], events)


def _split(story: Story) -> str:
    part, cohort = story.prepared.study.split, story.prepared.cohort
    if not story.trained:
        return f"Split by {story.prepared.proof['by']}"
    if part.by == "column":
        return f"Split as the column {part.column!r} says, and checked by {story.unit.one}"
    if part.by == "time" and story.crossed:
        return f"Split by time: {part.words()}; all but the test rows are those of the first period"
    if part.by == "time":
        panel = story.prepared.study.cohort.panel
        last = "the patients who came last judge" if panel is None else f"the latest {panel.together} judge"
        return f"Split by time: {last}"
    at_random = f"at random by {story.unit.one}" + (", stratified by the answers" if part.stratify else "")
    if story.crossed:
        how = "whole sites at a time" if part.by == "site" else at_random
        repeated = f", repeated {counted(part.repeats, 'time')}" if part.repeats > 1 else ""
        others = "the network that was kept" if part.refits else "the first fold"
        return f"Cross-validation in {counted(part.folds, 'fold')}{repeated}, {how}; all but the test rows are those of {others}"
    if part.by == "site" and cohort.site is not None:
        sites = cohort.site.gather(story.prepared.fold.test).n_unique()
        return f"Split by site: {sites} of {counted(cohort.site.n_unique(), 'site judges', 'sites judge')}"
    return f"Split {at_random}"


def _warnings(story: Story) -> list[str]:
    found = []
    fold, study = story.prepared.fold, story.prepared.study
    test = story.parts()["test"]
    if story.crossed:
        kept = " The network in the bundle was trained on all rows and was not itself judged." * study.split.refits
        found.append(
            f"The figures are those of {counted(len(story.crossed), 'network')}, one for each fold; their intervals hold the chance "
            f"of which {story.unit.many} came, and not that of training.{kept}"
        )
    for name, one in story.comparisons.items():
        if one.rows < FEW_ROWS:
            found.append(f"{name}: only {one.rows} rows judge; the intervals are wide and rough.")
        # Where an answer has no classes, its rows are all that there is to count, and have just been counted.
        rare = {what: n for what, n in story.told(name, test).items() if n < FEW_EVENTS and what != "known"}
        if rare:
            found.append(f"{name}: few held-out rows of {', '.join(f'{what} ({n})' for what, n in rare.items())}.")
    absent = set(story.tasks) - set(story.comparisons)
    if story.trained and not study.split.judges:
        found.append(
            f"No row judges (split.test = 0): nothing is known of how good this network is on new {story.unit.many}."
        )
        absent = set()
    found += [f"{name}: no held-out row has a known answer, so nothing can be said of it." for name in sorted(absent)]
    if story.trained and not len(fold.calibrate) and not study.split.rehearsals:
        found.append(_uncalibrated(story))
    if story.trained and not len(fold.valid) and study.train.keep == "best":
        found.append("No rows validate: training ran to the end of its budget and the last weights were kept.")
    if study.cohort.independent_rows:
        found.append(
            "That every row is another patient is declared, not checked; if it is wrong, the figures are too good."
        )
    found += [
        f"{name}: the baselines learnt from {one['learnt_from']:,} of {one['of']:,} training rows, drawn at random; they "
        "judge the same rows as the model."
        for name, one in story.sampled().items()
    ]
    if study.evaluate.timelines:
        found.append(course.warning(story))
    found += maps.warnings(story)
    if story.problems:
        found.append(
            f"{counted(story.problems, 'value')} did not fit what the bundle was trained on and were read as missing or other."
        )
    return found


def _uncalibrated(story: Story) -> str:
    """What it means that nothing was set on rows that had not taught."""
    if all(task.rehearses for task in story.tasks.values()):
        return (
            "No rows calibrate: intervals are as wide as rows that taught ask for, which is too narrow for new ones; "
            "split.rehearsals learns widths, and shares of members, from rows that came later."
        )
    return "No rows calibrate: probabilities are as the network gives them, and decisions are made at one half."


def _trainings(story: Story) -> tuple[Training, ...]:
    histories = story.histories or ()
    several, keeps = len(histories) > 1, story.prepared.study.train.keep == "best"
    facts = {"parameters": f"{story.team.parameters:,}", "optimizer": story.prepared.study.train.optimizer}
    facts |= {"began with": "; ".join(_told(story))} if story.begun else {}
    return tuple(
        _training(history, keeps, facts if not place else {}, f"network {place + 1}" if several else "")
        for place, history in enumerate(histories[:MOST_HISTORIES])
        if history
    )


def _training(
    history: Sequence[Mapping[str, float]], keeps_best: bool, facts: Mapping[str, str], name: str
) -> Training:
    scored = [line for line in history if "valid_loss" in line]
    best = min(scored, key=lambda line: line["valid_loss"]) if scored else None
    return Training(
        steps=tuple(int(line["step"]) for line in history),
        train_loss=tuple(line["train_loss"] for line in history),
        valid_steps=tuple(int(line["step"]) for line in scored),
        valid_loss=tuple(line["valid_loss"] for line in scored),
        kept_step=int(((best if keeps_best else None) or history[-1])["step"]),
        facts=facts,
        name=name,
    )
