"""What a trained team says of rows: outputs of all views of a row, and of all members, brought together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float, Int

from medloom.batch import Batch, Field, Output
from medloom.feed import Feed
from medloom.modality import Lifted, Lifting
from medloom.model.assembly import Network
from medloom.model.team import NETWORK, Team

VIEWS_AT_ONCE = 16
"""Windows of grids computed together, which bounds memory."""
ELEMENTS_AT_ONCE = 1 << 18
"""And no more than hold about this many numbers on a CPU, so that their maps stay near its caches: two volumes of 40 ×
56 × 40 are a third faster than eight at a time."""


def outputs(
    team: Team, feed: Feed, rows: Int[np.ndarray, " rows"]
) -> Iterator[tuple[np.ndarray, dict[str, Output | Lifted], dict[str, Field | Lifted]]]:
    """Blocks of (rows, answers by target, truths by target): all members of the team together.

    Dense answers are lifted to raw positions; other outputs of several views of a row are averaged.
    """
    for part, said, truths in apart(team, feed, rows):
        yield part, {name: together(team, feed, name, one) for name, one in said.items()}, truths


def together(team: Team, feed: Feed, target: str, said: Mapping[str, Output | Lifted]) -> Output | Lifted:
    """One answer of what the members say of a target. Dense answers have one member, the networks."""
    only = next(iter(said.values()))
    return only if len(said) == 1 else team.together(target, feed.tasks[target], said)  # type: ignore[arg-type]


def apart(
    team: Team, feed: Feed, rows: Int[np.ndarray, " rows"]
) -> Iterator[tuple[np.ndarray, dict[str, dict[str, Output | Lifted]], dict[str, Field | Lifted]]]:
    """Blocks of (rows, answers by target and member, truths by target)."""
    for network in team.networks:
        network.eval()
    threads = torch.get_num_threads() if any(network.on_grids for network in team.networks) else 1
    for part, pieces in feed.covering(rows):
        parts, seen = [], []
        beneath: list[Mapping[str, Field]] = []
        lifting = _lifting(feed)
        for views, batch in pieces:
            with torch.inference_mode(), threads_set(threads):
                said_of = _forward(team.networks, feed, batch)
            for name, lift in lifting.items():
                lift.add(views[str(_ground(feed, name))], said_of.pop(name))
            parts.append(said_of)
            seen.append(batch.rows.numpy())
            beneath.append({name: batch.targets[name] for name in {*feed.beneath, *feed.pinned}})
        raw, view_rows = _joined(parts), np.concatenate(seen)
        answers: dict[str, dict[str, Output | Lifted]] = {name: {} for name in feed.tasks}
        truths: dict[str, Field | Lifted] = dict(feed.targets(part))
        if len(beneath) == 1:
            truths |= beneath[0]
        for name in feed.tasks:
            ground = _ground(feed, name)
            if ground is not None:
                answers[name][NETWORK] = lifting[name].finish()
                if name in feed.laid:
                    truths[name] = feed.modalities[ground].truth(feed.laid[name][1], part)
            elif name in raw:
                once = len(view_rows) == len(part)
                answers[name][NETWORK] = raw[name] if once else averaged(raw[name], view_rows, part)
        _ask_simple(team, feed, part, answers)
        for name in {**feed.groups, **feed.bases}:
            beside = feed.beside(name, part)
            answers[name] = {member: {**said, **beside} for member, said in answers[name].items()}  # type: ignore[dict-item]
        yield part, answers, truths


def said(
    team: Team, feed: Feed, batch: Batch, plain: Float[np.ndarray, "rows features"]
) -> dict[str, dict[str, Output]]:
    """What each member says of a batch that has one view of each row, by target and member: nothing dense.

    The batch and its plain numbers need not be those of any patient.
    """
    for network in team.networks:
        network.eval()
    with torch.inference_mode(), threads_set(1):
        raw = _forward(team.networks, feed, batch)
    answers: dict[str, dict[str, Output]] = {}
    for name, task in feed.tasks.items():
        if not task.dense:
            answers[name] = {NETWORK: raw[name]} if name in raw else {}
            answers[name] |= {member: one.answer(plain) for member, one in team.simple.get(name, {}).items()}
    return answers


def _ask_simple(
    team: Team, feed: Feed, rows: Int[np.ndarray, " rows"], answers: dict[str, dict[str, Output | Lifted]]
) -> None:
    if any(team.simple.values()):
        plain = feed.plain(rows)
        for target, members in team.simple.items():
            answers[target] |= {name: member.answer(plain) for name, member in members.items()}


def _lifting(feed: Feed) -> dict[str, Lifting]:
    """What collects the dense answers of a block of rows, by target; each is settled as its task says."""
    grounds = {name: ground for name in feed.tasks if (ground := _ground(feed, name)) is not None}
    return {
        name: feed.modalities[ground].lifting(feed.sources[ground], feed.tasks[name].settle)
        for name, ground in grounds.items()
    }


def _ground(feed: Feed, target: str) -> str | None:
    """The input a dense target is laid on."""
    task = feed.tasks[target]
    return task.options.input if task.dense else None  # type: ignore[attr-defined]


def _forward(networks: Sequence[Network], feed: Feed, batch: Batch) -> dict[str, Output]:
    """What the networks say together of each view."""
    each = [_of_one(network, feed, batch) for network in networks]
    if len(each) <= 1:
        return each[0] if each else {}
    return {name: feed.tasks[name].combine([one[name] for one in each]) for name in each[0]}


def _of_one(network: Network, feed: Feed, batch: Batch) -> dict[str, Output]:
    """Computed where the network is; answers come back to the CPU, where they are lifted, calibrated and decoded."""
    parts = []
    for piece in each_of(network, feed, batch):
        answers = network(piece.inputs)
        parts.append({name: {key: t.cpu() for key, t in output.items()} for name, output in answers.items()})
    return _joined(parts)


def each_of(network: Network, feed: Feed, batch: Batch) -> Iterator[Batch]:
    """As much of a batch at a time as is computed together, where the network is."""
    device = next(network.parameters()).device
    size = _views_at_once(batch, device) if network.on_grids and feed.windowed is not None else len(batch)
    for start in range(0, len(batch), size):
        yield batch.slice(start, start + size).to(device)


def _views_at_once(batch: Batch, device: torch.device) -> int:
    if device.type != "cpu":
        return VIEWS_AT_ONCE
    largest = max(field.value[0].numel() for field in batch.inputs.values())
    return int(np.clip(ELEMENTS_AT_ONCE // max(1, largest), 1, VIEWS_AT_ONCE))


def _joined(parts: Sequence[dict[str, Output]]) -> dict[str, Output]:
    """Outputs of batches one after another."""
    return parts[0] if len(parts) == 1 else {name: joined([p[name] for p in parts]) for name in parts[0]}


def joined(parts: Sequence[Output]) -> Output:
    """One target's output of batches one after another."""
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


def averaged(output: Output, view_rows: Int[np.ndarray, " views"], rows: Int[np.ndarray, " rows"]) -> Output:
    """Mean over the views of each row; the views of a row stand side by side, in the order of `rows`."""
    counts = np.diff(np.append(np.flatnonzero(np.diff(view_rows, prepend=view_rows[0] - 1)), len(view_rows)))
    assert len(counts) == len(rows)
    place = torch.from_numpy(np.repeat(np.arange(len(rows)), counts))
    divide = torch.from_numpy(counts.astype(np.float32))
    return {
        name: torch.zeros(len(rows), *value.shape[1:]).index_add_(0, place, value)
        / divide.view(-1, *[1] * (value.ndim - 1))
        for name, value in output.items()
    }


@contextmanager
def threads_set(threads: int) -> Iterator[None]:
    """Computes with this many threads, then with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
