"""Search: queries against a corpus, judged by relevance judgements."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from simlearn.embeddings import Embeddings
from simlearn.evaluation.base_evaluator import BaseEvaluator
from simlearn.evaluation.encode import Encode, ObjectSet, encoder_of
from simlearn.evaluation.rankings.files import Judgements, ParseRecord, read_objects, read_qrels, text_of
from simlearn.evaluation.rankings.judgements import Judged, judgements_of, named, sampled_rows
from simlearn.evaluation.rankings.registry import retrieval_metrics
from simlearn.evaluation.rankings.searching import Search, Searched
from simlearn.evaluation.rankings.values import RankedValues
from simlearn.evaluation.reports.report import EvaluationReport
from simlearn.scoring import Scorer
from simlearn.search import id_ranks, top_k

Transforms: TypeAlias = Mapping[str, Callable[[Any], Any] | None]
"""By name from a query object to another one; None for the query as it is."""

DEFAULT_METRICS = ("ndcg@10", "mrr@10", "map@100", "recall@1", "recall@10", "recall@100")
_CELLS = 2**23
"""Places of rankings held at once."""


class RetrievalEvaluator(BaseEvaluator):
    """How well queries find what is relevant to them in a corpus, exactly.

    Queries without a relevant document have no value: they are not encoded, and counted as undefined.

    Args:
        queries: objects by id, a list of them (the ids are then 0, 1, ...), or a file (see `read_objects`).
        corpus: the documents, likewise.
        qrels: by query id the grades by document id, or the ids of the relevant documents; a list of those in the
            order of the queries; or a file (see `read_qrels`). A grade above 0 is relevant.
        metrics: names such as `"recall@10"`, `"ndcg@10"`, `"mrr"`; see `retrieval_metric`.
        relevance_level: a document is relevant from this grade on; None: above 0. nDCG looks at grades alone.
        undefined: leave queries without a relevant document out of the means, or count them as `"zero"`, as trec_eval
            does; they are reported either way.
        missing: what to do about judged ids that are not among the queries or documents: `"error"`; `"count"` such
            documents as relevant and never found; or `"drop"` such judgements. What is left out is counted.
        exclude_same_id: no query finds the document with its own id (BEIR's ArguAna and Quora need it).
        ties: which of equal scores comes first: the `"first"` document, or, with `"trec"`, the last by id, as in
            trec_eval.
        query_transforms: ask the same things in several ways, by name from a query object to another one, None for the
            query as it is: `{"": None, "typos_prob=0.5": KeyboardTypos(0.5)}`. The corpus is encoded once. A figure is
            called `recall@10/typos_prob=0.5`, and `recall@10` under the empty name.
        corpus_sample: search among so many documents drawn at random beside all that are judged, in place of the whole
            corpus, which takes less time. Figures are then higher than on the whole, and the report says so.
        parse: from a JSON record to an object, for files.
        **options: see `BaseEvaluator`; `seed` also draws the sample.

    Raises:
        ValueError: for no queries or documents, unknown metrics, ids that are missing, or no relevant document at all.

    >>> from simlearn.evaluation import RetrievalEvaluator
    >>> evaluator = RetrievalEvaluator(["a", "b"], ["A", "B"], [[0], [1]], metrics=["mrr"])
    >>> report = evaluator.evaluate(model=lambda objects, role: [[ord(one.lower()) - 96.0, 1.0] for one in objects])
    >>> report["mrr"]
    1.0
    """

    def __init__(
        self,
        queries: Mapping[Any, Any] | Sequence[Any] | str | Path,
        corpus: Mapping[Any, Any] | Sequence[Any] | str | Path,
        qrels: Mapping[Any, Any] | Sequence[Any] | Judgements | str | Path,
        metrics: Iterable[str] = DEFAULT_METRICS,
        *,
        relevance_level: float | None = None,
        undefined: Literal["skip", "zero"] = "skip",
        missing: Literal["error", "count", "drop"] = "error",
        exclude_same_id: bool = False,
        ties: Literal["first", "trec"] = "first",
        query_transforms: Transforms | None = None,
        corpus_sample: int | None = None,
        parse: ParseRecord = text_of,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if undefined not in ("skip", "zero"):
            raise ValueError(f"undefined must be 'skip' or 'zero', got {undefined!r}")
        if ties not in ("first", "trec"):
            raise ValueError(f"ties must be 'first' or 'trec', got {ties!r}")
        self.metrics = retrieval_metrics(metrics)
        self.relevance_level = relevance_level
        self.undefined = undefined
        self.exclude_same_id = exclude_same_id
        self.ties = ties
        query_ids, query_objects = named(queries, "queries", parse)
        document_ids, documents = named(corpus, "documents", parse)
        judgements = judgements_of(qrels, query_ids)
        self._sampled_from: int | None = None
        if corpus_sample is not None:
            self._sampled_from = len(document_ids)
            rows = sampled_rows(judgements, document_ids, corpus_sample, self.resampling["seed"])
            document_ids, documents = [document_ids[row] for row in rows], [documents[row] for row in rows]
        self.judged = Judged.of(judgements, query_ids, document_ids, missing)
        kept = self.judged.searched
        self.query_ids: list[Hashable] = query_ids
        self.query_objects = query_objects
        self.queries = ObjectSet([query_ids[row] for row in kept], [query_objects[row] for row in kept], "query")
        self.corpus = ObjectSet(document_ids, documents, "document")
        self.query_transforms: Transforms = {"": None} if query_transforms is None else dict(query_transforms)
        if not self.query_transforms:
            raise ValueError("query_transforms must not be empty; leave it out to ask the queries as they are")
        self._asked = {name: self._changed(transform) for name, transform in self.query_transforms.items()}

    @classmethod
    def from_beir(cls, folder: str | Path, split: str = "test", **options: Any) -> RetrievalEvaluator:
        """From a folder as BEIR has it: `corpus.jsonl`, `queries.jsonl` and `qrels/<split>.tsv`.

        Args:
            folder: the folder.
            split: which judgements; queries that it does not judge are left out.
            **options: as for the class.
        """
        folder = Path(folder)
        parse: ParseRecord = options.get("parse", text_of)
        qrels = read_qrels(folder / "qrels" / f"{split}.tsv")
        queries = read_objects(folder / "queries.jsonl", parse)
        judged = {name: query for name, query in queries.items() if name in qrels.grades}
        return cls(judged, folder / "corpus.jsonl", qrels, **options)

    def objects(self) -> list[tuple[str, list[Any]]]:
        """The queries that have a relevant document, in each of their ways, and the corpus."""
        return [*(("query", asked.distinct) for asked in self._asked.values()), ("document", self.corpus.distinct)]

    def evaluate(
        self, dataset: Any = None, model: Any = None, scorer: Scorer | None = None, *, search: Search | None = None
    ) -> EvaluationReport:
        """Search the corpus with a model, or with anything else, and judge what is found.

        Args:
            dataset: must be None: the evaluator has its own.
            model: see `BaseEvaluator`.
            scorer: likewise.
            search: who searches instead of a model, such as BM25, an index or a service: a function
                `search(queries, k)` from a list of query objects to the ids of at most k documents for each, best
                first; a dictionary by query id of document ids, or of scores by document id; or a TREC run file. Only
                queries with a relevant document are asked.

        Raises:
            TypeError: for a search beside a model.
            ValueError: for documents that are not in the corpus, or found twice.

        >>> evaluator = RetrievalEvaluator({"q": "cat"}, {"a": "cat", "b": "dog"}, {"q": ["a"]}, metrics=["mrr"])
        >>> evaluator.evaluate(search=lambda queries, k: [["b", "a"]])["mrr"]
        0.5
        """
        if search is None:
            return super().evaluate(dataset, model, scorer)
        if not all(other is None for other in (dataset, model, scorer)):
            raise TypeError("give search= alone: it needs neither a model nor a scorer")
        reports = {}
        for name, asked in self._asked.items():
            objects = [asked.distinct[row] for row in asked.rows.tolist()]
            searched = Searched(search, asked.ids, objects, self.corpus.ids, self.exclude_same_id)
            reports[name] = self._judge(searched)
        return self._together(reports)

    def evaluate_queries(
        self, transforms: Transforms, model: Any = None, scorer: Scorer | None = None
    ) -> dict[str, EvaluationReport]:
        """Ask the same things in several ways: with a prompt, with typos. The corpus is encoded once.

        Args:
            transforms: by name from a query object to another one; None for the query as it is.
            model: see `BaseEvaluator`.
            scorer: likewise.

        Returns:
            A report by name; `reports["typos"].compare(reports["as they are"])` tells what it costs.
        """
        encode, scorer = encoder_of(model, scorer or self.scorer, self.batch_size, self.show_progress)
        asked = {name: self._changed(transform) for name, transform in transforms.items()}
        return self._measured(asked, encode, scorer)

    def measure(self, encode: Encode, scorer: Scorer) -> EvaluationReport:
        """Search the whole corpus for every query, and judge what is found."""
        return self._together(self._measured(self._asked, encode, scorer))

    def _changed(self, transform: Callable[[Any], Any] | None) -> ObjectSet:
        if transform is None:
            return self.queries
        objects = [transform(self.query_objects[row]) for row in self.judged.searched]
        return ObjectSet(self.queries.ids, objects, "query")

    def _measured(self, asked: Mapping[str, ObjectSet], encode: Encode, scorer: Scorer) -> dict[str, EvaluationReport]:
        documents = self.corpus.embed(encode, "document")
        return {
            name: self._judge(partial(self._nearest, queries.embed(encode, "query"), documents, scorer))
            for name, queries in asked.items()
        }

    @staticmethod
    def _together(reports: Mapping[str, EvaluationReport]) -> EvaluationReport:
        """One report on queries that were asked in several ways, of which the first is shown query by query."""
        first = next(iter(reports.values()))
        if list(reports) == [""]:
            return first
        statistics: dict[str, Any] = {}
        values: dict[str, Any] = {}
        for name, report in reports.items():
            suffix = f"/{name}" if name else ""
            statistics |= {f"{metric}{suffix}": one for metric, one in report.statistics.items()}
            values |= {f"{metric}{suffix}": one for metric, one in report.values_of_rows.items()}
        notes = dict.fromkeys(note for report in reports.values() for note in report.notes)
        return first.with_figures(statistics, values, list(notes))

    def _judge(self, search: Callable[[slice, int], Tensor]) -> EvaluationReport:
        """Judge the rows (n, k) of documents that are found for some queries and a k."""
        ranked = RankedValues(self.metrics, self.relevance_level)
        deepest = [metric.depth(self.judged.most_relevant, len(self.corpus)) for metric in self.metrics]
        depth = max(deepest, default=1)
        at_once = max(1, _CELLS // max(depth, self.judged.most_judged))
        for start in range(0, len(self.queries), at_once):
            rows = slice(start, min(start + at_once, len(self.queries)))
            ranked.add(search(rows, depth), self.judged.qrels(rows))
        return self._report(ranked, getattr(search, "notes", []))

    def _nearest(self, queries: Embeddings, documents: Embeddings, scorer: Scorer, rows: slice, k: int) -> Tensor:
        options: dict[str, Any] = {"ties": self.ties}
        if self.ties == "trec":
            options["document_ranks"] = id_ranks([str(one) for one in self.corpus.ids])
        if self.exclude_same_id:
            row_of = {one: row for row, one in enumerate(self.corpus.ids)}
            own = torch.tensor([row_of.get(one, -1) for one in self.queries.ids[rows]], dtype=torch.long)
            everything = torch.arange(len(self.corpus))
            options["exclude_ids"] = (own.to(queries.device), everything.to(queries.device))
        return top_k(queries.take(rows), documents, k, scorer, **options).indices.cpu()

    def _report(self, ranked: RankedValues, more_notes: Sequence[str]) -> EvaluationReport:
        n_queries = len(self.query_ids)
        kept = torch.tensor(self.judged.searched, dtype=torch.long)
        found: list[Any] = [()] * n_queries
        for row, places in zip(self.judged.searched, ranked.first_found(), strict=True):
            found[row] = tuple(self.corpus.ids[place] for place in places)
        place: list[int | None] = [None] * n_queries
        for row, at in zip(self.judged.searched, ranked.first_relevant(), strict=True):
            place[row] = at
        deep = [metric.name for metric in self.metrics if (metric.cutoff or 0) > len(self.corpus)]
        notes = [*self.judged.notes, *self.queries.notes(), *self.corpus.notes(), *more_notes]
        if self._sampled_from is not None and len(self.corpus) < self._sampled_from:
            notes.append(
                f"The corpus is a sample: {len(self.corpus):,} of {self._sampled_from:,} documents, all judged ones "
                "among them. On the whole corpus figures can only be lower; compare them with those on this sample."
            )
        if deep:
            notes.append(f"The corpus is smaller than the cut-off of {', '.join(deep)}: all documents are ranked.")
        values = ranked.spread(kept, n_queries)
        return EvaluationReport(
            f"Retrieval: {n_queries:,} queries, {len(self.corpus):,} documents",
            RankedValues.statistics(values, zero=self.undefined == "zero"),
            rows="queries",
            ids=self.query_ids,
            table={"query": self.query_objects, "first_relevant": place, "found": found},
            values=values,
            notes=notes,
            **self.resampling,
        )
