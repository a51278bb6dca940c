"""Classes: which group is which, values, and what is unknown."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from simlearn.embeddings import Embeddings
from simlearn.hashing import stable_id
from simlearn.losses import LossResult, SoftmaxLoss
from simlearn.relations import Relation

NAMES = ["spoon", "fork", "knife"]
IDS = torch.tensor([stable_id(name) for name in NAMES])


def loss_of_three(num_groups: int = 3) -> SoftmaxLoss:
    torch.manual_seed(0)
    return SoftmaxLoss(4, num_groups, temperature=0.5, classes=NAMES)


def result_of(loss: SoftmaxLoss, embeddings: Tensor, groups: Tensor) -> LossResult:
    objects = Embeddings(embeddings)
    return loss.compute(objects, objects, Relation.from_groups(groups), loss.scorer())


def vectors(size: int = 6) -> Tensor:
    return torch.randn(size, 4, generator=torch.Generator().manual_seed(0))


def test_equal_to_cross_entropy_over_a_kernel() -> None:
    """Quaterion's formula; classes stand in ascending order of their ids."""
    loss, groups = loss_of_three(), IDS[[0, 1, 2, 2, 1, 0]]
    classes = torch.searchsorted(IDS.sort().values, groups)
    expected = F.cross_entropy(vectors() @ loss.kernel / 0.5, classes)
    torch.testing.assert_close(result_of(loss, vectors(), groups).value, expected)
    torch.testing.assert_close(loss(vectors(), groups), expected)


def test_classes_that_are_not_used_take_no_part() -> None:
    roomy, tight, groups = loss_of_three(5), loss_of_three(), IDS[[0, 1, 2, 2, 1, 0]]
    with torch.no_grad():
        roomy.kernel[:, :3] = tight.kernel
        roomy.kernel[:, 3:] = 1000.0
    value = result_of(roomy, vectors(), groups).value
    torch.testing.assert_close(value, result_of(tight, vectors(), groups).value)
    value.backward()
    assert roomy.kernel.grad is not None and not roomy.kernel.grad[:, 3:].any()


def test_unknown_groups_are_refused_in_training() -> None:
    loss = loss_of_three()
    check = pickle.loads(pickle.dumps(loss.relation_check(training=True)))  # it travels to worker processes
    check(Relation.from_groups(IDS))
    with pytest.raises(ValueError, match=r"group 5 is none of the 3 classes of SoftmaxLoss; pass classes="):
        check(Relation.from_groups(torch.tensor([int(IDS[0]), 5])))
    with pytest.raises(TypeError, match="SoftmaxLoss takes groups or labels, got pairs"):
        check(Relation.from_pairs(torch.ones(2)))
    with pytest.raises(ValueError, match="group 5 is none of"):
        loss(vectors(1), torch.tensor([5]))


def test_unknown_groups_are_skipped_and_counted_in_evaluation() -> None:
    loss = loss_of_three()
    assert loss.relation_check(training=False) is None
    known = result_of(loss, vectors()[:2], IDS[:2])
    mixed = result_of(loss, vectors(), torch.cat([IDS[:2], torch.tensor([5, 6, -(2**63), 2**63 - 2])]))
    torch.testing.assert_close(mixed.value, known.value)
    assert int(mixed.counts["unknown_groups"]) == 4 and int(known.counts["unknown_groups"]) == 0


@pytest.mark.parametrize("loss", [loss_of_three(), SoftmaxLoss(4, 3)], ids=["classes", "no classes"])
def test_only_unknown_groups_are_a_zero_in_the_graph(loss: SoftmaxLoss) -> None:
    embeddings = vectors(2).requires_grad_()
    result = result_of(loss, embeddings, torch.tensor([5, 6]))
    value, counts = result.value, result.counts
    value.backward()
    assert value == 0 and int(counts["unknown_groups"]) == 2
    for gradient in (embeddings.grad, loss.kernel.grad):
        assert gradient is not None and not gradient.any()
    loss.kernel.grad = None


def test_classes_are_set_from_the_groups_of_the_data() -> None:
    loss = SoftmaxLoss(4, 4)
    assert not loss.has_classes
    with pytest.raises(ValueError, match=r"none of the 0 classes of SoftmaxLoss.*simlearn\.fit"):
        loss(vectors(1), IDS[:1])
    loss.set_classes(IDS[[2, 0, 2, 1]])
    assert loss.has_classes and loss.class_ids[:3].tolist() == sorted(IDS.tolist())
    loss.set_classes(torch.tensor([7]))
    classes, known = loss.class_of(torch.tensor([7, 8, int(IDS[0])]))
    assert known.tolist() == [True, False, False] and classes[0] == 0
    with pytest.raises(
        ValueError, match="the data has 5 groups, SoftmaxLoss was built for num_groups=4; build it with"
    ):
        loss.set_classes(torch.arange(5))


def test_classes_are_in_the_state() -> None:
    fresh = SoftmaxLoss(4, 3, temperature=0.5)
    fresh.load_state_dict(loss_of_three().state_dict())
    groups = IDS[[0, 1, 2, 2, 1, 0]]
    torch.testing.assert_close(fresh(vectors(), groups), loss_of_three()(vectors(), groups))


def test_logits_under_autocast_are_not_rounded() -> None:
    loss, groups = loss_of_three(), IDS[[0, 1, 2, 2, 1, 0]]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = result_of(loss, vectors(), groups).value
    assert torch.equal(value, result_of(loss, vectors(), groups).value)


def test_training_finds_the_classes() -> None:
    embeddings, groups = torch.eye(4)[[0, 1, 2, 0, 1, 2]], IDS[[0, 1, 2, 0, 1, 2]]
    loss = loss_of_three()
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.1)
    for _ in range(50):
        optimizer.zero_grad()
        loss(embeddings, groups).backward()
        optimizer.step()
    assert loss(embeddings, groups) < 0.01


def test_other_relations_are_refused() -> None:
    objects, loss = Embeddings(vectors(2)), loss_of_three()
    assert {kind.value for kind in loss.relations} == {"groups", "labels"} and not loss.needs_positives
    with pytest.raises(TypeError, match="SoftmaxLoss takes groups or labels, got pairs"):
        loss.compute(objects, objects, Relation.from_pairs(torch.ones(2)), loss.scorer())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embedding_size": 0}, "embedding_size and num_groups must be at least 1, got 0 and 3"),
        ({"num_groups": 0}, "must be at least 1, got 4 and 0"),
        ({"temperature": 0.0}, "temperature must be above 0, got 0.0"),
        ({"classes": [1, 2, 3, 4]}, "the data has 4 groups"),
    ],
)
def test_options_are_checked(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SoftmaxLoss(**{"embedding_size": 4, "num_groups": 3, **options})  # type: ignore[arg-type]
