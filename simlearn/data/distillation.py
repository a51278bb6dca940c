"""Scores of a better, slower model as what a model is to learn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor

from simlearn.embeddings import Embeddings
from simlearn.hashing import content_key
from simlearn.models import SimilarityModel
from simlearn.progress import Bar
from simlearn.samples import SimilarityPairSample, SimilarityRankingSample
from simlearn.store import DiskTable, as_keys

Pairs: TypeAlias = "list[tuple[Any, Any]]"
Sample = TypeVar("Sample", SimilarityPairSample, SimilarityRankingSample)


def distill(
    teacher: Any,
    samples: Iterable[Sample],
    *,
    batch_size: int = 64,
    save_dir: str | Path | None = None,
    name: str | None = None,
    progress: bool = False,
) -> list[Sample]:
    """The same samples with the scores of a teacher, for `KLDistillationLoss` and `MarginMSELoss`.

    Each pair of a query and a document is scored once, however often it stands in the samples. With `save_dir` it is
    scored once ever: scores are kept by the content of the pair.

    Args:
        teacher: a `SimilarityModel`; a `CrossEncoder` of sentence-transformers, or whatever else has `predict(pairs)`;
            or a function of a list of (query, document), which returns a number for each.
        samples: rankings, whose relevances become the teacher's scores, or pairs, likewise.
        batch_size: pairs that are scored at once.
        save_dir: a folder for the scores; one for each teacher.
        name: what the teacher is called and of which version it is, for `save_dir`. Who changes the teacher changes it.
        progress: whether to show a progress bar.

    Returns:
        New samples, in their order.

    Raises:
        TypeError: for another teacher or other samples, and for objects whose content has no key, with `save_dir`.
        ValueError: for scores that are no finite numbers, a wrong number of them, a folder of another teacher, and
            `save_dir` without a name.

    >>> samples = [SimilarityRankingSample("red", ["a red shoe", "blue"], [1.0, 0.0])]
    >>> distill(lambda pairs: [len(document) for _, document in pairs], samples)[0].relevances
    [10.0, 4.0]
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if save_dir is not None and not name:
        raise ValueError("save_dir keeps the scores of one teacher: pass name=, what it is called and of which version")
    score, given = _scoring(teacher), list(samples)
    pairs = [pair for sample in given for pair in _pairs_of(sample)]
    keys = _keys(pairs, needed=save_dir is not None)
    first = {key: place for place, key in reversed(list(enumerate(keys)))}

    def scored(places: list[int]) -> Tensor:
        return _scores(score, [pairs[place] for place in places], batch_size, progress)

    if save_dir is None:
        places = sorted(first.values())
        known = dict(zip((keys[place] for place in places), scored(places).tolist(), strict=True))
        found = [known[key] for key in keys]
    else:
        found = _kept(Path(save_dir), str(name), keys, first, scored)
    taken = iter(found)
    return [_with_scores(sample, [next(taken) for _ in _pairs_of(sample)]) for sample in given]


def _kept(
    folder: Path, name: str, keys: list[Any], first: dict[Any, int], scored: Callable[[list[int]], Tensor]
) -> list[float]:
    """The scores of pairs by their keys, out of a folder, where new ones are written to."""
    table = DiskTable(folder, description={"holds": "scores of a teacher", "teacher": name}, dtype=torch.float32)
    if table.description.get("teacher") != name:
        raise ValueError(
            f"{folder} holds the scores of {table.description.get('teacher')!r}, not of {name!r}; choose another folder"
        )
    if not keys:
        return []
    with table:
        distinct = as_keys(list(first))
        new = table.missing(distinct)
        if len(new):
            places = list(first.values())
            scores = scored([places[row] for row in new.tolist()])
            table.append(distinct[new], Embeddings(scores[:, None].float()), {})
        rows = table.rows(as_keys(keys))
    scores_of_all: list[float] = table.take(rows, "cpu")[0].values[:, 0].tolist()
    return scores_of_all


def _scores(score: Callable[[Pairs], Any], pairs: Pairs, batch_size: int, progress: bool) -> Tensor:
    parts = [torch.empty(0)]
    with Bar(total=len(pairs), desc="Scoring", disable=not progress, unit="pair", leave=False) as bar:
        for start in range(0, len(pairs), batch_size):
            batch = pairs[start : start + batch_size]
            made = torch.as_tensor(score(batch)).detach().float().cpu()
            if made.shape != (len(batch),):
                raise ValueError(
                    f"the teacher gave scores of shape {tuple(made.shape)} for {len(batch)} pairs; one number each is "
                    "needed, such as the logit of relevance"
                )
            if not bool(made.isfinite().all()):
                query, document = batch[int((~made.isfinite()).nonzero()[0, 0])]
                raise ValueError(f"the teacher gave no finite score to {query!r:.60} and {document!r:.60}")
            parts.append(made)
            bar.update(len(batch))
    return torch.cat(parts)


def _scoring(teacher: Any) -> Callable[[Pairs], Any]:
    if isinstance(teacher, SimilarityModel):
        return lambda pairs: _similarities(teacher, pairs)
    if callable(getattr(teacher, "predict", None)):
        return lambda pairs: teacher.predict(pairs)
    if isinstance(teacher, torch.nn.Module) or not callable(teacher):
        raise TypeError(
            "a teacher is a SimilarityModel, has predict(pairs), or is a function of pairs; got a "
            f"{type(teacher).__name__}"
        )
    scoring: Callable[[Pairs], Any] = teacher
    return scoring


@torch.no_grad()
def _similarities(model: SimilarityModel, pairs: Pairs) -> Tensor:
    queries = model.embed([query for query, _ in pairs], "query", batch_size=len(pairs))
    documents = model.embed([document for _, document in pairs], "document", batch_size=len(pairs))
    return model.scorer.paired(queries, documents)


def _pairs_of(sample: Any) -> Pairs:
    if isinstance(sample, SimilarityRankingSample):
        return [(sample.query, document) for document in sample.documents]
    if isinstance(sample, SimilarityPairSample):
        return [(sample.obj_a, sample.obj_b)]
    raise TypeError(f"a teacher scores rankings and pairs, got a {type(sample).__name__}")


def _with_scores(sample: Any, scores: Sequence[float]) -> Any:
    if isinstance(sample, SimilarityRankingSample):
        return replace(sample, relevances=list(scores))
    return replace(sample, score=scores[0])


def _keys(pairs: Pairs, needed: bool) -> list[Any]:
    """What tells pairs apart: their content, or where nobody can tell it, and need not, that each is another."""
    keys: list[Any] = []
    for place, pair in enumerate(pairs):
        try:
            keys.append(content_key(list(pair)))
        except TypeError as error:
            if needed:
                raise TypeError(f"{error}; leave save_dir out, and such pairs are scored anew") from error
            keys.append(place)
    return keys
