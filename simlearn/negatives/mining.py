"""Which documents are hard negatives: near the query, and yet not similar to it, as far as one can tell.

1. The nearest documents of each query are searched, known positives left out, exactly and in bounded memory.
2. What may be a positive that nobody marked is dropped: what scores above `max_score`, or too near the score of what is
   known to be similar. What is dropped is counted, rule by rule.
3. Of what is left some are taken: the nearest, or any, by chance that depends on nothing but the seed.

The names of the options are those of sentence-transformers' `mine_hard_negatives`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from simlearn.embeddings import Embeddings
from simlearn.hashing.mixing import mixed
from simlearn.ragged import Ragged
from simlearn.scoring import CosineScorer, Scorer
from simlearn.search import top_k
from simlearn.search.backends import Backend

_CELLS = 2**24
"""Found documents held at once: a search of many queries is cut into parts."""
_PAIRS = 8192


@dataclass(frozen=True)
class MiningConfig:
    """Which of the documents near a query become its negatives.

    Args:
        num_negatives: how many for each query, at most.
        range_min: leave out so many of the nearest documents that are no known positives.
        range_max: look no farther than so many of them. None: as far as needed where nothing can be dropped, otherwise
            10 times `num_negatives`, at least 100, beyond `range_min`.
        max_score: drop what scores above it.
        min_score: drop what scores below it: too easy to teach anything.
        absolute_margin: drop what scores above the positive's score less this margin.
        relative_margin: drop what scores above the positive's score less this share of it. 0.05 keeps what reaches at
            most 95% of it (Moreira et al., NV-Retriever, 2024).
        margin_from: where a query has several positives, which of their scores the margins start from: the `"lowest"`,
            the `"mean"` or the `"highest"`.
        sampling_strategy: `"top"` takes the nearest, `"random"` any within the range.
        seed: where chance comes from.

    Raises:
        ValueError: for numbers that leave nothing to find.
    """

    num_negatives: int = 3
    range_min: int = 0
    range_max: int | None = None
    max_score: float | None = None
    min_score: float | None = None
    absolute_margin: float | None = None
    relative_margin: float | None = None
    margin_from: Literal["lowest", "mean", "highest"] = "lowest"
    sampling_strategy: Literal["top", "random"] = "top"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_negatives < 1:
            raise ValueError(f"num_negatives must be at least 1, got {self.num_negatives}")
        if self.range_min < 0:
            raise ValueError(f"range_min must be 0 or more, got {self.range_min}")
        if self.range_max is not None and self.range_max < self.range_min + self.num_negatives:
            raise ValueError(
                f"range_max={self.range_max} leaves {max(0, self.range_max - self.range_min)} documents after "
                f"range_min={self.range_min}, fewer than num_negatives={self.num_negatives}; raise range_max"
            )
        if self.min_score is not None and self.max_score is not None and self.min_score >= self.max_score:
            raise ValueError(f"no score is above min_score={self.min_score} and below max_score={self.max_score}")
        if self.relative_margin is not None and not 0 <= self.relative_margin < 1:
            raise ValueError(f"relative_margin must be a share of a score in [0, 1), got {self.relative_margin}")
        for name, known in (("margin_from", ("lowest", "mean", "highest")), ("sampling_strategy", ("top", "random"))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, got {self.seed}")

    @property
    def has_margin(self) -> bool:
        """Whether scores of positives matter."""
        return self.absolute_margin is not None or self.relative_margin is not None

    @property
    def depth(self) -> int:
        """How many documents are searched for each query."""
        if self.range_max is not None:
            return self.range_max
        filters = self.has_margin or self.max_score is not None or self.min_score is not None
        wide = filters or self.sampling_strategy == "random"
        return self.range_min + (max(100, 10 * self.num_negatives) if wide else self.num_negatives)


@dataclass(frozen=True)
class MiningCounts:
    """What mining found, and what it dropped and why.

    Args:
        queries: how many queries.
        documents: how many different documents were searched.
        excluded: pairs that were known to be alike, and never looked at.
        skipped: documents nearer than `range_min`.
        above_max_score: documents dropped for it.
        below_min_score: likewise.
        within_margin: likewise.
        found: negatives taken.
        short: queries with fewer than were asked for.
        empty: queries without any.
    """

    queries: int = 0
    documents: int = 0
    excluded: int = 0
    skipped: int = 0
    above_max_score: int = 0
    below_min_score: int = 0
    within_margin: int = 0
    found: int = 0
    short: int = 0
    empty: int = 0

    def __str__(self) -> str:
        counts = {field.name.replace("_", " "): getattr(self, field.name) for field in fields(self)}
        return "\n".join(f"{name:<16}{count:>12,}" for name, count in counts.items())


class Mined(NamedTuple):
    """Negatives of N queries.

    Args:
        rows: (N, n) int64 rows of documents, nearest first; -1 where a query has fewer than n.
        scores: (N, n) float32; -inf there.
        dropped: (4,) int64: skipped, above the highest score, below the lowest, within the margin.
    """

    rows: Tensor
    scores: Tensor
    dropped: Tensor


@torch.no_grad()
def mine(
    queries: Embeddings,
    documents: Embeddings,
    positives: Ragged,
    config: MiningConfig,
    scorer: Scorer | None = None,
    *,
    excluded: Ragged | None = None,
    first_query: int = 0,
    round_number: int = 0,
    backend: Backend = "torch",
) -> Mined:
    """Search hard negatives among embeddings.

    Args:
        queries: N embeddings.
        documents: M embeddings.
        positives: for each query the rows of documents known to be similar.
        config: which are taken.
        scorer: how they compare; None for cosine.
        excluded: for each query what must not be a negative, its positives included; None for these alone.
        first_query: the number of the first query, where these are some of many: chance depends on a query's number.
        round_number: how often was mined before; chance depends on it too.
        backend: what searches; see `top_k`.

    Returns:
        The negatives, on the queries' device.

    Raises:
        ValueError: for NaN or infinite embeddings, and lists that do not fit.
    """
    positives.check_rows("positives", len(queries), len(documents))
    excluded = positives if excluded is None else excluded
    excluded.check_rows("excluded", len(queries), len(documents))
    scorer = CosineScorer() if scorer is None else scorer
    depth = max(1, min(config.depth, len(documents)))
    step = max(1, _CELLS // depth)
    parts = []
    for start in range(0, len(queries), step):
        stop = min(start + step, len(queries))
        part = queries.take(slice(start, stop))
        found = top_k(part, documents, depth, scorer, exclude_rows=excluded.cut(slice(start, stop)), backend=backend)
        ceiling = None
        if config.has_margin:
            ceiling = _ceiling(part, documents, positives.cut(slice(start, stop)), config, scorer)
        parts.append(_choose(found.scores, found.indices, ceiling, config, first_query + start, round_number))
    if not parts:
        empty = torch.empty((0, config.num_negatives), device=queries.device)
        return Mined(empty.long(), empty, torch.zeros(4, dtype=torch.long, device=queries.device))
    rows, scores, dropped = zip(*parts, strict=True)
    return Mined(torch.cat(rows), torch.cat(scores), torch.stack(dropped).sum(0))


def _choose(
    scores: Tensor, indices: Tensor, ceiling: Tensor | None, config: MiningConfig, first_query: int, round_number: int
) -> Mined:
    """Of what was found (n, k), best first, what is taken."""
    places = torch.arange(scores.shape[1], device=scores.device)
    left = indices >= 0
    nothing = torch.zeros_like(left)
    rules = (
        (places < config.range_min).expand_as(left),
        nothing if config.max_score is None else scores > config.max_score,
        nothing if config.min_score is None else scores < config.min_score,
        nothing if ceiling is None else scores > ceiling[:, None],
    )
    dropped = []
    for rule in rules:  # what two rules drop is counted by the first
        dropped.append((left & rule).sum())
        left = left & ~rule
    order = places.expand_as(indices)
    if config.sampling_strategy == "random":
        order = _chance(len(scores), scores.shape[1], first_query, (config.seed, round_number)).to(scores.device)
    order = torch.where(left, order, torch.iinfo(torch.int64).max)
    taken = order.argsort(dim=1, stable=True)[:, : config.num_negatives]
    is_left = left.gather(1, taken)
    taken = torch.where(is_left, taken, scores.shape[1]).sort(dim=1).values  # nearest first again, the missing last
    missing = config.num_negatives - taken.shape[1]
    taken = torch.nn.functional.pad(taken, (0, missing), value=scores.shape[1])
    rows = torch.nn.functional.pad(indices, (0, 1), value=-1).gather(1, taken)
    best = torch.nn.functional.pad(scores, (0, 1), value=-torch.inf).gather(1, taken)
    return Mined(rows, best, torch.stack(dropped))


def _ceiling(
    queries: Embeddings, documents: Embeddings, positives: Ragged, config: MiningConfig, scorer: Scorer
) -> Tensor:
    """(n,) the highest score a negative may have; infinite for a query without a positive."""
    owners, rows = positives.owners().to(queries.device), positives.values.to(documents.device)
    scores = torch.zeros(len(rows), device=queries.device)
    for start in range(0, len(rows), _PAIRS):
        part = slice(start, start + _PAIRS)
        of_documents = documents.take(rows[part]).to(queries.device)
        scores[part] = scorer.paired(queries.take(owners[part]), of_documents).float()
    reduce = {"lowest": "amin", "mean": "mean", "highest": "amax"}[config.margin_from]
    reference = torch.full((len(queries),), torch.inf, device=queries.device)
    reference = reference.scatter_reduce(0, owners, scores, reduce, include_self=False)
    ceiling = reference
    if config.absolute_margin is not None:
        ceiling = torch.minimum(ceiling, reference - config.absolute_margin)
    if config.relative_margin is not None:  # of the size, so that a margin lowers scores below 0 too
        ceiling = torch.minimum(ceiling, reference - config.relative_margin * reference.abs())
    return torch.where(reference.isinf(), torch.inf, ceiling)


def _chance(rows: int, columns: int, first: int, seeds: tuple[int, ...]) -> Tensor:
    """(rows, columns) int64, 0 or more: chance that depends on a cell's numbers and the seeds, not on who draws it."""
    cells = torch.arange(first, first + rows)[:, None] * 2**20 + torch.arange(columns)
    return mixed(cells, 0, *seeds) & torch.iinfo(torch.int64).max >> 1
