"""Files that ask for too much: refused with a reason, while this process and the other files are not touched."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from medloom.modalities.image.reading.decoding import Decoder, read_scan, read_scans
from medloom.modalities.image.reading.dicom_header import read_header
from medloom.modalities.image.reading.scan import Refused, Scan, Wish
from tests.modalities.dicom_files import image, save

SMALL = np.arange(12, dtype=np.uint16).reshape(3, 4)
ONE = Wish(2)


def deflate_bomb(path: Path) -> None:
    data = image(SMALL)
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    save(data, path)
    whole = path.read_bytes()
    begin = 144 + struct.unpack("<I", whole[140:144])[0]
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    # An element of 2 GB of zeros, in about 2 MB.
    body = squeeze.compress(struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, 1 << 31))
    body += squeeze.flush(zlib.Z_FULL_FLUSH)
    block = squeeze.compress(bytes(1 << 20)) + squeeze.flush(zlib.Z_FULL_FLUSH)
    body += block * 2048 + squeeze.flush()
    path.write_bytes(whole[:begin] + body)


def nested(path: Path) -> None:
    inner = Dataset()
    for _ in range(1000):
        outer = Dataset()
        outer.add_new(0x00081140, "SQ", [inner])
        inner = outer
    whole = save(image(SMALL), path).read_bytes()
    begin = 144 + struct.unpack("<I", whole[140:144])[0]
    opening = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    closing = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    path.write_bytes(whole[:begin] + opening * 1000 + closing * 1000 + whole[begin:])


def huge(path: Path) -> None:
    save(image(SMALL, Rows=60_000, Columns=60_000), path)


def many_frames(path: Path) -> None:
    save(image(SMALL, NumberOfFrames=5000), path)


def hidden_frames(path: Path) -> None:
    data = image(np.zeros((40, 50), np.uint16), NumberOfFrames=1)
    data.PixelData = bytes(40 * 50 * 2 * 9)
    save(data, path)


def lying_jpeg(path: Path) -> None:
    """A JPEG 2000 stream that declares 60,000² pixels in a file of 64²."""
    import pydicom
    from pydicom.data import get_testdata_file

    name = get_testdata_file("MR_small_jp2klossless.dcm")
    data = pydicom.dcmread(str(name))
    stream = data.PixelData
    place = stream.find(b"\xff\x51") + 6
    data.PixelData = stream[:place] + struct.pack(">II", 60_000, 60_000) + stream[place + 8 :]
    data.save_as(path)


def zip_slip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../outside.dcm", b"DICM")


def text(path: Path) -> None:
    path.write_text("patient,scan\n1,a.dcm\n" * 30)


def truncated_jpeg(path: Path) -> None:
    Pillow.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:900])


@pytest.mark.parametrize(
    ("make", "name", "says"),
    [
        (deflate_bomb, "a.dcm", "grow more than 200 times"),
        (nested, "a.dcm", "nest|broken"),
        (huge, "a.dcm", "more than 268435456 voxels"),
        (many_frames, "a.dcm", "are films: they hold 5000 frames"),
        (hidden_frames, "a.dcm", "more frames than their header says"),
        (lying_jpeg, "a.dcm", "could not be decoded|memory|another number"),
        (zip_slip, "a.dcm", "archives, which are never unpacked"),
        (zip_slip, "a.zip", "archives or compressed"),
        (text, "a.dcm", "text and no images"),
        (text, "a.jpg", "end in .jpg and are something else: they are text"),
        (text, "a.tiff", "end in .tiff"),
        (text, "a.nrrd", "end in .nrrd"),
        (text, "a.npy", "end in .npy and are something else: they are text"),
        (text, "a.mha", "broken NRRD or MetaImage"),
        (truncated_jpeg, "a.jpg", "truncated or broken JPEG"),
    ],
)
def test_a_hostile_file_is_refused_and_the_next_one_read(tmp_path: Path, make: object, name: str, says: str) -> None:
    make(tmp_path / name)  # type: ignore[operator]
    good = save(image(SMALL), tmp_path / "good")
    bad, fine = read_scans([tmp_path / name, good], ONE)
    assert isinstance(bad, Refused)
    assert any(word in str(bad) for word in says.split("|")), bad
    assert isinstance(fine, Scan)
    np.testing.assert_array_equal(fine.values[0], SMALL)
    assert not (tmp_path.parent / "outside.dcm").exists()


def test_frames_that_are_not_there_are_not_made_up(tmp_path: Path) -> None:
    many_frames(tmp_path / "a")
    assert len(read_header(tmp_path / "a").planes) == 5000
    with pytest.raises(Refused):
        read_scan(tmp_path / "a", Wish(3))


def test_a_header_names_no_file_of_another_folder(tmp_path: Path) -> None:
    (tmp_path / "voxels.raw").write_bytes(bytes(60))
    header = "ObjectType = Image\nNDims = 3\nDimSize = 3 4 5\nElementType = MET_UCHAR\nElementDataFile = {}\n"
    (tmp_path / "a.mhd").write_text(header.format("voxels.raw"))
    assert read_scan(tmp_path / "a.mhd", Wish(3)).values.shape == (1, 3, 4, 5)
    for name in ("../voxels.raw", str(tmp_path / "voxels.raw"), "..\\voxels.raw"):
        (tmp_path / "b.mhd").write_text(header.format(name))
        with pytest.raises(Refused, match="in another folder"):
            read_scan(tmp_path / "b.mhd", Wish(3))
    # A list may name anything, and ITK follows it.
    (tmp_path / "LIST").touch()
    (tmp_path / "b.mhd").write_text(header.format("LIST") + "/etc/hostname\n")
    with pytest.raises(Refused, match="data files in a list"):
        read_scan(tmp_path / "b.mhd", Wish(3))


def test_memory_is_bounded_and_a_dead_process_is_replaced(tmp_path: Path) -> None:
    np.save(tmp_path / "grows.npy", np.zeros((8, 8), np.float32))
    save(image(SMALL), tmp_path / "good")
    decoder = Decoder(memory_bytes=900 << 20)
    wish = {"dims": 2, "channels": 1, "size": [16000, 16000]}
    try:
        with pytest.raises(Refused, match="memory"):
            decoder.ask({"do": "scan", "path": str(tmp_path / "grows.npy"), "wish": wish})
        good = {"do": "scan", "path": str(tmp_path / "good"), "wish": {"dims": 2, "channels": 1}}
        assert decoder.ask(good)[0]["shape"] == [1, 3, 4]
        process = decoder._process
        assert process is not None
        process.kill()
        process.wait()
        with pytest.raises(Refused, match="could not be decoded"):
            decoder.ask(good)
        assert decoder.ask(good)[0]["shape"] == [1, 3, 4]
    finally:
        decoder.close()


def test_a_file_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    save(image(SMALL), tmp_path / "good")
    decoder = Decoder(most_seconds=0.01)
    try:
        with pytest.raises(Refused, match="the time"):
            decoder.ask({"do": "scan", "path": str(tmp_path / "good"), "wish": {"dims": 2, "channels": 1}})
    finally:
        decoder.close()
