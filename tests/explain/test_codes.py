"""What answers rest on, code by code: a telling code is found, an idle one is not, and thousands of codes stay few questions."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from medloom.errors import PATIENT
from medloom.explain import bounds
from medloom.explain.effects import Effect
from medloom.explain.examine import PERMUTATION, explain
from medloom.explain.probe import Piece, Probe
from medloom.explain.rows import explained
from medloom.explain.weak_groups import weak_groups
from medloom.model.outputs import outputs
from medloom.report.sections.explanation import section
from medloom.task import Replies
from tests.explain.studies import trained

LABS = {"modality": "table", "known_before_index": True, "hidden": [8], "columns": {"age": {"kind": "numeric"}}}
COHORT = {"table": "rows.csv", "patient": "patient", "at": "hour"}


def planted(folder, count=500):
    """Death follows from having one code and from the values of another; six codes say nothing; some have no events."""
    random = np.random.default_rng(0)
    who = np.array([f"p{number:04d}" for number in range(count)])
    tells, level = random.random(count) < 0.4, random.normal(size=count)
    seen = random.random(count) < 0.97
    kinds = [(tells, "telling", None), *((random.random(count) < 0.5, f"idle {k}", None) for k in range(4))]
    kinds += [(np.ones(count, bool), "lab", level)] * 2
    parts = []
    for has, code, values in kinds:
        here = np.flatnonzero(has & seen)
        value = np.full(len(here), np.nan) if values is None else values[here] + random.normal(0, 0.3, len(here))
        time = random.uniform(0, 48, len(here)).round(2)
        parts.append(pl.DataFrame({"patient": who[here], "time": time, "value": value, "code": [code] * len(here)}))
    pl.concat(parts).fill_nan(None).write_csv(folder / "events.csv")
    logit = np.where(seen, 3 * tells + 1.2 * level, 0) - 1.2
    died = (random.random(count) < 1 / (1 + np.exp(-logit))).astype(int)
    age = random.integers(20, 90, count)
    return pl.DataFrame({"patient": who, "hour": np.full(count, 48.5), "died": died, "age": age})


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("codes")
    course = {"modality": "events", "table": "events.csv", "width": 16, "encoder": "grid", "bin": 8, "lookback": 48}
    found, feed = trained(
        folder,
        frame=planted(folder),
        cohort=COHORT,
        inputs={"course": course, "labs": LABS},
        model={"members": ["network", "logistic"]},
        train={"epochs": 30, "batch": 32},
    )
    test = found.prepared.fold.test
    return found, feed, explain(found.team, feed, test, found.prepared.cohort.patient[test], 0.95, 0)


def test_a_planted_code_comes_first_and_idle_ones_are_not_told_from_nothing(asked):
    _, _, made = asked
    one = made.targets["death"]
    drops = {line.pieces[0].part: line.drop for line in one.importances}
    assert one.importances[0].pieces[0] == Piece("course", "telling")
    assert set(drops) == {"telling", "lab", "age", *(f"idle {k}" for k in range(4))}
    assert drops["telling"].low > 0.05 and drops["lab"].low > 0.02
    assert all(drops[f"idle {k}"].low <= 0 for k in range(4))
    assert one.deletions[PERMUTATION].trusted
    gradients = {piece.part: value for piece, value in one.gradients.items()}
    assert gradients["telling"] > max(gradients[f"idle {k}"] for k in range(4))


def test_codes_are_told_in_words(asked):
    _, _, made = asked
    assert made.words == ("code", "column")
    effects = [one for one in made.targets["death"].effects if one.piece.part == "telling"]
    assert isinstance(effects[0], Effect) and effects[0].number == "events" and effects[0].at == (0.0, 1.0)
    assert effects[0].value[1, 0] > effects[0].value[0, 0] + 0.2

    class Told:
        evidence = type("E", (), {"explanation": replace(made, called={Piece("course", "telling"): "A sign"})})
        crossed, team, unit = False, asked[0].team, PATIENT

    found = section(Told())
    text = repr(found)
    assert found.title == "Which codes and columns count" and "course: telling (A sign)" in text
    assert "a patient gets those of another one, at the same time before the index time" in text


def test_a_row_is_told_the_codes_that_it_has_and_they_add_up(asked):
    found, feed, _ = asked
    team = replace(found.team, simple={})
    ids = pl.Series("row", [f"r{number}" for number in range(len(found.prepared.cohort))])
    (lines,) = explained(team, feed.tasks, [(ids, feed)])
    rows = np.arange(len(ids))
    said = np.concatenate([feed.tasks["death"].scores(one["death"]).value for _, one, _ in outputs(team, feed, rows)])
    sums = lines.group_by("row", maintain_order=True).agg(pl.col("contribution").sum())
    np.testing.assert_allclose(sums["contribution"].to_numpy(), said[:, 0], atol=1e-4)
    tells = lines.filter(pl.col("column") == "telling")
    counts = feed.plain(rows)[:, [one.number for _, one in Probe(team, feed, rows).features()].index("telling, events")]
    assert sorted(tells["row"]) == sorted(ids.filter(pl.Series(counts > 0)))
    assert tells["contribution"].mean() > 0.5
    none = ids.filter(pl.Series(np.isnan(counts)))[0]
    assert lines.filter(pl.col("row") == none)["column"].to_list() == ["(start)", "age", "(rest)"]


def test_groups_of_patients_are_named_by_their_codes(asked):
    found, feed, _ = asked
    rows = np.arange(len(found.prepared.cohort))
    names = Probe(found.team, feed, rows).features()
    plain = feed.plain(rows)
    tells = [one.number for _, one in names].index("telling, events")
    wrong = Replies(np.zeros((len(rows), 1)), ("yes",), "risk", np.where(plain[:, tells] > 0, 1.0, 0.1), "error")
    groups = weak_groups(wrong, names, plain, rows, 100, 0.95, 0)
    assert groups is not None and any("telling, events over 0.5" in name for name in groups.worse)


def test_of_thousands_of_codes_few_are_asked_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "MOST_PIECES", 4)
    random = np.random.default_rng(1)
    patients, each = 150, 1_800
    code = np.concatenate([random.permutation(10_000)[:each] for _ in range(patients)])
    who = np.repeat([f"p{number:03d}" for number in range(patients)], each)
    events = pl.DataFrame({"patient": who, "time": random.uniform(0, 48, len(who)), "code": [f"c{n}" for n in code]})
    events.write_parquet(tmp_path / "events.parquet")
    frame = pl.DataFrame({"patient": np.unique(who), "hour": [50.0] * patients, "died": [0, 1] * (patients // 2)})
    course = {"modality": "events", "table": "events.parquet", "value": "", "last": 2_000, "encoder": "statistics"}
    found, feed = trained(tmp_path, frame=frame, cohort=COHORT, inputs={"course": course}, train={"steps": 2})
    test = found.prepared.fold.test
    made = explain(found.team, feed, test, found.prepared.cohort.patient[test], 0.95, 0)
    lines = made.targets["death"].importances
    held = len(feed.modalities["course"].parts(feed.sources["course"], test))
    assert held > 6_000 and len(lines) == 5
    rest = next(line.pieces[0] for line in lines if line.pieces[0].several)
    assert rest.part == f"{held - 4:,} other codes" and len(rest.several) == held - 4
    said = made.left_out[-1]
    assert said.startswith(f"4 of {held:,} codes were exchanged one by one: those whose contributions differ most")
    assert said.endswith(f"; {held - 4:,} other codes together")
    assert {line.pieces[0] for line in lines} <= set(made.targets["death"].gradients)
