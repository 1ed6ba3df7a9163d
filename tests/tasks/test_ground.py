"""Units of figures of masks: what pictures and volumes are measured in, and what files without a spacing allow."""

from __future__ import annotations

import numpy as np
import pytest

from medloom.modality import Lifted
from medloom.task import Measured
from medloom.tasks._cleanup import Cleanup
from medloom.tasks._ground import Ground
from medloom.tasks._segment_figures import empty, measure_label, metrics, plots, with_means
from medloom.tasks._segment_options import SegmentOptions

OPTIONS = SegmentOptions.model_validate(
    {"column": "mask", "input": "scan", "labels": {"organ": 1}, "lesions": ["organ"], "lesion_mm": [4]}
)


def of(axes: int, spacing: tuple[float, ...] | None) -> tuple[Ground, Measured, list[str]]:
    """A mask of 4 voxels along each axis, answered one longer: what is said, and in which words."""
    truth = np.zeros((10,) * axes, bool)
    answer = truth.copy()
    truth[(slice(2, 6),) * axes] = True
    answer[(slice(2, 7), *[slice(2, 6)] * (axes - 1))] = True
    ground = Ground.of(Lifted(np.arange(2), [truth[None], truth[None, :0]], [spacing, None]))
    measured = empty(OPTIONS, 1)
    measure_label(measured, 0, "organ", (answer, truth), spacing, OPTIONS, ground, None)
    measured = with_means(measured, OPTIONS.names)
    said = [metric.label for metric in metrics(OPTIONS, ground).values()]
    said += [plot.y_label for plot in plots(OPTIONS, {"model": measured}, ground)[1:2]]
    return ground, measured, said


@pytest.mark.parametrize(
    ("axes", "spacing", "size", "volume", "far", "small"),
    [
        (3, (1.0, 2.0, 2.5), "mL", 0.32, 1.0, "mm³"),
        (2, (2.0, 5.0), "cm²", 1.6, 2.0, "mm²"),
        (3, None, "voxels", 64, 1.0, "voxels"),
        (2, None, "pixels", 16, 1.0, "pixels"),
    ],
)
def test_sizes_are_in_the_unit_that_is_written(
    axes: int, spacing: tuple[float, ...] | None, size: str, volume: float, far: float, small: str
) -> None:
    ground, measured, said = of(axes, spacing)
    assert measured["true_volume_organ"][0] == pytest.approx(volume)
    assert measured["volume_organ"][0] == pytest.approx(1.25 * volume)
    assert measured["hd95_organ"][0] == pytest.approx(far)
    words = " ".join(said)
    assert f"Size of organ, mean difference, {size}" in words and words.endswith(f"truth, {size}")
    length = "mm" if spacing else size
    assert f"border distances, {length}" in words and f"from 4 {length}" in words
    assert f"distance at 1 {length.removesuffix('s')}" in words
    assert Cleanup(least_mm3=30).words(ground.small) == f"parts below 30 {small} removed"
    others = {"mL", "cm²", "voxels", "pixels"} - {size}
    assert not any(f", {other}" in words for other in others)


def test_files_of_both_kinds_count_as_a_millimetre_and_say_so() -> None:
    one = np.ones((1, 2, 2), bool)
    both = Ground.of(Lifted(np.arange(2), [one, one], [(2.0, 2.0), None]))
    assert (both.size, both.length) == ("cm²", "mm")
    assert both.note == "Pixels count as 1 mm wide where files tell no spacing."
    assert both.spacing(None, 2) == (1.0, 1.0) and both.spacing((2.0, 2.0), 2) == (2.0, 2.0)
    # A bundle that learnt in pixels judges in pixels, whatever new files tell.
    plain = Ground.of(Lifted(np.arange(1), [one], [None]))
    assert plain.spacing((2.0, 2.0), 2) == (1.0, 1.0) and plain.voxel((2.0, 2.0)) == 1.0
    assert Ground.of(Lifted(np.arange(1), [one], [(2.0, 2.0)])).note == ""
    assert Ground.of(Lifted(np.arange(1), [one[:, :0]], [None])) == Ground() and "pictures" in Ground().size
