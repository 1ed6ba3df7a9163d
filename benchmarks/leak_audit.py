"""The leakage audit on tables with a leak put in, and on the same tables without one.

Limits were set on the tables of `TUNED`; those of `HELD_OUT` and their seeds were not looked at. Reads
readmission-diabetes130 and icu-physionet2012 of the data folder where they are there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from scipy.stats import beta

from benchmarks.leak_sets import LEAKS, Case, clinic, hospital, made, shipped
from benchmarks.result import Result
from medloom.run import audit

ID = "leak-audit"
STRENGTHS = (0.0, 0.5, 1.0)
Tables = Mapping[str, Callable[[], Case]]
TUNED: Tables = {
    "breast cancer": partial(shipped, "breast_cancer"),
    "diabetes": partial(shipped, "diabetes"),
    "iris": partial(shipped, "iris"),
    "clinic": partial(clinic, 1500, 1),
    "clinic, 5 % cases": partial(clinic, 4000, 2, share=0.05),
    "clinic, 200 rows": partial(clinic, 200, 3),
    "clinic, a number": partial(clinic, 1200, 4, task="regress"),
    "clinic, survival": partial(clinic, 1000, 5, task="survive"),
}
HELD_OUT: Tables = {
    "wine": partial(shipped, "wine"),
    "made, 120 rows": partial(made, 120, 8, 101),
    "made, 3000 rows": partial(made, 3000, 25, 102),
    "made, a number": partial(made, 600, 10, 103, "regress"),
    "clinic of 900": partial(clinic, 900, 104, share=0.4),
    "clinic of 20000": partial(clinic, 20_000, 105, share=0.1),
    "clinic of 300, a number": partial(clinic, 300, 106, task="regress"),
    "clinic of 2000, survival": partial(clinic, 2000, 107, task="survive"),
}


def run(data: Path | None) -> list[Result]:
    """Leaks found of those put in, by kind and in all; findings on the tables without a leak."""
    held = dict(HELD_OUT)
    for name, folder in (("readmission", "readmission-diabetes130"), ("icu", "icu-physionet2012")):
        if data is not None and (data / folder).is_dir():
            held[name] = partial(hospital, name, data)
    return [*measured("tuned", TUNED, 7, ()), *measured("held out", held, 11, ("readmission", "icu"))]


def measured(which: str, tables: Tables, seed: int, controls_only: Sequence[str]) -> list[Result]:
    """The figures of one set of tables."""
    found: dict[str, list[bool]] = {}
    false: list[str] = []
    for name, read in tables.items():
        case = read()
        false += [f"{one.kind} ({name})" for one in audit(case.study(), data=case.frame).findings]
        if name in controls_only:
            continue
        for leak, hits in puts(case, seed).items():
            found.setdefault(leak, []).extend(hits)
        print(f"    {which}, {name}: {sum(map(sum, found.values()))} of {sum(map(len, found.values()))}", flush=True)
    split = f"{which} tables: {', '.join(tables)}; three strengths a leak"
    lines = [line(f"{which}: {leak}, found of put in", hits, split, seed) for leak, hits in found.items()]
    everything = [hit for hits in found.values() for hit in hits]
    return [
        line(f"{which}: leaks found of put in, {len(found)} kinds", everything, split, seed, 0.9),
        *lines,
        Result(ID, f"{which}: findings on tables without a leak", len(false), False, split, (seed,), baseline=", ".join(false), want=0),
    ]  # fmt: skip


def puts(case: Case, seed: int) -> dict[str, list[bool]]:
    """Whether each leak that can be put into the table was named by a finding, at each strength."""
    found: dict[str, list[bool]] = {}
    for place, (name, leak) in enumerate(LEAKS.items()):
        if case.task not in leak.tasks or (leak.needs and leak.needs not in case.frame.columns):
            continue
        for number, strength in enumerate(STRENGTHS):
            leaky = leak.put(case, np.random.default_rng([seed, place, number]), strength)
            kinds = {one.kind for one in audit(leaky.study(), data=leaky.frame).findings}
            found.setdefault(name, []).append(bool(kinds & leak.kinds))
    return found


def line(metric: str, hits: Sequence[bool], split: str, seed: int, want: float | None = None) -> Result:
    """A share with its exact 95 % interval. Source: Clopper & Pearson, Biometrika 26, 1934."""
    n, k = len(hits), sum(hits)
    low = float(beta.ppf(0.025, k, n - k + 1)) if k else 0.0
    high = float(beta.ppf(0.975, k + 1, n - k)) if k < n else 1.0
    return Result(ID, metric, k / n, True, split, (seed,), low, high, baseline=f"{k} of {n}", want=want)
