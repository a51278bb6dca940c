"""In what pieces documents and queries are scored, and the scores of one piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import isqrt
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from simlearn.distances import Distance
from simlearn.embeddings import Embeddings
from simlearn.scoring import DistanceScorer, Scorer

Documents: TypeAlias = "Tensor | Embeddings | np.ndarray[Any, Any] | Iterable[Tensor | Embeddings]"
"""All documents at once, memory-mapped or not, or chunk by chunk."""

# Of the budget, how much the scores of a tile may take: what is made of them (comparisons, positions, integer keys)
# takes the rest in the worst case. An eighth of 64 MiB stays in the cache of most processors.
_SCORES_SHARE = 8

# Of the budget, how much a piece of prepared documents may take.
_DOCUMENTS_SHARE = 4

# Documents are padded to a multiple of this. Matrix products treat an odd last few columns by another kernel, whose
# last bit may differ, so that two equal documents would not tie.
_COLUMNS = 64


_HAS_ONEDNN = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


class TileShape(NamedTuple):
    """So many queries against so many documents."""

    rows: int
    columns: int


def tile_shape(queries: Embeddings, documents: Embeddings, k: int, tile_bytes: int) -> TileShape:
    """The shape that the budget allows.

    Args:
        queries: N.
        documents: some of them, to know what one takes.
        k: how many are sought. Much wider tiles than that leave little to sort in.
        tile_bytes: the budget.
    """
    # A scorer of many vectors compares each with each, and holds that.
    cells = _vectors(queries) * _vectors(documents)
    pairs = max(1, tile_bytes // (_SCORES_SHARE * 4 * cells))
    widest = widest_piece(documents, tile_bytes // _DOCUMENTS_SHARE)
    # Eight times as wide as high: with 64 MiB 512 x 4096, where matrix products are at full speed.
    columns = min(max(isqrt(8 * pairs), 4 * k, pairs // max(1, len(queries))), pairs, widest)
    if columns > _COLUMNS:
        columns -= columns % _COLUMNS
    return TileShape(max(1, min(len(queries), pairs // columns)), columns)


def widest_piece(documents: Embeddings, budget: int) -> int:
    """How many documents take a budget in bytes, prepared in float32; at least one."""
    return max(1, budget // max(1, 4 * documents.size * _vectors(documents)))


def count(documents: Documents) -> int | None:
    """M, where it is known beforehand."""
    return len(documents) if isinstance(documents, (Tensor, Embeddings, np.ndarray)) else None


def chunks(documents: Documents) -> Iterator[Embeddings]:
    """All documents as embeddings; one chunk where they are given at once."""
    if isinstance(documents, np.ndarray):
        # A memory map may be read-only, of which torch warns; nothing here writes.
        documents = torch.from_numpy(documents if documents.flags.writeable else _writable_view(documents))
    if isinstance(documents, (Tensor, Embeddings)):
        documents = [documents]
    for chunk in documents:
        yield chunk if isinstance(chunk, Embeddings) else Embeddings(chunk)


def pieces(chunk: Embeddings, columns: int) -> Iterator[Embeddings]:
    """A chunk in pieces of at most so many documents."""
    for start in range(0, len(chunk), columns):
        yield chunk.take(slice(start, start + columns))


def refuse_not_finite(embeddings: Embeddings, name: str, first: int = 0) -> None:
    """Look for NaN and infinities, cheaply: they survive in a sum.

    Raises:
        ValueError: naming the first row that has one.
    """
    values = embeddings.values
    if embeddings.mask is not None:
        values = values.masked_fill(~embeddings.mask[..., None], 0.0)
    if bool(values.sum(dtype=torch.promote_types(values.dtype, torch.float32)).isfinite()):
        return
    bad = (~values.isfinite()).flatten(1).any(1)  # a sum of large numbers may overflow, too
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        raise ValueError(
            f"the embedding of {name} {first + row} has NaN or infinite values, {int(bad.sum())} of {len(bad)} looked "
            "at do; check the encoder's output, for instance a model that overflows in half precision"
        )


class TileScores:
    """Scores of queries against one piece of documents.

    Args:
        scorer: the scorer.
        documents: the piece, prepared.
    """

    def __init__(self, scorer: Scorer, documents: Embeddings) -> None:
        self._scorer = scorer
        self._documents = documents
        self._packed: Tensor | None = None
        if is_product(scorer):
            self._documents = _padded(documents)
            values = self._documents.values
            # oneDNN's product is as exact as that of torch's default library, and on AMD processors twice as fast.
            if values.device.type == "cpu" and values.dtype is torch.float32 and _HAS_ONEDNN:
                self._packed = values.to_mkldnn()
        self._extra = len(self._documents) - len(documents)

    def __call__(self, queries: Embeddings) -> Tensor:
        """Scores (r, C) float32, contiguous, of prepared queries; documents may be followed by some of -inf."""
        values = queries.values
        if self._packed is not None and values.dtype is torch.float32:
            scores = F.linear(values.to_mkldnn(), self._packed).to_dense()
        else:
            scores = self._scorer.tile(queries, self._documents).contiguous()
        if scores.numel() and bool(scores.amax().isnan()):  # NaN would lose every comparison, and vanish silently
            raise ValueError(f"{type(self._scorer).__name__} gave a score of NaN for finite embeddings")
        scores = scores.float()
        if self._extra:
            scores[:, -self._extra :] = -torch.inf
        return scores


def is_product(scorer: Scorer) -> bool:
    """Whether scores are the matrix product of prepared embeddings, and no subclass scores otherwise."""
    kind = type(scorer)
    return (
        isinstance(scorer, DistanceScorer)
        and scorer.is_product
        and kind.forward is DistanceScorer.forward
        and kind.tile is DistanceScorer.tile
    )


def in_range(scores: Tensor, scorer: Scorer) -> Tensor:
    """Cosines that rounding has put beyond 1 brought back, -inf left alone."""
    if isinstance(scorer, DistanceScorer) and scorer.distance is Distance.COSINE:
        return torch.where(scores == -torch.inf, scores, scores.clamp(-1.0, 1.0))
    return scores


def _padded(documents: Embeddings) -> Embeddings:
    """Documents of one vector each, with zeros up to a multiple of the width that one kernel handles."""
    missing = -len(documents) % _COLUMNS
    if not missing or documents.is_multi_vector:
        return documents
    values = documents.values
    return Embeddings(torch.cat([values, values.new_zeros((missing, values.shape[1]))]))


def _vectors(embeddings: Embeddings) -> int:
    return embeddings.values.shape[1] if embeddings.is_multi_vector else 1


def _writable_view(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same memory under a header that says it can be written to."""
    interface = dict(array.__array_interface__)
    interface["data"] = (interface["data"][0], False)
    return np.asarray(_Memory(interface, array))


class _Memory:
    def __init__(self, interface: dict[str, Any], owner: np.ndarray[Any, Any]) -> None:
        self.__array_interface__ = interface
        self._owner = owner  # keeps the memory alive
