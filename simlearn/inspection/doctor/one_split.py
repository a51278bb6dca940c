"""What is looked for in one split: each check takes the columns and gives its findings."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from simlearn.data.loaders import GroupSimilarityDataLoader
from simlearn.inspection.doctor.findings import Finding, shown
from simlearn.inspection.doctor.split import Integers, Split
from simlearn.relations import RelationKind

EXAMPLES = 3


def repeated_samples(split: Split) -> Iterator[Finding]:
    """The same two objects, or object and group, more than once, saying the same."""
    said = split.pairs(ordered=True) if split.has_documents else _keyed(split.queries, split.groups)
    if split.has_documents:
        said = _keyed(said, np.sign(np.maximum(split.scores, 0)).astype(np.int64))
    again = _later_ones(said)
    if len(again):
        what = "pair" if split.has_documents else "object with its label"
        yield _finding(
            split,
            "repeated_samples",
            "warning",
            again,
            len(said),
            f"The same {what} comes more than once, and counts that much more.",
            "drop the repetitions, unless they are meant as weights",
        )


def twins(split: Split) -> Iterator[Finding]:
    """Objects that differ in case, white space or Unicode form alone: a loss takes them for different."""
    ids = np.concatenate([split.queries, split.documents])
    exact = np.concatenate([split.exact_queries, split.exact_documents])
    objects, first = np.unique(exact, return_index=True)
    same = ids[first]
    order = np.argsort(same, kind="stable")
    twice = np.zeros(len(same), dtype=bool)
    equal = same[order][1:] == same[order][:-1]
    twice[order[1:][equal]] = True
    rows = first[twice] % max(1, len(split.queries))
    if len(rows):
        yield _finding(
            split,
            "equal_after_normalisation",
            "warning",
            rows,
            len(objects),
            "Objects differ from others only in case, white space or Unicode form. Equal objects of a batch are never "
            "taken for negatives of each other, these are.",
            "bring texts to one form before they become samples",
        )


def contradictions(split: Split) -> Iterator[Finding]:
    """The same two objects called similar and different; an object in two groups; a pair in two subgroups."""
    if split.relation is RelationKind.GROUPS:
        rows = _with_several(split.queries, split.groups)
        if len(rows):
            yield _finding(
                split,
                "object_in_two_groups",
                "error",
                rows,
                len(split.queries),
                "The same object is in more than one group: it is to be near and far from the same others.",
                "keep one group each, or use SimilarityLabelSample, where objects may have several labels",
            )
    if not split.has_documents:
        return
    pairs = split.pairs()
    rows = _with_several(pairs, (split.scores > 0).astype(np.int64))
    if len(rows):
        yield _finding(
            split,
            "conflicting_pairs",
            "error",
            rows,
            len(pairs),
            "The same two objects are called similar in one sample and different in another (in either order, after "
            "normalisation).",
            "decide for one, or drop both",
        )
    positive = split.scores > 0
    rows = np.flatnonzero(positive)[_with_several(pairs[positive], split.scores[positive].view(np.int32))]
    if len(rows):
        yield _finding(
            split,
            "differing_scores",
            "warning",
            rows,
            len(pairs),
            "The same two objects are similar to different degrees; within a batch the highest holds.",
            "take their mean",
        )
    named = split.groups != 0
    rows = np.flatnonzero(named)[_with_several(pairs[named], split.groups[named])]
    if len(rows):
        yield _finding(
            split,
            "pair_in_two_subgroups",
            "error",
            rows,
            len(pairs),
            "The same pair is in two subgroups, whose objects are known to be different.",
            "keep one subgroup, or give 0, which says nothing",
        )
    rows = np.flatnonzero((split.queries == split.documents) & positive)
    if len(rows):
        yield _finding(
            split,
            "self_pairs",
            "warning",
            rows,
            len(pairs),
            "An object is paired with itself, which is similar whatever the model does.",
            "drop these pairs, unless dropout is to tell them apart (SimCSE)",
        )


def group_sizes(split: Split) -> Iterator[Finding]:
    """Groups, labels and queries that give no positive."""
    if split.relation is RelationKind.RANKING:
        has = np.zeros(split.n_samples, dtype=bool)
        has[split.owners[split.scores > 0]] = True
        if not has.all():
            owners = np.flatnonzero(~has)
            rows = np.searchsorted(split.owners, owners)
            rows = rows[rows < len(split.owners)]  # one without any candidate has none to show
            rows = rows[np.isin(split.owners[rows], owners)]
            yield _finding(
                split,
                "queries_without_positive",
                "warning",
                rows,
                split.n_samples,
                "Queries have no candidate with a relevance above 0, and teach most losses nothing.",
                "drop them, or add a relevant document",
                count=len(owners),
            )
    if split.unlabelled:
        yield Finding(
            "unlabelled_objects",
            "warning",
            split.unlabelled,
            split.n_samples,
            f"In {split.name} objects have no label; they are negatives of everything.",
            "leave them in only if that is true",
        )
    if split.has_documents or not len(split.groups):
        return
    groups, first, sizes = np.unique(split.groups, return_index=True, return_counts=True)
    rows = first[sizes == 1]
    if len(rows):
        yield _finding(
            split,
            "lonely_groups",
            "warning",
            rows,
            len(groups),
            "Groups have one object, which is therefore never a positive.",
            "drop them for losses that need positives, or find a second object",
        )
    wanted = split.loader.samples_per_group if isinstance(split.loader, GroupSimilarityDataLoader) else None
    rows = first[(sizes < wanted) & (sizes > 1)] if wanted is not None else first[:0]
    if wanted is not None and len(rows):
        yield _finding(
            split,
            "small_groups",
            "note",
            rows,
            len(groups),
            f"Groups have fewer than samples_per_group={wanted} objects; their batches are smaller.",
        )


def lengths(split: Split) -> Iterator[Finding]:
    """Empty objects, and those far longer than the others."""
    sides: list[tuple[str, Integers, Integers]] = [("objects", split.queries, split.query_lengths)]
    if split.has_documents:
        sides = [("queries", *sides[0][1:]), ("documents", split.documents, split.document_lengths)]
    for side, ids, sizes in sides:
        if not len(sizes) or not sizes.any():
            continue  # no texts
        _, first = np.unique(ids, return_index=True)
        of_each = sizes[first]
        rows = first[of_each == 0]
        if len(rows):
            yield _finding(
                split,
                f"empty_{side}",
                "error",
                rows,
                len(first),
                f"Some {side} are empty, and all of these get one embedding.",
                "drop them",
            )
        filled = of_each[of_each > 0]
        low, middle, high = np.quantile(filled, [0.25, 0.5, 0.75])
        limit = max(high * (high / low) ** 3, 4 * middle)
        rows = first[of_each > limit]
        if len(rows):
            longest = int(of_each.max())
            order = np.argsort(-sizes[rows], kind="stable")
            yield _finding(
                split,
                f"long_{side}",
                "note",
                rows[order],
                len(first),
                f"Some {side} have more than {limit:,.0f} characters, the longest {longest:,}, half of all at most "
                f"{middle:,.0f}. What a batch needs in memory and time goes by its longest, and an encoder cuts off "
                "what is beyond its own limit.",
                "cut them into passages, or train with encode_chunk_tokens",
            )


def _finding(
    split: Split,
    name: str,
    severity: str,
    rows: npt.NDArray[np.intp],
    total: int,
    text: str,
    cure: str = "",
    count: int | None = None,
) -> Finding:
    examples = tuple(split.texts(rows[:EXAMPLES], lambda value: shown(value, 60)))
    found = len(rows) if count is None else count
    return Finding(name, severity, found, total, f"In {split.name}: {text}", cure, examples)  # type: ignore[arg-type]


def _keyed(first: Integers, second: Integers) -> Integers:
    """One number for two, different where either is, but for a chance of one in 2^64."""
    mixed = first.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    found: Integers = ((mixed ^ (mixed >> np.uint64(32))) + second.astype(np.int64).view(np.uint64)).view(np.int64)
    return found


def _later_ones(keys: Integers) -> npt.NDArray[np.intp]:
    """Where a number comes that came before."""
    _, first = np.unique(keys, return_index=True)
    later = np.ones(len(keys), dtype=bool)
    later[first] = False
    return np.flatnonzero(later)


def _with_several(keys: Integers, values: npt.NDArray[np.integer]) -> npt.NDArray[np.intp]:
    """The places of keys that come with more than one value; the places of a key follow each other."""
    if not len(keys):
        return np.empty(0, dtype=np.intp)
    _, key = np.unique(keys, return_inverse=True)
    _, value = np.unique(values, return_inverse=True)
    both = np.unique(key.astype(np.int64) * (int(value.max()) + 1) + value)
    several = np.flatnonzero(np.bincount(both // (int(value.max()) + 1)) > 1)
    rows = np.flatnonzero(np.isin(key, several))
    return rows[np.argsort(key[rows], kind="stable")]
