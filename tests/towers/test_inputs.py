"""Whatever a collate function returns is moved and cast as a whole, and stays of its kind."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from simlearn.meta import Categories, columns
from simlearn.towers.inputs import CachedRows, Inputs, cast, move

Pair = namedtuple("Pair", "a b")


class Graph:
    """Knows itself how to move, as the batches of graph libraries."""

    def __init__(self, nodes: torch.Tensor) -> None:
        self.nodes = nodes

    def to(self, device: Any) -> Graph:
        return Graph(self.nodes.to(device))


def devices(features: Any) -> set[str]:
    if isinstance(features, torch.Tensor):
        return {features.device.type}
    if isinstance(features, Graph):
        return devices(features.nodes)
    values = (
        features.values() if isinstance(features, dict) else features if isinstance(features, (list, tuple)) else ()
    )
    return set().union(*map(devices, values))


def test_tensors_in_any_nesting() -> None:
    features = {
        "ids": torch.zeros(2, dtype=torch.long),
        "parts": [torch.zeros(1), (torch.ones(2), {"deep": torch.ones(3)})],
        "pair": Pair(torch.zeros(1), "name"),
        "graph": Graph(torch.zeros(4)),
        "words": ["red", "spoon"],
        "count": 3,
        "nothing": None,
    }
    moved = move(features, "meta")
    assert devices(moved) == {"meta"}
    assert devices(features) == {"cpu"}, "what was given stays"
    assert moved["words"] == ["red", "spoon"] and moved["count"] == 3 and moved["nothing"] is None
    assert type(moved["pair"]) is Pair and moved["pair"].b == "name"
    assert isinstance(moved["parts"][1], tuple)


def test_batches_of_hugging_face_and_ordered_ones() -> None:
    from transformers import BatchEncoding

    for batch in (BatchEncoding({"input_ids": torch.zeros(1)}), OrderedDict(input_ids=torch.zeros(1))):
        assert move(batch, "meta")["input_ids"].device.type == "meta"


def test_a_packed_sequence_keeps_its_lengths_on_the_cpu() -> None:
    packed = pack_sequence([torch.ones(3, 2), torch.ones(1, 2)])
    moved = move(packed, "meta")
    assert isinstance(moved, PackedSequence)
    assert moved.data.device.type == "meta" and moved.batch_sizes.device.type == "cpu"


def test_inputs_move_with_their_meta_and_without_cached_rows() -> None:
    rows = CachedRows(torch.tensor([2, 0]))
    meta = columns([{"length": 1, "kind": "a"}, {"length": 2, "kind": "b"}])
    inputs = Inputs({"text": torch.zeros(2, 3), "image": rows}, meta, 2)
    moved = inputs.to("meta")
    assert moved.size == 2
    assert moved.features["text"].device.type == "meta"
    assert moved.features["image"].rows.device.type == "cpu"
    length, kind = moved.meta["length"], moved.meta["kind"]
    assert isinstance(length, torch.Tensor) and length.device.type == "meta"
    assert isinstance(kind, Categories) and kind.names == ("a", "b")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_floats_take_the_dtype_of_the_weights(dtype: torch.dtype) -> None:
    features = {"pixels": torch.zeros(2), "ids": torch.zeros(2, dtype=torch.long), "mask": [torch.ones(2).bool()]}
    graph = Graph(torch.zeros(1))
    given = cast({**features, "words": ["a"], "graph": graph}, nn.Linear(1, 1).to(dtype))
    assert given["pixels"].dtype == dtype
    assert given["ids"].dtype == torch.long and given["mask"][0].dtype == torch.bool
    assert given["words"] == ["a"] and given["graph"] is graph
    assert cast(features, nn.Identity()) is features
