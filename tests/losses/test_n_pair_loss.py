"""N-pair loss: the value of pytorch-metric-learning, and the norms."""

from __future__ import annotations

import pytest
import torch

from simlearn.embeddings import Embeddings
from simlearn.losses import NPairLoss
from simlearn.relations import Relation

QUERIES, DOCUMENTS = torch.randn(2, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def value_of(loss: NPairLoss, queries: Embeddings, documents: Embeddings) -> torch.Tensor:
    return loss.compute(queries, documents, Relation.from_pairs(torch.ones(6)), loss.scorer()).value


def test_pairs_are_n_pairs_of_pytorch_metric_learning() -> None:
    from pytorch_metric_learning.distances import DotProductSimilarity
    from pytorch_metric_learning.losses import NPairsLoss

    theirs = NPairsLoss(distance=DotProductSimilarity(normalize_embeddings=False))
    whole, groups = torch.cat([QUERIES, DOCUMENTS]), torch.arange(12) % 6
    value = value_of(NPairLoss(l2_weight=0.0), Embeddings(QUERIES), Embeddings(DOCUMENTS))
    torch.testing.assert_close(value, theirs(whole, groups))


def test_the_norms_are_kept_small() -> None:
    queries, documents = Embeddings(QUERIES), Embeddings(DOCUMENTS)
    norms = (QUERIES.square().sum(1).mean() + DOCUMENTS.square().sum(1).mean()) / 2
    plain, kept = (value_of(NPairLoss(weight), queries, documents) for weight in (0.0, 0.5))
    torch.testing.assert_close(kept, plain + 0.5 * norms)


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="l2_weight must not be negative, got -1.0"):
        NPairLoss(-1.0)
