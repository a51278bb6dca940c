"""What a step makes of the embeddings of a batch: a loss, and whatever belongs to it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from simlearn.distributed import gather_objects, gather_parts, world_size
from simlearn.embeddings import Embeddings
from simlearn.losses import LossResult, SimilarityLoss
from simlearn.losses.formula import with_one_more
from simlearn.losses.global_loss import gather_batch
from simlearn.negatives import Memory
from simlearn.negatives.memory import EarlierDocuments, Origins
from simlearn.relations import Relation
from simlearn.scoring import Scorer
from simlearn.training.metric_log import Measured, MetricLog
from simlearn.training.stage import TrainStage


def _gathered(origins: Origins) -> Origins:
    if isinstance(origins, Tensor):
        return torch.cat(gather_parts([origins])[0])
    return list(chain.from_iterable(gather_objects(origins)))


class Outcome(NamedTuple):
    """What a step found.

    Args:
        value: a scalar in the graph, the loss and all further terms.
        terms: the further ones by name, which are part of the value.
        counts: scalars by name, such as the anchors without a positive.
        measured: what attached metrics say of the batch.
        queries: that were compared; those of all processes, where something compares across the batch.
        documents: likewise.
        relation: of these.
        figures: what memories say of the step, scalars by name.
    """

    value: Tensor
    terms: dict[str, Tensor]
    counts: dict[str, Tensor]
    measured: Measured
    queries: Embeddings
    documents: Embeddings
    relation: Relation
    figures: dict[str, Tensor] = {}  # noqa: RUF012 - NamedTuple default, never written to


class Objective:
    """A loss with its scorer, memories and metrics.

    1. In training, the batches of all processes are gathered, where the loss or anything beside it compares across
       them. Where nothing does, their losses are added up, which is the same loss.
    2. Each memory adds its terms, and takes the batch in afterwards.
    3. Metrics look at what was compared.

    Args:
        loss: of a batch.
        scorer: how embeddings compare.
        memories: what is kept of earlier batches.
        metrics: attached ones.
        watched: whether somebody else looks at the embeddings of all processes.
    """

    def __init__(
        self,
        loss: SimilarityLoss,
        scorer: Scorer,
        memories: Iterable[Memory] = (),
        metrics: MetricLog | None = None,
        watched: bool = False,
    ) -> None:
        self.loss = loss
        self.scorer = scorer
        self.memories = list(memories)
        self.metrics = metrics if metrics is not None else MetricLog([])
        self.watched = watched

    def step(
        self,
        queries: Embeddings,
        documents: Embeddings,
        relation: Relation,
        stage: TrainStage,
        step: int,
        origins: Origins | None = None,
        earlier: EarlierDocuments | None = None,
    ) -> Outcome:
        """The loss of one process's share of a batch.

        Args:
            queries: N embeddings.
            documents: M embeddings.
            relation: of these.
            stage: in training it is the loss of the batches of all processes, else of this share alone.
            step: how many optimiser steps were taken.
            origins: where the documents came from, for memories; see `Batch`.
            earlier: documents of earlier batches, for memories that encode them again.
        """
        scorer, training = self.scorer, stage is TrainStage.TRAIN
        several = training and world_size() > 1
        gathered = several and (self.loss.compares_across_batch or self._is_looked_at(stage))
        if gathered:
            queries, documents, relation = gather_batch(queries, documents, relation)
            if self.memories and origins is not None:
                origins = _gathered(origins)
        memories = self.memories if training else []
        terms: dict[str, Tensor] = {}
        extra: dict[str, Tensor] = {}
        compared = relation
        for memory in memories:
            terms |= memory.terms(self.loss, queries, documents, relation, scorer, step)
            logits = memory.beside(self.loss, queries, documents, relation, scorer, earlier)
            if logits is not None:
                extra["extra"] = with_one_more(extra["extra"], logits) if extra else logits
                compared = replace(compared, judged_only=compared.judged_only or memory.replaces_batch)
        result = LossResult.of(self.loss.compute(queries, documents, compared, scorer, **extra))
        if several and not gathered:
            result = result.over_processes()
        for memory in memories:
            memory.remember(documents, relation, origins)
        measured = self.metrics.measure(stage, queries, documents, relation)
        value = sum(terms.values(), result.value)
        figures = {name: value for memory in memories for name, value in memory.figures().items()}
        return Outcome(value, terms, result.counts, measured, queries, documents, relation, figures)

    def _is_looked_at(self, stage: TrainStage) -> bool:
        return bool(self.watched or self.memories or self.metrics.of(stage))
