"""What is said of maps over images: figures, warnings where a check was not passed, and where nothing was asked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from medloom.evaluation.intervals import Estimate
from medloom.explain.cases import Case, Panel
from medloom.explain.evidence import Evidence
from medloom.explain.mapped import MapFigures, Mapped
from medloom.report.section import Paragraph, Table
from medloom.report.sections.maps import cases, section, warnings

GOOD = MapFigures(Estimate(0.1, 0.0, 0.2), Estimate(1.5, 1.0, 2.0), Estimate(0.8, 0.6, 0.9), Estimate(0.7, 0.5, 0.8))
LIKE = MapFigures(Estimate(0.7, 0.6, 0.8), Estimate(1.5, 1.0, 2.0))
ASIDE = MapFigures(Estimate(0.1, 0.0, 0.2), Estimate(1.5, 1.0, 2.0), Estimate(0.1, 0.0, 0.2), Estimate(0.0, -0.1, 0.1))
IDLE = MapFigures(Estimate(0.1, 0.0, 0.2), Estimate(0.1, -0.2, 0.4))


def story(*found: Mapped, pictures: int = 0, drawn: tuple[Case, ...] = ()) -> Any:
    asked = SimpleNamespace(maps=SimpleNamespace(pictures=pictures))
    prepared = SimpleNamespace(study=SimpleNamespace(evaluate=asked))
    return SimpleNamespace(evidence=Evidence(mapped=found, cases=drawn), prepared=prepared)


def one(marked: int = 0, **figures: MapFigures) -> Mapped:
    pointing = (Estimate(0.1, 0.1, 0.1), Estimate(0.2, 0.1, 0.3)) if marked else ()
    return Mapped("scan", "ill", "log-odds", figures, 40, 38, marked, *pointing)


def texts(told: Any) -> str:
    return " ".join(piece.text for piece in told.pieces if isinstance(piece, Paragraph))


def test_maps_that_pass_their_checks_stand_in_a_table_alone() -> None:
    told = section(story(one(20, grad_cam=GOOD)))
    assert told is not None and texts(told) == ""
    (table,) = [piece for piece in told.pieces if isinstance(piece, Table)]
    assert table.caption == "Maps of 40 judged rows of 38 patients, 20 with a mask"
    assert [row[0] for row in table.rows] == ["Grad-CAM", "a point at random", "always the middle"]
    assert table.rows[0][3] == GOOD.hit and len(table.head) == 5
    assert warnings(story(one(20, grad_cam=GOOD))) == []


def test_maps_without_masks_have_no_pointing() -> None:
    told = section(story(one(grad_cam=GOOD)))
    assert told is not None
    assert all(len(piece.head) == 3 and len(piece.rows) == 1 for piece in told.pieces if isinstance(piece, Table))


def test_maps_that_fail_a_check_are_warned_of() -> None:
    found = story(one(integrated_gradients=LIKE, occlusion=IDLE))
    told = texts(section(found))
    assert "Integrated gradients is not to be trusted here" in told and "rank correlation 0.700" in told
    assert "Occlusion is not shown to find what moves the answer" in told
    aside = texts(section(story(one(20, grad_cam=ASIDE))))
    assert aside.startswith("Grad-CAM does not point at what was marked")
    mute = MapFigures(Estimate(None), Estimate(None), Estimate(0.0, 0.0, 0.0), Estimate(-0.1, -0.1, -0.1))
    assert texts(section(story(one(20, grad_cam=mute)))).startswith("Grad-CAM says nothing here")
    even = MapFigures(Estimate(None), Estimate(1.5, 1.0, 2.0))
    assert texts(section(story(one(attention=even)))).startswith("An untrained network's maps are the same everywhere")
    (warning,) = warnings(found)
    assert "by integrated gradients hardly change where the network has learnt nothing" in warning


def test_where_nothing_was_asked_it_says_why() -> None:
    told = section(story(Mapped("scan", "ill", "", {}, 0, 0, left_out="it takes too long")))
    assert told is not None and texts(told) == "Nothing was asked of the images: it takes too long."
    assert section(story()) is None


def test_pictures_of_patients_are_warned_of() -> None:
    (warning,) = warnings(story(pictures=2, drawn=(Case("Case 1", ()),)))
    assert "patients' data" in warning
    (warning,) = warnings(story(pictures=2))
    assert "this study has none to draw" in warning
    assert cases(story(pictures=2)) is None
    line = {"truth": np.ones((4, 4), bool)}
    for more, said in (
        ({}, ()),
        ({"heat": np.ones((4, 4), np.float32)}, ("Colours",)),
        ({"outlines": {**line, "answer": line["truth"]}, "sides": ("R", "A")}, ("green", "dashed", "Letters")),
    ):
        panel = Panel("as it is", "a scan.", np.zeros((1, 4, 4), np.float32), (1.0, 1.0), **more)
        told = texts(cases(story(drawn=(Case("Case 1", (panel,)),))))
        assert [word for word in ("Colours", "green", "dashed", "Letters") if word in told] == list(said)
