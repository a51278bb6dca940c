"""Pairs of a query and a document, with a score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from simlearn.data.columns import Columns
from simlearn.data.kinds.sample_kind import Lacks, SampleKind, as_tensor, score_of
from simlearn.relations import Relation, RelationKind
from simlearn.samples import SimilarityPairSample


class PairKind(SampleKind):
    """`SimilarityPairSample`: query i with document i."""

    sample = SimilarityPairSample
    loader = "PairsSimilarityDataLoader"
    relation = RelationKind.PAIRS
    names = ("obj_a_id", "obj_b_id")
    lacks = Lacks(
        positives="every score is 0 or less",
        negatives="all pairs are of one subgroup or of one object; leave the subgroup at 0, or add other objects",
        judged_negatives=(
            "no score is below 1 and no two subgroups differ; add pairs with score=0.0, or give subgroups"
        ),
    )

    def queries(self, samples: Sequence[SimilarityPairSample]) -> list[Any]:
        """Every `obj_a`."""
        return [sample.obj_a for sample in samples]

    def documents(self, samples: Sequence[SimilarityPairSample]) -> tuple[list[Any], list[int]]:
        """Every `obj_b`."""
        return [sample.obj_b for sample in samples], [1] * len(samples)

    def labels(self, samples: Sequence[SimilarityPairSample]) -> Columns:
        """`scores` and `subgroups`."""
        return {
            "scores": torch.tensor([score_of(s.score, "score", s) for s in samples], dtype=torch.float32),
            "subgroups": torch.tensor([self.stable(s.subgroup, "subgroup", s) for s in samples], dtype=torch.long),
        }

    def targets(self, columns: Columns) -> Relation:
        """Row i judged against row i."""
        ids = (as_tensor(columns["query_ids"]), as_tensor(columns["document_ids"]))
        return Relation.from_pairs(as_tensor(columns["scores"]), as_tensor(columns["subgroups"]), ids)
