"""Answers written as DICOM segmentations lie on the slices of their series."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pydicom
import pytest
from pydicom.uid import EnhancedMRImageStorage

from benchmarks import dicom_seg
from medloom.cohort.table import make_cohort
from medloom.cohort_part import CohortPart
from medloom.errors import DataError
from medloom.feed import pack
from medloom.modalities.image import Image, ImageOptions
from medloom.modalities.image.dicom_seg import write_segmentation
from medloom.modalities.image.reading.dicom import read_dicom
from medloom.modalities.image.reading.scan import Wish
from tests.modalities.dicom_files import save, series
from tests.modalities.test_image_dicom import VOLUME, enhanced


def options(**chosen: object) -> ImageOptions:
    return ImageOptions.model_validate(
        {"column": "scan", "dims": 3, "patch": [4, 4, 4], "levels": 2, "known_before_index": True, **chosen}
    )


@pytest.mark.parametrize("kind", ["oblique and reversed", "gapped"])
def test_other_readers_find_every_voxel_where_it_belongs(tmp_path: Path, kind: str) -> None:
    away, wrong, marked = dicom_seg._tried(dicom_seg.KINDS[kind], tmp_path)
    assert away < 1e-4
    assert wrong == 0
    assert marked > 100


def test_what_a_segmentation_says_of_itself(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 99, (4, 5, 6)).astype(np.int16)
    told = {
        "PatientName": "Doe^Jane", "PatientBirthDate": "", "PatientSex": "F", "StudyDate": "", "StudyTime": "",
        "AccessionNumber": "", "StudyID": "", "Manufacturer": "", "ReferringPhysicianName": "",
    }  # fmt: skip
    series(tmp_path / "whole", values, name="whole", **told)
    series(tmp_path / "bare", values, name="bare")
    cohort = make_cohort(
        CohortPart(independent_rows=True), pl.DataFrame({"scan": ["whole", "bare", None]}), tmp_path, {}
    )
    part = options(masks="dicom-seg")
    source = pack(Image, part, cohort)
    image = Image(part, (0.0,), (1.0,))
    mask = np.zeros((6, 5, 4), np.uint8)
    mask[2:4, 1:3, 1] = 7
    path = image.save(source, 0, mask, tmp_path / "out" / "row-1", {"liver": 2, "lesion": 7})
    assert path.name == "row-1.dcm"
    data = pydicom.dcmread(path)
    assert data.PatientID == "P1"
    assert data.SeriesInstanceUID != pydicom.dcmread(next((tmp_path / "whole").iterdir())).SeriesInstanceUID
    assert [one.SegmentLabel for one in data.SegmentSequence] == ["liver", "lesion"]
    assert int(data.pixel_array.sum()) == 4
    used = {one.ReferencedSOPInstanceUID for one in data.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert used == {pydicom.dcmread(file).SOPInstanceUID for file in (tmp_path / "whole").iterdir()}
    # What the series does not say stands there empty.
    bare = pydicom.dcmread(image.save(source, 1, mask, tmp_path / "out" / "row-2", {"lesion": 7}))
    assert bare.PatientBirthDate == ""
    assert bare.PatientID == "P1"
    for file in (tmp_path / "bare").iterdir():
        slice_ = pydicom.dcmread(file)
        del slice_.FrameOfReferenceUID
        slice_.save_as(file)
    with pytest.raises(DataError, match="no FrameOfReferenceUID"):
        image.save(source, 1, mask, tmp_path / "out" / "row-2", {"lesion": 7})


def test_frames_of_one_file_are_found_by_their_positions(tmp_path: Path) -> None:
    data = enhanced(VOLUME)
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    file = save(data, tmp_path / "a")
    scan = read_dicom(file, Wish(3))
    mask = np.zeros(scan.values.shape[1:], np.uint8)
    mask[1, 2, 0] = mask[3, 1, 4] = 2
    found = pydicom.dcmread(write_segmentation(mask, scan, file, tmp_path / "answer", {"a": 2}))
    marked = {
        float(told.PlanePositionSequence[0].ImagePositionPatient[2]): np.argwhere(frame).tolist()
        for frame, told in zip(found.pixel_array, found.PerFrameFunctionalGroupsSequence, strict=True)
        if frame.any()
    }
    # The file counts its frames from the last: rows 2 and 1, columns 1 and 3, at heights 0 and 12 mm.
    assert marked == {0.0: [[2, 1]], 12.0: [[1, 3]]}


def test_images_of_another_kind_are_refused(tmp_path: Path) -> None:
    import nibabel

    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), tmp_path / "a.nii")
    cohort = make_cohort(CohortPart(independent_rows=True), pl.DataFrame({"scan": ["a.nii"]}), tmp_path, {})
    with pytest.raises(DataError, match=r"1 image not of DICOM \(row .*masks = \"nifti\""):
        pack(Image, options(masks="dicom-seg"), cohort)
    with pytest.raises(ValueError, match="goes with dims = 3"):
        options(masks="dicom-seg", dims=2, patch=[4, 4])
