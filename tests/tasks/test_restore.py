"""Restoring what was hidden: what is hidden, what is measured, and against what."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medloom.batch import Encoded, Field, Gives, Seen
from medloom.draw import Draw
from medloom.errors import StudyError
from medloom.modalities.image.encoders.network import ImageEncoder
from medloom.modalities.image.hiding import cells, hide
from medloom.modalities.image.options import ImageOptions
from medloom.modality import Hiding
from medloom.study import make
from medloom.tasks._restore_baselines import around
from medloom.tasks._restore_head import RestoreHead, judged
from medloom.tasks.restore import Restore, RestoreOptions, RestorePrediction

HIDING = Hiding("scan", 0.5, 4)


def _field(*shape, seed=0):
    random = torch.Generator().manual_seed(seed)
    value = torch.randn(*shape, generator=random)
    return Field(value, torch.ones(len(value), dtype=torch.bool))


@pytest.mark.parametrize("spatial", [(16, 16), (12, 20), (8, 8, 8), (10, 12, 4)])
def test_the_share_of_cells_is_hidden_whole(spatial):
    rows = np.arange(5)
    found = cells(spatial, HIDING, rows, Draw(1, np.zeros(5, int)))
    side = -(-max(spatial) // 4)
    corners = found[(slice(None), *[slice(None, None, side)] * len(spatial))]
    assert (corners.reshape(5, -1).sum(axis=1) == round(0.5 * corners[0].size)).all()
    whole = corners
    for axis, size in enumerate(spatial, 1):
        whole = whole.repeat(side, axis=axis).take(np.arange(size), axis=axis)
    assert (whole == found).all()
    assert not (found[0] == found[1]).all()


def test_what_is_hidden_is_a_function_of_row_and_epoch_and_in_prediction_of_neither():
    one = cells((16, 16), HIDING, np.array([4, 9]), Draw(1, np.array([2, 2])))
    other = cells((16, 16), HIDING, np.array([9]), Draw(1, np.array([2])))
    later = cells((16, 16), HIDING, np.array([9]), Draw(1, np.array([3])))
    assert (one[1] == other[0]).all() and not (other == later).all()
    fixed = cells((16, 16), HIDING, np.array([1, 7]), None)
    assert (fixed[0] == fixed[1]).all() and fixed.any() and not fixed.all()


def test_the_encoder_sees_nothing_of_what_is_hidden():
    field = _field(3, 2, 16, 16)
    found = hide(field, HIDING, np.arange(3), None)
    hidden = found.extra["hidden"]
    assert (found.value[hidden[:, None].expand_as(found.value)] == 0).all()
    assert torch.equal(found.valid, ~hidden) and torch.equal(found.extra["whole"], field.value)


def test_figures_are_those_of_the_hidden_values():
    field = hide(_field(2, 1, 16, 16), HIDING, np.arange(2), None)
    told = torch.zeros(2, 1, 16, 16)
    found = judged(told, field)
    for row in range(2):
        truth = field.extra["whole"][row, 0][field.extra["hidden"][row]].numpy()
        assert float(found["error"][row]) == pytest.approx((truth**2).mean(), rel=1e-5)
        assert float(found["spread"][row]) == pytest.approx(truth.var(), rel=1e-5)
    perfect = judged(field.extra["whole"], field)
    assert float(perfect["error"].max()) == 0


def test_the_share_restored_is_one_minus_the_ratio_of_sums():
    task = Restore(RestoreOptions(input="scan"), 3)
    prediction = RestorePrediction(np.array([0.5, np.nan, 1.0]), np.array([1.0, np.nan, 4.0]))
    measured = task.measure(prediction, Field(torch.zeros(3), torch.ones(3, dtype=torch.bool)))
    weight = np.array([[1.0, 1.0, 1.0], [2.0, 5.0, 0.0], [0.0, 1.0, 0.0]])
    restored = task.metrics()["restored"].of(measured, weight)
    np.testing.assert_allclose(restored[:2], [1 - 1.5 / 5, 1 - 0.5])
    assert np.isnan(restored[2])
    np.testing.assert_allclose(task.metrics()["error"].of(measured, weight)[:2], np.sqrt([0.75, 0.5]))
    assert prediction.columns()["restored"][:2] == [pytest.approx(0.5), None]


def test_neighbours_are_weighted_means_of_what_is_shown():
    field = hide(_field(1, 1, 12), HIDING, np.arange(1), None)
    told = around(field, 1.0)[0, 0].numpy()
    shown, whole = field.valid[0].numpy(), field.extra["whole"][0, 0].numpy()
    place = np.flatnonzero(~shown)[0]
    sigma = 12 / 8
    weight = np.exp(-0.5 * ((np.arange(12) - place) / sigma) ** 2) * shown
    weight[np.abs(np.arange(12) - place) > round(3 * sigma)] = 0
    assert told[place] == pytest.approx((weight @ whole) / weight.sum(), rel=1e-4)
    assert around(field, None)[0, 0, 0].item() == pytest.approx(whole[shown].mean(), rel=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_head_answers_for_a_row_alone_and_uses_the_pooled_vector(dims):
    sides = (8,) * dims
    gives = Gives(width=5, features=6, dims=dims, levels=((4, 1), (6, 2)), channels=1)
    torch.manual_seed(0)
    head = RestoreHead("scan", gives)
    field = hide(_field(3, 1, *sides), Hiding("scan", 0.6, 4), np.arange(3), None)
    finer = (torch.randn(3, 4, *sides), torch.randn(3, 6, *[4] * dims))
    pooled = torch.randn(3, 5)

    def told(rows, vector):
        encoded = Encoded(vector[rows], finer=tuple(level[rows] for level in finer))
        return head(Seen(vector[rows], {"scan": encoded}, {"scan": field.rows(rows.start, rows.stop)}))

    whole = told(slice(0, 3), pooled)
    alone = told(slice(1, 2), pooled)
    torch.testing.assert_close(whole["error"][1:2], alone["error"], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(told(slice(0, 3), pooled + 1)["error"], whole["error"])


@pytest.mark.parametrize("encoder", ["residual", "dense", "convnext", "transformer"])
@pytest.mark.parametrize("dims", [2, 3])
def test_every_encoder_of_images_learns_from_what_it_does_not_see(encoder, dims):
    options = ImageOptions(
        column="image", known_before_index=True, dims=dims, patch=(16,) * dims, encoder=encoder, width=8, levels=3
    )
    torch.manual_seed(1)
    network = ImageEncoder(options)
    head = RestoreHead("scan", network.gives)
    field = hide(_field(2, 1, *(16,) * dims), HIDING, np.arange(2), None)
    output = head(Seen(torch.zeros(2, 1), {"scan": network(field)}, {"scan": field}))
    output["error"].sum().backward()
    moved = [name for name, weight in network.named_parameters() if weight.grad is not None and weight.grad.any()]
    assert "project.weight" in moved and len(moved) > 0.8 * len(list(network.parameters()))


def test_a_study_that_hides_has_one_target_and_one_input_that_can_be_hidden():
    image = {"modality": "image", "column": "path", "patch": [16, 16], "known_before_index": True}
    table = {"modality": "table", "known_before_index": True}
    raw = {"name": "x", "cohort": {"table": "t.csv", "independent_rows": True}}
    hidden = {"task": "restore", "input": "scan"}
    with pytest.raises(StudyError, match="give it a study of its own"):
        make({**raw, "inputs": {"scan": image}, "targets": {"a": hidden, "b": {"task": "classify", "column": "y"}}})
    with pytest.raises(StudyError, match="take labs out"):
        make({**raw, "inputs": {"scan": image, "labs": table}, "targets": {"a": hidden}})
    with pytest.raises(StudyError, match="of which nothing can be hidden"):
        make({**raw, "inputs": {"scan": table}, "targets": {"a": hidden}})
