from __future__ import annotations

from typing import Any

import pytest
import torch

from simlearn import (
    CategoricalEncoder,
    Fields,
    GatedFusionHead,
    InfoNCELoss,
    TrainableModel,
    TwoTower,
    VectorEncoder,
)


def test_by_plain_loops() -> None:
    torch.manual_seed(0)
    head = GatedFusionHead([3, 2], 4).double()
    x = torch.randn(5, 5, dtype=torch.float64)
    gates = torch.sigmoid(x @ head.gates.weight.T + head.gates.bias)
    expected = torch.zeros(5, 4, dtype=torch.float64)
    for part, (start, stop) in enumerate([(0, 3), (3, 5)]):
        linear: Any = head.projections[part]
        expected += gates[:, 4 * part : 4 * part + 4] * torch.tanh(x[:, start:stop] @ linear.weight.T + linear.bias)
    torch.testing.assert_close(head(x), expected)
    assert GatedFusionHead([3, 7]).output_size == 7


def test_parts_of_a_tower_come_by_name() -> None:
    class Products(TrainableModel):
        def configure_encoders(self) -> Any:
            return TwoTower(
                query=VectorEncoder(3), document=Fields(title=VectorEncoder(3), category=CategoricalEncoder(["a"], 2))
            )

        def configure_query_head(self, input_embedding_size: int) -> GatedFusionHead:
            assert self.part_sizes("query") == [input_embedding_size]
            return GatedFusionHead(self.part_sizes("query"), 4)

        def configure_document_head(self, input_embedding_size: int) -> GatedFusionHead:
            assert input_embedding_size == 5
            return GatedFusionHead(self.part_sizes("document"), 4)

        def configure_loss(self) -> InfoNCELoss:
            return InfoNCELoss()

    model = Products()
    assert model.part_sizes("document") == [2, 3]
    found = model.model.embed([{"title": [1.0, 2, 3], "category": "a"}], "document")
    assert found.values.shape == (1, 4)


@pytest.mark.parametrize(("sizes", "output"), [([], None), ([], 3), ([0, 2], 3), ([1], 0)])
def test_bad_sizes(sizes: list[int], output: int | None) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        GatedFusionHead(sizes, output)
