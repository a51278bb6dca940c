"""Whether data can teach a loss anything, asked before the first step.

The checks stop as soon as they have found what they look for, which for most data is within the first few samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from simlearn.data import SimilarityDataLoader
from simlearn.data.batch import collate_samples
from simlearn.losses import SimilarityLoss
from simlearn.relations import Relation, RelationKind

_CHUNK = 256


def check_data(loader: SimilarityDataLoader, loss: SimilarityLoss, world_size: int = 1) -> None:
    """Compare a loader with the loss that is to learn from it.

    Raises:
        TypeError: for a kind of samples that the loss does not take.
        ValueError: when the data has no sample, or can never form the positives or negatives that the loss needs.
    """
    if loader.relation not in loss.relations:
        raise TypeError(
            f"{type(loss).__name__} learns from {' or '.join(sorted(map(str, loss.relations)))}, "
            f"{type(loader).__name__} gives {loader.relation}"
        )
    wants_positive, wants_negative = loss.needs_positives, loss.needs_negatives
    in_batch = loss.takes_batch_as_negatives
    if loader.relation is RelationKind.PAIRS and wants_negative and in_batch and loader.batch_size * world_size == 1:
        raise ValueError(f"{type(loss).__name__} takes its negatives from the batch: batch_size must be at least 2")
    empty = True
    for relation in _relations(loader):
        empty = False
        wants_positive = wants_positive and not bool(relation.positives().any())
        wants_negative = wants_negative and not bool(relation.negatives(in_batch=in_batch).any())
        if not wants_positive and not wants_negative:
            return
    if empty:
        raise ValueError("the data set is empty; there is nothing to learn from")
    if loader.relation is RelationKind.GROUPS and wants_positive:
        wants_positive = not _repeats_a_group(loader)
    if wants_positive:
        raise ValueError(
            f"{type(loss).__name__} needs similar objects, and no two are: {_NO_POSITIVE[loader.relation]}"
        )
    if wants_negative:
        raise ValueError(
            f"{type(loss).__name__} needs different objects, and all are alike: {_no_negative(loader, in_batch)}"
        )


def _relations(loader: SimilarityDataLoader) -> Iterator[Relation]:
    """Relations of runs of samples, each with the very first one: sorted data shows its differences that way too."""
    samples = iter(loader.source)
    first = list(islice(samples, _CHUNK))
    chunk: list[Any] = first
    while chunk:
        yield collate_samples(loader.kind, chunk).relation
        chunk = list(islice(samples, _CHUNK))
        chunk = first[:1] + chunk if chunk else []


def _repeats_a_group(loader: SimilarityDataLoader) -> bool:
    """The two objects of a group may lie farther apart than a run of samples is long."""
    seen: set[int] = set()
    for sample in loader.source:
        group = loader.kind.stable(sample.group, "group")
        if group in seen:
            return True
        seen.add(group)
    return False


_NO_POSITIVE = {
    RelationKind.PAIRS: "every score is 0 or less",
    RelationKind.GROUPS: "every group has one object; give objects that belong together the same group",
    RelationKind.LABELS: "no label is shared",
    RelationKind.RANKING: "every relevance is 0 or less",
}


def _no_negative(loader: SimilarityDataLoader, in_batch: bool) -> str:
    if loader.relation is RelationKind.GROUPS:
        return "there is only one group"
    if loader.relation is RelationKind.LABELS:
        return "every object shares a label with the first one"
    if in_batch:
        return "all pairs are of one subgroup or of one object; leave the subgroup at 0, or add other objects"
    return "no score is 0 and no two subgroups differ; add pairs with score=0.0, or give subgroups"
