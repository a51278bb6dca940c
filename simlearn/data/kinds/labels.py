"""Objects with any number of labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

from simlearn.data.columns import Columns
from simlearn.data.kinds.sample_kind import Lacks, SampleKind, as_ragged, as_tensor
from simlearn.ragged import Ragged
from simlearn.relations import Relation, RelationKind
from simlearn.samples import SimilarityLabelSample


class LabelKind(SampleKind):
    """`SimilarityLabelSample`: each object with all others."""

    sample = SimilarityLabelSample
    loader = "LabelSimilarityDataLoader"
    relation = RelationKind.LABELS
    shared = True
    names = ("obj_id", None)
    lacks = Lacks(
        positives="no label is shared; give objects that belong together a label in common",
        negatives="one label is shared by all; leave it out, or add objects without it",
        judged_negatives="one label is shared by all; leave it out, or add objects without it",
    )

    def queries(self, samples: Sequence[SimilarityLabelSample]) -> list[Any]:
        """Every `obj`."""
        return [sample.obj for sample in samples]

    def labels(self, samples: Sequence[SimilarityLabelSample]) -> Columns:
        """`labels`, ragged; repeated ones count once."""
        return {"labels": Ragged.from_lists([sorted(self.label_set(sample)) for sample in samples], torch.long)}

    def label_set(self, sample: SimilarityLabelSample) -> set[int]:
        """The ids of a sample's labels."""
        return {self.stable(label, "label", sample) for label in _labels_of(sample)}

    def targets(self, columns: Columns) -> Relation:
        """Alike where a label is shared."""
        labels = as_ragged(columns["labels"])
        return Relation.from_labels(labels.offsets, labels.values, as_tensor(columns["query_ids"]))

    def label_sets(self, source: Any) -> Iterator[set[int]]:
        """The labels of each sample."""
        return (self.label_set(sample) for sample in source)


def _labels_of(sample: SimilarityLabelSample) -> Iterable[Any]:
    labels = sample.labels
    if isinstance(labels, (str, bytes)):
        return (labels,)
    if labels is None or isinstance(labels, Iterator):
        raise TypeError(
            f"labels must be a list of labels or one label, got {type(labels).__name__} in {sample!r:.200}; an object "
            "without labels has an empty list"
        )
    try:
        return list(labels)  # type: ignore[arg-type]  # what has no items is refused by list itself
    except TypeError:
        return (labels,)
