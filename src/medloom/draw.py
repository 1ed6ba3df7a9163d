"""Randomness as a function of position: no generator state exists, so none has to be saved.

Source: splitmix64 finaliser, Steele, Lea & Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt


def seed_of(*parts: object) -> int:
    """A 63-bit seed that depends on every part: `seed_of(seed, "order", epoch)`."""
    text = "\x1f".join(map(repr, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def generator(*parts: object) -> np.random.Generator:
    """A fresh generator for one purpose, named by its parts."""
    return np.random.Generator(np.random.Philox(key=seed_of(*parts)))


def _mix(value: UInt[np.ndarray, "..."]) -> UInt[np.ndarray, "..."]:
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@dataclass(frozen=True, slots=True)
class Draw:
    """Random numbers of training rows: f(seed, epoch, name, row), the same for any batch or worker.

    `epoch` has one entry for each row that is drawn for. A new transform has a new name, so it shifts no other. `of`
    names an input that draws beside another of its kind.
    """

    seed: int
    epoch: Int[np.ndarray, " rows"]
    of: str = ""

    def own(self, name: str, rows: Int[np.ndarray, " rows"], *shape: int) -> Float[np.ndarray, "rows ..."]:
        """The same as `uniform`, but other numbers for each of several inputs of one kind: their noise is not shared."""
        return self.uniform(f"{self.of}\x1f{name}" if self.of else name, rows, *shape)

    def uniform(self, name: str, rows: Int[np.ndarray, " rows"], *shape: int) -> Float[np.ndarray, "rows ..."]:
        """Uniform numbers in [0, 1), an array of `shape` for each row."""
        count = int(np.prod(shape, dtype=np.int64)) if shape else 1
        golden = np.uint64(0x9E3779B97F4A7C15)
        with np.errstate(over="ignore"):
            key = _mix(np.asarray(self.epoch).astype(np.uint64) * golden + np.uint64(seed_of(self.seed, name)))
            key = _mix(key + np.asarray(rows).astype(np.uint64) * golden)
            bits = _mix(key[:, None] + np.arange(1, count + 1, dtype=np.uint64) * golden)
        return ((bits >> np.uint64(11)) * 2.0**-53).reshape(len(key), *shape)
