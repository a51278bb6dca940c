"""The validation data of qdrl: candidates, queries and what is relevant to them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from simlearn.evaluation.rankings.files import lines_of

_Value = TypeVar("_Value")

ITEMS = "recall_validation_items_dataset/items.json"
QUERIES = "recall_validation_queries_dataset/queries.json"


class QdrlData(NamedTuple):
    """What `RetrievalEvaluator` takes: `RetrievalEvaluator(*read_qdrl(folder), missing="drop")`, as qdrl does it.

    Args:
        queries: texts by id, which is the number of the line, from `"0"`.
        corpus: by id the documents, as `{"document_name": ..., "product_category_id": ...}`.
        qrels: by query id the ids of the relevant documents, each once.
    """

    queries: dict[str, str]
    corpus: dict[str, dict[str, str | None]]
    qrels: dict[str, list[str]]


def read_qdrl(dataset_dir: str | Path) -> QdrlData:
    """Read `recall_validation_items_dataset/items.json` and `recall_validation_queries_dataset/queries.json`.

    Ids and categories become texts, whether they were written as numbers or as texts. A missing category is None.

    Raises:
        FileNotFoundError: for a file that is not there.
        ValueError: for a line that cannot be read, naming file and line, an id that comes twice with other content,
            and a file without lines.
    """
    folder = Path(dataset_dir)
    corpus: dict[str, dict[str, str | None]] = {}
    for place, record in _records(folder / ITEMS):
        name = _field(place, record, "document_id", _id)
        document = {
            "document_name": _field(place, record, "document_name", _text),
            "product_category_id": _field(place, record, "product_category_id", _id_or_none),
        }
        if corpus.setdefault(name, document) != document:
            raise ValueError(f"{place}: the document_id {name!r} came before with other content")
    queries: dict[str, str] = {}
    qrels: dict[str, list[str]] = {}
    for place, record in _records(folder / QUERIES):
        name = str(len(queries))
        queries[name] = _field(place, record, "query_search_phrase", _text)
        relevant = _field(place, record, "relevant_document_ids", _ids)
        qrels[name] = list(dict.fromkeys(relevant))  # one that repeats would make recall smaller
    return QdrlData(queries, corpus, qrels)


def _records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; name the folder that holds {ITEMS} and {QUERIES}")
    found = False
    for place, line in lines_of(path):
        found = True
        try:
            record = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{place}: no JSON: {error}") from None
        if not isinstance(record, dict):
            raise ValueError(f"{place}: a line must be a JSON object, got a {type(record).__name__}")
        yield place, record
    if not found:
        raise ValueError(f"{path} holds no lines")


def _field(place: str, record: dict[str, Any], name: str, read: Callable[[Any], _Value]) -> _Value:
    if name not in record:
        raise ValueError(f"{place}: there is no {name!r}, only {', '.join(map(repr, record))}")
    try:
        return read(record[name])
    except TypeError as error:
        raise ValueError(f"{place}: {name} must be {error}, got {record[name]!r:.80}") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text")
    return value


def _id(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise TypeError("a text or a whole number")
    return str(value)


def _id_or_none(value: Any) -> str | None:
    return None if value is None else _id(value)


def _ids(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise TypeError("a list of ids")
    return [_id(one) for one in value]
