"""Re-ranking: for each query a list of candidates, as "recall@k in N" needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from simlearn.evaluation.base_evaluator import BaseEvaluator
from simlearn.evaluation.encode import Encode, ObjectSet, samples_of
from simlearn.evaluation.rankings.files import ParseRecord, read_run, text_of
from simlearn.evaluation.rankings.judgements import judgements_of, named, refuse_other_types
from simlearn.evaluation.rankings.ranking import Qrels
from simlearn.evaluation.rankings.registry import retrieval_metrics
from simlearn.evaluation.rankings.searching import Score
from simlearn.evaluation.rankings.values import RankedValues
from simlearn.evaluation.reports.report import EvaluationReport
from simlearn.ragged import Ragged
from simlearn.samples import SimilarityRankingSample
from simlearn.scoring import Scorer
from simlearn.search import rank_candidates, rank_scored

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
        out_of_reach: for each query the relevances of documents that are not among its candidates: they count as
            relevant and never found. None: there are none.
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
        out_of_reach: Sequence[Sequence[float]] | None = None,
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
        beyond = [()] * len(self.samples) if out_of_reach is None else out_of_reach
        if len(beyond) != len(self.samples):
            raise ValueError(f"out_of_reach has {len(beyond)} lists for {len(self.samples)} queries; give one for each")
        self.out_of_reach = [[float(one) for one in own] for own in beyond]
        self._given_notes = list(notes)

    @classmethod
    def from_run(
        cls,
        queries: Any,
        corpus: Any,
        candidates: Mapping[Any, Sequence[Any]] | str | Path,
        qrels: Any,
        *,
        missing: Literal["drop", "count"] = "drop",
        parse: ParseRecord = text_of,
        **options: Any,
    ) -> RerankingEvaluator:
        """From ids: what a first system found, to be put into a better order.

        The report says how many relevant documents are not among a query's candidates.

        Args:
            queries: as for `RetrievalEvaluator`.
            corpus: likewise.
            candidates: document ids by query id, or a TREC run file.
            qrels: as for `RetrievalEvaluator`.
            missing: whether relevant documents that are not among a query's candidates are left out (`"drop"`), which
                judges the order alone, or count as never found (`"count"`), which judges both systems together.
            parse: from a JSON record to an object, for files.
            **options: as for the class.

        Raises:
            ValueError: for candidates that are not in the corpus, queries that are not there, and judged ids of another
                type.
        """
        if missing not in ("drop", "count"):
            raise ValueError(f"missing must be 'drop' or 'count', got {missing!r}")
        query_ids, objects = named(queries, "queries", parse)
        document_ids, documents = named(corpus, "documents", parse)
        asked, known = dict(zip(query_ids, objects, strict=True)), dict(zip(document_ids, documents, strict=True))
        grades = judgements_of(qrels, query_ids).grades
        run = read_run(candidates) if isinstance(candidates, (str, Path)) else candidates
        refuse_other_types(
            "documents", dict.fromkeys(one for judged in grades.values() for one in judged), document_ids
        )
        samples: list[SimilarityRankingSample] = []
        out_of_reach: list[list[float]] = []
        for query, found in run.items():
            absent = [one for one in found if one not in known]
            if query not in asked or absent:
                what = f"query {query!r}" if query not in asked else f"document {absent[0]!r}"
                raise ValueError(f"the candidates name {what}, which is not given; check that the ids are of one type")
            judged = grades.get(query, {})
            reached = set(found)
            out_of_reach.append([grade for one, grade in judged.items() if grade > 0 and one not in reached])
            relevances = [judged.get(one, 0.0) for one in found]
            samples.append(SimilarityRankingSample(asked[query], [known[one] for one in found], relevances))
        notes, count = [], sum(map(len, out_of_reach))
        if count:
            what = "count as never found" if missing == "count" else "are not counted"
            notes.append(f"{count:,} relevant documents are not among the candidates and {what}.")
        beyond = out_of_reach if missing == "count" else None
        return cls(samples, ids=list(run), notes=notes, out_of_reach=beyond, **options)

    def objects(self) -> list[tuple[str, list[Any]]]:
        """The queries and all candidates."""
        return [("query", self.queries.distinct), ("document", self.candidates.distinct)]

    def evaluate(
        self, dataset: Any = None, model: Any = None, scorer: Scorer | None = None, *, score: Score | None = None
    ) -> EvaluationReport:
        """Order the candidates with a model, or with anything else that scores, and judge the order.

        Args:
            dataset: must be None: the evaluator has its own.
            model: see `BaseEvaluator`.
            scorer: likewise.
            score: who scores instead of a model, such as a cross-encoder: a function `score(queries, documents)` from
                two parallel lists of N objects to N scores; higher is better. With sentence-transformers,
                `lambda queries, documents: cross_encoder.predict(list(zip(queries, documents)))`.

        Raises:
            TypeError: for a score beside a model.
            ValueError: for another number of scores than pairs, and for NaN.

        >>> evaluator = RerankingEvaluator([SimilarityRankingSample("cat", ["cats", "dog"], [1.0, 0.0])], ["mrr"])
        >>> evaluator.evaluate(score=lambda queries, documents: [len(one) for one in documents])["mrr"]
        1.0
        """
        if score is None:
            return super().evaluate(dataset, model, scorer)
        if not all(other is None for other in (dataset, model, scorer)):
            raise TypeError("give score= alone: it needs neither a model nor a scorer")

        def scored(rows: slice, lists: Ragged) -> Tensor:
            samples = self.samples[rows]
            queries = [sample.query for sample in samples for _ in range(_size(sample))]
            return _numbers(score(queries, [one for sample in samples for one in sample.documents]), len(queries))

        return self._judge(lambda rows, lists: rank_scored(scored(rows, lists), lists).indices)

    def measure(self, encode: Encode, scorer: Scorer) -> EvaluationReport:
        """Score every query against its candidates."""
        queries, documents = self.queries.embed(encode, "query"), self.candidates.embed(encode, "document")

        def order(rows: slice, lists: Ragged) -> Tensor:
            own = slice(int(self.offsets[rows.start]), int(self.offsets[rows.stop]))
            return rank_candidates(queries.take(rows), documents.take(own), lists, scorer=scorer).indices.cpu()

        return self._judge(order)

    def _qrels(self, rows: slice, grades: Ragged) -> Qrels:
        """The relevances of candidates, and those that no order can reach, behind all candidates."""
        beyond = Ragged.from_lists(self.out_of_reach[rows], torch.float32)
        owners = torch.cat([grades.owners(), beyond.owners()])
        order = owners.argsort(stable=True)
        offsets = grades.offsets + beyond.offsets
        return Qrels(offsets, order, torch.cat([grades.values, beyond.values])[order])

    def _judge(self, order: Callable[[slice, Ragged], Tensor]) -> EvaluationReport:
        """Judge the order (n, k) into which the candidates of some queries are put, numbered from the first one's."""
        ranked = RankedValues(self.metrics, self.relevance_level)
        for start in range(0, len(self.samples), _AT_ONCE):
            rows = slice(start, min(start + _AT_ONCE, len(self.samples)))
            grades = Ragged(self.offsets, self.grades).cut(rows)
            lists = Ragged(grades.offsets, torch.arange(len(grades.values)))
            ranked.add(order(rows, lists), self._qrels(rows, grades))
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


def _numbers(scores: Any, count: int) -> Tensor:
    found = torch.as_tensor(np.asarray(scores) if not isinstance(scores, Tensor) else scores.detach()).float().cpu()
    if found.shape != (count,):
        raise ValueError(f"score gave the shape {tuple(found.shape)} for {count} pairs; give one number for each")
    return found
