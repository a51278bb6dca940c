"""The check that users run on losses of their own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from simlearn.distributed import rank
from simlearn.losses import GroupLoss, InfoNCELoss, ListwiseSoftmaxLoss, SoftmaxLoss, verify_distributed


class Spread(GroupLoss):
    """A user's loss in Quaterion's form: it knows nothing of processes."""

    def forward(self, embeddings: Tensor, groups: Tensor) -> Tensor:
        return (embeddings - embeddings.mean(0)).square().sum() / groups.unique().numel()


class OwnRowsOnly(Spread):
    """Divides the work, as if nobody had gathered it."""

    def forward(self, embeddings: Tensor, groups: Tensor) -> Tensor:
        return super().forward(embeddings[rank() :: 2], groups)


class Forgetful(GroupLoss):
    """Counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, embeddings: Tensor, groups: Tensor) -> Tensor:
        self.calls += 1
        return embeddings.square().sum() / self.calls


@pytest.mark.parametrize(
    "loss",
    [Spread(), InfoNCELoss(learnable_temperature=True), ListwiseSoftmaxLoss(), SoftmaxLoss(8, 3, classes="abc")],
    ids=lambda loss: type(loss).__name__,
)
def test_losses_that_are_functions_of_their_batch(loss: GroupLoss) -> None:
    before = {name: tensor.clone() for name, tensor in loss.state_dict().items()}
    verify_distributed(loss)
    assert all(torch.equal(tensor, before[name]) for name, tensor in loss.state_dict().items())


@pytest.mark.parametrize("loss", [OwnRowsOnly(), Forgetful()], ids=lambda loss: type(loss).__name__)
def test_others_are_told_what_differs(loss: GroupLoss) -> None:
    what = "the (value|gradient of the model) of process 0 of two differs"
    with pytest.raises(ValueError, match=f"{type(loss).__name__} on groups: {what}"):
        verify_distributed(loss)
