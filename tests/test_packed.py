"""Packed arrays are the same in memory and in a store, and an unfinished store is never mistaken for one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medloom.packed import Packed, Packer, open_packed

KINDS = ("float32", "float64", "int64", "uint8", "bool")


def packed(store: Path | None, blocks: list[np.ndarray]) -> Packed:
    packer = Packer(store)
    for block in blocks:
        packer.add("values", block)
        packer.add("count", np.array([len(block)]))
    return packer.finish({"unit": "mmHg"})


@given(st.lists(st.integers(0, 5), min_size=1, max_size=5), st.sampled_from(KINDS), st.integers(0, 3))
@settings(max_examples=25)
def test_a_store_holds_what_memory_holds(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], kind: str, width: int
) -> None:
    generator = np.random.default_rng(0)
    blocks = [(generator.random((length, width)) * 100).astype(kind) for length in lengths]
    store = tmp_path_factory.mktemp("store")
    in_memory, on_disk = packed(None, blocks), packed(store, blocks)
    expected = np.concatenate(blocks)
    for one in (in_memory, on_disk, open_packed(store)):
        np.testing.assert_array_equal(one.arrays["values"], expected)
        np.testing.assert_array_equal(one.arrays["count"], lengths)
        assert one.arrays["values"].dtype == expected.dtype
        assert one.meta == {"unit": "mmHg"}
        assert one.nbytes == expected.nbytes + 8 * len(lengths)


def test_a_block_that_does_not_lie_in_memory_in_order_is_stored_in_order(tmp_path: Path) -> None:
    block = np.arange(12.0).reshape(3, 4).T
    np.testing.assert_array_equal(packed(tmp_path, [block]).arrays["values"], block)


def test_a_store_is_mapped_read_only(tmp_path: Path) -> None:
    values = packed(tmp_path, [np.ones((2, 2))]).arrays["values"]
    assert isinstance(values, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        values[0, 0] = 5


def test_an_interrupted_store_is_not_a_store(tmp_path: Path) -> None:
    packer = Packer(tmp_path)
    packer.add("values", np.ones(3))
    assert not (tmp_path / "meta.json").exists()
    packer.finish({})
    assert json.loads((tmp_path / "meta.json").read_text())["arrays"]["values"]["shape"] == [3]
    assert not (tmp_path / "meta.json.partial").exists()


@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize("other", [np.zeros((2, 4)), np.zeros((2, 3), np.float32)])
def test_blocks_of_another_shape_or_type_are_refused(tmp_path: Path, store: bool, other: np.ndarray) -> None:
    packer = Packer(tmp_path if store else None)
    packer.add("values", np.zeros((2, 3)))
    with pytest.raises(ValueError, match="values"):
        packer.add("values", other)
