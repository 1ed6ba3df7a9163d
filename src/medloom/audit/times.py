"""Columns that hold times after the index time, and outcomes that are older than it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.stats import rankdata

from medloom.audit.evidence import Column, Evidence, words_of
from medloom.audit.finding import Finding, Severity
from medloom.audit.measure import correlation
from medloom.audit.strength import AFTERWARDS
from medloom.errors import counted


def after_index(evidence: Evidence) -> Iterator[Finding]:
    """Inputs that are times, some of them at or after the index time."""
    cohort = evidence.cohort
    if cohort.at is None:
        return
    events = evidence.prepared.study.cohort.events
    # Columns made of events end before the index time by their windows: a count may still look like a time of few years.
    made = {} if events is None else events.columns
    for column in evidence.columns:
        if column.name in made:
            continue
        late = _late(column, cohort.at, cohort.at_kind == "date")
        if late is None or not late.any():
            continue
        share = late.sum() / column.present.sum()
        sure: Severity = "severe" if share > 0.5 else "suspicious"
        yield Finding(
            "after-index",
            sure,
            f"{column.name} holds times, {int(late.sum())} of {int(column.present.sum())} at or after the index time",
            "take the column out, or move the index time: dates declared as such are read as missing there, and their "
            "absence can tell the answer",
            "share of values",
            float(share),
            (column.name,),
            column.input,
            rows=int(late.sum()),
        )


def _late(column: Column, at: np.ndarray, dates: bool) -> np.ndarray | None:
    """Which values lie at or after the index time; None where the column holds no times of its kind."""
    have = column.present
    if column.is_word or have.sum() < 20 or len(column.values) < 5:
        return None
    number = column.number
    if dates:
        if np.abs(number[have]).min() < 1e8 or not 0.2 < np.median(number[have]) / np.median(at) < 5:
            return None
        return have & (number >= at)
    spread = np.std(at[have])
    if spread == 0 or len(np.unique(at[have])) < 10:
        return None
    close = np.std(number[have] - at[have]) < 0.5 * spread
    if not close or correlation(rankdata(number[have]), rankdata(at[have])) < 0.85:
        return None
    return have & (number >= at)


def outcome_before_index(evidence: Evidence) -> Iterator[Finding]:
    """Columns that no input reads, named after the outcome, whose times are older than the index time."""
    cohort = evidence.cohort
    if cohort.at is None:
        return
    words = (evidence.answer_words | AFTERWARDS) - {"discharge", "discharged", "admission"}
    for column in evidence.others:
        if column.is_word or not words & set(words_of(column.name)):
            continue
        have = column.present
        if have.sum() < 5:
            continue
        number, at = column.number[have], cohort.at[have]
        if cohort.at_kind == "date":
            if np.abs(number).min() < 1e8:
                continue
        elif not (np.median(np.abs(number - at)) < 4 * (np.std(cohort.at) + 1e-9) and _named_time(column.name)):
            continue
        early = number < at
        if early.sum() >= max(2, 0.01 * have.sum()):
            yield Finding(
                "outcome-before-index",
                "severe",
                f"{column.name} is older than the index time on {int(early.sum())} of {counted(int(have.sum()), 'row')}",
                "leave these rows out (cohort.exclude), or take an earlier index time: their outcome had happened",
                "share of rows",
                float(early.mean()),
                (column.name,),
                rows=int(early.sum()),
            )


def _named_time(name: str) -> bool:
    return bool({"time", "date", "day", "days", "hour", "hours", "at", "year", "month"} & set(words_of(name)))
