"""Events by their codes: what is exchanged, what a row of nothing is, and in which order codes come."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from medloom import feed, study
from medloom.cohort.table import make_cohort
from medloom.modalities.events import Events
from medloom.modalities.events.explained import ALL_EVENTS, RARE_CODES
from medloom.modalities.events.options import EventsOptions
from medloom.modality import View
from medloom.packed import Source

ROWS = 24
OTHERS = np.roll(np.arange(ROWS), 7)
MOVED = {"hr", "sex", RARE_CODES}


def long_table() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Events of patients, some without any, some codes rare, some timeless; and an index time each. Ties are many."""
    random = np.random.default_rng(3)
    count = np.where(np.arange(ROWS) % 8 == 7, 0, random.integers(1, 30, ROWS))
    of = np.repeat(np.arange(ROWS), count)
    code = random.choice(["hr", "na", "sex", "dx", "odd"], len(of), p=[0.3, 0.3, 0.15, 0.2, 0.05])
    code = np.where((code == "odd") & (of > 5), "hr", code)
    time = np.where(code == "sex", np.nan, random.integers(0, 60, len(of)).astype(float))
    value = np.where(np.isin(code, ("sex", "dx")), np.nan, random.normal(50, 10, len(of)).round(2))
    events = pl.DataFrame({"of": of, "time": time, "code": code, "value": value}).fill_nan(None)
    stays = pl.DataFrame({"of": np.arange(ROWS), "at": random.integers(30, 70, ROWS).astype(float)})
    return events, stays


def by_hand(events: pl.DataFrame, stays: pl.DataFrame) -> pl.DataFrame:
    """What each row sees, the moved codes taken from its donor at the same time before the index time."""
    seen = events.join(stays, on="of").filter(pl.col("time").is_null() | (pl.col("time") < pl.col("at")))
    moves = pl.col("code").is_in([*MOVED, "odd"])
    to = stays.with_columns(giver=pl.Series(OTHERS)).rename({"at": "own"})
    given = seen.filter(moves).join(to, left_on="of", right_on="giver", suffix="_to")
    given = given.select(pl.col("of_to").alias("of"), pl.col("time") + pl.col("own") - pl.col("at"), "code", "value")
    return pl.concat([seen.filter(~moves).select("of", "time", "code", "value"), given])


def source_of(events: pl.DataFrame, stays: pl.DataFrame, chosen: EventsOptions) -> Source:
    named = [one.with_columns(pl.format("p{}", "of").alias("patient")) for one in (events, stays)]
    cohort = make_cohort(study.CohortPart(patient="patient", at="at"), named[1], study.Path(), {"long": named[0]})
    return feed.pack(Events, chosen, cohort)


def options(**more: object) -> EventsOptions:
    return EventsOptions(**{"table": "long", "timeless": True, "width": 8, "code_width": 4, **more})


def apart(field):
    """Every tensor of a field, events of one time in one order: those of two patients have none between them."""
    held = {"value": field.value, "present": field.present, **field.extra}
    held |= {} if field.valid is None else {"valid": field.valid}
    if "code" not in field.extra or field.value.shape[1] == 0:
        return held
    keys = [field.extra["code"].numpy(), field.value.numpy(), -field.extra["age"].numpy(), ~field.valid.numpy()]
    order = torch.from_numpy(np.lexsort(keys, axis=1))
    # The gap to the event before is of the place, not of the event: equal ones stand in any order.
    lined = {"value", "valid", *field.extra} - {"gap", "statistics", "known"}
    return {name: one.gather(1, order) if name in lined else one for name, one in held.items()}


@pytest.mark.parametrize(
    "kind",
    [
        {"statistics": True, "scale": "quantiles"},
        {"encoder": "grid", "bin": 8.0, "lookback": 40.0, "code_width": None},
        {"encoder": "statistics", "code_width": None},
    ],
    ids=lambda one: one.get("encoder", "gru"),
)
def test_exchanged_codes_are_packed_as_records_that_hold_them(kind: dict[str, object]) -> None:
    chosen = options(**kind)
    events, stays = long_table()
    source = source_of(events, stays, chosen)
    modality = Events.fit(chosen, [Events.summarise(chosen, source, np.arange(ROWS))])
    source = modality.bind(source)
    rows = np.arange(ROWS)
    made = modality.mixed(source, rows, OTHERS, MOVED)
    seen = events if chosen.lookback is None else events.join(stays, on="of").filter(
        pl.col("time").is_null() | (pl.col("time") >= pl.col("at") - chosen.lookback)
    )  # fmt: skip
    expected = modality.bind(source_of(by_hand(seen, stays), stays, chosen))
    one, other = (apart(modality.batch(each, View(rows))) for each in (made, expected))
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], atol=1e-6, rtol=0)
    np.testing.assert_allclose(modality.plain(made, rows), modality.plain(expected, rows), atol=1e-9)
    # Nobody else's: the codes of the donor are those of this row now, and no others.
    itself = modality.mixed(source, rows, rows, {"hr", RARE_CODES})
    for name, whole in apart(modality.batch(itself, View(rows))).items():
        assert torch.equal(whole, apart(modality.batch(source, View(rows)))[name])


def test_a_record_stays_within_its_newest_events() -> None:
    chosen = options(last=6)
    source = source_of(*long_table(), chosen)
    modality = Events.fit(chosen, [Events.summarise(chosen, source, np.arange(ROWS))])
    source = modality.bind(source)
    made = modality.mixed(source, np.arange(ROWS), OTHERS, {"na"})
    assert made.stop is not None and made.start is not None
    assert (made.stop - made.start <= 6).all() and (made.stop - made.start).max() == 6
    valid = modality.batch(made, View(np.arange(ROWS))).valid
    assert valid is not None and int(valid.sum(dim=1).max()) <= 12


def test_codes_come_by_how_many_rows_have_them_and_rare_ones_as_one() -> None:
    chosen = options(statistics=True)
    events, stays = long_table()
    source = source_of(events, stays, chosen)
    modality = Events.fit(chosen, [Events.summarise(chosen, source, np.arange(ROWS))])
    source = modality.bind(source)
    seen = events.join(stays, on="of").filter(pl.col("time").is_null() | (pl.col("time") < pl.col("at")))
    rows = dict(seen.group_by("code").agg(pl.col("of").n_unique()).iter_rows())
    named = [RARE_CODES if code == "odd" else code for code in sorted(rows, key=lambda code: -rows[code])]
    assert set(modality.parts(source, np.arange(ROWS))) == set(named)
    assert [rows.get(code, rows["odd"]) for code in modality.parts(source, np.arange(ROWS))] == sorted(
        rows.values(), reverse=True
    )
    assert modality.parts(source, np.flatnonzero(source.unit == 0)) == ()
    numbers = modality.plain(source, np.arange(ROWS))
    assert len(modality.features()) == numbers.shape[1] and modality.features()[0].part == ALL_EVENTS
    last = [one.number for one in modality.features()].index("hr, last value")
    newest = seen.filter((pl.col("code") == "hr") & (pl.col("of") == 0)).sort("time", maintain_order=True)["value"][-1]
    assert numbers[0, last] == pytest.approx(newest)
