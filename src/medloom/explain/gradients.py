"""Integrated gradients of the networks: what each column adds to a row's answer, compared with a row of nothing.

The path from that row to the real one is straight in the numbers as the network sees them, and in the learnt vectors of words
and codes, so that a word or an event counts as a whole. The contributions of a row add up to the difference of the two answers.

Source: Sundararajan, Taly & Yan, "Axiomatic attribution for deep networks", ICML 2017, equation 1 and proposition 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from medloom.batch import Batch, Field, Output
from medloom.explain.probe import Piece, asked_of
from medloom.explain.windows import Views, Windows, windows_of
from medloom.feed import Feed
from medloom.modality import Modality
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
Key = tuple[str, int]
"""An input, and the number of a leaf of it."""


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
    """One network's inputs between nothing and the real rows: leaves by input and number, and whose their numbers are.

    `owner` counts the `pieces` of the leaf's input. Leaves are in fields, by name, or what layers give. `asked` gives what
    the network says of the inputs: of each row, or of each of its windows.
    """

    asked: Callable[[Mapping[str, Field]], Output]
    low: Mapping[Key, Tensor]
    high: Mapping[Key, Tensor]
    owner: Mapping[Key, Tensor]
    pieces: Mapping[str, tuple[Piece, ...]]
    fields: Mapping[Key, str]
    layers: Mapping[nn.Module, Key]


def can_explain(team: Team, feed: Feed, target: str) -> bool:
    """Whether the networks of a team can be explained: there are some, and an input has parts that gradients reach."""
    parts = any(modality.features() for modality in feed.modalities.values() if not modality.windows)
    return bool(team.networks) and parts and target in asked_of(feed)


def contributions(
    team: Team,
    feed: Feed,
    target: str,
    rows: Int[np.ndarray, " rows"],
    steps: Sequence[int] = STEPS,
    windows: Windows | None = None,
) -> Iterator[tuple[np.ndarray, Contributions]]:
    """Block after block of the rows: the places, and what each column adds to the answers of the networks together.

    Simple models of the team have no gradients and are not part of it. Inputs without parts, or seen in windows, stay as
    they are; `windows` are those of the rows, where they were looked at before.
    """
    # What is remembered on the way to a gradient takes some times the memory of an answer.
    block = max(1, feed.at_once(rows, 4 * BLOCK) // 4)
    block = block if windows is None else max(1, windows.at_once(4 * block) // 4)
    for start in range(0, len(rows), block):
        part = rows[start : start + block]
        held = windows_of(team, feed, part) if windows is None and feed.windowed is not None else windows
        with threads_set(1):
            found = _of_block(team, feed, target, part, steps[0], held)
            for count in steps[1:]:
                # Of each row by itself, so that its numbers do not depend on the rows beside it.
                enough = TOLERANCE * np.abs(found.value).sum(axis=2)
                missed = np.flatnonzero((np.abs(found.gap) > enough).any(axis=1))
                if len(missed):
                    # The same parts: codes that others of the block have are nothing to these.
                    again = _of_block(team, feed, target, part[missed], count, held)
                    column = {piece: place for place, piece in enumerate(found.pieces)}
                    value = np.zeros((len(missed), *found.value.shape[1:]))
                    value[:, :, [column[piece] for piece in again.pieces]] = again.value
                    found.value[missed] = value
        yield np.arange(start, start + len(part)), found


def _of_block(
    team: Team, feed: Feed, target: str, rows: Int[np.ndarray, " rows"], steps: int, windows: Windows | None
) -> Contributions:
    task = feed.tasks[target]
    near = {name: modality for name, modality in feed.modalities.items() if not modality.windows}
    inputs = {n: m.batch(feed.sources[n], m.view(feed.sources[n], rows, None)) for n, m in near.items()}
    batch = Batch(inputs, {}, torch.from_numpy(rows), torch.ones(len(rows)))
    views = None if windows is None else windows.views({n: rows for n in feed.modalities if n not in near})
    for network in team.networks:
        network.eval()
    paths = [
        _path(network, near, batch, _asking(number, network, feed, target, windows, views))
        for number, network in enumerate(team.networks)
    ]
    pieces = tuple(piece for own in paths[0].pieces.values() for piece in own)
    start, names, unit = _ends(task, paths, batch, views, 0.0)
    score, _, _ = _ends(task, paths, batch, views, 1.0)
    value = _integral(task, paths, batch, views, pieces, len(names), steps)
    return Contributions(pieces, names, unit, value, start, score)


def _asking(
    number: int, network: Network, feed: Feed, target: str, windows: Windows | None, views: Views | None
) -> Callable[[Mapping[str, Field]], Output]:
    """How a network is asked for a target: by all its inputs, or by those beside the windows that were looked at before."""
    if windows is None or views is None:
        return lambda inputs: network(inputs)[target]
    return lambda inputs: windows.of_one(number, network, feed, target, views, inputs)


def _path(
    network: Network,
    near: Mapping[str, Modality],
    batch: Batch,
    asked: Callable[[Mapping[str, Field]], Output],
) -> _Path:
    low: dict[Key, Tensor] = {}
    high: dict[Key, Tensor] = {}
    owner: dict[Key, Tensor] = {}
    pieces: dict[str, tuple[Piece, ...]] = {}
    fields: dict[Key, str] = {}
    layers: dict[nn.Module, Key] = {}
    for name, modality in near.items():
        field = batch.inputs[name]
        neutral: Neutral | None = modality.neutral(network.encoders[f"input_{name}"], field)
        if neutral is None:
            continue
        pieces[name] = tuple(Piece(name, part) for part in neutral.parts)
        for place, leaf in enumerate(neutral.leaves):
            key = (name, place)
            low[key], owner[key] = leaf.low, leaf.owner
            if isinstance(leaf.at, str):
                fields[key], high[key] = leaf.at, field.value if leaf.at == "value" else field.extra[leaf.at]
            else:
                layers[leaf.at] = key
    with ExitStack() as hooks, torch.no_grad():
        for layer, key in layers.items():
            hooks.enter_context(_instead(layer, lambda made, key=key: high.setdefault(key, made)))  # type: ignore[misc]
        asked(batch.inputs)
    return _Path(asked, {key: low[key].expand_as(high[key]) for key in high}, high, owner, pieces, fields, layers)


@contextmanager
def _instead(layer: nn.Module, give: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """While it holds, the layer gives what `give` makes of what it would have given."""
    handle = layer.register_forward_hook(lambda layer, inputs, made: give(made))
    try:
        yield
    finally:
        handle.remove()


def _at(path: _Path, leaves: Mapping[Key, Tensor], batch: Batch) -> Output:
    """What a network says of these leaves."""
    inputs: dict[str, Field] = dict(batch.inputs)
    for key, at in path.fields.items():
        field = inputs[key[0]]
        leaf = leaves[key]
        inputs[key[0]] = (
            replace(field, value=leaf) if at == "value" else replace(field, extra={**field.extra, at: leaf})
        )
    with ExitStack() as hooks:
        for layer, key in path.layers.items():
            if key in leaves:
                hooks.enter_context(_instead(layer, lambda made, key=key: leaves[key]))  # type: ignore[misc]
        return path.asked(inputs)


def _scores(
    task: Task, paths: Sequence[_Path], leaves: Sequence[Mapping[Key, Tensor]], batch: Batch, views: Views | None
) -> Scores:
    each = [_at(path, own, batch) for path, own in zip(paths, leaves, strict=True)]
    output = task.combine(each) if len(each) > 1 else each[0]
    found = task.scores(output if views is None else views.averaged(output))
    assert found is not None
    return found


def _between(path: _Path, share: float) -> dict[Key, Tensor]:
    return {key: torch.lerp(path.low[key], path.high[key], share) for key in path.high}


def _ends(
    task: Task, paths: Sequence[_Path], batch: Batch, views: Views | None, share: float
) -> tuple[np.ndarray, tuple[str, ...], str]:
    with torch.no_grad():
        found = _scores(task, paths, [_between(path, share) for path in paths], batch, views)
    return found.value.double().numpy(), found.names, found.unit


def _integral(
    task: Task,
    paths: Sequence[_Path],
    batch: Batch,
    views: Views | None,
    pieces: tuple[Piece, ...],
    answers: int,
    count: int,
) -> Float[np.ndarray, "rows answers pieces"]:
    """Gradients times the way, added up over `count` steps; sums of each piece.

    Steps are shorter near the row of nothing, where layer normalisation turns fastest. Within a step the gradients of its
    two ends are weighted so that together they make the difference of the two answers: exact where the network is
    straight on both sides of one bend.
    """
    column = {piece: place for place, piece in enumerate(pieces)}
    whose = [_whose(path, column, len(batch)) for path in paths]
    total = np.zeros((len(batch), answers, len(pieces)))
    score, slope = _slopes(task, paths, batch, views, whose, len(pieces), answers, 0.0)
    for step in range(1, count + 1):
        share, width = (step / count) ** 2, (2 * step - 1) / count**2
        next_score, next_slope = _slopes(task, paths, batch, views, whose, len(pieces), answers, share)
        left, right = slope.sum(axis=2), next_slope.sum(axis=2)
        bend = np.where(np.abs(left - right) > 1e-9, left - right, 1.0)
        weight = np.clip(((next_score - score) / width - right) / bend, 0.0, 1.0)
        weight = np.where(np.abs(left - right) > 1e-9, weight, 0.5)[:, :, None]
        total += width * (weight * slope + (1 - weight) * next_slope)
        score, slope = next_score, next_slope
    return total


def _slopes(
    task: Task,
    paths: Sequence[_Path],
    batch: Batch,
    views: Views | None,
    whose: Sequence[Mapping[Key, Tensor]],
    pieces: int,
    answers: int,
    share: float,
) -> tuple[Float[np.ndarray, "rows answers"], Float[np.ndarray, "rows answers pieces"]]:
    """The answers at a share of the way, and how fast each piece moves them there, for the whole way."""
    keys = [(place, key) for place, path in enumerate(paths) for key in path.high]
    leaves = [{key: leaf.requires_grad_() for key, leaf in _between(path, share).items()} for path in paths]
    result = torch.zeros(len(batch), answers, pieces, dtype=torch.float64)
    with torch.enable_grad():
        value = _scores(task, paths, leaves, batch, views).value
        flat = [leaves[place][key] for place, key in keys]
        for answer in range(answers):
            last = answer == answers - 1
            grads: tuple[Tensor | None, ...] = torch.autograd.grad(
                value[:, answer].sum(), flat, retain_graph=not last, allow_unused=True
            )
            for (place, key), grad in zip(keys, grads, strict=True):
                if grad is None:
                    continue
                path, column = paths[place], whose[place][key]
                made = grad.double() * (path.high[key] - path.low[key]).double()
                made = made.flatten(path.owner[key].ndim).sum(dim=-1) if made.ndim > path.owner[key].ndim else made
                result[:, answer].scatter_add_(1, column, made.flatten(1) if made.ndim > 1 else made[:, None])
    return value.detach().double().numpy(), result.numpy()


def _whose(path: _Path, column: Mapping[Piece, int], rows: int) -> dict[Key, Int[Tensor, "rows numbers"]]:
    """The place of the piece of each number of each leaf."""
    found = {}
    for key, owner in path.owner.items():
        place = torch.tensor([column[piece] for piece in path.pieces[key[0]]], dtype=torch.int64)[owner]
        shape = path.high[key].shape[: owner.ndim]
        found[key] = place.expand(shape).reshape(rows, -1)
    return found
