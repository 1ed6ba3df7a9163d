"""Maps over volumes, on another grid than the file's, and what attention weighs; written in the geometry of the source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import polars as pl
import pytest
import torch

from medloom.explain.map_rows import mapped_rows
from medloom.explain.maps import ATTENTION, GRAD_CAM, OCCLUSION, Asked, lifted, maps
from medloom.study import make
from tests.explain.pictures import trained

SHAPE, AFFINE = (9, 7, 5), np.array([[0, -2.0, 0, 3], [1.5, 0, 0, -4], [0, 0, 3.0, 5], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("volumes")
    random = np.random.default_rng(1)
    names = []
    for row in range(24):
        values = random.integers(0, 200, SHAPE).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(values, AFFINE), folder / f"{row}.nii")
        names.append(f"{row}.nii")
    frame = {"patient": [f"p{row}" for row in range(24)], "image": names, "ill": [row % 2 for row in range(24)]}
    pl.DataFrame(frame).write_csv(folder / "rows.csv")
    scan = {
        "modality": "image", "column": "image", "dims": 3, "patch": [8, 8, 8], "size": [8, 8, 8], "width": 4, "levels": 2,
        "pool": "attention", "pooled_width": 4, "known_before_index": True,
    }  # fmt: skip
    asked = make(
        {
            "name": "volumes",
            "cohort": {"table": "rows.csv", "patient": "patient"},
            "inputs": {"scan": scan},
            "targets": {"ill": {"task": "classify", "column": "ill"}},
            "train": {"steps": 2, "batch": 8, "evaluations": 1},
            "evaluate": {"baselines": False},
        }
    )
    found, feed = trained(folder, asked.within(folder))
    for network in found.team.networks:
        torch.nn.init.normal_(network.encoders["input_scan"].pool.score.weight)
    return found, feed


def test_attention_is_told_in_multiples_of_an_even_look(volumes: Any) -> None:
    found, feed = volumes
    asked = Asked(found.team.networks, feed, "ill", "scan")
    (views,) = asked.views(np.arange(3))
    grid = found.team.networks[0].encoders["input_scan"].weights(views.batch.inputs["scan"]).detach().numpy()
    values = maps(asked, views, (ATTENTION,))[ATTENTION]
    assert asked.methods((GRAD_CAM, ATTENTION)) == (GRAD_CAM, ATTENTION)
    # Corners of the view lie within the outermost position alone.
    np.testing.assert_allclose(values[:, 0, 0, 0], grid[:, 0, 0, 0] * 64, rtol=1e-5)
    assert values.mean() == pytest.approx(1.0, abs=0.1) and values.std() > 0.01


def test_files_of_maps_lie_where_their_source_lies(volumes: Any, tmp_path: Path) -> None:
    found, feed = volumes
    ids = found.prepared.cohort.row.alias("row")
    (table,) = mapped_rows(found.team, found.tasks, [(ids, feed)], (OCCLUSION, ATTENTION), tmp_path)
    assert len(table) == 2 * 24
    line = table.filter((pl.col("row") == ids[5]) & (pl.col("method") == OCCLUSION)).row(0, named=True)
    image = nibabel.load(line["file"])
    np.testing.assert_allclose(image.affine, AFFINE)
    asked = Asked(found.team.networks, feed, "ill", "scan")
    (views,) = asked.views(np.array([5]))
    ((_, values),) = lifted(asked, views, maps(asked, views, (OCCLUSION,))[OCCLUSION])
    assert values.shape == SHAPE
    np.testing.assert_allclose(np.asarray(image.dataobj), values, rtol=1e-4, atol=1e-7)
    assert image.get_fdata()[tuple(map(int, line["at"].split(",")))] == pytest.approx(line["highest"], rel=1e-5)
