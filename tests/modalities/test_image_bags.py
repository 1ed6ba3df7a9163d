"""Several images a row: each is what it is as the one image of a row, and a row is what it is alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image as Pillow
from pydantic import ValidationError

from medloom.cohort.table import Cohort, make_cohort
from medloom.cohort_part import CohortPart
from medloom.draw import Draw
from medloom.errors import DataError, StudyError
from medloom.feed import pack
from medloom.modalities.image import Image, stored
from medloom.modalities.image.encoders import bag as bag_network
from medloom.modalities.image.encoders.bag import BagEncoder
from medloom.modalities.image.options import ImageOptions
from medloom.modality import Marks
from medloom.packed import Source
from medloom.tasks.register import Register, RegisterOptions

SIDE, IMAGES = 8, 7
FRONT = ["0.png", None, "2.png;3.png", None, "4.png"]
SIDEWAYS = ["1.png", "5.png", None, None, "4.png; 6.png ;0.png"]
HELD = [[0, 1], [5], [2, 3], [], [4, 4, 6, 0]]
"""The pictures of each row, in their order."""


def options_of(**chosen: object) -> ImageOptions:
    base = {
        "column": ["front", "sideways"], "most_images": 4, "patch": [SIDE, SIDE], "size": [SIDE, SIDE], "levels": 2,
        "width": 4, "pooled_width": 6, "known_before_index": True,
    }  # fmt: skip
    return ImageOptions.model_validate({**base, **chosen})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("bags")
    random = np.random.default_rng(2)
    for number in range(IMAGES):
        Pillow.fromarray(random.integers(0, 255, (SIDE, SIDE)).astype(np.uint8)).save(made / f"{number}.png")
    return made


def cohort_of(folder: Path, **columns: list[str | None]) -> Cohort:
    frame = pl.DataFrame({"patient": [f"p{row}" for row in range(len(next(iter(columns.values()))))], **columns})
    types = dict.fromkeys(frame.columns, pl.String)
    return make_cohort(CohortPart(patient="patient"), frame.cast(types), folder, {})


@pytest.fixture(scope="module")
def bags(folder: Path) -> tuple[Image, Source]:
    options = options_of()
    source = pack(Image, options, cohort_of(folder, front=FRONT, sideways=SIDEWAYS))
    fitted = Image.fit(options, [Image.summarise(options, source, np.arange(5))])
    return fitted, fitted.bind(source)


def test_each_image_of_a_bag_is_what_it_is_as_the_one_image_of_a_row(bags: tuple[Image, Source], folder: Path) -> None:
    fitted, source = bags
    field = fitted.batch(source, fitted.view(source, np.arange(5), None))
    assert field.value.shape == (5, 4, 1, SIDE, SIDE) and field.present.tolist() == [True, True, True, False, True]
    single = options_of(column="scan", most_images=1)
    one = Image(single, fitted.centre, fitted.scale)
    alone = one.bind(pack(Image, single, cohort_of(folder, scan=[f"{number}.png" for number in range(IMAGES)])))
    reference = one.batch(alone, one.view(alone, np.arange(IMAGES), None))
    assert field.valid is not None
    for row, held in enumerate(HELD):
        for place, number in enumerate(held):
            torch.testing.assert_close(field.value[row, place], reference.value[number])
            assert field.valid[row, place].all()
        assert not field.valid[row, len(held) :].any() and not field.value[row, len(held) :].any()
    assert field.extra["place"].tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 1, 1]]
    # Simple numbers are the mean and the highest over the images; a row without any has none.
    numbers, apart = fitted.plain(source, np.arange(5)), one.plain(alone, np.arange(IMAGES))
    half = apart.shape[1]
    for row, held in enumerate(HELD):
        if held:
            np.testing.assert_allclose(numbers[row, :half], apart[held].mean(axis=0))
            np.testing.assert_allclose(numbers[row, half:], apart[held].max(axis=0))
    assert np.isnan(numbers[3]).all()


def test_the_fit_counts_every_image_once_for_each_row_that_has_it(bags: tuple[Image, Source], folder: Path) -> None:
    fitted, _ = bags
    pixels = np.concatenate(
        [np.asarray(Pillow.open(folder / f"{number}.png")).reshape(-1) for held in HELD for number in held]
    )
    single = options_of(column="scan", most_images=1)
    numbers = [number for held in HELD for number in held]
    source = pack(Image, single, cohort_of(folder, scan=[f"{number}.png" for number in numbers]))
    alone = Image.fit(single, [Image.summarise(single, source, np.arange(len(numbers)))])
    assert fitted.centre == alone.centre and fitted.scale == alone.scale
    assert pixels.min() < fitted.centre[0] < pixels.max()


def test_a_row_alone_is_what_it_is_among_others(bags: tuple[Image, Source]) -> None:
    fitted, source = bags
    torch.manual_seed(0)
    encoder = fitted.encoder().eval()
    assert isinstance(encoder, BagEncoder)
    torch.nn.init.normal_(encoder.pool.score.weight)
    torch.nn.init.normal_(encoder.place.weight)
    whole = fitted.batch(source, fitted.view(source, np.arange(5), None))
    with torch.no_grad():
        together, shares = encoder(whole), encoder.weights(whole)
        for row in range(5):
            alone = fitted.batch(source, fitted.view(source, np.array([row]), None))
            torch.testing.assert_close(encoder(alone).pooled[0], together.pooled[row], atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(shares.sum(dim=1), [1, 1, 1, 0, 1], atol=1e-6)
    assert (shares[1, 1:] == 0).all() and shares[4].unique().numel() > 1


def test_the_order_of_images_in_a_cell_changes_nothing(bags: tuple[Image, Source], folder: Path) -> None:
    fitted, _ = bags
    torch.manual_seed(0)
    encoder = fitted.encoder().eval()
    torch.nn.init.normal_(encoder.pool.score.weight)
    cells: list[str | None] = ["0.png;4.png;6.png", "6.png;0.png;4.png"]
    source = fitted.bind(pack(Image, fitted.options, cohort_of(folder, front=cells, sideways=[None, None])))
    with torch.no_grad():
        pooled = encoder(fitted.batch(source, fitted.view(source, np.arange(2), None))).pooled
    torch.testing.assert_close(pooled[0], pooled[1], atol=1e-6, rtol=1e-5)


def test_it_begins_as_the_mean_of_the_images(bags: tuple[Image, Source]) -> None:
    fitted, source = bags
    encoder = fitted.encoder().eval()
    field = fitted.batch(source, fitted.view(source, np.arange(5), None))
    with torch.no_grad():
        encoded = encoder(field)
    assert encoded.tokens is not None
    torch.testing.assert_close(encoded.pooled[4], encoded.tokens[4].mean(0))
    (encoder(field).pooled.square().sum()).backward()
    assert all(one.grad is not None for one in encoder.images.parameters())


def test_what_is_drawn_for_an_image_depends_on_its_row_alone(folder: Path) -> None:
    options = options_of(flip=[0, 1], augment={"rotate_degrees": 20, "share": 1.0})
    source = pack(Image, options, cohort_of(folder, front=FRONT, sideways=SIDEWAYS))
    fitted = Image.fit(options, [Image.summarise(options, source, np.arange(5))])
    source = fitted.bind(source)
    rows, draw = np.array([4, 0, 1]), Draw(3, np.array([0, 1, 2]))
    whole = fitted.batch(source, fitted.view(source, rows, draw))
    for place, row in enumerate(rows.tolist()):
        alone = fitted.batch(source, fitted.view(source, np.array([row]), Draw(3, np.array([place]))))
        torch.testing.assert_close(whole.value[place, : alone.value.shape[1]], alone.value[0])
    # Image 4 is twice in the first row: the two are altered apart.
    assert not torch.allclose(whole.value[0, 0], whole.value[0, 1])


def test_values_are_lifted_onto_each_image(bags: tuple[Image, Source]) -> None:
    fitted, source = bags
    view = fitted.view(source, np.arange(5), None)
    values = torch.randn(5, 4, 1, SIDE, SIDE)
    lifted = fitted.lift(source, view, {"map": values})
    assert lifted.rows.tolist() == [row for row, held in enumerate(HELD) for _ in held]
    np.testing.assert_allclose(lifted.values[-1], values[4, 3], rtol=1e-6)
    assert len(fitted.pictures(source, 4)) == 4 and fitted.pictures(source, 3) == ()


def test_mistakes_name_rows_and_a_way_out(folder: Path) -> None:
    with pytest.raises(DataError, match=r"1 row, of those that name more than most_images = 2 images \(row '2'\)"):
        pack(Image, options_of(column="scan", most_images=2), cohort_of(folder, scan=["0.png", "1.png;2.png;3.png"]))
    with pytest.raises(
        DataError, match=r"columns 'front', 'sideways': 1 file, of those that do not exist .*\(row '2'\)"
    ):
        pack(Image, options_of(), cohort_of(folder, front=["0.png", "9.png"], sideways=[None, None]))
    with pytest.raises(ValidationError, match="each seen whole"):
        options_of(size=None)
    with pytest.raises(ValidationError, match="several different ones"):
        options_of(column=["front", "front"])
    options = options_of()
    source = pack(Image, options, cohort_of(folder, front=FRONT, sideways=SIDEWAYS))
    fitted = Image.fit(options, [Image.summarise(options, source, np.arange(5))])
    marks = Marks(np.array(FRONT, object), np.ones(5, bool), (0, 1), folder)
    with pytest.raises(StudyError, match="give each image a row of its own"):
        fitted.lay(fitted.bind(source), marks, None)
    assert not Image.takes_masks(options) and Image.takes_masks(options_of(column="scan", most_images=1))


def test_few_images_at_a_time_are_the_same_images(bags: tuple[Image, Source], monkeypatch: pytest.MonkeyPatch) -> None:
    fitted, source = bags
    encoder = fitted.encoder().eval()
    field = fitted.batch(source, fitted.view(source, np.arange(5), None))
    together = encoder(field).pooled.detach()
    monkeypatch.setattr(bag_network, "VOXELS_AT_ONCE", 3 * SIDE * SIDE)
    with torch.no_grad():
        torch.testing.assert_close(encoder(field).pooled, together, atol=1e-6, rtol=1e-5)


def test_a_pair_to_register_is_no_bag() -> None:
    options = options_of()
    single = options_of(column="scan", most_images=1)
    part = RegisterOptions(moving="a", fixed="b")
    assert not Register.mistakes(part, {"a": single, "b": single})
    ((key, why),) = Register.mistakes(part, {"a": single, "b": options})
    assert key == "fixed" and "several images a row" in why


def test_a_study_of_a_store_is_all_its_volumes(tmp_path: Path) -> None:
    rows = {
        "patient": ["a", "a", "a", "b"],
        "study": ["s1", "s1", "s2", "s3"],
        "series": ["1", "2", "3", "4"],
        "volume": ["v2", "v1", "v3", "v4"],
        "stored": [True, True, False, True],
    }
    pl.DataFrame(rows).write_parquet(tmp_path / stored.INVENTORY)
    found = stored.volumes(tmp_path, [[("s1", 0), ("4", 1)], [("s2", 0)], [("a", 0)]])
    assert found == [[("v1", 0), ("v2", 0), ("v4", 1)], [("s2", 0)], [("v1", 0), ("v2", 0)]]
