"""Integrated gradients of the networks: what each column adds to a row's answer, compared with a row of nothing.

The path from that row to the real one is straight in the numbers as the network sees them, and in the learnt vectors of words
and codes, so that a word counts as a whole. The contributions of a row add up to the difference of the two answers.

Source: Sundararajan, Taly & Yan, "Axiomatic attribution for deep networks", ICML 2017, equation 1 and proposition 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from medloom.batch import Batch, Field, Output
from medloom.explain.probe import Piece
from medloom.feed import Feed
from medloom.model.assembly import Network
from medloom.model.outputs import threads_set
from medloom.model.team import Team
from medloom.task import Scores, Task
from medloom.told import Neutral

STEPS = (24, 96, 384)
"""Points along the path: more of them for a row whose sum misses by more than `TOLERANCE` of its contributions."""
ROUGH = (24,)
"""Enough for means over many rows."""
TOLERANCE = 0.01
BLOCK = 1_024


@dataclass(frozen=True, slots=True)
class Contributions:
    """Of some rows: what each piece adds to each answer, "rows answers pieces"; `start` is the answer of nothing.

    `score` is the answer itself, and `gap` what the pieces and the start miss of it.
    """

    pieces: tuple[Piece, ...]
    names: tuple[str, ...]
    unit: str
    value: Float[np.ndarray, "rows answers pieces"]
    start: Float[np.ndarray, "rows answers"]
    score: Float[np.ndarray, "rows answers"]

    @property
    def gap(self) -> Float[np.ndarray, "rows answers"]:
        """The score, less the start and all contributions."""
        return self.score - self.start - self.value.sum(axis=2)


@dataclass(frozen=True, slots=True)
class _Path:
    """One network's inputs between nothing and the real rows: leaves by key, with the piece of each of their numbers."""

    network: Network
    low: Mapping[Any, Tensor]
    high: Mapping[Any, Tensor]
    pieces: Mapping[Any, tuple[Piece, ...]]
    layers: Mapping[nn.Module, Any]


def can_explain(team: Team, feed: Feed, target: str) -> bool:
    """Whether the networks of a team can be explained: there are some, and an input has parts that gradients reach."""
    task = feed.tasks[target]
    parts = any(modality.features() for modality in feed.modalities.values())
    return bool(team.networks) and parts and not task.dense and feed.windowed is None


def contributions(
    team: Team, feed: Feed, target: str, rows: Int[np.ndarray, " rows"], steps: Sequence[int] = STEPS
) -> Iterator[tuple[np.ndarray, Contributions]]:
    """Block after block of the rows: the places, and what each column adds to the answers of the networks together.

    Simple models of the team have no gradients and are not part of it. Inputs without parts stay as they are.
    """
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        with threads_set(1):
            found = _of_block(team, feed, target, part, steps[0])
            for count in steps[1:]:
                # Of each row by itself, so that its numbers do not depend on the rows beside it.
                enough = TOLERANCE * np.abs(found.value).sum(axis=2)
                missed = np.flatnonzero((np.abs(found.gap) > enough).any(axis=1))
                if len(missed):
                    found.value[missed] = _of_block(team, feed, target, part[missed], count).value
        yield np.arange(start, start + len(part)), found


def _of_block(team: Team, feed: Feed, target: str, rows: Int[np.ndarray, " rows"], steps: int) -> Contributions:
    task = feed.tasks[target]
    inputs = {n: m.batch(feed.sources[n], m.view(feed.sources[n], rows, None)) for n, m in feed.modalities.items()}
    batch = Batch(inputs, {}, torch.from_numpy(rows), torch.ones(len(rows)))
    for network in team.networks:
        network.eval()
    paths = [_path(network, feed, batch) for network in team.networks]
    pieces = tuple(dict.fromkeys(piece for path in paths for own in path.pieces.values() for piece in own))
    start, names, unit = _ends(task, target, paths, batch, 0.0)
    score, _, _ = _ends(task, target, paths, batch, 1.0)
    value = _integral(task, target, paths, batch, pieces, len(names), steps)
    return Contributions(pieces, names, unit, value, start, score)


def _path(network: Network, feed: Feed, batch: Batch) -> _Path:
    low: dict[Any, Tensor] = {}
    high: dict[Any, Tensor] = {}
    pieces: dict[Any, tuple[Piece, ...]] = {}
    layers: dict[nn.Module, Any] = {}
    for name, modality in feed.modalities.items():
        field = batch.inputs[name]
        neutral: Neutral | None = modality.neutral(network.encoders[f"input_{name}"], field)
        if neutral is None:
            continue
        own = tuple(Piece(name, part) for part in neutral.parts)
        for key, before, after in (
            ("value", neutral.value, field.value),
            ("missing", neutral.missing, field.extra["missing"]),
        ):
            low[name, key], high[name, key], pieces[name, key] = before, after, own
        for place, (layer, part, vector) in enumerate(neutral.layers):
            layers[layer] = (name, place)
            low[name, place], pieces[name, place] = vector, (Piece(name, part),)
    with ExitStack() as hooks, torch.no_grad():
        for layer, key in layers.items():
            hooks.enter_context(_instead(layer, lambda made, key=key: high.setdefault(key, made)))  # type: ignore[misc]
        network(batch.inputs)
    return _Path(network, {key: low[key].expand_as(high[key]) for key in high}, high, pieces, layers)


@contextmanager
def _instead(layer: nn.Module, give: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """While it holds, the layer gives what `give` makes of what it would have given."""
    handle = layer.register_forward_hook(lambda layer, inputs, made: give(made))
    try:
        yield
    finally:
        handle.remove()


def _at(path: _Path, leaves: Mapping[Any, Tensor], batch: Batch) -> dict[str, Output]:
    """What a network says of these leaves."""
    inputs: dict[str, Field] = dict(batch.inputs)
    for name in {key[0] for key in leaves}:
        field = inputs[name]
        extra = {**field.extra, "missing": leaves[name, "missing"]}
        inputs[name] = replace(field, value=leaves[name, "value"], extra=extra)
    with ExitStack() as hooks:
        for layer, key in path.layers.items():
            if key in leaves:
                hooks.enter_context(_instead(layer, lambda made, key=key: leaves[key]))  # type: ignore[misc]
        answer: dict[str, Output] = path.network(inputs)
        return answer


def _scores(
    task: Task, target: str, paths: Sequence[_Path], leaves: Sequence[Mapping[Any, Tensor]], batch: Batch
) -> Scores:
    each = [_at(path, own, batch)[target] for path, own in zip(paths, leaves, strict=True)]
    found = task.scores(task.combine(each) if len(each) > 1 else each[0])
    assert found is not None
    return found


def _between(path: _Path, share: float) -> dict[Any, Tensor]:
    return {key: torch.lerp(path.low[key], path.high[key], share) for key in path.high}


def _ends(
    task: Task, target: str, paths: Sequence[_Path], batch: Batch, share: float
) -> tuple[np.ndarray, tuple[str, ...], str]:
    with torch.no_grad():
        found = _scores(task, target, paths, [_between(path, share) for path in paths], batch)
    return found.value.double().numpy(), found.names, found.unit


def _integral(
    task: Task, target: str, paths: Sequence[_Path], batch: Batch, pieces: tuple[Piece, ...], answers: int, count: int
) -> Float[np.ndarray, "rows answers pieces"]:
    """Gradients times the way, added up over `count` steps; sums of each piece.

    Steps are shorter near the row of nothing, where layer normalisation turns fastest. Within a step the gradients of its
    two ends are weighted so that together they make the difference of the two answers: exact where the network is
    straight on both sides of one bend.
    """
    column = {piece: place for place, piece in enumerate(pieces)}
    total = np.zeros((len(batch), answers, len(pieces)))
    score, slope = _slopes(task, target, paths, batch, column, answers, 0.0)
    for step in range(1, count + 1):
        share, width = (step / count) ** 2, (2 * step - 1) / count**2
        next_score, next_slope = _slopes(task, target, paths, batch, column, answers, share)
        left, right = slope.sum(axis=2), next_slope.sum(axis=2)
        bend = np.where(np.abs(left - right) > 1e-9, left - right, 1.0)
        weight = np.clip(((next_score - score) / width - right) / bend, 0.0, 1.0)
        weight = np.where(np.abs(left - right) > 1e-9, weight, 0.5)[:, :, None]
        total += width * (weight * slope + (1 - weight) * next_slope)
        score, slope = next_score, next_slope
    return total


def _slopes(
    task: Task,
    target: str,
    paths: Sequence[_Path],
    batch: Batch,
    column: Mapping[Piece, int],
    answers: int,
    share: float,
) -> tuple[Float[np.ndarray, "rows answers"], Float[np.ndarray, "rows answers pieces"]]:
    """The answers at a share of the way, and how fast each piece moves them there, for the whole way."""
    keys = [(place, key) for place, path in enumerate(paths) for key in path.high]
    leaves = [{key: leaf.requires_grad_() for key, leaf in _between(path, share).items()} for path in paths]
    result = torch.zeros(len(batch), answers, len(column), dtype=torch.float64)
    with torch.enable_grad():
        value = _scores(task, target, paths, leaves, batch).value
        flat = [leaves[place][key] for place, key in keys]
        for answer in range(answers):
            last = answer == answers - 1
            grads: tuple[Tensor | None, ...] = torch.autograd.grad(
                value[:, answer].sum(), flat, retain_graph=not last, allow_unused=True
            )
            for (place, key), grad in zip(keys, grads, strict=True):
                if grad is None:
                    continue
                path = paths[place]
                made = grad.double() * (path.high[key] - path.low[key]).double()
                per = made if key[1] in ("value", "missing") else made.flatten(1).sum(dim=1, keepdim=True)
                result[:, answer].index_add_(1, torch.tensor([column[piece] for piece in path.pieces[key]]), per)
    return value.detach().double().numpy(), result.numpy()
