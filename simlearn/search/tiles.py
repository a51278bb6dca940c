"""In what pieces documents and queries are scored, and the scores of one piece."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from simlearn.distances import Distance
from simlearn.embeddings import Embeddings
from simlearn.precision import at_least_single
from simlearn.scoring import DistanceScorer, Scorer
from simlearn.tiles import NARROWEST, TileShape, tile_shape

Documents: TypeAlias = "Tensor | Embeddings | np.ndarray[Any, Any] | Iterable[Tensor | Embeddings]"
"""All documents at once, memory-mapped or not, or chunk by chunk."""

# Of the budget, how much the scores of a tile may take: what is made of them (comparisons, positions, integer keys)
# takes the rest in the worst case. A sixteenth of 64 MiB stays in the cache of most processors; with twice as much
# oneDNN spends a third of its time on copying results.
_SCORES_SHARE = 16

# Of the budget, how much a piece of prepared documents may take.
_DOCUMENTS_SHARE = 4


# Documents are padded to a multiple of this. Matrix products treat an odd last few columns by another kernel, whose
# last bit may differ, so that two equal documents would not tie.
_COLUMNS = 64

# From so many queries on.
_WORTH_PACKING = 256


@cache
def _prefers_onednn() -> bool:
    """Whether oneDNN multiplies faster than torch's default library, which is as exact.

    That is MKL, twice as fast as oneDNN on Intel's processors. On others it was found half as fast, or as fast.
    To measure it would make the last bit of a score depend on what else the machine was doing.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    told = platform.processor()
    with suppress(OSError):
        told += Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")[:4096]
    return not (torch.backends.mkl.is_available() and "Intel" in told)  # type: ignore[no-untyped-call]


def tiles_for(queries: Embeddings, documents: Embeddings, scorer: Scorer, k: int, tile_bytes: int) -> TileShape:
    """The tiles that the budget allows.

    Args:
        queries: N, prepared.
        documents: some of them, to know what one takes.
        scorer: how they compare.
        k: how many are sought. In tiles hardly wider than that every query is sorted anew for each.
        tile_bytes: the budget.
    """
    cells = scorer.cells(queries, scorer.prepare_documents(moved(documents.take(slice(0, 1)), queries.device)))
    widest = widest_piece(documents, tile_bytes // _DOCUMENTS_SHARE)
    narrowest = max(NARROWEST, 4 * k)
    pair_bytes = _SCORES_SHARE * 4 * cells
    return tile_shape(len(queries), widest, pair_bytes, tile_bytes, narrowest=narrowest, multiple=_COLUMNS)


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


def moved(embeddings: Embeddings, device: torch.device) -> Embeddings:
    """The same on a device; themselves where they are there."""
    return embeddings if embeddings.device == device else embeddings.to(device)


def refuse_not_finite(embeddings: Embeddings, name: str, first: int = 0) -> None:
    """Look for NaN and infinities, cheaply: they survive in a sum.

    Raises:
        ValueError: naming the first row that has one.
    """
    values = embeddings.values
    if embeddings.mask is not None:
        values = values.masked_fill(~embeddings.mask[..., None], 0.0)
    if bool(values.sum(dtype=at_least_single(values)).isfinite()):
        return
    bad = (~values.isfinite()).flatten(1).any(1)  # a sum of large numbers may overflow, too
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        raise ValueError(
            f"the embedding of {name} {first + row} has NaN or infinite values, {int(bad.sum())} of {len(bad)} looked "
            "at do; check the encoder's output, for instance a model that overflows in half precision"
        )


class TileScores:
    """Scores of queries against one piece of documents after the other.

    Args:
        scorer: the scorer.
        n_queries: how many there are in all. For few of them oneDNN takes longer to pack the documents than MKL to
            multiply: 6 times as long for one query, 2 times for 64, as long for 256.
    """

    def __init__(self, scorer: Scorer, n_queries: int) -> None:
        self._scorer = scorer
        self._may_pack = n_queries >= _WORTH_PACKING
        self._is_product = is_product(scorer)
        self._documents = Embeddings(torch.empty(0, 0))
        self._packed: Tensor | None = None
        self._extra = 0
        self._buffer = torch.empty(0)

    def against(self, documents: Embeddings) -> None:
        """Turn to a piece of prepared documents."""
        self._documents, self._packed = documents, None
        if self._is_product:
            self._documents = _padded(documents)
            values = self._documents.values
            if self._may_pack and values.device.type == "cpu" and values.dtype is torch.float32 and _prefers_onednn():
                self._packed = values.to_mkldnn()
        self._extra = len(self._documents) - len(documents)

    def __call__(self, queries: Embeddings) -> tuple[Tensor, Tensor]:
        """Scores (r, C) float32, contiguous, of prepared queries, and the highest of each row.

        The next call writes over them. Documents may be followed by some of -inf.

        Raises:
            ValueError: for NaN.
        """
        scores = self._scored(queries)
        if self._extra:
            scores[:, -self._extra :] = -torch.inf
        highest = scores.amax(1)
        if bool(highest.isnan().any()):  # NaN would lose every comparison, and vanish silently
            raise ValueError(f"{type(self._scorer).__name__} gave a score of NaN for finite embeddings")
        return scores, highest

    def _scored(self, queries: Embeddings) -> Tensor:
        values, documents = queries.values, self._documents.values
        if not self._is_product or values.dtype is not torch.float32 or documents.dtype is not torch.float32:
            return self._scorer.tile(queries, self._documents).contiguous().float()
        if self._packed is not None:
            return F.linear(values.to_mkldnn(), self._packed).to_dense()
        size = len(values) * len(documents)
        if self._buffer.numel() < size:  # memory that was written before: fresh pages cost a tenth of the product
            self._buffer = values.new_empty(size)
        return torch.mm(values, documents.T, out=self._buffer[:size].view(len(values), len(documents)))


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
