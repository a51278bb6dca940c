"""Whatever can search, as an evaluator asks it: for the rows of the documents that it finds."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from simlearn.evaluation.rankings.files import read_run

SearchFunction: TypeAlias = Callable[[list[Any], int], Sequence[Sequence[Hashable]]]
"""From N query objects and a number k to the ids of at most k documents for each of them, best first. An array (N, k)
of rows will do, as an index of faiss gives it, with -1 where there are fewer: the ids of a list are its rows."""
Search: TypeAlias = "SearchFunction | Mapping[Any, Any] | str | Path"
"""A function, or what some system has found: by query id the document ids, best first, or their scores by document id;
or a TREC run file."""
Score: TypeAlias = Callable[[list[Any], list[Any]], Any]
"""From N queries and N documents, two parallel lists, to the N scores of query i and document i."""


class Searched:
    """What a search finds for the queries of an evaluator.

    Args:
        search: who finds it.
        query_ids: of the N queries, in the order in which they are asked.
        queries: the N objects.
        document_ids: of the M documents.
        exclude_same_id: whether no query finds the document with its own id.

    Raises:
        TypeError: for what is no search.
        ValueError: for a run without any of the queries.
    """

    def __init__(
        self,
        search: Search,
        query_ids: Sequence[Hashable],
        queries: Sequence[Any],
        document_ids: Sequence[Hashable],
        exclude_same_id: bool = False,
    ) -> None:
        self.query_ids = query_ids
        self.queries = queries
        self.row_of = {one: row for row, one in enumerate(document_ids)}
        self.exclude_same_id = exclude_same_id
        self.notes: list[str] = []
        self._run: Mapping[Any, Any] | None = None
        self._search: SearchFunction | None = None
        if isinstance(search, (str, Path)):
            search = read_run(search)
        if isinstance(search, Mapping):
            self._run = search
            absent = sum(one not in search for one in query_ids)
            if absent == len(query_ids):
                raise ValueError(
                    f"the run has none of the {len(query_ids)} queries; it names such as {next(iter(search), None)!r}, "
                    f"the queries are named such as {query_ids[0]!r}: give ids of one type"
                )
            if absent:
                self.notes.append(f"The run has nothing for {absent:,} queries, which count as nothing found.")
        elif callable(search):
            self._search = search
        else:
            raise TypeError(
                "search= takes a function search(queries, k) that gives ids of documents, a dictionary of what was "
                f"found by query id, or a TREC run file; got a {type(search).__name__}"
            )

    def __call__(self, rows: slice, k: int) -> Tensor:
        """The rows (n, k) of the documents found for some of the queries, best first, and -1 behind them.

        Raises:
            ValueError: for another number of lists than queries, documents that are not there, and those found twice.
        """
        asked = range(*rows.indices(len(self.query_ids)))
        wanted = k + self.exclude_same_id
        if self._search is not None:
            lists: Sequence[Any] = self._search([self.queries[row] for row in asked], wanted)
            if len(lists) != len(asked):
                raise ValueError(f"the search gave {len(lists)} lists for {len(asked)} queries; give one for each")
        else:
            run = self._run or {}
            lists = [run.get(self.query_ids[row], ()) for row in asked]
        found = torch.full((len(asked), k), -1, dtype=torch.long)
        for place, (row, given) in enumerate(zip(asked, lists, strict=True)):
            own = self._rows(self.query_ids[row], given)[:k]
            found[place, : len(own)] = torch.tensor(own, dtype=torch.long)
        return found

    def _rows(self, query: Hashable, given: Any) -> list[int]:
        if isinstance(given, Mapping):
            given = sorted(given, key=given.__getitem__, reverse=True)
        elif hasattr(given, "tolist"):  # an array of rows, in which an index says -1 where it has found no more
            given = [one for one in given.tolist() if one != -1]
        ids = [one for one in given if not (self.exclude_same_id and one == query)]
        strange = [one for one in ids if one not in self.row_of]
        if strange:
            raise ValueError(
                f"for query {query!r} the search found {strange[0]!r}, which is not in the corpus (of ids such as "
                f"{next(iter(self.row_of))!r}); let it search this corpus, and give ids of one type"
            )
        if len(set(ids)) < len(ids):
            twice = next(one for one in ids if ids.count(one) > 1)
            raise ValueError(f"for query {query!r} the search found {twice!r} twice; keep the better place")
        return [self.row_of[one] for one in ids]
