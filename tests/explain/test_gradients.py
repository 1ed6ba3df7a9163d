import numpy as np
import polars as pl
import pytest
import torch

from medloom.explain.gradients import contributions
from medloom.explain.windows import windows_of
from medloom.model.assembly import assemble
from medloom.model.outputs import outputs
from medloom.model.team import Team
from medloom.prepare import prepare, read
from tests.cases import CASES
from tests.cases.signals import signal_and_table
from tests.explain.studies import trained


def whole(found, feed, target, rows):
    ((_, one),) = contributions(found.team, feed, target, rows)
    return one


@pytest.mark.parametrize(
    "encoder",
    [
        {},
        {"encoder": "tabm", "hidden": [16], "members": 4, "numeric": "piecewise"},
        {"encoder": "transformer", "width": 8, "heads": 2, "blocks": 1, "hidden": None, "numeric": "periodic"},
    ],
)
def test_contributions_and_the_start_add_up_to_the_answer(tmp_path, encoder):
    from tests.explain.studies import COLUMNS

    labs = {"modality": "table", "known_before_index": True, "hidden": [16, 8], "columns": COLUMNS, **encoder}
    targets = {"death": {"task": "classify", "column": "died"}, "hours": {"task": "regress", "column": "hours"}}
    labs = {key: value for key, value in labs.items() if value is not None}
    found, feed = trained(tmp_path, inputs={"labs": labs}, targets=targets, model={"members": 2}, train={"epochs": 3})
    rows = found.prepared.fold.test[:32]
    for target in targets:
        one = whole(found, feed, target, rows)
        ((_, said, _),) = outputs(found.team, feed, rows)
        expected = feed.tasks[target].scores(said[target]).value.double().numpy()
        np.testing.assert_allclose(one.score, expected, rtol=1e-4, atol=1e-4)
        size = np.abs(one.value).sum(axis=2)
        assert size.mean() > 0.01
        assert (np.abs(one.gap) < 0.02 * size + 1e-5).all()


def test_a_linear_network_gets_its_coefficients(tmp_path):
    """Of a linear network a contribution is the coefficient times the distance from the centre, in closed form."""
    found, feed = trained(tmp_path, train={"epochs": 1})
    encoder = found.team.networks[0].encoders["input_labs"]
    encoder.layers = torch.nn.Sequential(torch.nn.Linear(encoder.features.width, 8))
    network = found.team.networks[0]
    rows = found.prepared.fold.test[:20]
    one = whole(found, feed, "death", rows)
    with torch.no_grad():
        head = next(m for m in network.heads["target_death"].modules() if isinstance(m, torch.nn.Linear))
        weight = (head.weight @ encoder.layers[0].weight)[0] / feed.tasks["death"].temperature[0]
    modality, source = feed.modalities["labs"], feed.sources["labs"]
    field = modality.batch(source, modality.view(source, rows, None))
    expected = (field.value[:, 0] * weight[0]).numpy()
    place = [piece.part for piece in one.pieces].index("strong")
    np.testing.assert_allclose(one.value[:, 0, place], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "name", ["table_codes", "survive_competing", "table_several", "events_binary", "events_sequences", "events_bins"]
)
def test_codes_times_and_several_inputs_add_up(tmp_path, name):
    from medloom.judging import train_one
    from medloom.rundir import RunFolder

    asked = CASES[name](tmp_path)
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    found = train_one(prepare(*read(asked)), asked.train, run.training(), lambda event: None)
    feed = found.prepared.feed
    for target in feed.tasks:
        # Rows of events come in blocks, which hold different codes.
        rows = np.arange(6 if name.startswith("events") else 24)
        blocks = list(contributions(found.team, feed, target, rows))
        assert np.concatenate([place for place, _ in blocks]).tolist() == rows.tolist()
        for place, one in blocks:
            assert one.value.shape == (len(place), len(one.names), len(one.pieces))
            assert (np.abs(one.gap) < 0.02 * np.abs(one.value).sum(axis=2) + 1e-5).all()


def test_columns_beside_windows_add_up_to_the_answer_over_all_windows(tmp_path):
    asked = prepare(*read(signal_and_table(tmp_path)))
    feed = asked.feed
    team = Team(tuple(assemble(feed.modalities, feed.tasks, asked.study.model, seed) for seed in (3, 4)))
    rows = np.arange(24)
    ((place, one),) = contributions(team, feed, "fast", rows)
    ((_, said, _),) = outputs(team, feed, rows)
    expected = feed.tasks["fast"].scores(said["fast"]).value.double().numpy()
    np.testing.assert_allclose(one.score, expected, rtol=1e-4, atol=1e-5)
    assert {piece.input for piece in one.pieces} == {"labs"} and place.tolist() == rows.tolist()
    size = np.abs(one.value).sum(axis=2)
    assert size.mean() > 0.01 and (np.abs(one.gap) < 0.02 * size + 1e-5).all()
    # Alone a row is explained as beside others, and windows that were looked at before are the same.
    ((_, few),) = contributions(team, feed, "fast", rows[5:7], windows=windows_of(team, feed, rows))
    np.testing.assert_allclose(few.value, one.value[5:7], atol=1e-5)


def test_lines_of_a_file_add_up_and_are_the_same_in_blocks(tmp_path):
    from medloom import bundle as bundle_room
    from medloom.bundle import Bundle
    from medloom.run import explain

    found, feed = trained(tmp_path, train={"epochs": 2})
    held = Bundle(found.prepared.study, feed.modalities, found.tasks, found.team, {})
    lines = pl.concat(list(explain(held, tmp_path / "rows.csv")))
    assert lines.columns == ["row", "target", "answer", "input", "column", "contribution", "unit"]
    assert len(lines) == 900 * 7 and set(lines["unit"]) == {"log-odds"}
    sums = lines.group_by("row", maintain_order=True).agg(pl.col("contribution").sum())["contribution"].to_numpy()
    said = held.predict(pl.read_csv(tmp_path / "rows.csv"))["death_probability"].to_numpy()
    np.testing.assert_allclose(1 / (1 + np.exp(-sums)), said, atol=1e-5)
    size = pl.col("contribution").abs()
    each = lines.group_by("row").agg(
        rest=size.filter(pl.col("column") == "(rest)").sum(),
        columns=size.filter(pl.col("input").is_not_null()).sum(),
    )
    assert (each["rest"] <= 0.01 * each["columns"]).all()
    before, bundle_room.STREAM_ROWS = bundle_room.STREAM_ROWS, 256
    try:
        blocks = list(explain(held, tmp_path / "rows.csv"))
    finally:
        bundle_room.STREAM_ROWS = before
    assert len(blocks) == 4
    np.testing.assert_allclose(
        pl.concat(blocks)["contribution"].to_numpy(), lines["contribution"].to_numpy(), atol=1e-4
    )


def test_a_bundle_without_a_network_says_what_to_do(tmp_path):
    from medloom.bundle import Bundle
    from medloom.errors import BundleError
    from medloom.run import explain

    found, feed = trained(tmp_path, model={"members": ["logistic"]})
    held = Bundle(found.prepared.study, feed.modalities, found.tasks, found.team, {})
    with pytest.raises(BundleError, match="holds no network"):
        list(explain(held, tmp_path / "rows.csv"))
