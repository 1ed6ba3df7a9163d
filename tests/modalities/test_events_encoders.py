"""Every network over events: padding, absence and other rows change nothing, and it learns."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from pydantic import ValidationError

from medloom import feed, study
from medloom.cohort.table import make_cohort
from medloom.modalities.events import Events
from medloom.modalities.events.bins import grid
from medloom.modalities.events.gather import bent
from medloom.modalities.events.options import EventsOptions
from medloom.modalities.events.plain import Seen
from medloom.modalities.events.summary import NORMAL_SCORES
from medloom.modality import View
from medloom.packed import Source

KINDS = {
    "gru": {"layers": 2, "dropout": 0.1},
    "lstm": {"scale": "quantiles"},
    "tcn": {"statistics": True},
    "transformer": {"heads": 2},
    "grid": {"bin": 4.0, "lookback": 50.0},
    "grid over tcn": {"encoder": "grid", "over": "tcn", "bin": 4.0, "lookback": 50.0, "statistics": True, "layers": 2},
    "gru_decay": {"bin": 7.0, "lookback": 50.0},
    "statistics": {"layers": 2},
}
CODES = ("hr", "na", "sex", "dx")


def made(patients: int = 30, **options: object) -> tuple[Events, Source]:
    """A fitted input of patients with none to forty events, timeless ones among them, and its bound source."""
    random = np.random.default_rng(5)
    count = random.integers(0, 40, patients)
    of = np.repeat(np.arange(patients), count)
    code = random.choice(CODES, len(of))
    time = pl.Series(np.where(code == "sex", np.nan, random.uniform(0, 100, len(of)))).fill_nan(None)
    value = pl.Series(np.where(np.isin(code, ("sex", "dx")), np.nan, random.normal(50, 10, len(of)))).fill_nan(None)
    long = pl.DataFrame({"patient": [f"p{n}" for n in of], "time": time, "code": code, "value": value})
    frame = pl.DataFrame({"patient": [f"p{n}" for n in range(patients)], "at": random.uniform(20, 120, patients)})
    cohort = make_cohort(study.CohortPart(patient="patient", at="at"), frame, study.Path(), {"long": long})
    chosen = EventsOptions(table="long", timeless=True, **{"width": 8, **options})
    source = feed.pack(Events, chosen, cohort)
    modality = Events.fit(chosen, [Events.summarise(chosen, source, np.arange(patients))])
    return modality, modality.bind(source)


def of_kind(name: str) -> dict[str, object]:
    return {"encoder": name, **KINDS[name]} if "encoder" not in KINDS[name] else dict(KINDS[name])


@pytest.mark.parametrize("name", KINDS)
def test_a_row_alone_equals_the_row_in_any_batch(name: str) -> None:
    modality, source = made(**of_kind(name))
    torch.manual_seed(0)
    encoder = modality.encoder().eval()
    with torch.no_grad():
        whole = encoder(modality.batch(source, View(np.arange(30))))
        for row in range(30):
            alone = encoder(modality.batch(source, View(np.array([row]))))
            torch.testing.assert_close(alone.pooled[0], whole.pooled[row], atol=1e-5, rtol=0)
    assert whole.pooled.shape == (30, 8) and torch.isfinite(whole.pooled).all()
    assert (source.unit == 0).any()
    assert encoder.gives.features == (0 if whole.tokens is None else 8)
    if whole.tokens is not None:
        assert whole.valid is not None and whole.valid.shape == whole.tokens.shape[:2]


@pytest.mark.parametrize("name", KINDS)
def test_every_weight_learns(name: str) -> None:
    modality, source = made(60, **of_kind(name))
    torch.manual_seed(0)
    encoder = modality.encoder()
    if name == "gru_decay":
        # Where nothing fades yet, the rates of fading have no gradient: the rectifier stands at its corner.
        torch.nn.init.constant_(encoder.over_time.value_base, 0.1)
    encoder(modality.batch(source, View(np.arange(60)))).pooled.square().sum().backward()
    silent = [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", ["gru", "tcn", "transformer"])
def test_the_order_of_time_is_seen(name: str) -> None:
    modality, source = made(encoder=name)
    encoder = modality.encoder().eval()
    row = int(np.argmax(modality.lengths(source, np.arange(30)).each))
    field = modality.batch(source, View(np.array([row])))
    assert field.extra["has_time"].sum() > 3 and not field.extra["has_time"].all()
    assert (field.extra["age"][0].diff()[field.extra["has_time"][0, 1:] & field.extra["has_time"][0, :-1]] <= 0).all()
    with torch.no_grad():
        flipped = field.value.flip(1)
        assert not torch.allclose(encoder(field).pooled, encoder(type(field)(flipped, field.present, field.valid, field.extra)).pooled)  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "gru", "heads": 2}, 'heads goes with encoder = "transformer", and encoder is "gru"'),
        ({"encoder": "tcn", "over": "gru"}, 'over goes with encoder = "grid"'),
        ({"encoder": "gru_decay", "bin": 1, "lookback": 9, "layers": 2}, "layers goes with"),
        ({"encoder": "statistics", "code_width": 8}, "code_width goes with"),
        ({"encoder": "gru", "bin": 2.0}, "bin goes with encoder = grid or gru_decay"),
        ({"encoder": "grid", "bin": 2.0}, "grid needs bin and lookback"),
        ({"encoder": "grid", "lookback": 2.0}, "grid needs bin and lookback"),
        ({"encoder": "grid", "lookback": 1e6, "bin": 1.0}, "1000000 bins; at most 4096"),
        ({"encoder": "grid", "lookback": 8, "bin": 1.0, "kernel": 3}, 'kernel goes with over = "tcn"'),
        ({"encoder": "transformer", "width": 10, "heads": 4}, "width 10 is not a multiple of heads 4"),
        ({"encoder": "statistics", "statistics": False}, "leave statistics = false out"),
    ],
)
def test_combinations_that_mean_nothing_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EventsOptions(table="long", **options)


def test_a_grid_by_hand() -> None:
    nan = float("nan")
    seen = Seen(
        row=np.array([0, 0, 0, 0, 0, 1]),
        slot=np.array([1, 0, 0, 0, -1, 1]),
        value=np.array([nan, 1.0, 2.0, 4.0, 9.0, nan]),
        age=np.array([nan, 8.0, 5.0, 4.5, 1.0, 0.0]),
        half=np.array([4.0, 4.0]),
    )
    value, count, since = grid(seen, bins=4, bin_width=2.0, has_values=np.array([True, False]))
    assert value[0, :, 0].tolist() == [1.0, 3.0, 3.0, 3.0]
    assert count[0, :, 0].tolist() == [1, 2, 0, 0]
    assert since[0, :, 0].tolist() == [0, 0, 1, 2]
    assert (value[:, :, 1] == 0).all()
    assert count[0, :, 1].tolist() == [1, 0, 0, 0] and since[0, :, 1].tolist() == [0, 1, 2, 3]
    assert count[1, :, 1].tolist() == [0, 0, 0, 1] and since[1, :, 1].tolist() == [4, 4, 4, 0]
    assert since[1, :, 0].tolist() == [4, 4, 4, 4]


def test_quantiles_bend_values_to_normal_scores() -> None:
    modality, source = made(400, scale="quantiles", encoder="gru", last=40)
    place = modality.codes.index("hr")
    knots = modality.knots[place]
    assert len(knots) == len(NORMAL_SCORES) and list(knots) == sorted(knots)
    field = modality.batch(source, View(np.arange(400)))
    own = (field.extra["code"] == place + 2) & field.extra["has_value"]
    values = field.value[own]
    assert abs(float(values.mean())) < 0.1 and abs(float(values.std()) - 1) < 0.1
    assert modality.knots[modality.codes.index("sex")] == ()


def test_equal_quantiles_share_the_mean_of_their_scores() -> None:
    table = bent([(), (1.0, 1.0, 1.0, 2.0, 3.0, 3.0, 4.0)], np.array([0.0, 2.0]))
    assert table["count"].tolist() == [0, 4]
    assert table["edges"][1].tolist()[:4] == [1.0, 2.0, 3.0, 4.0]
    expected = [np.mean(NORMAL_SCORES[:3]), NORMAL_SCORES[3], np.mean(NORMAL_SCORES[4:6]), NORMAL_SCORES[6]]
    np.testing.assert_allclose(table["scores"][1][:4], expected)
    assert table["slope"].tolist() == [0.0, 0.5]


@pytest.mark.parametrize("name", KINDS)
def test_rows_of_unknown_codes_and_of_none(name: str) -> None:
    modality, _ = made(**of_kind(name))
    long = pl.DataFrame({"patient": ["x", "x"], "time": [1.0, 2.0], "code": ["odd", "odder"], "value": [1e30, -1e30]})
    frame = pl.DataFrame({"patient": ["x", "y"], "at": [9.0, 9.0]})
    cohort = make_cohort(study.CohortPart(patient="patient", at="at"), frame, study.Path(), {"long": long})
    new = modality.bind(feed.pack(Events, modality.options, cohort))
    field = modality.batch(new, View(np.arange(2)))
    assert field.present.tolist() == [True, False]
    assert torch.isfinite(modality.encoder().eval()(field).pooled).all()


def test_what_rows_hold_and_the_course_of_one() -> None:
    modality, source = made(encoder="gru")
    rows = np.arange(30)
    held = modality.held(source, rows)
    assert held.what == "events" and held.each.tolist() == modality.lengths(source, rows).each.tolist()
    assert {name for name, _ in held.shares} == set(CODES)
    assert [share for _, share in held.shares] == sorted((share for _, share in held.shares), reverse=True)
    assert held.more == ""
    few, cut = made(encoder="gru", last=3)
    assert "of the rows have more than the newest 3 that are seen" in few.held(cut, rows).more
    row = int(np.argmax(held.each))
    traces = modality.timeline(source, row)
    assert {trace.name for trace in traces} <= {"hr", "na"} and len(traces) == 2
    assert all(list(trace.age) == sorted(trace.age, reverse=True) for trace in traces)
