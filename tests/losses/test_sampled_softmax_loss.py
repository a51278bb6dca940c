"""The sample: uniform, the same everywhere, right on average."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from simlearn.losses import SampledSoftmaxLoss, SoftmaxLoss


def loss_of(num_sampled: int, classes: int = 40) -> SampledSoftmaxLoss:
    torch.manual_seed(0)
    loss = SampledSoftmaxLoss(4, classes + 2, num_sampled, temperature=0.5)
    torch.nn.init.normal_(loss.kernel)
    loss.set_classes(torch.arange(classes))
    return loss


def test_samples_are_distinct_and_uniform() -> None:
    loss, seen = loss_of(7, 12), Counter[int]()
    for step in range(6000):
        sampled, _ = loss.sample(12, step)
        assert len(set(sampled.tolist())) == 7
        seen.update(sampled.tolist())
    assert sorted(seen) == list(range(12))
    assert all(abs(count / 6000 - 7 / 12) < 0.04 for count in seen.values())


def test_the_denominator_is_right_on_average() -> None:
    loss, embeddings, groups = loss_of(10), torch.randn(3, 4) / 4, torch.tensor([3, 30, 3])
    mean = torch.stack([loss(embeddings, groups).detach() for _ in range(800)]).mean()
    exact = loss.eval()(embeddings, groups)
    # The logarithm of a noisy sum is a little low.
    assert abs(mean - exact) < 0.08
    dense = SoftmaxLoss(4, 42, 0.5)
    dense.set_classes(torch.arange(40))
    with torch.no_grad():
        dense.kernel.copy_(loss.kernel.T)
    torch.testing.assert_close(dense(embeddings, groups), exact)


def test_steps_differ_and_copies_agree() -> None:
    one, other = loss_of(5), loss_of(5)
    embeddings, groups = torch.randn(3, 4), torch.tensor([3, 30, 3])
    values = [one(embeddings, groups).item() for _ in range(3)]
    assert len(set(values)) == 3 and values[:2] == [other(embeddings, groups).item() for _ in range(2)]
    resumed = loss_of(5)
    resumed.load_state_dict(other.state_dict())
    assert resumed(embeddings, groups).item() == values[2]


@pytest.mark.parametrize("sparse", [False, True])
def test_only_vectors_of_the_step_have_gradients(sparse: bool) -> None:
    loss = loss_of(5)
    loss.sparse = sparse
    loss(torch.randn(2, 4), torch.tensor([3, 30])).backward()
    gradient = loss.kernel.grad
    assert gradient is not None and gradient.is_sparse is sparse
    assert 2 < int(gradient.to_dense().any(1).sum()) <= 7


def test_a_million_classes() -> None:
    loss = SampledSoftmaxLoss(4, 10**6, 64, sparse=True)
    loss.set_classes(torch.arange(10**6))
    loss.double()(torch.randn(8, 4), torch.arange(8)).backward()
    assert loss.kernel.grad is not None and loss.kernel.grad.is_sparse


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="num_sampled must be at least 1"):
        SampledSoftmaxLoss(4, 3, 0)
    with pytest.raises(ValueError, match="temperature must be above 0"):
        SampledSoftmaxLoss(4, 3, temperature=0.0)
