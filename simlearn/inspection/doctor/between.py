"""What is looked for with more than one split's columns: leaks, near twins by their embeddings, batches."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch

from simlearn.data.batch import collate_samples
from simlearn.data.embedding_objects import Encode, embed_objects
from simlearn.data.share import Share
from simlearn.inspection.doctor.findings import Finding, shown
from simlearn.inspection.doctor.one_split import EXAMPLES
from simlearn.inspection.doctor.split import Split
from simlearn.search import top_k

_BATCHES = 8
_LARGEST = 2**26


def leaks(train: Split, validation: Split) -> Iterator[Finding]:
    """What is in both splits."""
    if not (train.has_documents and validation.has_documents):
        both = np.isin(validation.objects(), train.objects())
        rows = np.flatnonzero(np.isin(validation.queries, validation.objects()[both]))
        yield from _leak(
            validation,
            "leaked_objects",
            "error",
            rows,
            int(both.sum()),
            len(both),
            "Objects are in both splits (equal after normalisation), so validation rewards remembering them.",
            "take them out of one split; split by group or by source, not by sample",
        )
        return
    pairs = np.isin(validation.pairs(), train.pairs())
    yield from _leak(
        validation,
        "leaked_pairs",
        "error",
        np.flatnonzero(pairs),
        int(pairs.sum()),
        len(pairs),
        "Pairs are in both splits (in either order, equal after normalisation), so validation rewards remembering.",
        "take them out of one split",
    )
    asked = np.unique(validation.queries)
    seen = np.isin(asked, train.queries)
    rows = np.flatnonzero(np.isin(validation.queries, asked[seen]) & ~pairs)
    yield from _leak(
        validation,
        "leaked_queries",
        "warning",
        rows,
        int(seen.sum()),
        len(asked),
        "Queries of validation were trained on, if with other documents.",
        "split by query, so that figures tell of queries never seen",
    )
    documents = np.unique(validation.documents)
    shared = int(np.isin(documents, train.documents).sum())
    if shared:
        yield Finding(
            "shared_documents",
            "note",
            shared,
            len(documents),
            "Documents are in both splits, as is right where one corpus is searched for new queries.",
        )


def _leak(split: Split, name: str, severity: Any, rows: Any, count: int, total: int, text: str, cure: str) -> Any:
    if count:
        examples = tuple(split.texts(rows[:EXAMPLES], lambda value: shown(value, 60)))
        yield Finding(name, severity, count, total, text, cure, examples)


def near(train: Split, validation: Split | None, encode: Encode, threshold: float, limit: int) -> Iterator[Finding]:
    """Objects whose embeddings nearly coincide, within the training data and across the splits."""
    roles: tuple[str, ...] = ("query", "document") if train.has_documents else ("query",)
    for role in roles:
        objects, ids = _distinct(train, role, limit)
        if len(objects) < 2:
            continue
        vectors = embed_objects(encode, objects, role)
        side = {"query": "queries", "document": "documents"}[role] if train.has_documents else "objects"
        found = top_k(vectors, vectors, 1, exclude_self=True)
        rows = (found.scores[:, 0] >= threshold).nonzero().flatten().tolist()
        text = f"a cosine of at least {threshold:g} to another one, by the encoder given"
        if rows:
            yield Finding(
                f"near_duplicate_{side}",
                "note",
                len(rows),
                len(objects),
                f"In train, {side} have {text}. In a batch they are taken for negatives of each other.",
                "look through them: merge what is the same",
                _both([(objects[row], objects[int(found.indices[row, 0])], found.scores[row, 0]) for row in rows]),
            )
        if validation is None:
            continue
        others, other_ids = _distinct(validation, role, limit)
        new = [row for row, one in enumerate(other_ids.tolist()) if one not in set(ids.tolist())]
        others = [others[row] for row in new]
        if not others:
            continue
        found = top_k(embed_objects(encode, others, role).to(vectors.device), vectors, 1)
        rows = (found.scores[:, 0] >= threshold).nonzero().flatten().tolist()
        if rows:
            yield Finding(
                f"near_leaked_{side}",
                "note" if side == "documents" else "warning",
                len(rows),
                len(others),
                f"In validation, {side} have a cosine of at least {threshold:g} to one of train, by the encoder given, "
                "without being equal.",
                "look through them: what says the same belongs into one split",
                _both([(others[row], objects[int(found.indices[row, 0])], found.scores[row, 0]) for row in rows]),
            )


def _both(pairs: list[tuple[Any, Any, torch.Tensor]]) -> tuple[str, ...]:
    nearest = sorted(pairs, key=lambda pair: -float(pair[2]))[:EXAMPLES]
    return tuple(f"{float(score):.3f}  {shown(one, 44)} | {shown(other, 44)}" for one, other, score in nearest)


def _distinct(split: Split, role: str, limit: int) -> tuple[list[Any], Any]:
    """At most so many different objects, spread over the split, and their numbers."""
    ids, first = np.unique(split.queries if role == "query" else split.documents, return_index=True)
    if len(ids) > limit:
        chosen = np.linspace(0, len(ids) - 1, limit).round().astype(np.int64)
        ids, first = ids[chosen], first[chosen]
    samples = split.samples(split.owners[first])
    kind, objects = split.loader.kind, []
    for row in first.tolist():
        owner = int(split.owners[row])
        if role == "query":
            objects.append(kind.queries([samples[owner]])[0])
        else:
            place = row - int(np.searchsorted(split.owners, owner))
            objects.append(kind.documents([samples[owner]])[0][place])
    return objects, ids


def batches(split: Split) -> Iterator[Finding]:
    """How many negatives and positives a query gets in a training batch, those of a single process."""
    loader = split.loader
    plan = loader.epoch_plan(True)
    if plan is None:
        runs = [list(islice(iter(loader.source), loader.batch_size))]
    else:
        source: Any = loader.source
        for drop_last in (True, False):  # the rest of an epoch tells little, unless there is nothing else
            rows = islice(plan.plan(0, Share(training=True, drop_last=drop_last)), _BATCHES)
            runs = [source.__getitems__([int(row) for row in batch]) for batch in rows]
            if runs:
                break
    negatives, without, masked, sizes = [], 0, 0, []
    for run in runs:
        if not run:
            continue
        relation = collate_samples(loader.kind, run).relation
        most = max(1, _LARGEST // max(1, relation.n_documents))
        part = slice(0, min(relation.n_queries, most))
        different, alike = relation.negatives(part), relation.positives(part)
        negatives.append(different.sum(1))
        without += int((~alike.any(1)).sum())
        others = relation.n_documents - (1 if relation.is_shared else 0)
        masked += int((others - different.sum(1) - alike.sum(1)).clamp(min=0).sum())
        sizes.append(len(run))
    if not negatives:
        return
    counts = torch.cat(negatives).double()
    none = int((counts == 0).sum())
    per_query, size = masked / len(counts), max(sizes)
    if per_query >= 0.005:
        hidden = f" {per_query:.2f} more are left out, being the same object or of its subgroup."
    else:
        hidden = ""
    yield Finding(
        "negatives",
        "error" if none == len(counts) else "warning" if none else "note",
        none,
        len(counts),
        f"In batches of {size} a query has {counts.mean():.1f} negatives, at least {int(counts.min())}.{hidden}"
        + (" Some have none, and teach a softmax loss nothing." if none else ""),
        "raise batch_size, shuffle, or put different groups into a batch (samples_per_group)" if none else "",
    )
    if without and split.loader.kind.shared:
        yield Finding(
            "queries_without_positive_in_batch",
            "warning" if without > len(counts) / 10 else "note",
            without,
            len(counts),
            f"In batches of {size} so many objects meet no similar one.",
            "put several of a group into a batch: GroupSimilarityDataLoader(samples_per_group=4)",
        )
