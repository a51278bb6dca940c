"""From keys to rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simlearn.store import KeyIndex, as_keys

few = st.integers(0, 3).map(lambda n: bytes([n] * 8))
"""Halves of keys, of which there are so few that most keys begin like others, and end in NULs."""
keys = st.lists(st.tuples(few, few).map(b"".join), max_size=12)


@given(st.lists(keys, max_size=8), keys)
@settings(deadline=None)
def test_it_agrees_with_a_dictionary(batches: list[list[bytes]], wanted: list[bytes]) -> None:
    index, rows = KeyIndex(), dict[bytes, int]()
    for batch in batches:
        new = index.missing(batch).tolist()
        assert [batch[position] for position in new] == [key for key in dict.fromkeys(batch) if key not in rows]
        rows.update({batch[position]: len(rows) + number for number, position in enumerate(new)})
        index.grow(as_keys(list(rows)))
        assert len(index) == len(rows)
    assert index.find(wanted).tolist() == [rows.get(key, -1) for key in wanted]
    assert index.find(as_keys(wanted)).tolist() == [rows.get(key, -1) for key in wanted]
    if set(wanted) <= set(rows):
        assert index.rows(wanted).tolist() == [rows[key] for key in wanted]
    else:
        with pytest.raises(KeyError, match="not in the table"):
            index.rows(wanted)


def test_it_takes_twelve_bytes_a_key() -> None:
    many = np.random.default_rng(0).integers(0, 256, (30_000, 16), dtype=np.uint8)
    index = KeyIndex()
    for end in range(100, 30_001, 100):
        index.grow(many[:end])
    assert index.rows(many[::-1]).tolist() == list(range(30_000))[::-1]
    assert sum(run.prefixes.nbytes + run.rows.nbytes for run in index._runs) == 12 * 30_000
    assert len(index._runs) <= 10


def test_keys_that_are_none() -> None:
    with pytest.raises(ValueError, match=r"16 bytes, as content_key makes them; got some of \[15, 17\]"):
        as_keys([bytes(15), bytes(17)])
    with pytest.raises(ValueError, match=r"must be \(n, 16\) of uint8, got \(2, 15\)"):
        as_keys(np.zeros((2, 15), np.uint8))
    index = KeyIndex()
    index.grow(np.zeros((1, 16), np.uint8))
    with pytest.raises(ValueError, match="cannot shrink"):
        index.grow(np.zeros((0, 16), np.uint8))
