"""Angles in complex space. What it shares with CoSENT is tested in `test_cosent_loss.py`."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from simlearn.embeddings import Embeddings
from simlearn.losses import AnglELoss
from simlearn.losses.angle_loss import angle_similarity
from simlearn.relations import Relation
from simlearn.scoring import DotScorer


def value_of(queries: Tensor, documents: Tensor, scores: Tensor) -> Tensor:
    return (
        AnglELoss().compute(Embeddings(queries), Embeddings(documents), Relation.from_pairs(scores), DotScorer()).value
    )


def test_equal_to_sentence_transformers() -> None:
    util = pytest.importorskip("sentence_transformers.util")
    x, y = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(angle_similarity(x, y), util.pairwise_angle_sim(x, y))


def test_known_angles() -> None:
    one, i = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    diagonal = torch.tensor([[1.0, 1.0]])
    assert angle_similarity(one, one).item() == pytest.approx(1.0)
    assert angle_similarity(one, i).item() == pytest.approx(1.0)  # −i
    assert angle_similarity(diagonal, one).item() == pytest.approx(math.sqrt(2))
    assert angle_similarity(one, diagonal).item() == pytest.approx(0.0, abs=1e-6)


def test_the_gradient_does_not_vanish_where_that_of_the_cosine_does() -> None:
    x = torch.tensor([[1.0, 0.0]], requires_grad=True)
    y = x.detach().clone()
    (of_angle,) = torch.autograd.grad(angle_similarity(x, y).sum(), x)
    (of_cosine,) = torch.autograd.grad(torch.cosine_similarity(x, y).sum(), x)
    assert of_cosine.norm() < 1e-6 and of_angle.norm() > 0.5


def test_a_zero_vector_has_no_angle() -> None:
    x = torch.zeros(1, 4, requires_grad=True)
    value = angle_similarity(x, torch.ones(1, 4))
    value.sum().backward()
    assert value == 0 and x.grad is not None and x.grad.isfinite().all()


def test_half_precision_is_widened() -> None:
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(1)).half()
    assert angle_similarity(x, x.flip(0)).dtype is torch.float32


def test_an_odd_length_has_no_halves() -> None:
    with pytest.raises(ValueError, match="needs an even length, got 5; change the size of the embeddings, or take"):
        value_of(torch.ones(2, 5), torch.ones(2, 5), torch.tensor([0.0, 1.0]))


def test_objects_of_many_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match="one vector with one vector; pool"):
        value_of(torch.ones(2, 3, 4), torch.ones(2, 3, 4), torch.tensor([0.0, 1.0]))
