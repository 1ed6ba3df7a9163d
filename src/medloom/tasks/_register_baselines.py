"""What a learned map between two images stands beside: the images as they lie, and the best affine map of each pair."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import torch

from medloom.batch import Output
from medloom.task import Baseline, Block
from medloom.tasks._register_head import mapped
from medloom.warping.likeness import Likeness
from medloom.warping.search import Search, aligned, standardised
from medloom.warping.transform import Transform, same


class Pair(Baseline):
    """A map between the images of each row for itself; nothing is learnt from other rows."""

    def __init__(self, label: str, moving: str, fixed: str, kind: Likeness, window: int, search: Search | None) -> None:
        self.label = label
        self._names: Final = (moving, fixed)
        self._kind: Final = kind
        self._window: Final = window
        self._search: Final = search

    def fit(self, train: Iterable[Block], valid: Iterable[Block]) -> None:
        """Nothing."""

    def output(self, block: Block) -> Output:
        """The map of each pair."""
        fields = [block.batch.inputs[name] for name in self._names]
        images = [f.value if f.index is None else f.value[f.index] for f in fields]
        known = (fields[0].present & fields[1].present).to(images[0].dtype)
        start = same(len(known), images[0].ndim - 2)
        transform = Transform(start)
        if self._search is not None:
            found = aligned(standardised(images[0]), standardised(images[1]), start, self._search).affine
            transform = Transform(torch.where(known.view(-1, 1, 1) > 0, found, start))
        return mapped(transform, images[0], images[1], known, self._kind, self._window)
