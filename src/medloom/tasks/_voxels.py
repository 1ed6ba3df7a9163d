"""Simple models of voxels, to stand beside a network that segments."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from medloom.batch import Field, Output
from medloom.task import Baseline, Block
from medloom.tasks._segment_options import Legend

CELLS = 2048
"""Fine cells in which scaled intensities are counted, before they are pooled into bins."""
REACH = 8.0
"""Scaled intensities beyond this fall into the outermost cells."""
BINS = 64
"""Quantile bins of the intensity."""


class Prior(Baseline):
    """Every voxel is of the class that most voxels of the training rows have: background, nearly always."""

    label = "Most frequent class everywhere"

    def __init__(self, ground: str, legend: Legend, overlapping: bool) -> None:
        self._ground: Final = ground
        self._said: Final = partial(_said, legend=legend, overlapping=overlapping)
        self._log_share = np.zeros(len(legend.values))

    def fit(self, train: Iterable[Block], valid: Iterable[Block]) -> None:
        """Counts the voxels of each id of laid masks."""
        number = np.zeros(len(self._log_share))
        for block in train:
            number += np.bincount(block.target.value[_known(block.target)].numpy(), minlength=len(number))
        self._log_share = np.log((number + 1) / (number + 1).sum())

    def output(self, block: Block) -> Output:
        """Log shares of the classes, the same at each voxel."""
        image = block.batch.inputs[self._ground].value
        share = torch.from_numpy(self._log_share.astype(np.float32)).view(1, -1, *[1] * (image.ndim - 2))
        return {"logits": self._said(share).expand(len(image), -1, *image.shape[2:])}


class Intensity(Baseline):
    """Naive Bayes on each voxel's own intensity, in quantile bins of the training voxels."""

    label = "Naive Bayes on the intensity"

    def __init__(self, ground: str, legend: Legend, overlapping: bool) -> None:
        self._ground: Final = ground
        self._said: Final = partial(_said, legend=legend, overlapping=overlapping)
        self._log_prior = np.zeros(len(legend.values))
        self._log_likelihood = np.zeros((0, CELLS, len(legend.values)))

    def fit(self, train: Iterable[Block], valid: Iterable[Block]) -> None:
        """Counts classes in fine cells of intensity, in one pass, then pools the cells into bins of equal counts."""
        classes = len(self._log_prior)
        number: Float[np.ndarray, "channels cells classes"] | None = None
        for block in train:
            image, known = block.batch.inputs[self._ground].value, _known(block.target)
            target = block.target.value[known]
            if number is None:
                number = np.zeros((image.shape[1], CELLS, classes))
            for channel in range(image.shape[1]):
                place = _cell(image[:, channel][known]) * classes + target
                number[channel] += np.bincount(place.numpy(), minlength=CELLS * classes).reshape(CELLS, classes)
        if number is None:
            return
        total = number[0].sum(axis=0) + 1
        self._log_prior = np.log(total / total.sum())
        self._log_likelihood = np.stack([_log_likelihood(counted) for counted in number])

    def output(self, block: Block) -> Output:
        """Log prior plus the log likelihood of each channel's intensity, at each voxel."""
        image = block.batch.inputs[self._ground].value
        logits = torch.from_numpy(self._log_prior.astype(np.float32)).expand(*image[:, 0].shape, -1)
        for channel, table in enumerate(torch.from_numpy(self._log_likelihood.astype(np.float32))):
            logits = logits + table[_cell(image[:, channel])]
        return {"logits": self._said(logits.movedim(-1, 1))}


def _said(
    log_share: Float[Tensor, "batch ids *patch"], legend: Legend, overlapping: bool
) -> Float[Tensor, "batch classes *patch"]:
    """What a head would say: from how likely each id of laid masks is to log odds of labels, or to scores of classes."""
    share = log_share.softmax(1)
    member = torch.from_numpy(legend.member).to(share.dtype)
    of_labels = torch.einsum("bi...,il->bl...", share, member)
    if overlapping:
        return torch.logit(of_labels, eps=1e-7)
    return torch.cat([1 - of_labels.sum(1, keepdim=True), of_labels], 1).clamp_min(1e-12).log()


def _known(target: Field) -> Tensor:
    """Voxels of the target that are data, of rows that have a mask."""
    present = target.present.view(-1, *[1] * (target.value.ndim - 1)).expand_as(target.value)
    return present if target.valid is None else present & target.valid


def _cell(intensity: Float[Tensor, "..."]) -> Int[Tensor, "..."]:
    return ((intensity + REACH) * (CELLS / (2 * REACH))).floor().clamp(0, CELLS - 1).long()


def _log_likelihood(counted: Float[np.ndarray, "cells classes"]) -> Float[np.ndarray, "cells classes"]:
    """Log share of each class's voxels in a cell's bin; one voxel is added to each bin, so that none is impossible."""
    reached = np.cumsum(counted.sum(axis=1))
    middle = reached - counted.sum(axis=1) / 2
    bins = np.minimum((middle / max(reached[-1], 1) * BINS).astype(np.int64), BINS - 1)
    pooled = np.zeros((BINS, counted.shape[1]))
    np.add.at(pooled, bins, counted)
    return np.asarray(np.log((pooled + 1) / (pooled + 1).sum(axis=0))[bins])
