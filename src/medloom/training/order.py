"""In what order rows teach: a function of seed and epoch alone, also where rows of like length share a batch."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Int

from medloom.draw import generator
from medloom.modality import Lengths


class Order:
    """An endless sequence of full batches: row p of the stream is row p mod n of the permutation of epoch p div n.

    With `lengths`, rows of like length share a batch: each epoch is still every row once.
    """

    def __init__(self, rows: Int[np.ndarray, " rows"], batch: int, seed: int, lengths: Lengths | None = None) -> None:
        self._rows, self._batch, self._seed = rows, batch, seed
        self._lengths = lengths if lengths is not None and lengths.pool > 1 else None
        self._permutation = lru_cache(maxsize=4)(self._permute)

    def _permute(self, epoch: int) -> Int[np.ndarray, " rows"]:
        order = generator(self._seed, "order", epoch).permutation(len(self._rows))
        if self._lengths is not None:
            # Batches of the stream straddle epochs: this is where the first one of this epoch begins.
            begin = -(epoch * len(order)) % self._batch
            order = bucketed(order, self._lengths, self._batch, begin, generator(self._seed, "buckets", epoch))
        return self._rows[order]

    def at(self, step: int, steps: int) -> tuple[Int[np.ndarray, " stream"], Int[np.ndarray, " stream"]]:
        """Rows and their epochs for `steps` batches from `step` on."""
        count, start, stop = len(self._rows), step * self._batch, (step + steps) * self._batch
        epochs = range(start // count, (stop - 1) // count + 1)
        parts = [self._permutation(e)[max(0, start - e * count) : stop - e * count] for e in epochs]
        return np.concatenate(parts), np.repeat(np.arange(epochs.start, epochs.stop), [len(part) for part in parts])


def bucketed(
    order: Int[np.ndarray, " rows"], lengths: Lengths, batch: int, begin: int, random: np.random.Generator
) -> Int[np.ndarray, " rows"]:
    """The same rows: about `pool` batches at a time sorted by length, then the batches of all pools in random order.

    The first `begin` rows end a batch of the epoch before, and the last ones begin one that the next epoch ends: both are
    of middling length, so that these batches hold rows of like length as well.
    """
    whole = (len(order) - begin) // batch
    rest = len(order) - begin - whole * batch
    if not whole:
        return order
    sizes = [len(part) * batch for part in np.array_split(np.arange(whole), -(-whole // lengths.pool))]
    sizes[0] += begin
    pools = [part[np.argsort(lengths.each[part], kind="stable")] for part in np.split(order, np.cumsum(sizes)[:-1])]
    head, pools[0] = _middle(pools[0], begin)
    tail, pools[-1] = _middle(pools[-1], rest)
    body = np.concatenate(pools).reshape(whole, batch)
    return np.concatenate([head, body[random.permutation(whole)].ravel(), tail])


def _middle(order: Int[np.ndarray, " rows"], count: int) -> tuple[Int[np.ndarray, " some"], Int[np.ndarray, " others"]]:
    """The `count` rows in the middle, and the others."""
    start = (len(order) - count) // 2
    return order[start : start + count], np.concatenate([order[:start], order[start + count :]])
