"""Losses of pytorch-metric-learning."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from simlearn.components.arguments import arguments_of, is_plain
from simlearn.embeddings import Embeddings
from simlearn.losses.forward_losses import GroupLoss
from simlearn.precision import at_least_single
from simlearn.relations import Relation
from simlearn.scoring import Scorer


class PytorchMetricLearningWrapper(GroupLoss):
    """A loss of pytorch-metric-learning over groups, with or without a miner.

    The loss compares embeddings by a distance of its own, which is theirs to configure; so is what they do with
    matrices that do not fit into memory. Embeddings reach it in at least fp32, whatever autocast says, and zero vectors
    get no gradient. Under DDP it is given the batches of all processes.

    Args:
        loss: of `pytorch_metric_learning.losses`, or the name of one that needs no arguments.
        miner: of `pytorch_metric_learning.miners`, or the name of one; None takes all pairs or triplets of a batch.

    Raises:
        ImportError: where pytorch-metric-learning is not installed.
        ValueError: for an unknown name.
    """

    def __init__(self, loss: nn.Module | str, miner: nn.Module | str | None = None) -> None:
        super().__init__()
        self.loss = _made(loss, "losses")
        self.miner = None if miner is None else _made(miner, "miners")
        with_class_vectors = import_module("pytorch_metric_learning.losses.mixins").WeightMixin
        self.takes_memory = not isinstance(self.loss, with_class_vectors)  # type: ignore[misc]

    def compute(self, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer) -> Tensor:
        """The loss of groups, by the distance of theirs."""
        return self._compare(*self.with_groups(queries, documents, relation))

    def xbm_loss(self, embeddings: Tensor, groups: Tensor, memory_embeddings: Tensor, memory_groups: Tensor) -> Tensor:
        """The loss of (N, D) embeddings against (K, D) of earlier batches, a scalar."""
        return self._compare(embeddings, groups, memory_embeddings, memory_groups)

    def _compare(self, embeddings: Tensor, groups: Tensor, *earlier: Tensor) -> Tensor:
        embeddings = embeddings.to(at_least_single(embeddings))
        references = [one.to(embeddings.dtype) if one.is_floating_point() else one for one in earlier]
        if not len(embeddings):  # theirs needs some
            return embeddings.sum()
        # They divide by a norm of at least 1e-12, which makes the gradient of a zero vector that many times too large.
        embeddings = torch.where(embeddings.any(1, keepdim=True), embeddings, embeddings.detach())
        with torch.autocast(embeddings.device.type, enabled=False):
            mined = None if self.miner is None else self.miner(embeddings, groups, *references)
            value: Tensor = self.loss(embeddings, groups, mined, *references)
        return value

    def get_config_dict(self) -> dict[str, Any]:
        """The names of the loss and the miner; their arguments they keep to themselves."""
        miner = None if self.miner is None else type(self.miner).__name__
        return {"loss": type(self.loss).__name__, "miner": miner}

    def check_savable(self) -> None:
        """Whether names say what they are.

        Raises:
            TypeError: for a loss or miner that was given as an object.
        """
        if not all(is_plain(value) for value in arguments_of(self).given.values()):
            raise TypeError(
                f"{type(self.loss).__name__} keeps its arguments to itself, so no file can say them; save the "
                "wrapper's state_dict, and build it as before"
            )


def _made(given: nn.Module | str, room: str) -> nn.Module:
    try:
        module = import_module(f"pytorch_metric_learning.{room}")
    except ImportError as error:
        raise ImportError(
            "PytorchMetricLearningWrapper needs the package pytorch-metric-learning: "
            "pip install pytorch-metric-learning"
        ) from error
    if not isinstance(given, str):
        return given
    kind = getattr(module, given, None)
    if not isinstance(kind, type) or not issubclass(kind, nn.Module):
        raise ValueError(f"pytorch_metric_learning.{room} has no {given!r}")
    return kind()
