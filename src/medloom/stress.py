"""What the finished model does with data that differ from those that judged it: gaps, noise, wrong units, other patients.

The same rows are altered and read again by the same path; nothing is fitted. Changes are paired, row by row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from medloom import find
from medloom.cohort.stored import BLOCK_CELLS, Table, in_memory
from medloom.draw import generator
from medloom.errors import DataError
from medloom.evaluation.grouping import Grouping, by_bands, by_value
from medloom.evaluation.intervals import MODEL, compare
from medloom.evaluation.shifted import shifted
from medloom.evaluation.stressed import BEFORE, Outcome, Scenario, Stressed
from medloom.evaluation.subgroups import Subgroups, subgroups
from medloom.feed import Feed, pack
from medloom.judging import Judged
from medloom.model.outputs import outputs
from medloom.model.team import Team
from medloom.parts import StressPart
from medloom.prepare import Prepared
from medloom.task import Measured, Metric, Task

MOST_COLUMNS = 100
"""Columns that are altered one at a time, at most: the first ones."""
WORST = 5
"""Of those, how many are shown: the ones whose loss hurts most."""
PERIODS = 3


Altered = Mapping[Scenario, Mapping[str, Measured] | str]
"""What was measured by scenario and target; or why the altered data would be refused."""


def altered(prepared: Prepared, team: Team, tasks: Mapping[str, Task]) -> dict[Scenario, dict[str, Measured] | str]:
    """Every scenario of the study on the fold's test rows, judged by the finished model."""
    found: dict[Scenario, dict[str, Measured] | str] = {}
    for scenario in scenarios(prepared):
        try:
            found[scenario] = _judged(prepared, team, tasks, scenario)
        except DataError as error:
            # Reports name no rows.
            found[scenario] = re.sub(r" \(rows? [^)]*\)", "", str(error).splitlines()[0])
    return found


def pooled(folds: Sequence[Altered]) -> dict[Scenario, dict[str, Measured] | str]:
    """The scenarios of all folds together; one that any fold would refuse is refused."""
    found: dict[Scenario, dict[str, Measured] | str] = {}
    for scenario, first in folds[0].items() if folds else ():
        each = [fold[scenario] for fold in folds]
        refused = next((one for one in each if isinstance(one, str)), None)
        if refused is not None or isinstance(first, str):
            found[scenario] = refused or ""
            continue
        held = [one for one in each if not isinstance(one, str)]
        found[scenario] = {
            target: {key: np.concatenate([one[target][key] for one in held if target in one]) for key in measured}
            for target, measured in first.items()
        }
    return found


def scenarios(prepared: Prepared) -> Iterator[Scenario]:
    """What the study asks for, spelt out for its inputs and columns. The same for every fold."""
    study, frame = prepared.study, prepared.cohort.frame
    inputs = {name: (find.modality(part.modality), part) for name, part in study.inputs.items()}
    held = set(frame.columns)
    every = [c for kind, part in inputs.values() for c in kind.columns(part) if c in held]
    numbers = {
        c: unit for kind, part in inputs.values() for c, unit in kind.measured_columns(part).items() if c in held
    }
    for part in _asked(study.evaluate.stress):
        if part.kind == "missing_input" and len(inputs) > 1:
            yield from (Scenario(part.kind, f"without {name}", input=name) for name in inputs)
        elif part.kind == "missing_column":
            yield from (Scenario(part.kind, f"without {name}", name) for name in every[:MOST_COLUMNS])
        elif part.kind == "missing_values":
            share = 0.2 if part.share is None else part.share
            yield Scenario(part.kind, f"{share:.0%} of all cells missing", size=share)
        elif part.kind == "noise" and numbers:
            share = 0.5 if part.share is None else part.share
            yield Scenario(part.kind, f"noise of {share:g} standard deviations", size=share)
        elif part.kind == "units":
            for name, other in list(numbers.items())[:MOST_COLUMNS]:
                unit, factor = other if other is not None and part.factor is None else (None, part.factor or 10.0)
                how = f"in {unit} (times {factor:.4g})" if unit else f"times {factor:.4g}"
                yield Scenario(part.kind, f"{name} {how}", name, size=factor)


def stressed(prepared: Prepared, tasks: Mapping[str, Task], judged: Judged, found: Altered) -> dict[str, Stressed]:
    """Every target's outcomes with intervals of figures and of their paired changes."""
    study = prepared.study
    kinds = {part.kind for part in _asked(study.evaluate.stress)}
    if not kinds:
        return {}
    made = {}
    for target, entrants in judged.measured.items():
        metrics, task = _told(tasks[target].metrics()), tasks[target]
        patient, before = judged.patient[target], entrants[MODEL]
        if task.dense:
            made[target] = Stressed(notes=("an answer laid on an image is not put through these",))
            continue
        outcomes = tuple(_outcomes(study, target, metrics, before, patient, found))
        notes = _notes(kinds, prepared, metrics, before)
        made[target] = Stressed(
            outcomes,
            shifted(task.metrics(), before, patient, study) if "prevalence" in kinds and _binary(before) else (),
            _grouped(prepared, metrics, before, patient, judged.rows[target], kinds),
            notes,
        )
    return made


def _asked(stress: Sequence[Any]) -> list[StressPart]:
    return [one if isinstance(one, StressPart) else StressPart(kind=one) for one in stress]


def _binary(measured: Measured) -> bool:
    return "probability" in measured and measured["probability"].ndim == 1


def _told(metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """The headline, and the first figure of calibration, of the answers as a whole, and of errors and intervals."""
    names = [next(iter(metrics))]
    for group in ("calibration", "overall", "error", "intervals"):
        names += [name for name, metric in metrics.items() if metric.group == group][:1]
    return {name: metrics[name] for name in dict.fromkeys(names)}


def _outcomes(
    study: Any, target: str, metrics: Mapping[str, Metric], before: Measured, patient: np.ndarray, found: Altered
) -> Iterator[Outcome]:
    headline = next(iter(metrics.values()))
    ones = np.ones((1, len(patient)))
    start = float(headline.of(before, ones)[0])
    sign = 1 if headline.higher_is_better else -1

    def loss(measured: Mapping[str, Measured] | str) -> float:
        if isinstance(measured, str) or target not in measured:
            return -np.inf
        return float(np.nan_to_num(sign * (start - float(headline.of(measured[target], ones)[0]))))

    many: dict[str, list[Scenario]] = {}
    for scenario in found:
        if scenario.one_of_many:
            many.setdefault(scenario.kind, []).append(scenario)
    worst = {one for each in many.values() for one in sorted(each, key=lambda one: -loss(found[one]))[:WORST]}
    refused = {kind: [one for one in each if isinstance(found[one], str)] for kind, each in many.items()}
    for scenario, measured in found.items():
        if isinstance(measured, str):
            if not scenario.one_of_many or scenario == refused[scenario.kind][0]:
                others = len(refused.get(scenario.kind, ())) - 1
                more = f" (and {others} other columns likewise)" if scenario.one_of_many and others else ""
                yield Outcome(scenario, None, f"refused before the model sees it: {measured}{more}")
        elif target in measured and (not scenario.one_of_many or scenario in worst):
            options = study.evaluate
            yield Outcome(
                scenario,
                compare(
                    metrics,
                    {MODEL: measured[target], BEFORE: before},
                    patient,
                    resamples=options.resamples,
                    level=options.level,
                    seed=study.seed,
                    of=study.cohort.unit,
                ),
            )


def _notes(kinds: set[Any], prepared: Prepared, metrics: Mapping[str, Metric], before: Measured) -> tuple[str, ...]:
    cohort, found = prepared.cohort, []
    if "prevalence" in kinds and not _binary(before):
        found.append("prevalence: cannot be estimated: it is of answers of two classes")
    if "period" in kinds and cohort.at is None:
        found.append("period: cannot be estimated: the study names no index time (cohort.at)")
    if "site" in kinds and cohort.site is None:
        found.append("site: cannot be estimated: the study names no site (cohort.site)")
    if "missing_input" in kinds and len(prepared.study.inputs) < 2:
        found.append("missing_input: the study has one input only")
    headline = next(iter(metrics.values()))
    if kinds & {"missing_column", "units"}:
        found.append(f"Of columns altered one at a time, the {WORST} that cost most {headline.label} are shown.")
    return tuple(found)


def _grouped(
    prepared: Prepared,
    metrics: Mapping[str, Metric],
    before: Measured,
    patient: np.ndarray,
    rows: np.ndarray,
    kinds: set[Any],
) -> Subgroups | None:
    """Figures of each period of the index time, and of each site."""
    cohort, study = prepared.cohort, prepared.study
    groups: list[Grouping] = []
    if "period" in kinds and cohort.at is not None:
        times = cohort.at[rows]
        cuts = np.unique(np.quantile(times, np.arange(1, PERIODS) / PERIODS))
        code = by_bands("period", times, cuts.tolist()).code
        names = ("earliest", "middle", "latest") if len(cuts) == 2 else ("earlier", "later")
        groups.append(Grouping("period", names, code))
    if "site" in kinds and cohort.site is not None:
        groups.append(by_value("site", cohort.site).take(rows))
    if not groups:
        return None
    options = study.evaluate
    return subgroups(
        metrics,
        before,
        patient,
        groups,
        resamples=options.resamples,
        level=options.level,
        seed=study.seed,
        minimum=options.subgroup_patients,
        of=study.cohort.unit,
    )


def _judged(prepared: Prepared, team: Team, tasks: Mapping[str, Task], scenario: Scenario) -> dict[str, Measured]:
    """What the model measures on the altered test rows, of those targets that have one answer a row."""
    feed = _feed(prepared, tasks, scenario)
    parts: dict[str, list[Measured]] = {name: [] for name in feed.marks}
    for block, said, truths in outputs(team, feed, np.arange(len(prepared.fold.test))):
        for name, marks in feed.marks.items():
            known = np.asarray(marks.present)[block]
            if known.any():
                measured = tasks[name].measure(tasks[name].decode(said[name]), truths[name])
                parts[name].append({key: value[known] for key, value in measured.items()})
    return {
        name: {key: np.concatenate([block[key] for block in blocks]) for key in blocks[0]}
        for name, blocks in parts.items()
        if blocks
    }


def _feed(prepared: Prepared, tasks: Mapping[str, Task], scenario: Scenario) -> Feed:
    test = prepared.fold.test
    cohort = prepared.cohort.take(test)
    seen = replace(cohort, frame=_altered(prepared, scenario, in_memory(cohort.frame)))
    sources = {}
    for name, part in prepared.study.inputs.items():
        source = prepared.feed.modalities[name].bind(pack(find.modality(part.modality), part, seen))
        gone = scenario.input == name
        sources[name] = replace(source, unit=np.zeros_like(source.unit)) if gone else source
    marks = {
        name: replace(one, values=np.asarray(one.values)[test], present=np.asarray(one.present)[test])
        for name, one in prepared.feed.marks.items()
    }
    groups = {name: codes[test] for name, codes in prepared.feed.groups.items()}
    bases = {name: base[test] for name, base in prepared.feed.bases.items()}
    return Feed(prepared.feed.modalities, sources, tasks, marks, groups=groups, bases=bases)


def _altered(prepared: Prepared, scenario: Scenario, frame: pl.DataFrame) -> pl.DataFrame:
    """The columns that inputs read, altered; ids, times and answers stay as they are."""
    study = prepared.study
    inputs = [(find.modality(part.modality), part) for part in study.inputs.values()]
    held = set(frame.columns)
    every = list(dict.fromkeys(c for kind, part in inputs for c in kind.columns(part) if c in held))
    numbers = [c for kind, part in inputs for c in kind.measured_columns(part) if c in held]
    if scenario.kind == "missing_column":
        return frame.with_columns(pl.lit(None, frame.schema[str(scenario.column)]).alias(str(scenario.column)))
    if scenario.kind == "units":
        return frame.with_columns(_number(frame, str(scenario.column)) * scenario.size)
    random = generator(study.seed, "stress", scenario.kind)
    if scenario.kind == "missing_values":
        gone = {name: pl.Series(random.random(len(frame)) < scenario.size) for name in every}
        return frame.with_columns(
            pl.select(pl.when(~gone[name]).then(frame[name]).alias(name)).to_series() for name in every
        )
    if scenario.kind == "noise":
        train = prepared.fold.train if len(prepared.fold.train) else prepared.fold.test
        return frame.with_columns(
            _noisy(_number(frame, name), random.normal(0, 1, len(frame)) * scenario.size * spread)
            for name, spread in _spreads(prepared.cohort.frame, numbers, train)
        )
    return frame


def _spreads(table: Table, names: Sequence[str], rows: Int[np.ndarray, " some"]) -> Iterator[tuple[str, float]]:
    """Each column's standard deviation over these rows, 0 where it has none; a block of columns is read at a time."""
    step = max(1, BLOCK_CELLS // max(1, len(table)))
    for start in range(0, len(names), step):
        block = table.select(list(names[start : start + step]))[rows]
        for name in block.columns:
            spread = _number(block, name).std()
            yield name, float(spread) if isinstance(spread, float) else 0.0


def _noisy(values: pl.Series, noise: Float[np.ndarray, " rows"]) -> pl.Series:
    """The numbers with noise, held between the least and the greatest of them: a device shows nothing beyond its scale."""
    numbers = values.to_numpy()
    if np.isnan(numbers).all():
        return values
    held = np.clip(numbers + noise, np.nanmin(numbers), np.nanmax(numbers))
    return pl.Series(values.name, held, nan_to_null=True)


def _number(frame: pl.DataFrame, name: str) -> pl.Series:
    """A column as numbers; what is no number (a marker of a missing value) is missing."""
    return frame[name].cast(pl.Float64, strict=False)
