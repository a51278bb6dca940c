"""Objects of groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from simlearn.data.columns import Columns
from simlearn.data.kinds.sample_kind import Lacks, SampleKind, as_tensor
from simlearn.relations import Relation, RelationKind
from simlearn.samples import SimilarityGroupSample


class GroupKind(SampleKind):
    """`SimilarityGroupSample`: each object with all others."""

    sample = SimilarityGroupSample
    loader = "GroupSimilarityDataLoader"
    relation = RelationKind.GROUPS
    shared = True
    names = ("obj_id", None)
    lacks = Lacks(
        positives="every group has one object; give objects that belong together the same group",
        negatives="there is only one group; add objects of another",
        judged_negatives="there is only one group; add objects of another",
    )

    def queries(self, samples: Sequence[SimilarityGroupSample]) -> list[Any]:
        """Every `obj`."""
        return [sample.obj for sample in samples]

    def labels(self, samples: Sequence[SimilarityGroupSample]) -> Columns:
        """`groups`."""
        return {"groups": torch.tensor([self.stable(s.group, "group", s) for s in samples], dtype=torch.long)}

    def targets(self, columns: Columns) -> Relation:
        """Alike where the groups are equal."""
        return Relation.from_groups(as_tensor(columns["groups"]), as_tensor(columns["query_ids"]))

    def label_sets(self, source: Any) -> Iterator[set[int]]:
        """The group of each sample; its object is not read."""
        return ({self.stable(group, "group")} for group in source.values("group"))
