"""Re-ranking: for each query a list of candidates, as "recall@k in N" needs it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from simlearn.evaluation.base_evaluator import BaseEvaluator
from simlearn.evaluation.encode import Encode, ObjectSet, samples_of
from simlearn.evaluation.rankings.files import ParseRecord, read_run, text_of
from simlearn.evaluation.rankings.judgements import judgements_of, named
from simlearn.evaluation.rankings.ranking import Qrels
from simlearn.evaluation.rankings.registry import retrieval_metrics
from simlearn.evaluation.rankings.values import RankedValues
from simlearn.evaluation.reports.report import EvaluationReport
from simlearn.samples import SimilarityRankingSample
from simlearn.scoring import Scorer
from simlearn.search import rank_candidates

_AT_ONCE = 1024


class RerankingEvaluator(BaseEvaluator):
    """How well each query's own candidates are ordered.

    A query without a relevant candidate has no value, and is counted as undefined.

    Args:
        samples: `SimilarityRankingSample` objects, or their loader; a relevance above 0 is relevant.
        metrics: names such as `"recall@1"`, `"mrr"`, `"ndcg@10"`; see `retrieval_metric`.
        relevance_level: a candidate is relevant from this relevance on; None: above 0.
        undefined: leave queries without a relevant candidate out of the means, or count them as `"zero"`.
        ids: what the queries are called in the report; None numbers them.
        notes: added to the report's notes.
        **options: see `BaseEvaluator`.

    Raises:
        ValueError: for no samples, unknown metrics, or relevances that do not fit the candidates.
    """

    def __init__(
        self,
        samples: Any,
        metrics: Iterable[str] = ("mrr", "recall@1", "recall@5", "recall@10", "ndcg@10"),
        *,
        relevance_level: float | None = None,
        undefined: Literal["skip", "zero"] = "skip",
        ids: Sequence[Any] | None = None,
        notes: Sequence[str] = (),
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if undefined not in ("skip", "zero"):
            raise ValueError(f"undefined must be 'skip' or 'zero', got {undefined!r}")
        self.metrics = retrieval_metrics(metrics)
        self.relevance_level = relevance_level
        self.undefined = undefined
        self.samples: list[SimilarityRankingSample] = samples_of(samples, SimilarityRankingSample)
        for sample in self.samples:
            if len(sample.documents) != len(sample.relevances):
                raise ValueError(
                    f"a sample has {len(sample.documents)} candidates and {len(sample.relevances)} relevances; give "
                    f"one relevance a candidate (query {sample.query!r:.80})"
                )
        self.ids = list(range(len(self.samples))) if ids is None else list(ids)
        self.queries = ObjectSet(self.ids, [sample.query for sample in self.samples], "query")
        owners = [(one, at) for one, sample in zip(self.ids, self.samples, strict=True) for at in range(_size(sample))]
        self.candidates = ObjectSet(owners, [one for sample in self.samples for one in sample.documents], "candidate")
        if not len(self.candidates):
            raise ValueError("no query has a candidate, so there is nothing to rank")
        sizes = torch.tensor([_size(sample) for sample in self.samples])
        self.offsets = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
        self.grades = torch.tensor([float(one) for sample in self.samples for one in sample.relevances])
        self._given_notes = list(notes)

    @classmethod
    def from_run(
        cls,
        queries: Any,
        corpus: Any,
        candidates: Mapping[Any, Sequence[Any]] | str | Path,
        qrels: Any,
        *,
        parse: ParseRecord = text_of,
        **options: Any,
    ) -> RerankingEvaluator:
        """From ids: what a first system found, to be put into a better order.

        Relevant documents that are not among a query's candidates are not counted against the order; the report says
        how many there are.

        Args:
            queries: as for `RetrievalEvaluator`.
            corpus: likewise.
            candidates: document ids by query id, or a TREC run file.
            qrels: as for `RetrievalEvaluator`.
            parse: from a JSON record to an object, for files.
            **options: as for the class.

        Raises:
            ValueError: for candidates that are not in the corpus, or queries that are not there.
        """
        query_ids, objects = named(queries, "queries", parse)
        document_ids, documents = named(corpus, "documents", parse)
        asked, known = dict(zip(query_ids, objects, strict=True)), dict(zip(document_ids, documents, strict=True))
        grades = judgements_of(qrels, query_ids).grades
        run = read_run(candidates) if isinstance(candidates, (str, Path)) else candidates
        samples, out_of_reach = [], 0
        for query, found in run.items():
            absent = [one for one in found if one not in known]
            if query not in asked or absent:
                what = f"query {query!r}" if query not in asked else f"document {absent[0]!r}"
                raise ValueError(f"the candidates name {what}, which is not given; check that the ids are of one type")
            judged = grades.get(query, {})
            out_of_reach += sum(grade > 0 and document not in set(found) for document, grade in judged.items())
            relevances = [judged.get(one, 0.0) for one in found]
            samples.append(SimilarityRankingSample(asked[query], [known[one] for one in found], relevances))
        notes = []
        if out_of_reach:
            notes.append(f"{out_of_reach:,} relevant documents are not among the candidates and are not counted.")
        return cls(samples, ids=list(run), notes=notes, **options)

    def objects(self) -> list[tuple[str, list[Any]]]:
        """The queries and all candidates."""
        return [("query", self.queries.distinct), ("document", self.candidates.distinct)]

    def measure(self, encode: Encode, scorer: Scorer) -> EvaluationReport:
        """Score every query against its candidates."""
        queries, documents = self.queries.embed(encode, "query"), self.candidates.embed(encode, "document")
        ranked = RankedValues(self.metrics, self.relevance_level)
        for start in range(0, len(queries), _AT_ONCE):
            rows = slice(start, min(start + _AT_ONCE, len(queries)))
            offsets = self.offsets[start : rows.stop + 1]
            own = slice(int(offsets[0]), int(offsets[-1]))
            lists = (offsets - offsets[0], torch.arange(own.stop - own.start))
            found = rank_candidates(queries.take(rows), documents.take(own), lists, scorer=scorer).indices.cpu()
            ranked.add(found, Qrels(*lists, self.grades[own]))
        values = ranked.spread(torch.arange(len(self.samples)), len(self.samples))
        sizes = self.offsets.diff()
        low, high = int(sizes.min()), int(sizes.max())
        each = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        return EvaluationReport(
            f"Re-ranking: {len(self.samples):,} queries, {each} candidates each",
            RankedValues.statistics(values, zero=self.undefined == "zero"),
            rows="queries",
            ids=self.ids,
            table={"query": [sample.query for sample in self.samples], "first_relevant": ranked.first_relevant()},
            values=values,
            notes=[*self._given_notes, *self.queries.notes()],
            **self.resampling,
        )


def _size(sample: SimilarityRankingSample) -> int:
    return len(sample.documents)
