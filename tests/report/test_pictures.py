"""Pictures of a report: small, complete in words, and bounded."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image as Pillow

from medloom.explain.cases import Case, Panel
from medloom.report import pictures
from medloom.report.content import Content
from medloom.report.kept import as_json, read_json
from medloom.report.markdown import render as as_markdown
from medloom.report.page import render
from medloom.report.section import Images, Section
from tests.report.reading import Reader


def panel(title: str = "as it is", **more: object) -> Panel:
    image = np.linspace(0, 1, 20 * 30, dtype=np.float32).reshape(1, 20, 30)
    return Panel(title, "a <slope>.", image, (1.0, 1.0), **more)  # type: ignore[arg-type]


def pixels(images: Images) -> np.ndarray:
    (image,) = images.images
    return np.asarray(Pillow.open(io.BytesIO(base64.b64decode(image.png))).convert("RGB")).astype(int)


def test_a_picture_is_as_wide_as_its_voxels_are_apart() -> None:
    (plain,) = pictures.drawn([Case("Case 1", (panel(),))])
    assert (plain.images[0].width, plain.images[0].height) == (208, 139)
    thick = Panel("thick", "", np.zeros((1, 20, 30), np.float32), (3.0, 1.0))
    (drawn,) = pictures.drawn([Case("Case 1", (thick,))])
    assert (drawn.images[0].width, drawn.images[0].height) == (104, 208)
    found = pixels(plain)
    assert found.shape == (139, 208, 3) and (np.ptp(found, axis=2) <= 2).all() and found[0, 0, 0] < found[-1, -1, 0]


def test_colours_say_for_and_against_and_outlines_lie_on_the_border() -> None:
    heat = np.zeros((20, 30), np.float32)
    heat[:, :15], heat[:, 15:] = 1.0, -1.0
    seen = pixels(pictures.drawn([Case("Case 1", (panel(heat=heat, signed=True),))])[0])
    assert seen[70, 40, 0] > seen[70, 40, 2] + 60 and seen[70, 170, 2] > seen[70, 170, 0] + 60
    mask = np.zeros((20, 30), bool)
    mask[5:15, 5:25] = True
    drawn = pixels(pictures.drawn([Case("Case 1", (panel(outlines={"truth": mask}),))])[0])
    green = drawn[:, :, 1] > drawn[:, :, 0] + 50
    rows, columns = np.nonzero(green)
    assert abs(rows.min() - 35) <= 3 and abs(columns.max() - 173) <= 3 and not green[70, 104]
    # Truth and answer that agree are both seen, in a picture of many colours too; letters stand at its edges.
    both = panel(outlines={"truth": mask, "answer": mask}, sides=("R", "A"))
    drawn = pixels(pictures.drawn([Case("Case 1", (both,))])[0])
    count = {name: int((drawn == colour).all(axis=2).sum()) for name, colour in pictures.OUTLINES.items()}
    assert drawn.shape == (208, 312, 3) and count["truth"] > 1000 and 400 < count["answer"] < count["truth"]
    white = np.argwhere((drawn == 255).all(axis=2))
    assert (white[:, 1] < 15).any() and (white[:, 0] < 15).any() and not (white[:, 1] > 200).any()


def test_pictures_beyond_the_bound_are_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    (one,) = pictures.drawn([Case("Case 1", (panel(),))])
    monkeypatch.setattr(pictures, "MOST_BYTES", int(1.5 * len(one.images[0].png)))
    first, second = pictures.drawn([Case("Case 1", (panel(),)), Case("Case 2", (panel("map"),))])
    assert len(first.images) == 1 and not second.images and second.told == ("map: a <slope>.",)


def test_a_page_shows_them_with_words_and_only_then_allows_any() -> None:
    section = Section("cases", "explanation", "Single cases", pictures.drawn([Case("Case <1>", (panel(),))]))
    content = Content("A study", "20 patients.", (), sections=(section,))
    page = Reader(render(content))
    ((_, image),) = [(tag, a) for tag, a in page.elements if tag == "img"]
    assert image["alt"] == "as it is: a <slope>." and str(image["src"]).startswith("data:image/png;base64,")
    policy = next(a["content"] for tag, a in page.of("meta") if a.get("http-equiv"))
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert "img-src" not in render(Content("A study", "20 patients.", ()))
    assert "- as it is: a &lt;slope>." in as_markdown(content)
    assert read_json(as_json(content)) == content
