"""Relevance judgements as a user gives them, made to fit queries and documents in their order."""

from __future__ import annotations

import math
import random
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simlearn.evaluation.rankings.files import Judgements, ParseRecord, read_objects, read_qrels
from simlearn.evaluation.rankings.ranking import Qrels


def named(given: Any, name: str, parse: ParseRecord) -> tuple[list[Hashable], list[Any]]:
    """Ids and objects of a mapping, a list or a file.

    Raises:
        ValueError: when there are none.
        TypeError: for anything else.
    """
    if isinstance(given, (str, Path)):
        given = read_objects(given, parse)
    if isinstance(given, Mapping):
        ids, objects = list(given), list(given.values())
    elif hasattr(given, "__len__") and hasattr(given, "__getitem__"):
        objects = [given[row] for row in range(len(given))]
        ids = list(range(len(objects)))
    else:
        raise TypeError(f"{name} must be a dictionary, a list or a file, got a {type(given).__name__}")
    if not objects:
        raise ValueError(f"there are no {name}, so nothing to evaluate")
    return ids, objects


def judgements_of(given: Any, query_ids: Sequence[Hashable]) -> Judgements:
    """Judgements of a mapping, a list in the order of the queries, or a file.

    Raises:
        TypeError: for anything else.
        ValueError: for a list of another length than the queries have, and grades that are not finite.
    """
    if isinstance(given, Judgements):
        return given
    if isinstance(given, (str, Path)):
        return read_qrels(given)
    if not isinstance(given, Mapping):
        if isinstance(given, (bytes,)) or not hasattr(given, "__len__"):
            raise TypeError(f"qrels must be a dictionary, a list or a file, got a {type(given).__name__}")
        if len(given) != len(query_ids):
            raise ValueError(f"a list of qrels has one entry a query: there are {len(query_ids)}, got {len(given)}")
        given = dict(zip(query_ids, given, strict=True))
    grades: dict[Any, dict[Any, float]] = {}
    repeated = 0
    for query, judged in given.items():
        if isinstance(judged, Mapping):
            grades[query] = {document: float(grade) for document, grade in judged.items()}
        else:
            several = isinstance(judged, (list, tuple, set, frozenset)) or hasattr(judged, "tolist")
            relevant = list(judged) if several else [judged]
            grades[query] = dict.fromkeys(relevant, 1.0)
            repeated += len(relevant) - len(grades[query])
        for document, grade in grades[query].items():
            if not math.isfinite(grade):
                raise ValueError(f"the grade of document {document!r} for query {query!r} is {grade}; mend or drop it")
    return Judgements(grades, repeated)


def sampled_rows(judgements: Judgements, document_ids: Sequence[Hashable], count: int, seed: int) -> list[int]:
    """The rows, ascending, of all judged documents and of `count` others, drawn at random.

    Raises:
        ValueError: for a negative count.
    """
    if count < 0:
        raise ValueError(f"corpus_sample must be 0 or more, got {count}")
    judged = {document for grades in judgements.grades.values() for document in grades}
    others = [row for row, one in enumerate(document_ids) if one not in judged]
    drawn = random.Random(seed).sample(others, min(count, len(others)))
    return sorted([*drawn, *(row for row, one in enumerate(document_ids) if one in judged)])


def refuse_other_types(kind: str, judged: Iterable[Hashable], given: Sequence[Hashable]) -> None:
    """Refuse judged ids of which none is given, or that are given as another type: they would count as never found.

    Args:
        kind: what the ids are of, for the message.
        judged: the ids that are judged, each once.
        given: the ids that there are.

    Raises:
        ValueError: telling one of each.
    """
    known = set(given)
    absent = [one for one in judged if one not in known]
    matches = any(one in known for one in judged)
    if not absent:
        return
    as_text = {str(one): one for one in absent}
    twin = next((one for one in given if str(one) in as_text and type(one) is not type(as_text[str(one)])), None)
    if matches and twin is None:
        return
    one, other = (absent[0], given[0]) if twin is None else (as_text[str(twin)], twin)
    raise ValueError(
        f"qrels judge {len(absent)} {kind} that are not among the {len(given)} {kind} given, for instance {one!r} (a "
        f"{type(one).__name__}); the {kind} have ids such as {other!r} (a {type(other).__name__}): "
        + ("give ids of one type" if type(one) is not type(other) else "none is judged, so give judgements of these")
    )


@dataclass(frozen=True)
class Judged:
    """Judgements by row, for those queries that have a relevant document.

    Args:
        searched: rows of those queries, ascending.
        documents: for each of them rows of the judged documents; from `n_documents` on for what is not in the corpus.
        grades: for each of them the grades.
        notes: what was left out or counted.
    """

    searched: list[int]
    documents: list[list[int]]
    grades: list[list[float]]
    notes: list[str]

    @classmethod
    def of(
        cls, judgements: Judgements, query_ids: Sequence[Hashable], document_ids: Sequence[Hashable], missing: str
    ) -> Judged:
        """Fit judgements to queries and documents.

        Args:
            judgements: by id.
            query_ids: in the order of the queries.
            document_ids: in the order of the documents.
            missing: `"error"`, `"count"` or `"drop"`; see `RetrievalEvaluator`.

        Raises:
            ValueError: for ids that are missing where that is an error, for ids of another type, and when no query has
                a relevant document.
        """
        if missing not in ("error", "count", "drop"):
            raise ValueError(f"missing must be 'error', 'count' or 'drop', got {missing!r}")
        qrels = judgements.grades
        row_of = {one: row for row, one in enumerate(document_ids)}
        known_queries = set(query_ids)
        strangers = [one for one in qrels if one not in known_queries]
        absent = [document for judged in qrels.values() for document in judged if document not in row_of]
        if missing == "error":
            for kind, ids, given in (("queries", strangers, query_ids), ("documents", absent, document_ids)):
                if ids:
                    raise ValueError(
                        f"qrels judge {len(ids)} {kind} that are not among the {len(given)} {kind} given, for instance "
                        f"{ids[0]!r} (a {type(ids[0]).__name__}, the {kind} have ids such as {given[0]!r}); add them, "
                        "or pass missing='count' (never found) or missing='drop'"
                    )
        refuse_other_types("queries", qrels, query_ids)
        refuse_other_types("documents", dict.fromkeys(one for judged in qrels.values() for one in judged), document_ids)
        beyond: dict[Any, int] = {}
        searched, documents, grades = [], [], []
        for row, query in enumerate(query_ids):
            judged = qrels.get(query, {})
            if missing == "count":
                for document in judged:
                    if document not in row_of:
                        beyond.setdefault(document, len(document_ids) + len(beyond))
            places = {document: row_of.get(document, beyond.get(document)) for document in judged}
            fit = {place: judged[document] for document, place in places.items() if place is not None}
            if any(grade > 0 for grade in fit.values()):
                searched.append(row)
                documents.append(list(fit))
                grades.append(list(fit.values()))
        if not searched:
            raise ValueError("no query has a relevant document: every metric would be undefined; check the qrels' ids")
        notes = []
        if judgements.repeated:
            notes.append(f"{judgements.repeated:,} judgements repeat another one and were counted once.")
        if strangers:
            notes.append(f"{len(strangers):,} judged queries are not among the queries and were left out.")
        if absent:
            what = "count as never found" if missing == "count" else "were left out"
            notes.append(f"{len(absent):,} judgements of documents that are not in the corpus {what}.")
        return cls(searched, documents, grades, notes)

    @property
    def most_judged(self) -> int:
        """The largest number of judged documents of a query."""
        return max(map(len, self.documents))

    @property
    def most_relevant(self) -> int:
        """The largest number of documents with a grade above 0 of a query."""
        return max(sum(grade > 0 for grade in grades) for grades in self.grades)

    def qrels(self, rows: slice) -> Qrels:
        """The judgements of some of the searched queries."""
        return Qrels.from_lists(self.documents[rows], self.grades[rows])
