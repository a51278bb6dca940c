"""The multi-layer perceptron."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
from torch import nn

from simlearn.embeddings import Embeddings
from simlearn.heads import MLPHead
from simlearn.meta import Meta, columns


def kinds(head: MLPHead) -> list[str]:
    return [type(layer).__name__.lstrip("_") for layer in head.layers]


def test_order_of_layers() -> None:
    head = MLPHead(4, [8, 6], 2, activation="gelu", normalization="layer", dropout=0.1)
    assert kinds(head) == ["Linear", "LayerNorm", "GELU", "Dropout"] * 2 + ["Linear"]
    assert kinds(MLPHead(4, [8], 2, normalization="batch")) == ["Linear", "RowBatchNorm", "ReLU", "Linear"]
    assert kinds(MLPHead(4, [], 2, normalization="batch", dropout=0.5)) == ["Linear"]
    assert head.output_size == 2


def test_dropout_falls_on_input_and_hidden_values() -> None:
    torch.manual_seed(0)
    head = MLPHead(50, [50], 50, activation="identity", dropout=0.5)
    with torch.no_grad():
        for layer in head.layers:
            if isinstance(layer, nn.Linear):
                layer.weight.copy_(torch.eye(50))
                layer.bias.zero_()
    output = head(torch.ones(200, 50))
    assert set(output.unique().tolist()) == {0.0, 4.0}  # kept twice, each time doubled
    assert output.eq(4).float().mean().item() == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("shape", [(6, 4), (3, 2, 4)])
def test_batch_normalisation_is_over_all_vectors(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    head = MLPHead(4, [5], 5, activation="identity", normalization="batch")
    hidden = head.layers[:3](torch.randn(shape)).flatten(0, -2)
    torch.testing.assert_close(hidden.mean(0), torch.zeros(5), atol=1e-6, rtol=0)
    torch.testing.assert_close(hidden.var(0, correction=0), torch.ones(5), atol=1e-3, rtol=0)


def test_batch_normalisation_is_over_the_vectors_that_count() -> None:
    torch.manual_seed(0)
    one, other = (MLPHead(4, [5], 3, normalization="batch") for _ in range(2))
    other.load_state_dict(one.state_dict())
    x, mask = torch.randn(3, 4, 4), torch.tensor([[True] * 4, [True, False, False, False], [True, True, False, False]])
    embedded = one.embed(Embeddings(x, mask))
    torch.testing.assert_close(embedded.values[mask], other(x[mask]))
    assert not embedded.values[~mask].any()
    torch.testing.assert_close(one.layers[1].running_mean, other.layers[1].running_mean)
    hidden = one.embed(Embeddings(x[1:2], mask[1:2] & False))
    assert hidden.values.shape == (1, 4, 3) and not hidden.values.any()


def test_meta_goes_with_the_vectors_that_count() -> None:
    class Seen(MLPHead):
        def forward(self, input_vectors: torch.Tensor, meta: Meta | None = None) -> torch.Tensor:
            self.seen = meta
            return super().forward(input_vectors, meta)

    head = Seen(4, [5], 3, normalization="batch")
    mask = torch.tensor([[True, True], [True, False]])
    head.embed(Embeddings(torch.randn(2, 2, 4), mask), columns([{"length": 8}, {"length": 9}]))
    assert head.seen is not None and head.seen["length"].tolist() == [8, 8, 9]  # type: ignore[union-attr]
    head.embed(Embeddings(torch.randn(2, 2, 4), mask))
    assert head.seen is None


def test_a_last_batch_of_one_does_not_end_the_training() -> None:
    head = MLPHead(4, [5], 3, normalization="batch")
    x = torch.randn(1, 4)
    in_training = head(x)
    assert torch.equal(in_training, head.eval()(x))
    assert head.train()(torch.empty(0, 4)).shape == (0, 3)


@pytest.mark.parametrize(("hidden", "output"), [([0], 2), ([3], 0)])
def test_bad_sizes(hidden: list[int], output: int) -> None:
    with pytest.raises(ValueError, match="hidden and output must be at least 1"):
        MLPHead(4, hidden, output)


def test_unknown_names() -> None:
    group: Any = "group"
    with pytest.raises(ValueError, match="unknown normalization 'group'; known are 'batch', 'layer'"):
        MLPHead(4, [3], 2, normalization=group)
    with pytest.raises(ValueError, match="unknown activation"):
        MLPHead(4, [3], 2, activation="step")


@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
def test_learns(normalization: Literal["batch", "layer"] | None) -> None:
    torch.manual_seed(0)
    head = MLPHead(2, [16], 1, activation="tanh", normalization=normalization)
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        loss = (head(x) - y).square().mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.01


class TestWithoutALastLinear:
    def test_the_last_hidden_layer_is_the_embedding(self) -> None:
        torch.manual_seed(0)
        head = MLPHead(4, [6, 3], final_linear=False, dropout=0.5).eval()
        first, second = (layer for layer in head.layers if isinstance(layer, nn.Linear))
        x = torch.randn(5, 4)
        torch.testing.assert_close(head(x), second(first(x).relu()).relu())
        assert head.output_size == 3 and not isinstance(head.layers[-1], nn.Dropout)
        assert (head(x) >= 0).all()

    @pytest.mark.parametrize(
        "options",
        [
            {"hidden": [3], "output": 2, "final_linear": False},
            {"hidden": [], "final_linear": False},
            {"hidden": [3]},
        ],
    )
    def test_output_goes_with_it(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="the size of the last linear layer"):
            MLPHead(4, **options)
