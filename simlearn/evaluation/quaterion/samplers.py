"""Quaterion's samplers: which objects of a data set are ranked for, and against which."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from simlearn.data.embedding_objects import model_in
from simlearn.embeddings import Embeddings
from simlearn.evaluation.encode import Encode, ObjectSet, encoder_of, samples_of
from simlearn.hashing import stable_id
from simlearn.samples import SimilarityGroupSample, SimilarityPairSample
from simlearn.scoring import Scorer

if TYPE_CHECKING:
    from simlearn.evaluation.quaterion.modules.examples import Examples


@dataclass(frozen=True)
class Encoded:
    """A data set, encoded, with what is similar in it.

    Args:
        first: N embeddings: the objects of groups, or the first ones of pairs.
        ids: (N,) int64 for groups, (N, 2) for pairs; equal for one object.
        sample_size: how many objects to rank for; below 0 for all.
        seed: of the choice.
        groups: (N,) int64.
        second: N embeddings of the second objects of pairs.
        labels: (N,) float32 of the pairs.
        distinguish: see `PairSampler`.
    """

    first: Embeddings
    ids: Tensor
    sample_size: int
    seed: int
    groups: Tensor | None = None
    second: Embeddings | None = None
    labels: Tensor | None = None
    distinguish: bool = False

    def examples(self, scorer: Scorer) -> Examples:
        """As metrics take them; the same objects are chosen every time."""
        from simlearn.evaluation.quaterion.modules.examples import Examples  # loads torchmetrics

        if self.groups is not None:
            examples = Examples.from_groups(self.first, self.groups, self.ids, scorer)
        elif self.second is not None and self.labels is not None:
            pair = self.first, self.second
            examples = Examples.from_pairs(*pair, self.labels, self.ids, scorer, self.distinguish)
        else:
            raise ValueError("an encoded data set has groups or pairs")
        device = examples.objects.device
        rows = torch.arange(len(examples.objects), device=device) if examples.queries is None else examples.queries
        if not 0 <= self.sample_size < len(rows):
            return examples
        chosen = torch.randperm(len(rows), generator=torch.Generator().manual_seed(self.seed))[: self.sample_size]
        return replace(examples, queries=rows[chosen.sort().values.to(device)])


class BaseSampler(ABC):
    """Chooses objects to rank for; they are ranked against all others. A subclass implements `encode`.

    Args:
        sample_size: how many objects are ranked for, at random; -1 for all. It bounds the search; all are encoded.
        encode_batch_size: how many objects are encoded at once.
        device: where the search runs; None: where the model leaves the embeddings.
        log_progress: whether encoding shows a progress bar.
        seed: of the choice, which is the same for all metrics and every run.

    Raises:
        ValueError: for a size of 0, or a batch size below 1.
    """

    def __init__(
        self,
        sample_size: int = -1,
        encode_batch_size: int = 16,
        device: torch.device | str | None = None,
        log_progress: bool = True,
        seed: int = 0,
    ) -> None:
        if sample_size == 0 or sample_size < -1:
            raise ValueError(f"sample_size must be at least 1, or -1 for all, got {sample_size}")
        if encode_batch_size < 1:
            raise ValueError(f"encode_batch_size must be at least 1, got {encode_batch_size}")
        self.sample_size = sample_size
        self.encode_batch_size = encode_batch_size
        self.device = device
        self.log_progress = log_progress
        self.seed = seed

    @abstractmethod
    def encode(self, dataset: Any, model: Any) -> Encoded:
        """Encode a data set, each distinct object once."""

    def _encoder(self, model: Any) -> Encode:
        return encoder_of(model, None, self.encode_batch_size, self.log_progress)[0]

    def _moved(self, embeddings: Embeddings) -> Embeddings:
        return embeddings if self.device is None else embeddings.to(self.device)


class GroupSampler(BaseSampler):
    """For `SimilarityGroupSample` objects: relevant is what is of an object's group; arguments as for `BaseSampler`."""

    def encode(self, dataset: Any, model: Any) -> Encoded:
        """See `BaseSampler`."""
        samples = samples_of(dataset, SimilarityGroupSample)
        objects = ObjectSet(range(len(samples)), [sample.obj for sample in samples], "group")
        embeddings = self._moved(objects.embed(self._encoder(model), "query"))
        groups = torch.tensor([stable_id(sample.group) for sample in samples], device=embeddings.device)
        ids = objects.content.to(embeddings.device)
        return Encoded(embeddings, ids, self.sample_size, self.seed, groups=groups)


class PairSampler(BaseSampler):
    """For `SimilarityPairSample` objects: relevant is what an object is paired with by a score above 0.

    Args:
        sample_size: see `BaseSampler`.
        distinguish: whether an `obj_a` only looks for an `obj_b`, as a query for documents; otherwise each looks for
            all others. A model with two towers needs it.
        encode_batch_size: see `BaseSampler`.
        device: see `BaseSampler`.
        log_progress: see `BaseSampler`.
        seed: see `BaseSampler`.
    """

    def __init__(
        self,
        sample_size: int = -1,
        distinguish: bool = False,
        encode_batch_size: int = 16,
        device: torch.device | str | None = None,
        log_progress: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(sample_size, encode_batch_size, device, log_progress, seed)
        self.distinguish = distinguish

    def encode(self, dataset: Any, model: Any) -> Encoded:
        """See `BaseSampler`.

        Raises:
            ValueError: for a model with two towers without `distinguish`.
        """
        inner = model_in(model)
        if inner is not None and not inner.is_symmetric and not self.distinguish:
            raise ValueError("a model with two towers cannot rank queries among queries: PairSampler(distinguish=True)")
        samples = samples_of(dataset, SimilarityPairSample)
        encode, ids = self._encoder(model), range(len(samples))
        first = ObjectSet(ids, [sample.obj_a for sample in samples], "first")
        second = ObjectSet(ids, [sample.obj_b for sample in samples], "second")
        queries, documents = self._moved(first.embed(encode, "query")), self._moved(second.embed(encode, "document"))
        return Encoded(
            queries,
            torch.stack([first.content, second.content], dim=1).to(queries.device),
            self.sample_size,
            self.seed,
            second=documents,
            labels=torch.tensor([float(sample.score) for sample in samples], device=queries.device),
            distinguish=self.distinguish,
        )
