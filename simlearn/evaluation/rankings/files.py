"""Queries, documents and relevance judgements from files: TREC, BEIR and JSON lines."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

Path_ = str | Path
ParseRecord = Callable[[dict[str, Any]], Any]

_ID_NAMES = ("_id", "id", "query_id", "query-id", "doc_id", "docid")


class Judgements(NamedTuple):
    """Relevance judgements.

    Args:
        grades: by query id and document id.
        repeated: how many judgements said once more what another one had said.
    """

    grades: dict[Any, dict[Any, float]]
    repeated: int


def text_of(record: dict[str, Any]) -> str:
    """The title, if there is one, and the text: what BEIR has models encode.

    Raises:
        ValueError: for a record without a text.
    """
    if "text" not in record:
        raise ValueError(
            f"the record has no field 'text', only {sorted(record)}; pass parse=, from a record to an object"
        )
    return f"{record.get('title') or ''} {record['text']}".strip()


def read_objects(path: Path_, parse: ParseRecord = text_of) -> dict[str, Any]:
    """Objects by id, from JSON lines (`{"_id": ..., "text": ...}`) or, for any other name, lines of id, tab and text.

    Args:
        path: a file, also compressed (`.gz`).
        parse: from a JSON record to the object.

    Raises:
        ValueError: for a line that cannot be read, naming it, and an id that comes twice with different content.
    """
    objects: dict[str, Any] = {}
    for place, line in lines_of(path):
        if _is_json(path):
            record = _record(place, line)
            name = next((str(record[key]) for key in _ID_NAMES if key in record), None)
            if name is None:
                raise ValueError(f"{place}: the record has no id; give it one as '_id' or 'id'")
            try:
                value = parse(record)
            except (KeyError, ValueError) as error:
                raise ValueError(f"{place}: {error}") from None
        else:
            name, tab, value = line.partition("\t")
            if not tab:
                raise ValueError(f"{place}: a line must hold an id, a tab and a text")
        if name in objects and objects[name] != value:
            raise ValueError(f"{place}: the id {name!r} came before with other content")
        objects[name] = value
    return objects


def read_qrels(path: Path_) -> Judgements:
    """Judgements from TREC (`query 0 document grade`), BEIR (tab-separated, with a header) or JSON lines.

    Args:
        path: a file, also compressed (`.gz`). JSON records have `query-id`, `corpus-id` and `score`.

    Raises:
        ValueError: for a line that cannot be read, and for two judgements that contradict each other.
    """
    grades: dict[Any, dict[Any, float]] = {}
    repeated = 0
    for place, line in lines_of(path):
        if _is_json(path):
            record = _record(place, line)
            fields = [record.get("query-id"), record.get("corpus-id"), record.get("score", 1)]
        else:
            fields = line.split("\t") if "\t" in line else line.split()
            if len(fields) == 4:
                fields = [fields[0], fields[2], fields[3]]
            if [str(field).strip().lower() for field in fields][:2] == ["query-id", "corpus-id"]:
                continue
        try:
            query, document, grade = str(fields[0]), str(fields[1]), float(fields[2])
        except (IndexError, TypeError, ValueError):
            raise ValueError(
                f"{place}: a judgement is 'query 0 document grade' (TREC) or 'query<tab>document<tab>grade' (BEIR), "
                f"got {line[:80]!r}"
            ) from None
        known = grades.setdefault(query, {})
        if document in known and known[document] != grade:
            raise ValueError(
                f"{place}: document {document!r} is judged {grade:g} for query {query!r}, and {known[document]:g} "
                "before; keep one of the two"
            )
        repeated += document in known
        known[document] = grade
    return Judgements(grades, repeated)


def read_run(path: Path_) -> dict[str, list[str]]:
    """The documents that a system found for each query, in their order: TREC lines `query Q0 document rank score tag`.

    Raises:
        ValueError: for a line that cannot be read.
    """
    run: dict[str, list[tuple[float, str]]] = {}
    for place, line in lines_of(path):
        fields = line.split()
        try:
            run.setdefault(fields[0], []).append((float(fields[3]), fields[2]))
        except (IndexError, ValueError):
            raise ValueError(f"{place}: a line of a run is 'query Q0 document rank score tag'") from None
    return {query: [document for _, document in sorted(found, key=lambda one: one[0])] for query, found in run.items()}


def lines_of(path: Path_) -> Iterator[tuple[str, str]]:
    """Each line that is not empty, with its place."""
    path = Path(path)
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield f"{path}, line {number}", line.rstrip("\r\n")


def _is_json(path: Path_) -> bool:
    return ".jsonl" in Path(path).suffixes or ".json" in Path(path).suffixes


def _record(place: str, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{place}: not a JSON record ({error})") from None
    if not isinstance(record, dict):
        raise ValueError(f"{place}: a record must be a JSON object, got a {type(record).__name__}")
    return record
