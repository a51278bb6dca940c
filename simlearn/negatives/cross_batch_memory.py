"""Comparing a batch with the batches before it (XBM, "Cross-Batch Memory", Wang et al. 2020).

Embeddings drift slowly once training is under way, so those of earlier batches still tell where their objects are. A
memory keeps the latest documents, without gradients, together with what is known of them; the anchors of each batch are
then compared with them too, which costs a matrix product instead of an encoder pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor

from simlearn.embeddings import Embeddings
from simlearn.losses import LossResult, SimilarityLoss
from simlearn.negatives.memory import Memory, Origins
from simlearn.relations import Relation, Remembered
from simlearn.scoring import Scorer


class XbmDevice(str, Enum):
    """Where the memory is kept."""

    AUTO = "auto"
    """Where the model is."""
    CPU = "cpu"
    """In the main memory; it is moved to the model in every step."""
    CUDA = "cuda"
    """On the model's GPU; an error where it has none."""


@dataclass(frozen=True)
class XbmConfig:
    """How a batch is compared with earlier ones.

    Args:
        weight: what the loss against the memory is multiplied with before it is added to that of the batch.
        buffer_size: how many documents are remembered.
        start_iteration: the optimiser step from which the memory counts. It fills from the first step on, but
            embeddings drift fast in the beginning.
        device: where the memory is kept.

    Raises:
        ValueError: for a weight of 0 or less, a buffer of less than one document, or a start below 0.
    """

    weight: float = 1.0
    buffer_size: int = 10_000
    start_iteration: int = 1_000
    device: XbmDevice | str = XbmDevice.AUTO

    def __post_init__(self) -> None:
        object.__setattr__(self, "device", XbmDevice(self.device))
        if not self.weight > 0:
            raise ValueError(f"weight must be above 0, got {self.weight}; return None from configure_xbm for no memory")
        if self.buffer_size < 1:
            raise ValueError(f"buffer_size must be at least 1, got {self.buffer_size}")
        if self.start_iteration < 0:
            raise ValueError(f"start_iteration must not be negative, got {self.start_iteration}")


class CrossBatchMemory(Memory):
    """The latest documents, whose embeddings and labels are its state.

    Args:
        config: how many, and where.
        loss: what they will be compared by; it is not kept.

    Raises:
        TypeError: for a loss that compares objects with class vectors, or only those pairs or lists that it is given.
    """

    def __init__(self, config: XbmConfig, loss: SimilarityLoss) -> None:
        super().__init__()
        if not loss.takes_memory:
            raise TypeError(
                f"{type(loss).__name__} cannot use a cross-batch memory: it does not compare the objects of a batch "
                "with each other. Take a loss that does, such as TripletLoss or MultipleNegativesRankingLoss, or "
                "configure no XBM; a GroupLoss of your own takes part once it defines xbm_loss"
            )
        self.config = config
        self._documents: Embeddings | None = None
        self._known = Remembered()

    def __len__(self) -> int:
        return len(self._known)

    def terms(
        self,
        loss: SimilarityLoss,
        queries: Embeddings,
        documents: Embeddings,
        relation: Relation,
        scorer: Scorer,
        step: int,
    ) -> dict[str, Tensor]:
        """From `start_iteration` on, the loss against what is remembered."""
        if step < self.config.start_iteration:
            return {}
        return {"xbm_loss": self.compare(loss, queries, documents, relation, scorer)}

    def compare(
        self, loss: SimilarityLoss, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer
    ) -> Tensor:
        """The weighted loss of a batch's queries against its own documents and all that are remembered.

        As in the paper the batch's own documents take part, without gradients, so that no anchor lacks its positive.

        Args:
            loss: what they are compared by.
            queries: N embeddings.
            documents: M embeddings.
            relation: of these.
            scorer: how embeddings compare.

        Returns:
            A scalar in the graph; 0 while nothing is remembered.
        """
        if self._documents is None or not len(self):
            return queries.values[:0].sum()
        known = self._known.to(documents.device).behind(relation)
        columns = Embeddings.concatenate([documents.detach(), self._documents.to(documents.device)])
        return self.config.weight * LossResult.of(loss.compute(queries, columns, known, scorer)).value

    def remember(self, documents: Embeddings, relation: Relation, origins: Origins | None = None) -> None:
        """Add a batch's documents; where there are too many the oldest go.

        Args:
            documents: M embeddings, of any dtype and device.
            relation: what is known of them.
            origins: not needed: what is remembered is never encoded again.

        Raises:
            ValueError: for a memory on the GPU where the model has none.
        """
        device = self._device(documents.device)
        before = [] if self._documents is None else [self._documents.to(device)]
        joined = Embeddings.concatenate([*before, documents.detach().to(device)])
        self._documents = joined.take(slice(max(0, len(joined) - self.config.buffer_size), None))
        self._known = self._known.to(device).then(Remembered.of(relation).to(device)).last(self.config.buffer_size)

    def _device(self, model_device: torch.device) -> torch.device:
        if self.config.device is XbmDevice.CPU:
            return torch.device("cpu")
        if self.config.device is XbmDevice.CUDA and model_device.type != "cuda":
            raise ValueError(f"XbmDevice.CUDA needs the model on a GPU, it is on {model_device}; take XbmDevice.AUTO")
        return model_device

    def get_extra_state(self) -> dict[str, Tensor]:
        """The embeddings, their mask and what is known of them, as tensors by name."""
        if self._documents is None:
            return {}
        state = {"values": self._documents.values, **self._known.columns()}
        if self._documents.mask is not None:
            state["mask"] = self._documents.mask
        return {name: tensor.clone() for name, tensor in state.items()}  # views would bring all they are views of

    def set_extra_state(self, state: Any) -> None:
        """What `get_extra_state` gave."""
        known = dict(state)
        values, mask = known.pop("values", None), known.pop("mask", None)
        self._documents = None if values is None else Embeddings(values, mask)
        self._known = Remembered(**known)
