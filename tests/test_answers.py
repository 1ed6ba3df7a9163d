"""What is written beside masks: a JSON file a row and one CSV, in which later blocks go on."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from medloom.answers import Answers
from medloom.tasks.segment import MaskPrediction


class Saves:
    """Writes nothing, and says where it would have."""

    def save(self, source: object, row: int, values: np.ndarray, stem: Path, labels: dict[str, int]) -> Path:
        assert set(labels.values()) >= set(np.unique(values)) - {0}
        return stem.with_suffix(".nii.gz")


def answers(folder: Path, first: int) -> Answers:
    task = SimpleNamespace(options=SimpleNamespace(input="scan"))
    feed = SimpleNamespace(tasks={"outline": task}, modalities={"scan": Saves()}, sources={"scan": None})
    return Answers(feed, folder, first)  # type: ignore[arg-type]


def prediction(*, overlapping: bool, spacing: tuple[float, ...] | None = (1.0, 2.0, 5.0)) -> MaskPrediction:
    mask = np.zeros((4, 3, 2), np.uint8)
    mask[1:4, 1, 0] = 1
    mask[0, 0, :] = 2
    return MaskPrediction((mask,), {"organ": 1, "tumour": 2}, overlapping, (spacing,))


def test_measurements_lie_beside_the_masks(tmp_path: Path) -> None:
    for first, name in ((1, "a"), (2, "b")):
        kept = answers(tmp_path / "masks", first)
        kept.add("outline", prediction(overlapping=False), np.array([0]))
        table = kept.frame(pl.Series("row", [name]))
        assert table["outline"].to_list() == [str(tmp_path / "masks" / f"outline-{first:06d}.nii.gz")]
    told = {
        "row": "b", "organ_voxels": 3, "organ_volume_ml": 0.03, "organ_longest_mm": 2.0, "tumour_voxels": 2,
        "tumour_volume_ml": 0.02, "tumour_longest_mm": 5.0,
    }  # fmt: skip
    assert json.loads((tmp_path / "masks" / "outline-000002.json").read_text()) == told
    both = pl.read_csv(tmp_path / "masks" / "outline-measurements.csv")
    assert both["row"].to_list() == ["a", "b"]
    assert both.row(1, named=True) == pytest.approx(told)


def test_labels_that_overlap_are_a_file_each_and_unknown_spacing_is_said(tmp_path: Path) -> None:
    kept = answers(tmp_path, 1)
    kept.add("outline", prediction(overlapping=True, spacing=None), np.array([4]))
    table = kept.frame(pl.Series("row", ["a"]))
    assert table["outline_tumour"].to_list() == [str(tmp_path / "outline_tumour-000005.nii.gz")]
    assert table["outline_organ_voxels"].to_list() == [3]
    measured = json.loads((tmp_path / "outline-000005.json").read_text())
    assert [measured.pop(name) for name in ("row", "organ_voxels", "tumour_voxels")] == ["a", 3, 2]
    assert len(measured) == 4 and set(measured.values()) == {None}


@pytest.mark.parametrize("kind", [np.uint8, np.float32, bool])
def test_dense_answers_without_a_folder_are_lists_in_the_table(kind: type) -> None:
    drawn = [np.arange(1, 1 + 2 * high * 3).reshape(2, high, 3).astype(kind) for high in (4, 1)]
    kept = Answers(SimpleNamespace(), None)  # type: ignore[arg-type]
    for one in drawn:
        told = SimpleNamespace(
            columns=dict, dense=lambda one=one: {"": (one,)}, legend=lambda suffix: {}, measurements=list
        )
        kept.add("outline", told, np.array([0]))  # type: ignore[arg-type]
    table = kept.frame(pl.Series("row", ["a", "b"]))
    assert table["outline"].to_list() == [one.tolist() for one in drawn]
    assert table["outline"].dtype == pl.Series([one.tolist() for one in drawn]).dtype
