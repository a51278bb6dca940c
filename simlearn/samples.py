"""What a user feeds in: objects, and what is known of which of them are similar.

An object is anything an encoder can read: a text, an image, a dictionary of fields. Groups, subgroups and labels may be
given as integers or under any stable name (see `simlearn.hashing.stable_id`).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass
class SimilarityPairSample:
    """Two objects and how similar they are.

    An object may be given a name, such as the number of a product: objects of one name are one object, which is never a
    negative of itself. Without names they are told by their content, which takes longer than many encoders take to read
    it. In a model with one tower a name means one object on both sides.

    Args:
        obj_a: the first object; for a two-tower model, the query.
        obj_b: the second object; for a two-tower model, the document.
        score: 1 means similar, 0 different; losses for graded scores take any finite number between.
        subgroup: objects of different subgroups are known to be different. The default, 0, says nothing. Objects of one
            non-default subgroup are never taken for negatives of each other.
        obj_a_id: the first object's name, an integer or any stable name; None tells it by its content.
        obj_b_id: the second object's.

    >>> SimilarityPairSample("cheesecake", "muffins", subgroup="sweets").score
    1.0
    """

    obj_a: Any
    obj_b: Any
    score: float = 1.0
    subgroup: Hashable = 0
    obj_a_id: Hashable | None = None
    obj_b_id: Hashable | None = None


@dataclass
class SimilarityGroupSample:
    """An object and the group it belongs to: objects of one group are similar, objects of two groups are not.

    Args:
        obj: the object.
        group: an integer or any stable name.
        obj_id: the object's name; None tells it by its content. See `SimilarityPairSample`.
    """

    obj: Any
    group: Hashable
    obj_id: Hashable | None = None


@dataclass
class SimilarityRankingSample:
    """A query, its candidate documents and how relevant each of them is.

    Args:
        query: the query.
        documents: the candidates, as many as you like; their number may differ from sample to sample.
        relevances: one finite number a candidate; a document of relevance 0 or less is a negative.
        query_id: the query's name; None tells it by its content. See `SimilarityPairSample`.
        document_ids: the names of the documents, as many as these; None tells them by their content.
    """

    query: Any
    documents: Sequence[Any]
    relevances: Sequence[float]
    query_id: Hashable | None = None
    document_ids: Sequence[Hashable] | None = None


@dataclass
class SimilarityLabelSample:
    """An object with any number of labels: two objects are similar when they share at least one.

    Args:
        obj: the object.
        labels: integers or stable names, in a list or a set; one that is neither counts as the only label.
        obj_id: the object's name; None tells it by its content. See `SimilarityPairSample`.
    """

    obj: Any
    labels: Iterable[Hashable] | Hashable
    obj_id: Hashable | None = None


SimilaritySample: TypeAlias = (
    SimilarityPairSample | SimilarityGroupSample | SimilarityRankingSample | SimilarityLabelSample
)
