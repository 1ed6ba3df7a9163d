"""Maps over images: what each method computes, held against closed forms; and on a network that learnt a bright spot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch.nn import functional as F

from medloom.errors import BundleError, DataError, StudyError
from medloom.explain import mapped as room
from medloom.explain import maps as methods
from medloom.explain.cases import with_maps
from medloom.explain.map_checks import gains, highest, hits, likeness
from medloom.explain.map_rows import METHODS, mapped_rows, sees_images
from medloom.explain.mapped import mapped, masks_of
from medloom.explain.maps import ATTENTION, GRAD_CAM, GRADIENTS, OCCLUSION, Asked, can_map, lifted, maps
from medloom.explain.regions import flat
from medloom.model.team import Team
from medloom.study import make
from tests.explain.pictures import SIDE, study, trained


@pytest.fixture(scope="module")
def spots(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("spots")
    asked = study(folder)
    found, feed = trained(folder, asked)
    return asked, found, feed, Asked(found.team.networks, feed, "spot", "scan")


@pytest.fixture(scope="module")
def seen(spots: Any) -> Any:
    """Eight rows with their maps."""
    _, found, _, asked = spots
    (views,) = asked.views(found.prepared.fold.test[:8])
    return views, maps(asked, views, asked.methods(METHODS))


def test_grad_cam_is_its_closed_form_where_the_head_is_linear(spots: Any, seen: Any) -> None:
    """With a mean over the grid and linear layers after it, the gradient of the answer is the product of their weights."""
    _, found, feed, _ = spots
    views, each = seen
    network = found.team.networks[0]
    encoder = network.encoders["input_scan"]
    with torch.no_grad():
        grid = encoder(views.batch.inputs["scan"]).grid
        head = next(layer for layer in network.heads["target_spot"].modules() if isinstance(layer, torch.nn.Linear))
        slope = (head.weight[-1] - (head.weight[0] if len(head.weight) > 1 else 0)) @ encoder.project.weight
        slope = slope / grid[0, 0].numel() / feed.tasks["spot"].temperature[0]
        cam = F.relu(torch.einsum("c,bcij->bij", slope, grid))
        wide = F.interpolate(cam[:, None], (SIDE, SIDE), mode="bilinear")[:, 0]
    np.testing.assert_allclose(each[GRAD_CAM], wide.numpy(), rtol=1e-3, atol=1e-5)


def test_integrated_gradients_add_up_to_the_difference_from_a_flat_image(
    spots: Any, seen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, asked = spots
    views, each = seen
    field = views.batch.inputs["scan"]
    difference = asked.mean_score(views, field.value) - asked.mean_score(views, flat(field, 2))
    monkeypatch.setattr(methods, "STEPS", 150)
    fine = maps(asked, views, (GRADIENTS,))[GRADIENTS]
    missed = np.abs(fine.sum(axis=(1, 2)) - difference)
    assert (missed < 0.02 * np.abs(fine).sum(axis=(1, 2))).all()
    assert np.corrcoef(fine[1].reshape(-1), each[GRADIENTS][1].reshape(-1))[0, 1] > 0.95


def test_occlusion_is_the_mean_fall_over_the_boxes_that_hold_a_voxel(spots: Any, seen: Any) -> None:
    *_, asked = spots
    views, each = seen
    field = views.batch.inputs["scan"]
    start, whole = flat(field, 2), asked.mean_score(views, field.value)
    falls = []
    for top in (4, 6):  # boxes of 4 begin every 2: those that hold voxel (7, 1)
        value = field.value.clone()
        value[:, :, top : top + 4, 0:4] = start[:, :, top : top + 4, 0:4]
        falls.append(whole - asked.mean_score(views, value))
    np.testing.assert_allclose(each[OCCLUSION][:, 7, 1], np.mean(falls, axis=0), rtol=1e-4, atol=1e-5)


def test_a_row_alone_has_the_map_that_it_has_among_others(spots: Any, seen: Any) -> None:
    *_, asked = spots
    views, each = seen
    (alone,) = asked.views(views.rows[3:4])
    for method, values in maps(asked, alone, tuple(each)).items():
        np.testing.assert_allclose(values[0], each[method][3], rtol=1e-4, atol=1e-5)
    assert alone.score[0] == pytest.approx(views.score[3], abs=1e-5)


def test_maps_point_at_what_was_learnt_and_pass_their_checks(spots: Any) -> None:
    asked, found, feed, _ = spots
    (one,) = mapped(asked, found.prepared.cohort, found.team, feed, found.prepared.fold.test)
    assert one.rows == len(found.prepared.fold.test) and one.marked == one.rows // 2
    assert one.chance is not None and one.chance.value == pytest.approx(25 / 256)
    assert set(one.figures) == {GRAD_CAM, GRADIENTS, OCCLUSION}
    for figures in one.figures.values():
        assert figures.hit is not None and figures.hit.value is not None and figures.hit.value > 0.7
        assert figures.over_chance is not None and figures.over_chance.low is not None and figures.over_chance.low > 0.3
        assert figures.moves
    assert one.figures[GRAD_CAM].learnt and one.figures[OCCLUSION].learnt
    assert one.plain()["methods"][OCCLUSION]["hit"]["value"] > 0.7


def test_a_map_of_the_same_network_is_like_itself_and_one_of_noise_moves_nothing(spots: Any, seen: Any) -> None:
    _, found, _, asked = spots
    views, each = seen
    same = likeness(asked, views, {OCCLUSION: each[OCCLUSION]}, found.team.networks)
    np.testing.assert_allclose(same[OCCLUSION], 1.0)
    noise = np.random.default_rng(3).normal(size=each[OCCLUSION].shape).astype(np.float32)
    gain = gains(asked, views, {OCCLUSION: each[OCCLUSION], "noise": noise}, 0)
    ill = views.score > 0
    assert gain[OCCLUSION][ill].mean() > 4 * abs(gain["noise"][ill].mean())


def test_the_pointing_game_counts_hits(spots: Any, seen: Any) -> None:
    asked_study, found, feed, asked = spots
    views, _ = seen
    masks = masks_of(asked_study, found.prepared.cohort)["scan"]
    laid = feed.modalities["scan"].lay(feed.sources["scan"], masks, None)
    truth = np.stack([one[0] for one in feed.modalities["scan"].truth(laid, views.rows).values]).astype(np.float32)
    ill = truth.any(axis=(1, 2))
    found_hits = hits(asked, views, {"right": truth, "wrong": 1 - truth}, laid)
    assert (found_hits["right"][ill] == 1).all() and (found_hits["wrong"][ill] == 0).all()
    assert np.isnan(found_hits["right"][~ill]).all()
    np.testing.assert_array_equal(found_hits["middle"][ill], truth[ill, 8, 8])
    np.testing.assert_allclose(found_hits["chance"][ill], 25 / 256)
    assert highest(np.array([[0.0, 2.0], [2.0, 1.0]])) == (0, 1)


def test_too_costly_networks_are_not_asked(spots: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, found, feed, _ = spots
    monkeypatch.setattr(room, "OPERATIONS", 1e6)
    (one,) = mapped(asked, found.prepared.cohort, found.team, feed, found.prepared.fold.test)
    assert not one.figures and "too long" in one.left_out and "left_out" in one.plain()


def test_without_networks_or_methods_there_are_no_maps(spots: Any) -> None:
    asked, found, feed, _ = spots
    assert not can_map(Team(()), feed, "spot", "scan") and not sees_images(Team(()), feed.modalities)
    part = asked.evaluate.maps.model_copy(update={"methods": ()})
    none = asked.model_copy(update={"evaluate": asked.evaluate.model_copy(update={"maps": part})})
    assert mapped(none, found.prepared.cohort, found.team, feed, found.prepared.fold.test) == ()


def test_attention_is_for_those_that_pool_by_it(spots: Any) -> None:
    *_, asked = spots
    assert ATTENTION not in asked.methods(METHODS)


def test_cases_are_drawn_at_random_and_under_numbers(spots: Any) -> None:
    asked, found, feed, _ = spots
    masks = masks_of(asked, found.prepared.cohort)
    cases = with_maps(asked, found.team, feed, found.prepared.fold.test, masks)
    assert [case.title.split(" (")[0] for case in cases] == ["Case 1: scan", "Case 2: scan"]
    spotted = with_maps(
        asked, found.team, feed, np.flatnonzero(masks["scan"].present & (np.arange(72) % 2 == 1)), masks
    )
    assert all(panel.outlines["truth"].sum() == 25 for case in spotted for panel in case.panels)
    for case in cases:
        assert [panel.title for panel in case.panels] == [
            "as it is", "Grad-CAM", "integrated gradients", "occlusion",
        ]  # fmt: skip
        assert case.panels[0].heat is None and case.panels[0].image.min() >= 0 and case.panels[0].image.max() <= 1
        assert all(np.abs(panel.heat).max() == pytest.approx(1.0) for panel in case.panels[1:] if panel.heat.any())


def test_lines_of_rows_name_the_files_of_their_maps(spots: Any, tmp_path: Path) -> None:
    from PIL import Image

    _, found, feed, asked = spots
    ids = found.prepared.cohort.row.alias("row")
    source = replace(feed.sources["scan"], unit=np.where(np.arange(len(ids)) < 4, feed.sources["scan"].unit, 0))
    few = replace(feed, sources={"scan": source})
    (table,) = mapped_rows(found.team, found.tasks, [(ids, few)], METHODS, tmp_path / "maps")
    assert len(table) == 4 * 3 and set(table["method"]) == {GRAD_CAM, GRADIENTS, OCCLUSION}
    line = table.filter(pl.col("method") == OCCLUSION).row(1, named=True)
    (views,) = asked.views(np.array([1]))
    ((_, values),) = lifted(asked, views, maps(asked, views, (OCCLUSION,))[OCCLUSION])
    assert line["at"] == ",".join(map(str, highest(values))) and line["highest"] == pytest.approx(values.max())
    grey = np.asarray(Image.open(line["file"]))
    assert grey.shape == values.shape and grey.dtype == np.uint8
    np.testing.assert_allclose(grey, 128 + 127 * values / np.abs(values).max(), atol=0.51)
    with pytest.raises(BundleError, match="no target of this bundle"):
        next(mapped_rows(found.team, {}, [(ids, few)], METHODS, None))


def test_masks_that_are_not_there_are_mistakes(spots: Any) -> None:
    asked, found, *_ = spots
    part = asked.evaluate.maps.model_copy(
        update={"masks": {"scan": asked.evaluate.maps.masks["scan"].model_copy(update={"column": "marks"})}}
    )
    wrong = asked.model_copy(update={"evaluate": asked.evaluate.model_copy(update={"maps": part})})
    with pytest.raises(DataError, match="evaluate.maps.masks.scan"):
        masks_of(wrong, found.prepared.cohort)
    assert masks_of(wrong, found.prepared.cohort, needed=False) == {}
    plain = asked.model_dump(mode="json", exclude_none=True)
    plain["evaluate"]["maps"]["masks"] = {"scam": {"column": "mask"}}
    with pytest.raises(StudyError, match=r"evaluate.maps.masks.scam: no input 'scam'"):
        make(plain)
