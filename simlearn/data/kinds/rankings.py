"""Queries with candidates of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from simlearn.data.columns import Columns
from simlearn.data.kinds.sample_kind import Lacks, SampleKind, as_ragged, as_tensor, score_of
from simlearn.ragged import Ragged
from simlearn.relations import Relation, RelationKind
from simlearn.samples import SimilarityRankingSample


class RankingKind(SampleKind):
    """`SimilarityRankingSample`: a query with its candidates."""

    sample = SimilarityRankingSample
    loader = "RankingSimilarityDataLoader"
    relation = RelationKind.RANKING
    has_candidates = True
    names = ("query_id", "document_ids")
    lacks = Lacks(
        positives="every relevance is 0 or less",
        negatives="all candidates are relevant, or one object; add some with relevance 0, or other queries",
        judged_negatives="every relevance is above 0; add candidates with relevance 0",
    )

    def queries(self, samples: Sequence[SimilarityRankingSample]) -> list[Any]:
        """Every `query`."""
        return [sample.query for sample in samples]

    def documents(self, samples: Sequence[SimilarityRankingSample]) -> tuple[list[Any], list[int]]:
        """All candidates, sample by sample."""
        candidates = [_candidates(sample) for sample in samples]
        return [document for documents in candidates for document in documents], [len(one) for one in candidates]

    def labels(self, samples: Sequence[SimilarityRankingSample]) -> Columns:
        """`relevances`, ragged."""
        for sample in samples:
            documents, relevances = len(_candidates(sample)), len(sample.relevances)
            if documents != relevances:
                raise ValueError(
                    f"a ranking sample has {documents} documents and {relevances} relevances; give one relevance a "
                    f"document (query {sample.query!r:.80})"
                )
        rows = [[score_of(value, "relevance", s) for value in s.relevances] for s in samples]
        return {"relevances": Ragged.from_lists(rows, torch.float32)}

    def targets(self, columns: Columns) -> Relation:
        """Each query judged against its own candidates."""
        relevances = as_ragged(columns["relevances"])
        ids = (as_tensor(columns["query_ids"]), as_tensor(columns["document_ids"]))
        return Relation.from_ranking(relevances.offsets, relevances.values, ids)


def _candidates(sample: SimilarityRankingSample) -> Sequence[Any]:
    if isinstance(sample.documents, (str, bytes)) or not hasattr(sample.documents, "__len__"):
        raise TypeError(
            f"the documents of a ranking sample must be a list, got a {type(sample.documents).__name__} "
            f"(query {sample.query!r:.80})"
        )
    return sample.documents
