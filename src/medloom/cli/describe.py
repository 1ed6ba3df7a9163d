"""What `check --data`, `plan`, `guess` and `show` print."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medloom.errors import BundleError, DataError, StudyError, counted
from medloom.machine import cores, crowded, load_average
from medloom.study import Study

if TYPE_CHECKING:
    from medloom.cohort.guess import Guess
    from medloom.modality import Marks
    from medloom.parts import TargetPart


def checked_data(study: Study) -> Study:
    """The study with every column named, after printing rows, answers and split. Raises with every mistake."""
    from medloom.prepare import fitted_tasks, folds, read, read_first

    resolved, cohort, marks = read(study)
    read_first(resolved, cohort)
    splits = folds(resolved, cohort, marks)
    for one in splits:
        one.check(cohort, resolved.split.by)
        fitted_tasks(resolved, marks, one)
    fold = splits[0]
    proof = fold.check(cohort, resolved.split.by)
    for name, count in cohort.codes.items():
        print(f"# set {name}: {counted(count, 'code')} of the store")
    for step in cohort.flow if cohort.stores else ():
        out = f", {step.left_out:,} left out" if step.left_out else ""
        print(
            f"# {step.name}: {counted(step.rows, 'row')} of {counted(step.patients, 'patient')}{out}{f' ({step.reason})' if step.reason else ''}"
        )
    unit = resolved.cohort.unit
    print(f"# {counted(len(cohort), 'row')} of {unit.counted(len(np.unique(cohort.patient)))}")
    if len(splits) > 1:
        print(f"# the first of {counted(len(splits), 'fold')}:")
    for name, part in proof["parts"].items():
        rows = fold.parts()[name]
        tallies = [f"{target} {_tally(resolved.targets[target], one, rows)}" for target, one in marks.items()]
        print(f"#   {name:<9} {part['rows']:>8,} rows {part['patients']:>8,} {unit.many}   {'; '.join(tallies)}")
    return resolved


def _tally(options: TargetPart, marks: Marks, rows: np.ndarray) -> str:
    """Known answers of these rows, by what they are called for people."""
    from medloom import find

    task = find.task(options.task)
    tally = task.tally(options, marks, rows)
    return ", ".join(f"{what} {n:,}" for what, n in zip(task.told(options, list(tally)), tally.values(), strict=True))


def audited(study: Study, as_json: bool, ids: bool) -> bool:
    """Prints what the leakage audit found; returns whether any of it is severe."""
    from medloom.run import audit

    found = audit(study, row_ids=ids)
    print(json.dumps(found.plain(), indent=2) if as_json else "\n".join(found.lines()))
    return bool(found.severe)


def planned(study: Study) -> None:
    """Parameters, steps, memory and time, measured on this machine with a few steps on a copy."""
    from medloom.model.assembly import assemble, parameters
    from medloom.prepare import prepare, read, why_sized
    from medloom.training.distributed import ALONE
    from medloom.training.place import choose
    from medloom.training.plan import bytes_kept, make_plan, seconds_a_step

    before = load_average()
    resolved, cohort, marks = read(study)
    why = why_sized(study, cohort)
    prepared = prepare(resolved, cohort, marks)
    resolved, feed, fold = prepared.study, prepared.feed, prepared.fold
    several = resolved.model.networks
    network = assemble(feed.modalities, feed.tasks, resolved.model, resolved.seed)
    weights = {name: part.loss_weight for name, part in resolved.targets.items()}
    plan = make_plan(resolved.train, network, feed, fold.train, resolved.seed, weights)
    seconds = seconds_a_step(plan, network, feed, fold.train, resolved.train)
    packed = sum(source.packed.nbytes for source in feed.sources.values())
    count = several * parameters(network)
    place, at_once = choose(resolved.train, ALONE), plan.micro_batch or plan.batch
    kept = bytes_kept(plan, network, feed, fold.train, resolved.train, place, at_once)
    print(f"rows        {', '.join(f'{name} {len(rows)}' for name, rows in fold.parts().items())}")
    for name, gives in network.gives.items():
        encoder = parameters(network.encoders[f"input_{name}"])
        print(
            f"input       {name}: {resolved.inputs[name].modality}, encoded to {counted(gives.width, 'number')}, {counted(encoder, 'parameter')}"
        )
        for line in why[name]:
            print(f"              {line}")
    print(f"members     {counted(several, 'network')}{''.join(f', {name}' for name in resolved.model.simple)}")
    print(f"parameters  {count:,}")
    print(
        f"steps       {plan.steps:,} of {counted(plan.batch, 'row')} ({plan.steps * plan.batch / len(fold.train):.0f} epochs), at most"
    )
    rate = f"{plan.learning_rate:g}{' (auto)' if resolved.train.learning_rate == 'auto' else ''}"
    print(f"learning    {resolved.train.optimizer}, {resolved.train.schedule}, learning rate {rate}")
    print(f"computing   {place}, {counted(at_once, 'row')} at a time")
    print(
        f"memory      {packed / 2**20:,.0f} MB packed data, {count * 16 / 2**20:,.1f} MB weights, gradients and optimiser, "
        f"{kept / 2**20:,.1f} MB kept for the way back of {counted(at_once, 'row')}"
    )
    print(
        f"time        {_duration(several * plan.steps * seconds)} of training at most, {seconds * 1e3:.2f} ms a step on {plan.threads} of {cores()} cores"
    )
    if said := crowded(plan.threads, before):
        print(f"            {said}")


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )


def guessed(table: Path, target: str, out: Path | None) -> None:
    """Writes the guessed study file and prints what was seen of each column."""
    from medloom.cohort.guess import guess
    from medloom.cohort.guessed_study import study_toml

    path = out or table.with_suffix(".toml")
    if path.exists():
        raise StudyError(f"{path} exists; give another name with --out, or delete it")
    result = guess(table, target)
    if result.masks:
        result = replace(result, labels=_labels_of(result))
    text = study_toml(result, path.stem, path.parent)
    for column in result.columns:
        print(f"{column.name:<28} {column.kind:<12} {column.reason}")
    for warning in result.warnings:
        print(f"warning: {warning}")
    path.write_text(text, encoding="utf-8")
    print(f"\n{path} is a first guess: read every line, then run: medloom check {path} --data")


def _labels_of(found: Guess) -> tuple[int, ...]:
    """The values in some of the masks that the target names; nothing, with a word, where they tell none."""
    from medloom.modalities.image.looking import labels_in

    assert found.path is not None
    try:
        return labels_in([found.path.parent / one for one in found.masks], found.dims)
    except (DataError, ImportError) as error:
        print(f"warning: the masks of {found.target!r} were not looked at: {error}")
        return ()


def shown(folder: Path) -> None:
    """The card of a bundle, or of a run's bundle, with its fitted facts and figures."""
    from medloom.bundle import load

    if not folder.exists():
        raise BundleError(f"{folder}: no such folder; expected a bundle, as `medloom fit` writes in run/bundle")
    bundle = load(folder / "bundle" if (folder / "bundle").is_dir() else folder)
    card = bundle.card
    print(
        f"{bundle.study.name}: {counted(bundle.team.parameters, 'parameter')}, trained {card['trained']} with medloom {card['medloom']}"
    )
    for name, part in bundle.study.inputs.items():
        print(f"input  {name}: {part.modality}")
    for name, task in bundle.tasks.items():
        print(f"target {name}: {bundle.study.targets[name].task}")
        for fact, text in task.describe().items():
            print(f"       {fact}: {text}")
        figures = card["figures"].get(name, {}).get("model", {})
        for figure, estimate in figures.items():
            print(f"       {figure}: {_figure(estimate)}")
    for sentence in card.get("began_with", ()):
        print(f"began  with {sentence}")
    print(f"rows   {json.dumps(card['counts'])}")
    print(card["use"])


def _figure(estimate: dict[str, float | None]) -> str:
    if estimate["value"] is None:
        return str(estimate.get("note", "cannot be estimated"))
    if estimate["low"] is None:
        return f"{estimate['value']:.3f}"
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"
