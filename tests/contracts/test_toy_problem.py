"""Every loss solves a problem that has a solution, and trains its own parameters on the way."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from simlearn import losses
from simlearn.embeddings import Embeddings
from simlearn.losses import LossResult, SimilarityLoss
from simlearn.losses.class_loss import class_losses
from simlearn.relations import Relation, RelationKind
from simlearn.training.optimization import forgotten

CLASSES, SIZE, MEMBERS = 6, 8, 16
NOT_ALONE = {
    "CenterLoss": "it only pulls together, and says so: it stands beside another loss in a SumLoss",
    "PytorchMetricLearningWrapper": "it is the loss that it wraps",
}

# As its paper uses it: the angle that it orders by is not the cosine.
ANGLE = {"angle": losses.AnglELoss(), "cosine": losses.CoSENTLoss()}
MADE: dict[str, Callable[[], SimilarityLoss]] = {
    "AnglELoss": lambda: losses.SumLoss(ANGLE),
    "ArcFaceLoss": lambda: losses.ArcFaceLoss(SIZE, CLASSES, scale=16),
    "CosFaceLoss": lambda: losses.CosFaceLoss(SIZE, CLASSES, scale=16),
    "ProxyAnchorLoss": lambda: losses.ProxyAnchorLoss(SIZE, CLASSES),
    "SoftmaxLoss": lambda: losses.SoftmaxLoss(SIZE, CLASSES, temperature=0.5),
    "SampledSoftmaxLoss": lambda: losses.SampledSoftmaxLoss(SIZE, CLASSES, num_sampled=3, temperature=0.5),
    "SumLoss": lambda: losses.SumLoss([losses.CenterLoss(SIZE, CLASSES), losses.SoftmaxLoss(SIZE, CLASSES)]),
    "MatryoshkaLoss": lambda: losses.MatryoshkaLoss(losses.MultipleNegativesRankingLoss(10.0), dims=[4, SIZE]),
}
ABSTRACT = {"SimilarityLoss", "GroupLoss", "MaskLoss", "PairwiseLoss", "ClassLoss"}
NAMES = sorted(
    name
    for name in losses.__all__
    if isinstance(getattr(losses, name), type)
    and issubclass(getattr(losses, name), SimilarityLoss)
    and name not in ABSTRACT | NOT_ALONE.keys()
)


def problem() -> tuple[Tensor, Tensor]:
    """Points whose class shows in few coordinates, under louder noise in many."""
    generator = torch.Generator().manual_seed(0)
    groups = torch.arange(CLASSES).repeat_interleave(MEMBERS)
    signal = torch.randn(CLASSES, 6, generator=generator)[groups] + 0.05 * torch.randn(
        len(groups), 6, generator=generator
    )
    return torch.cat([signal, 2.0 * torch.randn(len(groups), 10, generator=generator)], dim=1), groups


def batch(kind: RelationKind, groups: Tensor, step: int) -> tuple[Tensor, Tensor | None, Relation]:
    """Rows of queries and documents, and how they relate; pairs and rankings are drawn anew at each step."""
    generator = torch.Generator().manual_seed(step)
    rows = torch.arange(len(groups))
    if kind is RelationKind.GROUPS:
        return rows, None, Relation.from_groups(groups)
    if kind is RelationKind.PAIRS:
        partners = rows // MEMBERS * MEMBERS + torch.randint(MEMBERS, (len(rows),), generator=generator)
        strangers = torch.randint(len(rows), (len(rows),), generator=generator)
        partners = torch.where(torch.rand(len(rows), generator=generator) < 0.5, partners, strangers)
        scores = (groups[partners] == groups).float()
        return rows, partners, Relation.from_pairs(scores, (groups + 1, groups[partners] + 1))
    candidates = torch.randint(len(rows), (len(rows), 8), generator=generator)
    candidates[:, 0] = rows // MEMBERS * MEMBERS + torch.randint(MEMBERS, (len(rows),), generator=generator)
    relevances = (groups[candidates] == groups[:, None]).float()
    offsets = torch.arange(0, 8 * len(rows) + 1, 8)
    return rows, candidates.reshape(-1), Relation.from_ranking(offsets, relevances.reshape(-1))


def nearest_class_accuracy(embeddings: Tensor, groups: Tensor) -> float:
    vectors = nn.functional.normalize(embeddings, dim=1)
    centres = nn.functional.normalize(torch.stack([vectors[groups == one].mean(0) for one in range(CLASSES)]), dim=1)
    return float(((vectors @ centres.T).argmax(1) == groups).float().mean())


@pytest.mark.parametrize("name", NAMES)
def test_every_loss_solves_it(name: str) -> None:
    torch.manual_seed(0)
    points, groups = problem()
    loss = MADE.get(name, getattr(losses, name))()
    for inner in class_losses(loss):
        inner.set_classes(groups)
    encoder = nn.Linear(points.shape[1], SIZE)
    parameters = [*encoder.parameters(), *loss.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=0.02)
    assert not forgotten(loss.named_parameters(), [optimizer])
    before = [parameter.detach().clone() for parameter in loss.parameters()]
    order = (RelationKind.GROUPS, RelationKind.PAIRS, RelationKind.RANKING)
    kind = next(kind for kind in order if kind in loss.relations)
    for step in range(300):
        rows, others, relation = batch(kind, groups, step)
        vectors = encoder(points)
        queries = Embeddings(vectors[rows])
        documents = queries if others is None else Embeddings(vectors[others])
        result = loss.compute(queries, documents, relation, loss.scorer())
        optimizer.zero_grad()
        (result.value if isinstance(result, LossResult) else result).backward()
        optimizer.step()
    assert nearest_class_accuracy(encoder(points).detach(), groups) >= 0.99
    for parameter, old in zip(loss.parameters(), before, strict=True):
        assert not torch.equal(parameter, old), "a parameter of the loss was never trained"


def test_the_problem_is_not_solved_to_begin_with() -> None:
    torch.manual_seed(0)
    points, groups = problem()
    assert nearest_class_accuracy(nn.Linear(points.shape[1], SIZE)(points).detach(), groups) < 0.8
