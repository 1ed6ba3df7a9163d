"""Maps over images: where in an image the answers of networks come from, by four ways of asking.

Attention: what the pooling of an encoder weighs (Ilse, Tomczak & Welling, "Attention-based deep multiple instance
learning", ICML 2018). Grad-CAM: features of the deepest grid, weighted by how much they move the answer (Selvaraju et al.,
"Grad-CAM", ICCV 2017, equations 1 and 2). Integrated gradients: the path from a flat image of the same mean to the real one
(Sundararajan, Taly & Yan, "Axiomatic attribution for deep networks", ICML 2017, equation 1). Occlusion: the fall of the
answer where a box is flat (Zeiler & Fergus, "Visualizing and understanding convolutional networks", ECCV 2014).

A map is of one answer of one target: of several answers, the one with the highest score in that row. Simple models among the
members of a team look at no place and are not part of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from medloom.batch import Batch, Encoded, Field
from medloom.explain.regions import boxes, flat
from medloom.feed import Feed
from medloom.modality import Located, View
from medloom.model.assembly import Network
from medloom.model.team import Team
from medloom.task import Scores

ATTENTION, GRAD_CAM, GRADIENTS, OCCLUSION = "attention", "grad_cam", "integrated_gradients", "occlusion"
SIGNED = (GRADIENTS, OCCLUSION)
"""Methods whose maps speak for an answer (above 0) and against it (below 0); the others have no sign."""
STEPS = 24
"""Points along the path of integrated gradients."""
MOST_VIEWS = 64
"""Views of one row, at most: an image that needs more is not explained."""
VIEWS_AT_ONCE, VOXELS_AT_ONCE = 64, 1 << 19
"""Views computed together, at most, which bounds memory."""


@dataclass(frozen=True, slots=True)
class Views:
    """All views of some rows, and what stands in each: `answer` is the place of the answer that each view's row gives.

    `score` is that answer, the mean over the views of a row and over networks.
    """

    view: View
    batch: Batch
    answer: Int[np.ndarray, " views"]
    score: Float[np.ndarray, " views"]

    @property
    def place(self) -> Int[np.ndarray, " views"]:
        """Which of the rows each view is of, from 0: views of a row stand side by side."""
        place: np.ndarray = np.cumsum(np.diff(self.view.rows, prepend=-1) != 0) - 1
        return place

    @property
    def rows(self) -> Int[np.ndarray, " rows"]:
        """The rows, each once."""
        return self.view.rows[np.unique(self.place, return_index=True)[1]]

    def of_rows(self, values: Float[np.ndarray, " views"]) -> Float[np.ndarray, " rows"]:
        """The mean over the views of each row."""
        mean: np.ndarray = np.bincount(self.place, values) / np.bincount(self.place)
        return mean


@dataclass(frozen=True, slots=True)
class Asked:
    """Networks that are asked where in one input their answers for one target come from. Tasks in `feed` are calibrated."""

    networks: tuple[Network, ...]
    feed: Feed
    target: str
    input: str

    @property
    def dims(self) -> int:
        """Axes of the input's images."""
        return self.located(self.networks[0]).dims

    def located(self, network: Network) -> Located:
        """What maps of a network lie on."""
        found = self.feed.modalities[self.input].located(network.encoders[f"input_{self.input}"])
        assert found is not None
        return found

    def methods(self, among: Sequence[str]) -> tuple[str, ...]:
        """Those of the methods that these networks can be asked by: attention only where they pool by it."""
        weighs = self.located(self.networks[0]).weights is not None
        return tuple(one for one in among if one != ATTENTION or weighs)

    def views(self, rows: Int[np.ndarray, " rows"]) -> Iterator[Views]:
        """Blocks of whole rows, those that have the input, with their answers. Rows with too many views are left out."""
        seen = rows[self.feed.sources[self.input].unit[rows] > 0]
        block: list[int] = []
        taken, at_once = 0, 1
        for row in seen.tolist():
            count = len(self._covering(np.array([row])).rows)
            if row == seen[0]:
                at_once = self._at_once(row)
            if count > MOST_VIEWS:
                continue
            if block and taken + count > at_once:
                yield self._answered(np.array(block))
                block, taken = [], 0
            block.append(row)
            taken += count
        if block:
            yield self._answered(np.array(block))

    def _at_once(self, row: int) -> int:
        """Views computed together, by the size of one."""
        modality, source = self.feed.modalities[self.input], self.feed.sources[self.input]
        view = modality.view(source, np.array([row]), None)
        one = modality.batch(source, View(view.rows[:1], {name: array[:1] for name, array in view.at.items()}))
        return int(np.clip(VOXELS_AT_ONCE // one.value.numel(), 1, VIEWS_AT_ONCE))

    def _covering(self, rows: np.ndarray) -> View:
        ground = self.feed.windowed or self.input
        return self.feed.modalities[ground].view(self.feed.sources[ground], rows, None)

    def _answered(self, rows: np.ndarray) -> Views:
        ground = self.feed.windowed or self.input
        whole = self._covering(rows)
        views = {
            name: whole if name == ground else modality.view(self.feed.sources[name], whole.rows, None)
            for name, modality in self.feed.modalities.items()
        }
        inputs = {name: one.batch(self.feed.sources[name], views[name]) for name, one in self.feed.modalities.items()}
        batch = Batch(inputs, {}, torch.from_numpy(whole.rows), torch.ones(len(whole.rows)))
        with torch.no_grad():
            each = torch.stack([self.scores(network, batch) for network in self.networks]).mean(0).double().numpy()
        found = Views(views[self.input], batch, np.zeros(len(each), np.int64), np.zeros(len(each)))
        mean = np.stack([found.of_rows(column) for column in each.T], axis=1)[found.place]
        answer = mean.argmax(axis=1)
        return replace(found, answer=answer, score=mean[np.arange(len(mean)), answer])

    def scores(self, network: Network, batch: Batch) -> Float[Tensor, "views answers"]:
        """All answers of one network, differentiable."""
        return self._scores(network, batch).value

    def _scores(self, network: Network, batch: Batch) -> Scores:
        network.eval()
        device = next(network.parameters()).device
        output = {key: one.cpu() for key, one in network(batch.to(device).inputs, self.target)[self.target].items()}
        found = self.feed.tasks[self.target].scores(output)
        assert found is not None
        return found

    def answers(self) -> tuple[tuple[str, ...], str]:
        """What the answers are called, and their unit."""
        views = next(self.views(np.flatnonzero(self.feed.sources[self.input].unit > 0)[:1]))
        with torch.no_grad():
            found = self._scores(self.networks[0], views.batch)
        return found.names, found.unit

    def score(self, network: Network, views: Views, value: Tensor) -> Float[Tensor, " views"]:
        """Each view's answer with other images in the place of its own."""
        field = replace(views.batch.inputs[self.input], value=value)
        batch = replace(views.batch, inputs={**views.batch.inputs, self.input: field})
        return self.scores(network, batch)[torch.arange(len(value)), torch.from_numpy(views.answer)]

    def shares(self, views: Views) -> Float[np.ndarray, "views images"] | None:
        """How much each image of each view is weighed, the mean over networks; None where rows have one image."""
        modality, field = self.feed.modalities[self.input], views.batch.inputs[self.input]
        each = []
        for network in self.networks:
            device = next(network.parameters()).device
            with torch.no_grad():
                found = modality.shares(network.encoders[f"input_{self.input}"], field.to(device))
            if found is None:
                return None
            each.append(found.cpu().double())
        return torch.stack(each).mean(0).numpy()

    def mean_score(self, views: Views, value: Tensor) -> Float[np.ndarray, " views"]:
        """The mean over networks, not differentiable."""
        with torch.no_grad():
            each = [self.score(network, views, value) for network in self.networks]
        return torch.stack(each).mean(0).double().numpy()


def can_map(team: Team, feed: Feed, target: str, name: str) -> bool:
    """Whether maps can be made of an input for a target: networks that see it on a grid, and answers that are scores."""
    if not team.networks or feed.tasks[target].dense:
        return False
    encoder = team.networks[0].encoders[f"input_{name}"]
    return feed.modalities[name].located(encoder) is not None


def maps(asked: Asked, views: Views, methods: Sequence[str]) -> dict[str, Float[np.ndarray, "views ..."]]:
    """Each method's map of each view, the mean over networks: "views [images] *patch", 0 where nothing is data."""
    field = views.batch.inputs[asked.input]
    each = {ATTENTION: _attention, GRAD_CAM: _grad_cam, GRADIENTS: _gradients, OCCLUSION: _occlusion}
    found = {}
    for method in methods:
        mean = torch.stack([each[method](asked, network, views) for network in asked.networks]).mean(0)
        kept = mean if field.valid is None else mean * field.valid
        found[method] = kept.float().numpy()
    return found


def lifted(asked: Asked, views: Views, values: Float[np.ndarray, "views ..."]) -> list[tuple[int, np.ndarray]]:
    """A map on the grids of the files: (row, "*spatial") for each image of each row, in order."""
    modality, source = asked.feed.modalities[asked.input], asked.feed.sources[asked.input]
    dense = torch.from_numpy(values).unsqueeze(-asked.dims - 1)
    # Settled as it is, so that regions which no window looks at are 0.
    lifting = modality.lifting(source, lambda values: values)
    lifting.add(views.view, {"map": dense})
    found = lifting.finish()
    return [(int(row), one[0]) for row, one in zip(found.rows, found.values, strict=True)]


@contextmanager
def _grid(module: nn.Module) -> Iterator[list[Encoded]]:
    """What a part of a network gives while it computes."""
    held: list[Encoded] = []
    handle = module.register_forward_hook(lambda _module, _given, made: held.append(made))
    try:
        yield held
    finally:
        handle.remove()


def _grad_cam(asked: Asked, network: Network, views: Views) -> Tensor:
    """Equations 1 and 2: features weighted by their mean gradient, what speaks against the answer cut off."""
    field = views.batch.inputs[asked.input]
    with torch.enable_grad(), _grid(asked.located(network).module) as held:
        value = field.value.detach().clone().requires_grad_()
        score = asked.score(network, views, value)
    grid = held[0].grid
    assert grid is not None
    (slope,) = torch.autograd.grad(score.sum(), grid)
    weight = slope.flatten(2).mean(2).reshape(*slope.shape[:2], *[1] * asked.dims)
    return _spread(F.relu((weight * grid).sum(1)).detach().cpu(), field, asked.dims)


def _attention(asked: Asked, network: Network, views: Views) -> Tensor:
    """What the pooling weighs, as so many times what an even look at all positions would give."""
    field = views.batch.inputs[asked.input]
    weights = asked.located(network).weights
    assert weights is not None
    with torch.no_grad():
        weight = weights(field.to(next(network.parameters()).device)).cpu()
    return _spread(weight * weight[0].numel(), field, asked.dims)


def _spread(grid: Tensor, field: Field, dims: int) -> Tensor:
    """Values of the deepest grid at each voxel of a view, linear between positions; images of a bag in their places."""
    patch = tuple(field.value.shape[-dims:])
    wide = F.interpolate(grid[:, None].float(), patch, mode="bilinear" if dims == 2 else "trilinear")[:, 0]
    if field.value.ndim == dims + 2:
        return wide
    assert field.valid is not None
    placed = wide.new_zeros(field.valid.shape)
    placed[field.valid.flatten(2).any(2)] = wide
    return placed


def _gradients(asked: Asked, network: Network, views: Views) -> Tensor:
    """Equation 1 from the flat image, at the middle of each of `STEPS` parts of the way.

    Parts are shorter near the flat image, where normalisation turns fastest.
    """
    field = views.batch.inputs[asked.input]
    start = flat(field, asked.dims)
    total = torch.zeros_like(start)
    for step in range(STEPS):
        share = (step + 0.5) / STEPS
        value = torch.lerp(start, field.value.float(), share**2).requires_grad_()
        with torch.enable_grad():
            score = asked.score(network, views, value)
        total += torch.autograd.grad(score.sum(), value)[0] * (2 * share / STEPS)
    return (total * (field.value - start)).sum(-asked.dims - 1)


def _occlusion(asked: Asked, network: Network, views: Views) -> Tensor:
    """The fall of the answer where a box is flat, at each voxel the mean over the boxes that hold it."""
    field = views.batch.inputs[asked.input]
    start, dims = flat(field, asked.dims), asked.dims
    patch = tuple(field.value.shape[-dims:])
    total = torch.zeros(*field.value.shape[: -dims - 1], *patch)
    count = torch.zeros(patch)
    with torch.no_grad():
        whole = asked.score(network, views, field.value)
        for box in boxes(patch):
            count[box] += 1
            for image in _images(field, dims):
                at: tuple[Any, ...] = (slice(None), *image, ..., *box)
                value = field.value.clone()
                value[at] = start[at].to(value.dtype)
                if torch.equal(value, field.value):
                    continue
                fall = whole - asked.score(network, views, value)
                total[at] += fall.reshape(-1, *[1] * (total[at].ndim - 1))
    return total / count


def _images(field: Field, dims: int) -> list[tuple[int, ...]]:
    """The place of each image of a bag; one empty place where a row is one image."""
    return [()] if field.value.ndim == dims + 2 else [(place,) for place in range(field.value.shape[1])]
