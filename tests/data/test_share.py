"""How an epoch is dealt out to processes."""

from __future__ import annotations

from epoch_plans import shares
from hypothesis import given, settings
from hypothesis import strategies as st

from simlearn.data.share import Share, chunks

WORLDS = st.integers(1, 5)


@given(parts=st.integers(0, 60), world_size=WORLDS)
@settings(deadline=None)
def test_a_batch_is_split_evenly_and_whole(parts: int, world_size: int) -> None:
    batch = list(range(parts))
    own = [share.of(batch) for share in shares(world_size)]
    assert [part for parts in own for part in parts] == batch
    sizes = [len(one) for one in own]
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)


@given(
    parts=st.integers(0, 80),
    batch_size=st.integers(1, 7),
    world_size=WORLDS,
    training=st.booleans(),
    drop_last=st.booleans(),
)
@settings(deadline=None)
def test_counting_agrees_with_dealing(
    parts: int, batch_size: int, world_size: int, training: bool, drop_last: bool
) -> None:
    whole = batch_size * world_size
    dealt = [
        list(share.deal(chunks(range(parts), whole), whole))
        for share in shares(world_size, training=training, drop_last=drop_last)
    ]
    count = Share(0, world_size, training, drop_last).count(parts, whole)
    assert len(dealt[0]) == count
    assert all(batch for batches in dealt for batch in batches)
    seen = sorted(part for batches in dealt for batch in batches for part in batch)
    if training or drop_last:
        assert all(len(batches) == count for batches in dealt), "a process would wait for the others"
    if not training and not drop_last:
        assert seen == list(range(parts)), "nothing is lost in evaluation"
    lost = parts - len(seen)
    assert lost < (whole if drop_last else world_size if training else 1)


def test_chunks_read_no_further_than_asked() -> None:
    items = iter(range(10))
    runs = chunks(items, 3)
    assert next(runs) == [0, 1, 2]
    assert next(items) == 3
    assert list(runs) == [[4, 5, 6], [7, 8, 9]]
