"""A negative cache that a training fills and asks: one or several, in one process or in many."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from simlearn.distributed import all_reduce_sum, exchange, gather, rank, world_size
from simlearn.embeddings import Embeddings
from simlearn.losses import SimilarityLoss
from simlearn.negatives.memory import EarlierDocuments, Memory, Origins
from simlearn.negatives.negative_cache.config import NegativeCacheConfig
from simlearn.negatives.negative_cache.documents import CachedDocuments, homes, share_of_rows
from simlearn.negatives.negative_cache.figures import Figures
from simlearn.negatives.negative_cache.rows import cells_of_ids, rows_of_ids
from simlearn.negatives.negative_cache.together import Drawn, draw_together, first_rows, rows_within
from simlearn.relations import Relation, RelationKind, Remembered
from simlearn.scoring import Scorer

_AGES = 22
_ALONE = "documents"
"""The name of the only cache."""


class NegativeCacheMemory(Memory):
    """The documents of earlier batches, each once, and where they came from, so that they can be encoded again.

    What a query is known to be similar to, what it was judged against, what is the same object and what is of its
    subgroup is no negative of it, whether its batch says so or the one that a document came with.

    Args:
        config: how many documents, and how negatives are drawn; several by name, which draw alike.
        loss: whose softmax they stand in; it is not kept.
        scorer: of the model.
        embedding_size: of the document tower.
        name_of: from a document to the name of the cache that keeps it, where there are several.

    Raises:
        TypeError: for a loss that takes no further logit.
        ValueError: for several caches that draw in different ways, and for none.
    """

    encodes_again = True

    def __init__(
        self,
        config: NegativeCacheConfig | Mapping[str, NegativeCacheConfig],
        loss: SimilarityLoss,
        scorer: Scorer,
        embedding_size: int,
        name_of: Callable[[Any], str] | None = None,
    ) -> None:
        super().__init__()
        if not loss.takes_extra:
            raise TypeError(
                f"{type(loss).__name__} takes no further logit, which is what a negative cache adds to a softmax; take "
                "MultipleNegativesRankingLoss or InfoNCELoss, or remember whole batches with configure_xbm"
            )
        configs = {_ALONE: config} if isinstance(config, NegativeCacheConfig) else dict(config)
        self.config = _common(configs)
        self.replaces_batch = not self.config.in_batch
        self.size = sum(one.size for one in configs.values())
        self.start_filled = sum(one.size * one.start_filled for one in configs.values())
        made = {name: CachedDocuments(one, embedding_size, scorer) for name, one in configs.items()}
        self.parts = nn.ModuleDict(made)
        self._name_of = name_of
        self._counts = False
        self._earlier: EarlierDocuments | None = None
        self._figures = Figures()

    def __len__(self) -> int:
        return sum(map(len, self._documents))

    @property
    def _documents(self) -> list[CachedDocuments]:
        return [part for part in self.parts.values() if isinstance(part, CachedDocuments)]

    def _is(self, *distributions: str) -> bool:
        return world_size() > 1 and self.config.distributed in distributions

    def check(self, kind: RelationKind, most: int | None) -> None:
        """Refuse samples without documents of their own, and too few of them for the cache ever to count.

        Raises:
            TypeError: naming what remembers them.
            ValueError: naming both numbers.
        """
        if kind not in (RelationKind.PAIRS, RelationKind.RANKING):
            raise TypeError(
                f"a negative cache keeps the documents of pairs and rankings, not those of {kind.value}; remember "
                "objects of groups and labels with configure_xbm"
            )
        if most is not None and most < self.start_filled:
            raise ValueError(
                f"the negative cache counts once it holds {self.start_filled:g} documents (start_filled of size), and "
                f"there are {most} to train on; make size or start_filled smaller"
            )

    def beside(
        self,
        loss: SimilarityLoss,
        queries: Embeddings,
        documents: Embeddings,
        relation: Relation,
        scorer: Scorer,
        earlier: EarlierDocuments | None,
    ) -> Tensor | None:
        """The logit of the whole cache against each query; None until it is filled as far as it should be."""
        self._earlier = earlier
        self._figures.clear()
        if not self._is_filled(queries.device):
            return None
        parts, sharded = self._documents, self._is("sharded")
        mine = _share(relation, 0) if self._is("local") else slice(0, len(queries))
        own = self._own(relation)
        own = own[:, (own[0] >= mine.start) & (own[0] < mine.stop)] - own.new_tensor([[mine.start], [0]])
        caches = [part.cache for part in parts]
        extra, drawn = draw_together(
            caches,
            queries.take(mine),
            [partial(self._encode, part) for part in parts],
            own,
            caches[0].next_chances(mine.start),
            loss.logit_scale,
            sharded,
        )
        if self.config.write == "eval":
            rows = torch.unique(drawn.rows[drawn.rows >= 0])
            for part, start in zip(parts, first_rows(caches, sharded), strict=True):
                self._refresh(part, rows_within(rows, part.cache, start))
        self._tell(drawn, own)
        return gather(extra, [share[0] for share in relation.shares]) if self._is("local") else extra

    @torch.no_grad()
    def remember(self, documents: Embeddings, relation: Relation, origins: Origins | None = None) -> None:
        """Take in a batch's documents, and bring the oldest of the others up to date, if that is wanted.

        Raises:
            ValueError: for documents without ids.
        """
        ids = relation.document_ids
        if ids is None or origins is None:
            raise ValueError("a negative cache needs the ids of documents, and where they came from")
        known, rows = Remembered.of(relation), torch.arange(len(ids), device=ids.device)
        if self._is("sharded"):
            rows = rows[homes(ids, world_size()) == rank()]
        elif self._is("local"):
            rows = rows[_share(relation, 1)]
        before = len(self)
        for part, chosen in zip(self._documents, self._dealt(rows, ids, origins), strict=True):
            kept = documents.take(chosen.to(documents.device))
            if self.config.write == "eval" and self._earlier is not None and len(chosen):
                kept = self._embedded(_chosen(origins, chosen), False)
            part.take_in(kept, ids, origins, known, chosen)
            if part.cache.config.refresh and self._earlier is not None:
                self._refresh(part, part.cache.oldest(part.cache.config.refresh))
        self._figures.add("cache_duplicates", len(rows) - (len(self) - before), 1 / self._states())

    def figures(self) -> dict[str, Tensor]:
        """`cache_staleness`, `cache_positive_hits`, `cache_duplicates`, `cache_fill`, `cache_age` and its 95th part.

        Of several processes that keep something else these are the figures of all; the 95th part is the mean of theirs.
        """
        ages = self.ages().float()
        self._figures.add("cache_fill", len(self), self.size / (world_size() if self._is("sharded") else 1))
        self._figures.add("cache_age", ages.sum(), len(ages))
        self._figures.add("cache_age_p95", ages.quantile(0.95) * len(ages) if len(ages) else 0.0, len(ages))
        return self._figures.over(self._states() > 1, ages.device)

    def _tell(self, drawn: Drawn, own: Tensor) -> None:
        self._figures.add("cache_staleness", drawn.staleness.sum(), (drawn.rows >= 0).sum().clamp(min=1))
        hits = sum(cells_of_ids(part.cache.ids[: len(part)], own).shape[1] for part in self._documents)
        self._figures.add("cache_positive_hits", hits, 1 / self._states())

    def ages(self) -> Tensor:
        """(n,) int64: how many steps ago each document of this process was encoded."""
        return torch.cat([part.cache.ages for part in self._documents])

    def age_counts(self) -> Tensor:
        """(22,) int64: how many documents of all processes are of age 0, 1, 2 to 3, 4 to 7 and so on.

        All processes call it.
        """
        places = torch.frexp(self.ages().float()).exponent.clamp(0, _AGES - 1)
        counts = torch.bincount(places.long(), minlength=_AGES)
        return all_reduce_sum(counts) if self._states() > 1 else counts

    # Of several processes

    def start(self) -> None:
        """Take this process's share.

        Raises:
            ValueError: for fewer rows than processes.
        """
        self._counts = False
        if world_size() > 1:
            self._take(self.state_dict())

    def finish(self) -> None:
        """Every process keeps what all of them kept, as far as it fits."""
        if self._is("sharded", "local"):
            for part in self._documents:
                part.hold(part.whole(), 0, [part.cache.config.size], by_id=False)

    def whole(self) -> dict[str, Any]:
        """What all processes keep, one behind the other."""
        if not self._is("sharded", "local"):
            return self.state_dict()
        whole = [part.whole() for part in self._documents]
        return {
            f"parts.{name}.{key}": value
            for name, state in zip(self.parts, whole, strict=True)
            for key, value in state.items()
        }

    def share_of(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """What this process keeps of that.

        Raises:
            ValueError: for caches of other names, sizes or dtypes.
        """
        self._take(state)
        return self.state_dict()

    def _take(self, state: Mapping[str, Any]) -> None:
        names = sorted({key.split(".")[1] for key in state if key.startswith("parts.")})
        if names != sorted(self.parts):
            raise ValueError(
                f"the negative caches were {names}, and are {sorted(self.parts)}; give them the same names"
            )
        shares = self._is("sharded", "local")
        for name, part in zip(self.parts, self._documents, strict=True):
            prefix, config = f"parts.{name}.", part.cache.config
            own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
            rows = [config.size] * (world_size() if shares else 1)
            if self._is("sharded"):
                rows = [share_of_rows(config, process, world_size()) for process in range(world_size())]
            if not min(rows):
                raise ValueError(
                    f"a negative cache of size={config.size}, top_k={config.top_k} cannot be dealt to {world_size()} "
                    "processes: each needs a row, and a whole group of rows with groups=True; take more rows, or "
                    "distributed='replicated'"
                )
            part.hold(own, rank() if shares else 0, rows, by_id=self._is("sharded"))

    def _states(self) -> int:
        """How many processes keep something else."""
        return world_size() if self._is("sharded", "local") else 1

    def _is_filled(self, device: torch.device) -> bool:
        if not self._counts:  # once it does it goes on
            filled = sum(own for (own,) in exchange([len(self)], device)) if self._states() > 1 else len(self)
            self._counts = filled >= max(1, self.start_filled * (world_size() if self._is("local") else 1))
        return self._counts

    # Of a batch

    def _embedded(self, origins: Origins, grad: bool) -> Embeddings:
        if self._earlier is None:
            raise ValueError(
                "a negative cache needs somebody who encodes documents again; give Objective.step earlier="
            )
        return self._earlier.encode(origins, grad, not self._is("sharded", "local"))

    def _encode(self, part: CachedDocuments, rows: Tensor) -> Embeddings:
        return self._embedded(part.origins_at(rows), True)

    def _refresh(self, part: CachedDocuments, rows: Tensor) -> None:
        if len(rows):
            part.cache.refresh(rows, self._embedded(part.origins_at(rows), False))

    def _own(self, relation: Relation) -> Tensor:
        """(2, J) queries and ids of documents that are no negatives of theirs, whatever is in the cache."""
        if relation.document_ids is None or relation.query_ids is None:
            raise ValueError("a negative cache needs the ids of queries and documents")
        rows = torch.arange(relation.n_queries, device=relation.device)
        asking = torch.stack([rows, relation.query_ids])
        judged = torch.stack([relation.judged_queries, relation.document_ids[relation.judged_documents]])
        return torch.cat([judged, asking, *(part.alike(relation) for part in self._documents)], dim=1)

    def _dealt(self, rows: Tensor, ids: Tensor, origins: Origins) -> list[Tensor]:
        """Which rows of a batch go into which cache: where they are, and new ones where they are said to belong."""
        if len(self.parts) == 1:
            return [rows]
        places = torch.full_like(rows, -1)
        for number, part in enumerate(self._documents):
            places[rows_of_ids(part.cache.ids[: len(part)], ids[rows]) >= 0] = number
        new = (places < 0).nonzero()[:, 0]
        if len(new):
            places[new] = torch.tensor(self._named(_chosen(origins, rows[new])), device=places.device)
        return [rows[places == number] for number in range(len(self.parts))]

    def _named(self, origins: Origins) -> list[int]:
        if self._earlier is None or self._name_of is None:
            raise ValueError("several negative caches need to be told which of them keeps a document")
        names = {name: number for number, name in enumerate(self.parts)}
        given = [self._name_of(document) for document in self._earlier.read(origins)]
        unknown = [name for name in given if name not in names]
        if unknown:
            raise ValueError(f"negative_cache_of named {unknown[0]!r}, and the caches are {sorted(names)}")
        return [names[name] for name in given]


def _chosen(origins: Origins, rows: Tensor) -> Origins:
    return origins[rows.to(origins.device)] if isinstance(origins, Tensor) else [origins[row] for row in rows.tolist()]


def _share(relation: Relation, side: int) -> slice:
    """Which queries (side 0) or documents (side 1) of a gathered relation this process brought."""
    counts = [share[side] for share in relation.shares]
    return slice(sum(counts[: rank()]), sum(counts[: rank() + 1]))


def _common(configs: Mapping[str, NegativeCacheConfig]) -> NegativeCacheConfig:
    """What several caches have in common.

    Raises:
        ValueError: when they draw in different ways.
    """
    if not configs:
        raise ValueError("configure_negative_cache gave no cache; return None for none")
    first, *others = configs.values()
    for name in ("top_k", "groups", "samples", "sampler", "inv_temp", "seed", "in_batch", "write", "distributed"):
        if any(getattr(one, name) != getattr(first, name) for one in others):
            raise ValueError(f"several negative caches draw as one, so {name} must be the same for all of them")
    return first
