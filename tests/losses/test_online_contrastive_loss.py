"""Online contrastive loss: by hand, and that an object is no negative of itself."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from simlearn.losses import OnlineContrastiveLoss
from simlearn.relations import Relation

OBJECTS = torch.randn(12, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
GROUPS = torch.arange(12) % 3
SAME = GROUPS[:, None] == GROUPS
OTHERS = SAME & ~torch.eye(12, dtype=torch.bool)


def distances() -> Tensor:
    return 1 - F.cosine_similarity(OBJECTS[:, None], OBJECTS[None], dim=2)


def test_hard_is_the_hardest_of_each_anchor() -> None:
    pull = distances().masked_fill(~OTHERS, -9.0).amax(1).mean()
    push = F.relu(0.7 - distances().masked_fill(SAME, 9.0).amin(1)).mean()
    torch.testing.assert_close(OnlineContrastiveLoss(0.7)(OBJECTS, GROUPS), (pull + push) / 2)


def test_all_is_the_mean_of_all_pairs() -> None:
    pull, push = distances()[OTHERS].mean(), F.relu(0.7 - distances()[~SAME]).mean()
    torch.testing.assert_close(OnlineContrastiveLoss(0.7, mining="all")(OBJECTS, GROUPS), (pull + push) / 2)


@pytest.mark.parametrize("mining", ["all", "hard"])
def test_separated_groups_have_no_loss_and_a_heap_has(mining: str) -> None:
    """Quaterion's default gave both the same: it took each object for its own hardest negative."""
    loss = OnlineContrastiveLoss(mining=mining)  # type: ignore[arg-type]
    groups = torch.arange(4).repeat_interleave(3)
    assert loss(torch.eye(4).repeat_interleave(3, 0), groups).item() == pytest.approx(0, abs=1e-6)
    assert loss(torch.ones(12, 4), groups).item() == pytest.approx(0.25, abs=1e-6)


@pytest.mark.parametrize("mining", ["all", "hard"])
def test_the_margin_changes_the_gradient(mining: str) -> None:
    gradients = []
    for margin in (0.1, 1.5):
        objects = OBJECTS.clone().requires_grad_()
        OnlineContrastiveLoss(margin, mining=mining)(objects, GROUPS).backward()  # type: ignore[arg-type]
        gradients.append(objects.grad)
    assert gradients[0] is not None and gradients[1] is not None
    assert not torch.allclose(gradients[0], gradients[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mining": "easy"}, "mining must be one of all, hard, got 'easy'"),
        ({"margin": 0.0}, "margin must be above 0, got 0.0"),
    ],
)
def test_options_are_checked(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OnlineContrastiveLoss(**options)  # type: ignore[arg-type]


def test_graded_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="OnlineContrastiveLoss got the score 0.5"):
        OnlineContrastiveLoss().relation_check()(Relation.from_pairs(torch.tensor([1.0, 0.5])))
