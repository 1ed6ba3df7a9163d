"""What is asked of a model within a bound on what it costs: how many rows, and which parts of its inputs one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Int

from medloom.batch import Field, Gives
from medloom.draw import generator
from medloom.errors import Noun
from medloom.explain.deletion import RANDOM, steps
from medloom.explain.probe import Piece, Probe
from medloom.explain.windows import windows_of
from medloom.feed import Feed
from medloom.model.outputs import said
from medloom.model.team import Team
from medloom.packed import Source

if TYPE_CHECKING:
    from torch.utils.flop_counter import FlopCounterMode

MOST_ROWS, LEAST_ROWS = 2_000, 100
MOST_PIECES = 25
MOST_ASKED = 100
"""Pieces and groups times exchanges, at most; but always two exchanges."""
REPEATS = 5
OPERATIONS = 2e11
"""Multiplications of the networks, at most: some ten seconds of one core."""
CELL_OPERATIONS = 500
"""What it costs to gather one number of a row, about, in multiplications."""
WINDOW_OPERATIONS = 100
"""And one number of a window, about, which is gathered beside many others."""
EVENT_OPERATIONS = 5_000
"""What it costs to put one event of a row into the place of another, about."""
SIMPLE_OPERATIONS = 3e5
"""What a simple model costs a row, about."""
EFFECTS = 4
GRADIENT_ROWS, LEAST_GRADIENT_ROWS = 256, 32
GRADIENT_STEPS = 75
"""What a row's gradients cost, in answers of the network: 25 points, each there and back."""


def of_a_row(team: Team, feed: Feed, rows: Int[np.ndarray, " rows"]) -> float:
    """What it costs to ask about one row, about, in multiplications: of rows of several lengths, about the longest."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    lengths = feed.lengths(rows)
    each = np.zeros(len(rows)) if lengths is None else lengths.each
    some = rows[np.argsort(-each, kind="stable")[:8]]
    probe = Probe(team, feed, some, windows_of(team, feed, some) if feed.windowed is not None else None)
    cells = float(len(probe.features()))
    counter = _counter()
    if probe.windows is None:
        _, batch, plain = next(probe.blocks())
        cells += sum(_cells(field) for field in batch.inputs.values()) / len(batch)
        with counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            said(team, feed, batch, plain)
    else:
        cells += probe.windows.count.mean() * sum(gives.width for gives in _gives(team))
        with counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            place, _ = next(probe.answers())
        some = some[place]
    simple = SIMPLE_OPERATIONS * sum(map(len, team.simple.values()))
    events = sum(_seen(s, rows) for n, s in feed.sources.items() if not feed.modalities[n].windows)
    gathered = CELL_OPERATIONS * cells + EVENT_OPERATIONS * events
    return counter.get_total_flops() / 2 / len(some) + simple + gathered


def of_windows(team: Team, feed: Feed, rows: Int[np.ndarray, " rows"]) -> float:
    """What it costs to look at the windows of one row once, about, in multiplications; 0 where there are none."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    if feed.windowed is None:
        return 0.0
    some = rows[np.linspace(0, len(rows) - 1, min(4, len(rows))).astype(np.int64)]
    cells = 0
    for _, batches in feed.covering(some):
        cells += sum(_cells(field) for _, batch in batches for field in batch.inputs.values())
    counter = _counter()
    with counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        windows_of(team, feed, some)
    return (counter.get_total_flops() / 2 + WINDOW_OPERATIONS * cells) / len(some)


def _counter() -> FlopCounterMode:
    from torch.utils.flop_counter import FlopCounterMode

    # Kernels that do a whole layer at once are not counted by themselves.
    return FlopCounterMode(display=False, custom_mapping={torch.ops.aten.mkldnn_rnn_layer: _of_memory})


def _gives(team: Team) -> list[Gives]:
    return [gives for network in team.networks for gives in network.gives.values()]


def _cells(field: Field) -> int:
    return field.value.numel() + sum(one.numel() for one in field.extra.values())


def _seen(source: Source, rows: Int[np.ndarray, " rows"]) -> float:
    """Positions of a record that each row sees, in the mean; none where records have no length."""
    if source.start is None or source.stop is None or not len(rows):
        return 0.0
    return float((source.stop[rows] - source.start[rows]).mean())


def _of_memory(seen: torch.Size, read: torch.Size, held: torch.Size, *_: Any, **__: Any) -> int:
    """Operations of an LSTM layer, of the shapes of what it sees and of its two weights."""
    return 2 * seen[0] * seen[1] * (read.numel() + held.numel())


def affordable(a_row: float, pieces: int) -> int:
    """Rows that the model can be asked about so many pieces within `OPERATIONS`."""
    asked = min(max(2 * min(pieces, MOST_PIECES), MOST_ASKED), REPEATS * min(pieces, MOST_PIECES))
    times = asked + len(steps(max(2, min(pieces, MOST_PIECES)))) * (RANDOM + 8) + EFFECTS * 10
    return int(OPERATIONS / (a_row * times))


def for_gradients(a_row: float) -> int:
    """Rows whose contributions are looked at, at most: few where the network is large."""
    return int(np.clip(OPERATIONS / (a_row * GRADIENT_STEPS), LEAST_GRADIENT_ROWS, GRADIENT_ROWS))


def sampled(
    rows: Int[np.ndarray, " rows"],
    patient: Int[np.ndarray, " rows"],
    most: int,
    seed: int,
    left_out: list[str],
    of: Noun,
) -> tuple[Int[np.ndarray, " some"], Int[np.ndarray, " some"]]:
    """Rows of whole patients drawn at random, as many as are asked about; in the order of the cohort."""
    most = min(MOST_ROWS, most)
    if len(rows) <= most:
        return rows, patient
    distinct, place, count = np.unique(patient, return_inverse=True, return_counts=True)
    order = generator(seed, "rows explained").permutation(len(distinct))
    taken = np.zeros(len(distinct), bool)
    taken[order[np.cumsum(count[order]) <= most]] = True
    held = taken[place]
    left_out.append(f"{int(held.sum()):,} of {len(rows):,} judged rows were asked about, of {of.many} drawn at random")
    return rows[held], patient[held]


def foremost(
    pieces: Sequence[Piece], weight: Mapping[Piece, float], feed: Feed, left_out: list[str]
) -> tuple[Piece, ...]:
    """The pieces that are exchanged: all, or the foremost, and of inputs whose parts may be very many the rest as one.

    The foremost are those of the highest `weight`, which is of the networks and no answer; without any, the first of each
    input.
    """
    if len(pieces) <= MOST_PIECES:
        return tuple(pieces)
    counted: dict[str, int] = {}
    rank = {}
    for piece in pieces:
        rank[piece] = counted.get(piece.input, 0)
        counted[piece.input] = rank[piece] + 1
    chosen = set(sorted(pieces, key=lambda piece: (-weight.get(piece, 0.0), rank[piece]))[:MOST_PIECES])
    many = [name for name in counted if feed.modalities[name].rest_as_one]
    first = "that the most rows hold" if many == list(counted) else "that come first in their inputs"
    by = "whose contributions differ most between rows" if weight else first
    words = " and ".join(f"{word}s" for word in dict.fromkeys(feed.modalities[name].part_word for name in counted))
    left = {name: [piece.part for piece in pieces if piece.input == name and piece not in chosen] for name in many}
    rests = tuple(_rest(name, parts, feed) for name, parts in left.items() if parts)
    together = f"; {' and '.join(rest.named(len(counted) > 1) for rest in rests)} together" if rests else ""
    each = " one by one" if rests else ""
    left_out.append(f"{MOST_PIECES} of {len(pieces):,} {words} were exchanged{each}: those {by}{together}")
    return (*(piece for piece in pieces if piece in chosen), *rests)


def _rest(name: str, parts: Sequence[str], feed: Feed) -> Piece:
    word = feed.modalities[name].part_word
    return Piece(name, parts[0]) if len(parts) == 1 else Piece(name, f"{len(parts):,} other {word}s", tuple(parts))
