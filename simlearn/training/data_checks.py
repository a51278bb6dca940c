"""Whether data can teach a loss anything, asked before the first step.

The checks stop as soon as they have found what they look for, which for most data is within the first few samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import torch

from simlearn.data import GroupSimilarityDataLoader, LabelSimilarityDataLoader, SimilarityDataLoader
from simlearn.data.batch import collate_samples
from simlearn.losses import SimilarityLoss
from simlearn.losses.class_loss import class_losses
from simlearn.relations import RelationKind

_FIRST_RUN, _RUN = 8, 256
"""Samples looked at together: nearly always a few are enough."""
_STREAM_LIMIT = 10_000
"""Samples of a stream that are looked at: it may have no end."""


class Evidence(NamedTuple):
    """What some samples show.

    Args:
        positives: whether similar objects are among them.
        negatives: whether different objects are among them.
    """

    positives: bool
    negatives: bool


def check_kind(loader: SimilarityDataLoader, loss: SimilarityLoss) -> None:
    """Refuse a kind of samples that the loss does not take.

    Raises:
        TypeError: for such samples.
        ValueError: where the loss corrects for how often documents are drawn, and nobody tells.
    """
    if any(getattr(part, "log_q", False) for part in loss.modules()) and not loader.knows_log_q:
        raise ValueError(
            f"{type(loss).__name__} has log_q, and the loader does not tell how often documents are drawn; give it "
            "document_log_q='count', for a stream StreamedLogQ(), or the counts by the documents' names"
        )
    if loader.relation not in loss.relations:
        raise TypeError(
            f"{type(loss).__name__} learns from {' or '.join(sorted(map(str, loss.relations)))}, "
            f"{type(loader).__name__} gives {loader.relation}; take another loss, or samples of that kind"
        )


def check_data(loader: SimilarityDataLoader, loss: SimilarityLoss, world_size: int = 1) -> None:
    """Compare a loader with the loss that is to learn from it.

    Raises:
        TypeError: for a kind of samples that the loss does not take.
        ValueError: when the data has no sample, or can never form the positives or negatives that the loss needs.
    """
    check_kind(loader, loss)
    name, kind = type(loss).__name__, loader.kind
    alone = loader.batch_sampler is None and loader.batch_size * world_size == 1
    in_batch = loss.takes_batch_as_negatives
    if alone and kind.shared and loss.needs_positives:
        raise ValueError(f"{name} compares the objects of a batch: batch_size must be at least 2")
    if alone and not (kind.shared or kind.has_candidates) and loss.needs_negatives and in_batch:
        raise ValueError(f"{name} takes its negatives from the batch: batch_size must be at least 2")
    wants_positives, wants_negatives = loss.needs_positives, loss.needs_negatives
    empty = True
    for found in _evidence(loader, in_batch and not alone):
        empty = False
        wants_positives = wants_positives and not found.positives
        wants_negatives = wants_negatives and not found.negatives
        if not wants_positives and not wants_negatives:
            return
    if empty:
        raise ValueError("the data set is empty; there is nothing to learn from")
    if loader.is_stream and next(islice(loader.source, _STREAM_LIMIT, None), None) is not None:
        return
    if wants_positives:
        raise ValueError(f"{name} needs similar objects, and no two are: {kind.lacks.positives}")
    if wants_negatives:
        reason = kind.lacks.negatives if in_batch and not alone else kind.lacks.judged_negatives
        raise ValueError(f"{name} needs different objects, and all are alike: {reason}")


def find_classes(loss: SimilarityLoss, train: SimilarityDataLoader) -> None:
    """Tell losses with one vector a class which classes there are."""
    for part in class_losses(loss):
        if part.has_classes:
            continue
        if train.is_stream or not isinstance(train, (GroupSimilarityDataLoader, LabelSimilarityDataLoader)):
            raise ValueError(
                f"{type(part).__name__} cannot look through a stream for its groups; pass classes=[...] to it"
            )
        part.set_classes(train.groups())


def check_ids(loader: SimilarityDataLoader) -> None:
    """Refuse objects of pairs and rankings that nobody would know again in a later batch, for a memory to remember.

    It would take the positive of a query for a negative of it.

    Raises:
        TypeError: naming how they are given names.
    """
    if loader.kind.shared:  # groups and labels tell who is alike
        return
    first = list(islice(iter(loader.source), 1))
    once, again = (collate_samples(loader.kind, first).relation for _ in range(2))
    for side, ids, others in (
        ("queries", once.query_ids, again.query_ids),
        ("documents", once.document_ids, again.document_ids),
    ):
        if ids is not None and others is not None and not torch.equal(ids, others):
            raise TypeError(
                f"a memory of earlier batches knows objects by their content, and that of the {side} cannot be told; "
                f"name them in the samples with {'= and '.join(name for name in loader.kind.names if name)}=, or make "
                "them of texts, numbers, arrays, lists and dictionaries"
            )


def _evidence(loader: SimilarityDataLoader, in_batch: bool) -> Iterator[Evidence]:
    """What is found, sample by sample or in short runs of them."""
    label_sets = loader.kind.label_sets(loader.source)
    if label_sets is not None:
        return _of_labels(_limited(loader, label_sets))
    return _of_relations(loader, _limited(loader, loader.source), in_batch)


def _limited(loader: SimilarityDataLoader, items: Iterable[Any]) -> Iterator[Any]:
    return islice(items, _STREAM_LIMIT if loader.is_stream else None)


def _of_labels(label_sets: Iterable[set[int]]) -> Iterator[Evidence]:
    """Objects are alike when they share a label; two alike may lie far apart."""
    seen: set[int] = set()
    common: set[int] | None = None
    for labels in label_sets:
        # Where no label is common to all, some two objects nearly always share none.
        common = labels if common is None else common & labels
        yield Evidence(not seen.isdisjoint(labels), not common)
        seen |= labels


def _of_relations(loader: SimilarityDataLoader, samples: Iterator[Any], in_batch: bool) -> Iterator[Evidence]:
    """Runs of samples, each with the very first one: sorted data shows its differences that way too."""
    first: list[Any] = []
    length = _FIRST_RUN
    while run := list(islice(samples, length)):
        relation = collate_samples(loader.kind, first + run).relation
        different = bool(relation.negatives(in_batch=in_batch).any())
        if relation.kind is RelationKind.PAIRS:
            # A graded pair is both: drawn together as far as its score is above 0, pushed apart as far as below 1.
            different = different or bool((relation.paired_scores() < 1).any())
        yield Evidence(bool(relation.positives().any()), different)
        first = first or run[:1]
        length = _RUN
