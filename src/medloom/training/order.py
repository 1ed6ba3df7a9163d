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
            body = bucketed(order[begin:], self._lengths, self._batch, generator(self._seed, "buckets", epoch))
            order = np.concatenate([order[:begin], body])
        return self._rows[order]

    def at(self, step: int, steps: int) -> tuple[Int[np.ndarray, " stream"], Int[np.ndarray, " stream"]]:
        """Rows and their epochs for `steps` batches from `step` on."""
        count, start, stop = len(self._rows), step * self._batch, (step + steps) * self._batch
        epochs = range(start // count, (stop - 1) // count + 1)
        parts = [self._permutation(e)[max(0, start - e * count) : stop - e * count] for e in epochs]
        return np.concatenate(parts), np.repeat(np.arange(epochs.start, epochs.stop), [len(part) for part in parts])


def bucketed(
    order: Int[np.ndarray, " rows"], lengths: Lengths, batch: int, random: np.random.Generator
) -> Int[np.ndarray, " rows"]:
    """The same rows: `pool` batches at a time sorted by length, then the batches of all pools in random order.

    Rows that do not fill a batch stay at the end, as they were.
    """
    whole = len(order) // batch
    body, rest = order[: whole * batch], order[whole * batch :]
    pool = np.arange(len(body)) // (lengths.pool * batch)
    body = body[np.lexsort((lengths.each[body], pool))].reshape(whole, batch)
    return np.concatenate([body[random.permutation(whole)].ravel(), rest])
