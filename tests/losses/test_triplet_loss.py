"""Triplets: golden values, other libraries' values, and the minings."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from processes import run_on_two
from torch import Tensor
from torch.nn import functional as F

from simlearn.embeddings import Embeddings
from simlearn.losses import TripletLoss
from simlearn.losses.global_loss import gather_batch
from simlearn.losses.triplet_loss import drawn
from simlearn.relations import Relation
from simlearn.scoring import CosineScorer

QUERIES = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
DOCUMENTS = torch.tensor([[2.0, 0.0], [1.0, 1.0], [0.0, 5.0]])


def grouped(size: int = 12, classes: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, 4, dtype=torch.float64, generator=generator), torch.arange(size) % classes


def cosine_distances(x: Tensor, y: Tensor) -> Tensor:
    return 1 - F.cosine_similarity(x[:, None], y[None], dim=2)


def test_golden_value_of_qdrl() -> None:
    """qdrl averages over all triplets, ours over those that violate the margin: the sums are equal."""
    relation = Relation.from_pairs(torch.ones(3))
    result = TripletLoss(0.3, mining="all").compute(
        Embeddings(QUERIES), Embeddings(DOCUMENTS), relation, CosineScorer()
    )
    distances = cosine_distances(QUERIES, DOCUMENTS)
    terms = torch.stack([distances[i, i] - distances[i, j] + 0.3 for i in range(3) for j in range(3) if i != j])
    violating = int((terms > 0).sum())
    assert 0 < violating < len(terms) == 6
    assert result.value.item() * violating / 6 == pytest.approx(0.2488155, abs=5e-8)


def test_equal_to_pytorch_metric_learning() -> None:
    """Theirs averages the triplets above zero by default too."""
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.losses import TripletMarginLoss

    for seed in range(3):
        embeddings, groups = grouped(seed=seed)
        theirs = TripletMarginLoss(margin=0.3, distance=CosineSimilarity())(embeddings, groups)
        torch.testing.assert_close(TripletLoss(0.3, mining="all")(embeddings, groups), theirs)


def test_equal_to_torch_where_there_is_one_triplet_an_anchor() -> None:
    anchors, positives = grouped(2, 2)[0], grouped(2, 2, seed=1)[0]
    relation = Relation.from_pairs(torch.ones(2))
    distances = cosine_distances(anchors, positives)
    expected = F.relu(distances.diagonal() - distances.flip(1).diagonal() + 0.9).mean()
    loss = TripletLoss(0.9, mining="semi_hard")
    value = loss.compute(Embeddings(anchors), Embeddings(positives), relation, loss.scorer()).value
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("soft", [False, True])
def test_hard_equals_quaterion(soft: bool) -> None:
    """relu((hp − hn) / mean(hn) + m), or softplus(hp − hn); its cosine distances were half of ours, which cancels."""
    embeddings, groups = grouped()
    distances = cosine_distances(embeddings, embeddings) / (1 if soft else 2)
    same = groups[:, None] == groups
    hardest_positive = (distances * same).amax(1)
    hardest_negative = distances.masked_fill(same, 9.0).amin(1)
    gap = hardest_positive - hardest_negative
    expected = F.softplus(gap) if soft else F.relu(gap / hardest_negative.mean() + 0.5)
    torch.testing.assert_close(TripletLoss(0.5, soft=soft)(embeddings, groups), expected.mean())


def test_semi_hard_takes_the_farthest_where_all_are_nearer() -> None:
    distances = torch.tensor([[0.0, 0.5, 0.2, 0.3], [0.5, 0.0, 0.6, 0.4], [0.2, 0.6, 0.0, 0.1], [0.3, 0.4, 0.1, 0.0]])

    class Known(CosineScorer):
        def distances(self, queries: Embeddings, documents: Embeddings) -> Tensor:
            return distances

    relation = Relation.from_groups(torch.tensor([1, 1, 2, 3]))
    objects = Embeddings(torch.zeros(4, 2))
    result = TripletLoss(0.3, mining="semi_hard").compute(objects, objects, relation, Known())
    # Anchor 0: both negatives are nearer than 0.5, so 0.3 is taken; anchor 1: 0.6 is the nearest beyond 0.5.
    assert result.value.item() == pytest.approx(((0.5 - 0.3 + 0.3) + (0.5 - 0.6 + 0.3)) / 2)
    assert {name: int(n) for name, n in result.counts.items()} == {
        "anchors_without_positive": 2,
        "anchors_without_negative": 0,
    }


@pytest.mark.parametrize("mining", ["all", "hard", "semi_hard"])
def test_separated_groups_have_no_loss_and_mixed_ones_have(mining: str) -> None:
    loss = TripletLoss(0.3, mining=mining)  # type: ignore[arg-type]
    separated = torch.eye(4).repeat_interleave(3, 0)
    groups = torch.arange(4).repeat_interleave(3)
    assert loss(separated, groups) == 0
    assert loss(separated, groups.roll(1)) > 0.2


@pytest.mark.parametrize("mining", ["all", "hard", "semi_hard"])
def test_training_separates_coinciding_groups(mining: str) -> None:
    """From a heap in which distances are rounding errors, in bfloat16: what collapsed in Quaterion."""
    loss, groups = TripletLoss(0.3, mining=mining), torch.arange(4).repeat_interleave(3)  # type: ignore[arg-type]
    weights = (1 + 1e-3 * torch.randn(12, 8, generator=torch.Generator().manual_seed(0))).requires_grad_()
    optimizer = torch.optim.Adam([weights], lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        value = loss(weights.bfloat16(), groups)
        assert value.isfinite()
        value.backward()
        optimizer.step()
    assert weights.isfinite().all() and loss(weights, groups) < 0.05


def test_labels_make_the_same_triplets_as_groups() -> None:
    embeddings, groups = grouped()
    objects, loss = Embeddings(embeddings), TripletLoss(mining="all")
    labelled = Relation.from_labels(torch.arange(13), groups)
    value = loss.compute(objects, objects, labelled, loss.scorer()).value
    torch.testing.assert_close(value, loss(embeddings, groups))


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.float32], ids=str)
def test_groups_of_any_dtype(dtype: torch.dtype) -> None:
    embeddings, groups = grouped()
    torch.testing.assert_close(TripletLoss()(embeddings, groups.to(dtype)), TripletLoss()(embeddings, groups))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mining": "easy"}, "mining must be one of all, random, hard, semi_hard, got 'easy'"),
        ({"margin": -0.1}, "margin must not be negative, got -0.1"),
        ({"margin": float("nan")}, "margin must not be negative, got nan"),
        ({"soft": True, "mining": "all"}, "soft works with mining='hard' only, not with 'all'"),
        ({"distance_metric_name": "jaccard"}, "jaccard"),
    ],
)
def test_options_are_checked(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TripletLoss(**options)  # type: ignore[arg-type]


def test_the_average_of_qdrl() -> None:
    """Over all B (B − 1) triplets, zeros included."""
    queries, documents = QUERIES, DOCUMENTS
    assert TripletLoss(0.3, mining="all", average="all")(queries, documents).item() == pytest.approx(
        0.2488155, abs=1e-6
    )
    assert TripletLoss(0.3, mining="all")(queries, documents).item() == pytest.approx(0.3732, abs=1e-4)


def random_triplets(queries: Tensor, documents: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """The loss of the batches of all processes, and the gradient of this one's queries."""
    torch.manual_seed(seed)
    loss = TripletLoss(0.5, mining="random", average="all", num_negatives=2)
    leaf = queries.clone().requires_grad_()
    relation = Relation.from_pairs(torch.ones(len(queries)))
    gathered = gather_batch(Embeddings(leaf), Embeddings(documents), relation)
    value = loss.compute(*gathered, loss.scorer()).value
    return value.detach(), torch.autograd.grad(value, leaf)[0]


class TestRandomNegatives:
    def test_so_many_of_each_anchor_without_repetition(self) -> None:
        torch.manual_seed(0)
        mask = torch.rand(50, 20) < 0.4
        chosen = drawn(mask, 5, torch.arange(50))
        assert not bool((chosen & ~mask).any())
        assert torch.equal(chosen.sum(1), mask.sum(1).clamp(max=5))
        often = drawn(torch.ones(4000, 8, dtype=torch.bool), 2, 97 * torch.arange(4000)).float().mean(0)
        torch.testing.assert_close(often, torch.full((8,), 0.25), atol=0.03, rtol=0)

    def test_its_mean_is_that_of_all(self) -> None:
        queries, documents = (torch.randn(9, 4, generator=torch.Generator().manual_seed(n)) for n in (0, 1))
        expected = TripletLoss(0.5, mining="all", average="all")(queries, documents)
        loss = TripletLoss(0.5, mining="random", average="all", num_negatives=2)
        values = torch.stack([loss(queries, documents) for _ in range(600)])
        assert values.std() > 0.01
        torch.testing.assert_close(values.mean(), expected, rtol=0.02, atol=0)
        again = TripletLoss(0.5, mining="random", average="all", num_negatives=2)
        again.load_state_dict({"steps": torch.tensor(7)})
        assert again(queries, documents) == values[7], "a run that was interrupted goes on"
        again.eval()
        assert again(queries, documents) == again(queries, documents)

    def test_tiles_draw_the_same(self) -> None:
        found = []
        for tile_bytes in (TripletLoss.tile_bytes, 1):
            loss = TripletLoss(0.5, mining="random", average="all", num_negatives=2)
            loss.tile_bytes = tile_bytes
            found.append(loss(*(torch.randn(9, 4, generator=torch.Generator().manual_seed(n)) for n in (0, 1))))
        torch.testing.assert_close(*found)

    def test_two_processes_draw_what_one_does(self) -> None:
        """Also where their random numbers are others, as after a dropout of another length."""
        queries, documents = (torch.randn(8, 4, generator=torch.Generator().manual_seed(n)) for n in (0, 1))
        expected = random_triplets(queries, documents, 5)
        parts = [(queries[:5], documents[:5], 5), (queries[5:], documents[5:], 6)]
        for value, _ in run_on_two(random_triplets, *parts):
            torch.testing.assert_close(value, expected[0])
        gradients = [gradient for _, gradient in run_on_two(random_triplets, *parts)]
        torch.testing.assert_close(torch.cat(gradients) / 2, expected[1])

    @pytest.mark.parametrize("num_negatives", [1, 3])
    def test_tiles_draw_as_many(self, num_negatives: int) -> None:
        loss = TripletLoss(5.0, "euclidean", mining="random", average="violating", num_negatives=num_negatives)
        embeddings = torch.zeros(12, 3)
        loss.tile_bytes = 1
        assert loss(embeddings, embeddings + 1).item() == pytest.approx(5.0), "all triplets are alike"

    @pytest.mark.parametrize(
        "options",
        [
            {"mining": "random"},
            {"mining": "random", "num_negatives": 0},
            {"mining": "all", "num_negatives": 2},
            {"mining": "hard", "average": "all"},
            {"mining": "all", "average": "mean"},
        ],
    )
    def test_options_that_go_with_another_mining(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"num_negatives|average"):
            TripletLoss(**options)
