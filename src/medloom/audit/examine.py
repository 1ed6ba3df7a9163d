"""The leakage audit: every look at the evidence, and what they found, the gravest first. Nothing is trained."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from medloom.audit import copies, encoded, joint, oversampling, proxies, scaled, strength, times, twins
from medloom.audit.finding import Audit, Finding
from medloom.audit.gather import gather
from medloom.audit.sample import sampled
from medloom.errors import counted
from medloom.prepare import Prepared

GRAVITY = ("severe", "suspicious", "note")


def examine(prepared: Prepared, row_ids: bool = False) -> Audit:
    """Looks for leaks in a prepared study, over all its rows; nothing of it reaches the training.

    Of a very large table some patients are searched with all their rows, and the audit says so. `row_ids` allows at most five row ids a finding.
    """
    from threadpoolctl import threadpool_limits

    every = len(prepared.cohort)
    # Of a forecast, dates stand in place of patients, and two weeks without a case are no copies of one person.
    persons = prepared.study.cohort.panel is None
    prepared = sampled(prepared)
    evidence = gather(prepared)
    with threadpool_limits(1), np.errstate(all="ignore"):
        told = strength.tell(evidence)
        found = [
            *strength.findings(evidence, told),
            *strength.pairs(evidence),
            *joint.findings(evidence),
            *(twins.findings(evidence) if persons else ()),
            *(copies.findings(evidence) if persons else ()),
            *oversampling.findings(evidence),
            *encoded.findings(evidence),
            *scaled.findings(evidence),
            *times.after_index(evidence),
            *times.outcome_before_index(evidence),
            *proxies.missingness(evidence),
            *proxies.order_and_ids(evidence),
            *proxies.id_inputs(evidence),
            *proxies.site(evidence),
            *proxies.time(evidence),
        ]
    looked = {
        "rows": len(evidence.cohort),
        "columns": len(evidence.columns),
        "inputs": len(prepared.study.inputs),
        "targets": len({o.target for o in evidence.outcomes}),
    }
    left_out = list(_left_out(prepared, evidence.outcomes))
    if len(evidence.cohort) < every:
        left_out.append(
            f"{every - len(evidence.cohort):,} of {counted(every, 'row')}: all rows of some patients were searched"
        )
    if evidence.passed:
        left_out.append(
            f"{evidence.passed:,} of {evidence.passed + len(evidence.columns) + len(evidence.others):,} columns: of so "
            "many, only words, telling names, and those that tell the answer best were searched in every way"
        )
    return Audit(tuple(_told_once(found, row_ids)), looked, tuple(left_out))


def _told_once(found: Iterable[Finding], row_ids: bool) -> list[Finding]:
    """The gravest finding of each kind and columns, the gravest first."""
    from dataclasses import replace

    ordered = sorted(found, key=lambda f: GRAVITY.index(f.severity))
    once: dict[tuple[object, ...], Finding] = {}
    for one in ordered:
        once.setdefault((one.kind, one.columns or one.figure), one if row_ids else replace(one, row_ids=(), pairs=()))
    return list(once.values())


def _left_out(prepared: Prepared, outcomes: Iterable[object]) -> list[str]:
    """What the audit cannot see, of this study and of any."""
    told = {getattr(one, "target", None) for one in outcomes}
    missed = [f"the answers of {name}, which are no value a row" for name in prepared.marks if name not in told]
    values = {name for name, part in prepared.study.inputs.items() if getattr(part, "columns", None)}
    missed += [
        f"single values of {name}; its rows were compared with one another"
        for name in prepared.study.inputs
        if name not in values
    ]
    if prepared.study.cohort.panel is not None:
        missed.append("rows that are alike: forecast dates of like weeks are no copies of one another")
    return [*missed, "columns that were chosen by looking at all rows: nothing in a table shows it"]
