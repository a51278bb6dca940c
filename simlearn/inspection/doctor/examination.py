"""The data doctor's one function."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from simlearn.data.embedding_objects import Encode
from simlearn.data.kinds import KINDS
from simlearn.data.loaders import (
    GroupSimilarityDataLoader,
    LabelSimilarityDataLoader,
    PairsSimilarityDataLoader,
    RankingSimilarityDataLoader,
)
from simlearn.data.similarity_data_loader import SimilarityDataLoader
from simlearn.inspection.doctor import between, one_split
from simlearn.inspection.doctor.findings import DataReport, Finding
from simlearn.inspection.doctor.split import Split

_LOADERS: dict[type, type[SimilarityDataLoader]] = {
    loader.kind_class.sample: loader
    for loader in (
        PairsSimilarityDataLoader,
        GroupSimilarityDataLoader,
        LabelSimilarityDataLoader,
        RankingSimilarityDataLoader,
    )
}


def examine(
    train: Any,
    validation: Any = None,
    *,
    encode: Encode | None = None,
    threshold: float = 0.95,
    max_encoded: int = 20_000,
) -> DataReport:
    """Look through data before training on it.

    It tells of objects in both splits, of repetitions and contradictions, of objects that differ in case or white space
    alone, of groups that give no positive, of empty and very long objects, and of how many negatives a query gets in a
    batch; each with examples and a cure. Data are read once, into 68 bytes a pair, and objects compared by 64 bits of
    their content.

    ```python
    report = simlearn.examine(train_loader, validation_loader)
    print(report)
    if not report.is_clean: ...
    ```

    Args:
        train: a loader, or samples. Of batches can be told only where it is a loader.
        validation: likewise, of the same kind.
        encode: a model, or a function of a list of objects and `"query"` or `"document"`: objects that nearly coincide
            for it are told of too.
        threshold: from which cosine on they do.
        max_encoded: of so many objects of each split and role at most, evenly spread.

    Returns:
        What was found.

    Raises:
        TypeError: for what holds no samples, or splits of different kinds.
        ValueError: for a threshold outside (0, 1], and samples that no loader would take.

    >>> from simlearn.samples import SimilarityPairSample
    >>> pairs = [SimilarityPairSample("How?", "So."), SimilarityPairSample("Why?", "Because.")]
    >>> examine(pairs, [SimilarityPairSample("how? ", "so.")])["leaked_pairs"].count
    1
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be a cosine above 0 and at most 1, got {threshold}")
    if max_encoded < 2:
        raise ValueError(f"max_encoded must be at least 2, got {max_encoded}")
    splits = {"train": Split.read(_loader(train), "train")}
    if validation is not None:
        splits["validation"] = Split.read(_loader(validation), "validation")
        kinds = {split.relation for split in splits.values()}
        if len(kinds) > 1:
            names = " and ".join(sorted(map(str, kinds)))
            raise TypeError(f"train and validation hold different kinds of samples: {names}")
    findings = list(_within(splits["train"], isinstance(train, SimilarityDataLoader)))
    if validation is not None:
        others = _within(splits["validation"], with_batches=False)
        findings += [one for one in others if one.name not in _OF_TRAINING]
        findings += between.leaks(splits["train"], splits["validation"])
    if encode is not None:
        findings += between.near(splits["train"], splits.get("validation"), encode, threshold, max_encoded)
    sizes: dict[str, int] = {}
    for name, split in splits.items():
        sizes[f"samples of {name}"] = split.n_samples
        sizes[f"different objects in {name}"] = len(split.objects())
    return DataReport(tuple(findings), sizes, _looked_for(splits["train"], validation is not None, encode is not None))


_OF_TRAINING = ("small_groups",)


def _within(split: Split, with_batches: bool) -> Iterator[Finding]:
    yield from one_split.repeated_samples(split)
    yield from one_split.twins(split)
    yield from one_split.contradictions(split)
    yield from one_split.group_sizes(split)
    yield from one_split.lengths(split)
    if with_batches:
        yield from between.batches(split)


def _looked_for(split: Split, has_validation: bool, has_encoder: bool) -> tuple[str, ...]:
    names = ["repeated_samples", "equal_after_normalisation"]
    sides = ("queries", "documents") if split.has_documents else ("objects",)
    if split.has_documents:
        names += ["conflicting_pairs", "differing_scores", "pair_in_two_subgroups", "self_pairs"]
    else:
        names += ["object_in_two_groups", "lonely_groups"]
    if bool(np.any(split.query_lengths)):
        names += [f"{what}_{side}" for side in sides for what in ("empty", "long")]
    if has_validation:
        names += ["leaked_pairs", "leaked_queries"] if split.has_documents else ["leaked_objects"]
    if has_encoder:
        names += [f"near_duplicate_{side}" for side in sides]
        names += [f"near_leaked_{side}" for side in sides] if has_validation else []
    return tuple(names)


def _loader(data: Any) -> SimilarityDataLoader:
    """The data's loader; samples alone get one, after the kind of the first."""
    if isinstance(data, SimilarityDataLoader):
        return data
    for sample in islice(iter(data), 1):
        if type(sample) in _LOADERS:
            return _LOADERS[type(sample)](data)
        names = ", ".join(kind.sample.__name__ for kind in KINDS)
        raise TypeError(f"examine needs a loader or samples ({names}), got a {type(sample).__name__} among the data")
    raise ValueError("the data set is empty; there is nothing to examine")
