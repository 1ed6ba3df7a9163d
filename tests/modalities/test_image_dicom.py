"""DICOM as archives have it: what becomes a volume, what is set apart, and what is refused."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import MRSpectroscopyStorage, SecondaryCaptureImageStorage

from medloom import find
from medloom.modalities.image.reading.decoding import read_scans
from medloom.modalities.image.reading.dicom import headers, read_dicom, read_series
from medloom.modalities.image.reading.mosaic import tiles
from medloom.modalities.image.reading.scan import Refused, Scan, Wish
from medloom.modalities.image.reading.stacks import Stack, stacks
from tests.modalities.dicom_files import AXIAL, image, save, series, uid

RNG = np.random.default_rng(6)
VOLUME = RNG.integers(-500, 1500, (6, 5, 7), dtype=np.int16)
FILES = Path(pydicom.__file__).parent / "data" / "test_files"


def found(folder: Path) -> list[Stack]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return stacks(headers(files), lambda plane: Path(plane.path).read_bytes()[-70:].hex())


def raw(path: Path, **wish: object) -> np.ndarray:
    return read_dicom(path, Wish(2, **wish)).values[0]  # type: ignore[arg-type]


def test_rescaling_gives_modality_units(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.uint16).reshape(3, 4)
    save(image(values, RescaleSlope=2, RescaleIntercept=-1024), tmp_path / "a")
    np.testing.assert_array_equal(raw(tmp_path / "a"), values.astype(int) * 2 - 1024)
    save(image(values, RescaleSlope=0.25, RescaleIntercept=0.5), tmp_path / "b")
    read = raw(tmp_path / "b")
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, values * 0.25 + 0.5)


def test_brighter_is_more(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.uint16).reshape(3, 4)
    save(image(values, BitsStored=12, HighBit=11, PhotometricInterpretation="MONOCHROME1"), tmp_path / "a")
    np.testing.assert_array_equal(raw(tmp_path / "a"), 4095 - values.astype(int))


def test_bits_above_the_stored_ones_are_no_pixels(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.uint16).reshape(3, 4)
    save(image(values | 0x8000, BitsStored=12, HighBit=11), tmp_path / "a")
    np.testing.assert_array_equal(raw(tmp_path / "a"), values)


def test_colour_is_refused_or_made_grey_by_choice(tmp_path: Path) -> None:
    colour = RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    data = image(colour[..., 0], SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0)
    data.PixelData = colour.tobytes()
    save(data, tmp_path / "a")
    with pytest.raises(Refused, match="colour where grey"):
        raw(tmp_path / "a")
    np.testing.assert_array_equal(read_dicom(tmp_path / "a", Wish(2, 3)).values, np.moveaxis(colour, 2, 0))
    grey = colour.astype(float) @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(raw(tmp_path / "a", colour="grey"), grey, atol=0.51)


def test_echoes_of_one_series_are_volumes_of_their_own(tmp_path: Path) -> None:
    for echo in (1, 2):
        series(tmp_path / str(echo), VOLUME + echo, name=f"echo{echo}", EchoNumbers=echo, SeriesInstanceUID=uid("both"))
    made = found(tmp_path)
    assert [(one.apart, len(one.planes), one.refused) for one in made] == [
        ("EchoNumbers 1", 6, None),
        ("EchoNumbers 2", 6, None),
    ]
    with pytest.raises(Refused, match="EchoNumbers 1; EchoNumbers 2"):
        read_series(tmp_path, Wish(3))


@pytest.mark.parametrize(
    ("group", "creator", "element", "kind", "values"),
    [
        (0x0019, "SIEMENS MR HEADER", 0x0C, "IS", ("0", "800", "1500")),
        (0x0043, "GEMS_PARM_01", 0x39, "IS", (["0", "8"], ["1000000800", "8"], ["1000001500", "8"])),
        (0x2001, "Philips Imaging DD 001", 0x03, "FL", (0.0, 800.0, 1500.0)),
    ],
)
def test_b_values_that_only_the_maker_tells_are_found(
    tmp_path: Path, group: int, creator: str, element: int, kind: str, values: tuple[object, ...]
) -> None:
    for number, value in enumerate(values):
        for place in range(3):
            where = {"ImagePositionPatient": [0, 0, 3.0 * place], "ImageOrientationPatient": list(AXIAL)}
            data = image(VOLUME[place] + number, "dwi", 10 * number + place, PixelSpacing=[1, 1], **where)
            data.private_block(group, creator, create=True).add_new(element, kind, value)
            save(data, tmp_path / f"{place}{number}")
    made = found(tmp_path)
    assert [(one.apart, len(one.planes)) for one in made] == [
        ("DiffusionBValue 0", 3), ("DiffusionBValue 800", 3), ("DiffusionBValue 1500", 3),
    ]  # fmt: skip


def test_one_identifier_for_two_patients_makes_no_volume_of_both(tmp_path: Path) -> None:
    for patient, first in (("X1", 0.0), ("X2", 15.0)):
        series(tmp_path / patient, VOLUME, name="same", origin=(0, 0, first), PatientID=patient)
    made = found(tmp_path)
    assert sorted((one.header.patient, len(one.planes)) for one in made) == [("X1", 6), ("X2", 6)]
    with pytest.raises(Refused) as caught:
        read_series(tmp_path, Wish(3))
    assert "another patient or study" in str(caught.value)
    assert "X1" not in str(caught.value)


@pytest.mark.parametrize(
    ("description", "kind"),
    [("AAHead_Scout", "localizer"), ("3 plane_loc", "localizer"), ("LOC", "localizer"), ("scouting for boys", "original"),
     ("t2 local", "original"), ("SURVEY_32ch", "localizer"), ("location", "original")],
)  # fmt: skip
def test_scouts_are_known_by_what_they_are_called(tmp_path: Path, description: str, kind: str) -> None:
    series(tmp_path, VOLUME[:2], SeriesDescription=description)
    assert [one.kind for one in found(tmp_path)] == [kind]


def test_times_of_single_slices_do_not_part_a_volume(tmp_path: Path) -> None:
    for point in range(3):
        for place in range(4):
            step = {"AcquisitionTime": f"1200{point * 4 + place:02d}", "TemporalPositionIdentifier": point + 1}
            where = {
                "ImagePositionPatient": [0, 0, place],
                "ImageOrientationPatient": list(AXIAL),
                "PixelSpacing": [1, 1],
            }
            save(image(VOLUME[place] + point, "s", 10 * point + place, **where, **step), tmp_path / f"{point}-{place}")
    made = found(tmp_path)
    assert [(one.apart, len(one.planes)) for one in made] == [(f"TemporalPositionIdentifier {n}", 4) for n in (1, 2, 3)]


@pytest.mark.parametrize("slice_by_slice", [False, True])
def test_passes_without_any_time_are_told_by_their_numbers(tmp_path: Path, slice_by_slice: bool) -> None:
    for point in range(3):
        for place in range(4):
            number = 3 * place + point if slice_by_slice else 4 * point + place
            where = {
                "ImagePositionPatient": [0, 0, place],
                "ImageOrientationPatient": list(AXIAL),
                "PixelSpacing": [1, 1],
            }
            save(image(VOLUME[place] + point, "s", number, InstanceNumber=number, **where), tmp_path / f"{number}")
    made = found(tmp_path)
    assert [one.apart for one in made] == [f"pass {n} by InstanceNumber" for n in (1, 2, 3)]
    files = [Path(plane.path).name for plane in made[1].planes]
    assert files == (["1", "4", "7", "10"] if slice_by_slice else ["4", "5", "6", "7"])


def test_images_that_nothing_tells_apart_are_refused(tmp_path: Path) -> None:
    series(tmp_path / "a", VOLUME, name="a", SeriesInstanceUID=uid("both"))
    series(tmp_path / "b", VOLUME + 1, name="b", SeriesInstanceUID=uid("both"))
    with pytest.raises(Refused, match="nothing in the headers tells them apart"):
        read_series(tmp_path, Wish(3))


def test_copies_of_slices_go(tmp_path: Path) -> None:
    series(tmp_path / "a", VOLUME)
    series(tmp_path / "same object", VOLUME, order=[1, 2])
    series(tmp_path / "same pixels", VOLUME, name="other", order=[3], SeriesInstanceUID=uid("s"))
    scan = read_series(tmp_path, Wish(3))
    np.testing.assert_array_equal(scan.values[0], VOLUME.transpose(2, 1, 0))


def test_scouts_reports_and_text_are_set_apart(tmp_path: Path) -> None:
    series(tmp_path / "a", VOLUME)
    series(tmp_path / "scout", VOLUME[:3], name="scout", orientation=(0, 1, 0, 0, 0, -1), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])  # fmt: skip
    series(tmp_path / "map", VOLUME, name="map", ImageType=["DERIVED", "PRIMARY", "ADC"])
    report = image(VOLUME[0], "sr", Modality="SR")
    del report.PixelData, report.Rows, report.Columns
    save(report, tmp_path / "report")
    spectrum = image(VOLUME[0, :1, :1], "mrs", SOPClassUID=MRSpectroscopyStorage)
    save(spectrum, tmp_path / "spectrum")
    screen = image(VOLUME[0], "screen", SOPClassUID=SecondaryCaptureImageStorage, ImageType=["DERIVED", "SECONDARY"])
    save(screen, tmp_path / "screen/a")
    dose = {"Modality": "RTDOSE", "DoseGridScaling": "0.001", "DoseUnits": "GY"}
    series(tmp_path / "dose", VOLUME, name="dose", **dose)
    series(tmp_path / "t2map", VOLUME, name="t2map", ImageType=["ORIGINAL", "PRIMARY", "T2 MAP"])
    (tmp_path / "notes.txt").write_text("these are notes")
    for name in ("thumbs.DB", "desktop.ini", ".DS_Store", "a/._I0001"):
        (tmp_path / name).write_bytes(b"\x08\x00\x05\x00 and not a whole element of DICOM")
    np.testing.assert_array_equal(read_series(tmp_path, Wish(3)).values[0], VOLUME.transpose(2, 1, 0))
    kinds = {name: [one.kind for one in found(tmp_path / name)] for name in ("scout", "map", "t2map", "screen", "dose")}
    assert kinds == {"scout": ["localizer"], "map": ["derived"], "t2map": ["derived"], "screen": ["capture"], "dose": ["dose"]}  # fmt: skip
    np.testing.assert_allclose(read_series(tmp_path / "dose", Wish(3)).values[0], VOLUME.transpose(2, 1, 0) * 1e-3)
    series(tmp_path / "unscaled", VOLUME, name="unscaled", Modality="RTDOSE")
    with pytest.raises(Refused, match="without a DoseGridScaling"):
        read_series(tmp_path / "unscaled", Wish(3))
    with pytest.raises(Refused, match=r"another kind \(MR Spectroscopy\) and no images"):
        read_dicom(tmp_path / "spectrum", Wish(2))


def test_a_mosaic_that_needs_more_memory_than_there_is_is_not_called_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(find, "need", lambda _: SimpleNamespace(get_csa_header=full))
    with pytest.raises(MemoryError):
        list(tiles(image(VOLUME[0]), 4, 4))


def test_an_image_cut_short_is_not_left_out_of_its_series(tmp_path: Path) -> None:
    series(tmp_path, VOLUME)
    last = max(tmp_path.iterdir(), key=lambda path: float(pydicom.dcmread(path).ImagePositionPatient[2]))
    last.write_bytes(last.read_bytes()[:700])
    assert "Rows" not in pydicom.dcmread(last)
    with pytest.raises(Refused, match="cut short before"):
        read_series(tmp_path, Wish(3))


def test_what_tells_volumes_apart_is_in_words_and_shorter_ones_are_noted(tmp_path: Path) -> None:
    for number, direction in enumerate((AXIAL, (0, 1, 0, 0, 0, -1))):
        for time in (1, 2):
            short = VOLUME[:4] if (number, time) == (1, 2) else VOLUME
            extra = {"TemporalPositionIdentifier": time, "SeriesInstanceUID": uid("both")}
            series(tmp_path / f"{number}{time}", short + time, name=f"{number}{time}", orientation=direction, **extra)
    told = {one.apart: one.problems for one in found(tmp_path)}
    broken_off = ("4 slices where another volume of its series has 6; it may have been broken off",)
    assert told == {
        "axial (1/0/0/0/1/0), TemporalPositionIdentifier 1": (),
        "axial (1/0/0/0/1/0), TemporalPositionIdentifier 2": (),
        "sagittal (0/1/0/0/0/-1), TemporalPositionIdentifier 1": (),
        "sagittal (0/1/0/0/0/-1), TemporalPositionIdentifier 2": broken_off,
    }


@pytest.mark.parametrize(
    ("elements", "says"),
    [
        ({"PixelSpacing": None}, "PixelSpacing"),
        ({"ImagePositionPatient": None}, "hold 1 series with 6 images"),
        ({"PixelSpacing": [0, 0]}, "spacing of zero"),
        ({"RescaleSlope": 0}, "zero or no number"),
    ],
)
def test_a_volume_that_lacks_something_says_what(tmp_path: Path, elements: dict[str, object], says: str) -> None:
    series(tmp_path, VOLUME, **elements)
    with pytest.raises(Refused, match=says):
        read_series(tmp_path, Wish(3))


def test_slices_of_two_sizes_are_two_volumes(tmp_path: Path) -> None:
    series(tmp_path / "a", VOLUME)
    series(tmp_path / "b", VOLUME[:, :4, :4], name="b", SeriesInstanceUID=uid("s"))
    with pytest.raises(Refused, match="4 rows and 4 columns; 5 rows and 7 columns"):
        read_series(tmp_path, Wish(3))


def enhanced(values: np.ndarray) -> Dataset:
    data = image(values, "enhanced")
    data.PerFrameFunctionalGroupsSequence = []
    for place in reversed(range(len(values))):
        frame, position, scale = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [1.0, 2.0, 3.0 * place]
        scale.RescaleSlope, scale.RescaleIntercept = 1, 10 * place
        frame.PlanePositionSequence, frame.PixelValueTransformationSequence = [position], [scale]
        data.PerFrameFunctionalGroupsSequence.append(frame)
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = list(AXIAL)
    measures.PixelSpacing, measures.SliceThickness = [0.5, 0.7], 3.0
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    data.SharedFunctionalGroupsSequence = [shared]
    return data


def test_frames_are_put_in_order_by_their_own_positions(tmp_path: Path) -> None:
    save(enhanced(VOLUME), tmp_path / "a")
    scan = read_dicom(tmp_path / "a", Wish(3))
    ordered = VOLUME[::-1].astype(int) + 10 * np.arange(6)[:, None, None]
    np.testing.assert_array_equal(scan.values[0], ordered.transpose(2, 1, 0))
    np.testing.assert_allclose(scan.spacing_mm, [0.7, 0.5, 3.0])


def test_a_file_without_preamble_or_suffix_is_read(tmp_path: Path) -> None:
    path = save(image(VOLUME[0]), tmp_path / "IM0001")
    path.write_bytes(path.read_bytes()[132:])
    np.testing.assert_array_equal(raw(path), VOLUME[0])


def test_every_file_of_pydicom_is_read_or_refused_with_a_reason() -> None:
    files = sorted(path for path in FILES.rglob("*") if path.is_file() and "TINY_ALPHA" not in str(path))
    answers = dict(zip(files, read_scans(files, Wish(2, 0)), strict=True))
    refused = {path.name: str(answer) for path, answer in answers.items() if isinstance(answer, Refused)}
    assert not [why for why in refused.values() if "could not be read (" in why or "within the memory" in why]
    read = {path.name: answer for path, answer in answers.items() if isinstance(answer, Scan)}
    for name, answer in read.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = pydicom.dcmread(next(FILES.rglob(name)), force=True)
        assert answer.raw_shape == (data.Rows, data.Columns)
    assert len(read) >= 81
    # Objects without images, text, films, and those that are broken: nothing else.
    known = ("no images", "DICOMDIR", "without an image", "frames where dims = 2", "are films", "no whole number", "truncated", "archives")  # fmt: skip
    assert [name for name, why in refused.items() if not any(word in why for word in known)] == []
    broken = [name for name, why in refused.items() if "truncated" in why]
    assert sorted(broken) == ["JPEG2000-embedded-sequence-delimiter.dcm", "MR_truncated.dcm"]


@pytest.mark.parametrize("name", ["MR_small_RLE", "MR_small_jp2klossless", "MR_small_jpeg_ls_lossless", "MR_small_bigendian", "MR_small_implicit"])  # fmt: skip
def test_compressions_give_the_same_pixels(name: str) -> None:
    np.testing.assert_array_equal(raw(FILES / f"{name}.dcm"), raw(FILES / "MR_small.dcm"))
