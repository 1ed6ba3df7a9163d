"""Pairs of images that are copies, side by side."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from medloom.explain.alike import with_copies
from medloom.modalities.image import Image
from medloom.modalities.image.copies import signature
from medloom.told import Picture
from tests.audit.test_copies import chests


class Films:
    """Films of 60 rows, of which the last one is the first one turned; row 5 has none."""

    copies_within = Image.copies_within

    def __init__(self) -> None:
        made = chests(59)
        self.films = np.stack([*made, np.rot90(made[0])]).astype(np.float32)

    def fingerprint(self, source: Any, rows: np.ndarray) -> np.ndarray:
        return np.stack([signature(self.films[row][None]) for row in rows])

    def pictures(self, source: Any, row: int) -> tuple[Picture, ...]:
        return (Picture(self.films[row][None], (1.0, 1.0)),)


class Records:
    """An input that cannot be drawn."""

    copies_within = 0.1

    def pictures(self, source: Any, row: int) -> tuple[Picture, ...]:
        return ()


def feed() -> tuple[Films, Any]:
    films = Films()
    unit = np.arange(1, 61)
    unit[5] = 0
    source = SimpleNamespace(unit=unit)
    return films, SimpleNamespace(modalities={"film": films, "ecg": Records()}, sources={"film": source, "ecg": source})


def test_a_copy_under_another_patient_is_drawn_beside_its_like() -> None:
    films, of = feed()
    (case,) = with_copies(of, np.arange(60), 3)
    assert case.title == "Copies 1 of 1: film, under two patients"
    one, other = case.panels
    assert (one.title, other.title) == ("of one patient", "of another patient")
    assert (one.image == films.films[0]).all() and (other.image == films.films[59]).all()


def test_nothing_is_drawn_of_one_patient_or_where_no_pictures_are_asked_for() -> None:
    _, of = feed()
    patient = np.arange(60)
    assert with_copies(of, patient, 0) == ()
    patient[59] = 0
    assert with_copies(of, patient, 3) == ()
