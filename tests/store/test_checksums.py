"""A changed row has another checksum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simlearn.store.checksums import checksums

RANDOM = np.random.default_rng(0)
KEYS = RANDOM.integers(0, 256, (5, 16), dtype=np.uint8)


def row(keys: Any, values: Any, lengths: Any, meta: Any) -> list[int]:
    return checksums(keys, values, lengths, [meta]).tolist()


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "u1"])
@pytest.mark.parametrize("width", [1, 3, 8])
def test_every_flipped_bit_is_found_in_its_row(dtype: str, width: int) -> None:
    values = (RANDOM.random((5, width)) * 100).astype(dtype)
    meta = np.arange(5)
    before = checksums(KEYS, values, None, [meta])
    for array in (KEYS, values, meta):
        flat = array.view(np.uint8).reshape(5, -1)
        for place in range(flat.shape[1]):
            for bit in range(8):
                flat[2, place] ^= 1 << bit
                changed = checksums(KEYS, values, None, [meta]) != before
                flat[2, place] ^= 1 << bit
                assert changed.tolist() == [False, False, True, False, False]


def test_pairs_of_highest_bits_do_not_cancel() -> None:
    values = np.zeros((1, 64))
    before = checksums(KEYS[:1], values, None, [])
    values[:, :2] = -0.0
    assert checksums(KEYS[:1], values, None, []) != before


def test_vectors_count_by_place_and_number() -> None:
    vectors = np.ones((4, 3), np.float32)
    found = {
        tuple(checksums(KEYS[:2], vectors[: sum(lengths)], np.array(lengths), []).tolist())
        for lengths in ([4, 0], [0, 4], [3, 1], [1, 3], [2, 2], [2, 1])
    }
    assert len({first for first, _ in found}) == len({2, 0, 4, 3, 1})
    swapped = vectors.copy()
    swapped[0] = 2
    assert (
        checksums(KEYS[:1], swapped, np.array([4]), [])
        != checksums(KEYS[:1], np.roll(swapped, 1, 0), np.array([4]), [])
    ).all()
    single = checksums(KEYS[:1], vectors[:1], None, [])
    assert (single != checksums(KEYS[:1], vectors[:1], np.array([1]), [])).all()


def test_nothing_is_not_valid() -> None:
    assert checksums(np.zeros((1, 16), np.uint8), np.zeros((1, 4)), None, [np.zeros(1)]).tolist() != [0]


def test_they_never_change() -> None:
    """What is on disk was checked with these."""
    keys, values = np.arange(32, dtype=np.uint8).reshape(2, 16), np.arange(6, dtype=np.float32).reshape(3, 2)
    told = [checksums(keys, values[:2], None, []), checksums(keys, values, np.array([1, 2]), [np.array([5, 6])])]
    assert [checksum.tolist() for checksum in told] == GOLDEN


GOLDEN: Any = [[15287301291840937341, 384965449181973373], [15190324831591719385, 6004117676205724425]]
