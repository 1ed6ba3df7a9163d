"""Whether there were enough patients to learn from, by Riley's criteria."""

from __future__ import annotations

from collections.abc import Sequence

from medloom.evaluation.sample_size import SampleSize
from medloom.report.section import Paragraph, Section, Table


def section(sizes: Sequence[SampleSize], explained: float) -> Section | None:
    """What is needed beside what there is; None where nothing was asked for or no criterion is known."""
    if not sizes:
        return None
    short = [one for one in sizes if not one.enough]
    said = (
        f"Too few patients for {', '.join(_name(one) for one in short)}, even for a regression: expect a model that fits its "
        "own patients better than others."
        if short
        else "There are enough patients for a regression of this size. A network or a forest needs more, and nobody can say "
        "how many: the learning curve and the intervals are better evidence."
    )
    assumed = (
        f"Riley's criteria ask how many patients a regression needs, so that it neither follows chance nor misses the "
        f"overall risk. Assumed: the model explains {explained:.0%} of the outcome (evaluate.expected_r_squared), every "
        "number and every known category is a candidate. The share with the outcome is that of the training rows."
    )
    if any(one.several and one.events is not None for one in sizes):
        assumed += " Events are rows with the outcome, of which a patient may have several: as patients they are fewer."
    source = "Source: Riley et al., BMJ 368:m441, 2020."
    return Section(
        "sample-size", "trust", "Sample size", (Paragraph(said), _table(sizes), Paragraph(f"{assumed} {source}"))
    )


def _table(sizes: Sequence[SampleSize]) -> Table:
    rows = []
    for one in sizes:
        events = "–" if one.events is None else f"{one.events:,} of {one.needed.events or 0:,}"
        met = f"{one.patients:,} of {one.needed.rows:,}"
        rows.append((_name(one), f"{one.needed.parameters:,}", met, events, "enough" if one.enough else "too few"))
        for criterion in one.needed.criteria:
            rows.append((f"– {criterion.about}", "", f"{one.patients:,} of {criterion.rows:,}", "", ""))
    head = ("Outcome", "Candidate parameters", "Training patients of those needed", "Events of those needed", "")
    return Table("What there is to learn from, beside what is needed at least.", head, tuple(rows))


def _name(one: SampleSize) -> str:
    return one.target if one.outcome in ("1", "event", one.target) else f"{one.target}: {one.outcome}"
