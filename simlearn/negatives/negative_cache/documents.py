"""A cache of documents in a training, and beside each where it came from and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from simlearn.distributed import gather_objects, gather_parts
from simlearn.embeddings import Embeddings
from simlearn.hashing.mixing import mixed
from simlearn.negatives.memory import Origins
from simlearn.negatives.negative_cache.cache import NegativeCache
from simlearn.negatives.negative_cache.config import NegativeCacheConfig
from simlearn.negatives.negative_cache.rows import cells_of_ids, last_of_each
from simlearn.relations import Relation, Remembered
from simlearn.scoring import Scorer

_STATE, _OBJECTS = "cache.state", "_extra_state"
_PLAIN = (str, bytes, int, float, bool, type(None), Tensor)


def homes(ids: Tensor, processes: int) -> Tensor:
    """The process (M,) that keeps the document of each id."""
    return mixed(ids) % processes


def share_of_rows(config: NegativeCacheConfig, process: int, processes: int) -> int:
    """How many rows of a sharded cache a process has: whole groups, and as many as any other, or one more."""
    group = config.size // config.top_k if config.groups and config.top_k is not None else 1
    groups = config.size // group
    return (groups // processes + (process < groups % processes)) * group


class CachedDocuments(nn.Module):
    """A cache, and columns beside its rows.

    Its state on disk is that of the caches of all processes, one behind the other; `hold` takes a process's share.

    Args:
        config: how many documents, and how negatives are drawn.
        embedding_size: of the document tower.
        scorer: of the model.
    """

    origins: Tensor
    owners: Tensor
    subgroups: Tensor

    def __init__(self, config: NegativeCacheConfig, embedding_size: int, scorer: Scorer) -> None:
        super().__init__()
        self.cache = NegativeCache(config, embedding_size, scorer)
        self.register_buffer("origins", torch.full((config.size, 2), -1, dtype=torch.long))
        self.register_buffer("owners", torch.zeros(config.size, dtype=torch.long))
        self.register_buffer("subgroups", torch.zeros(config.size, dtype=torch.long))
        self._objects: list[Any] = []
        """Of a stream the documents themselves, by row."""

    def __len__(self) -> int:
        return len(self.cache)

    def take_in(self, documents: Embeddings, ids: Tensor, origins: Origins, known: Remembered, rows: Tensor) -> None:
        """Keep some documents of a batch.

        Args:
            documents: their m embeddings.
            ids: (M,) of the batch.
            origins: of the M documents of the batch.
            known: of these.
            rows: (m,) which of them.

        Raises:
            TypeError: for objects of a stream that a checkpoint cannot hold.
        """
        places = self.cache.insert(documents, ids[rows])
        kept = places >= 0
        places, rows = places[kept], rows[kept]
        if isinstance(origins, Tensor):
            self.origins[places] = origins[rows].to(places.device)
        else:
            self._objects += [None] * (len(self) - len(self._objects))
            for place, row in zip(places.tolist(), rows.tolist(), strict=True):
                self._objects[place] = _plain(origins[row])
        for column, told in ((self.owners, known.owner_ids), (self.subgroups, known.subgroups)):
            if told is not None:
                column[places] = told[rows].to(places.device)

    def origins_at(self, rows: Tensor) -> Origins:
        """Where the documents in some rows (n,) came from."""
        return [self._objects[row] for row in rows.tolist()] if self._objects else self.origins[rows]

    def alike(self, relation: Relation) -> Tensor:
        """(2, J) queries and the ids of documents here that an earlier batch says are no negatives of theirs."""
        rows = torch.arange(relation.n_queries, device=relation.device)
        count, found = len(self), []
        for column, asked in ((self.owners, relation.query_ids), (self.subgroups, relation.query_subgroups)):
            if asked is None:
                continue
            asking = torch.stack([rows, asked])
            if column is self.subgroups:  # 0 says nothing
                asking = asking[:, asked != 0]
            queries, cells = cells_of_ids(column[:count], asking)
            found.append(torch.stack([queries, self.cache.ids[cells]]))
        return torch.cat(found, 1) if found else rows.new_zeros(2, 0)

    def whole(self) -> dict[str, Any]:
        """The state of all processes as one: their rows one behind the other, and how far each has come."""
        names = [name for name, _ in self.named_buffers() if name != _STATE]
        state, columns = self.cache.state[None], [self.get_buffer(name)[: len(self)] for name in names]
        device = state.device
        *parts, states = gather_parts([*(column.to(device) for column in columns), state])
        joined = {name: torch.cat(own).cpu() for name, own in zip(names, parts, strict=True)}
        objects = list(chain.from_iterable(gather_objects(self._objects)))
        return {**joined, _STATE: torch.cat(states).cpu(), _OBJECTS: {"objects": objects} if objects else {}}

    def get_extra_state(self) -> dict[str, list[Any]]:
        """The documents of a stream."""
        return {"objects": list(self._objects)} if self._objects else {}

    def set_extra_state(self, state: dict[str, list[Any]]) -> None:
        """See `get_extra_state`."""
        self._objects = list(state.get("objects", []))

    def hold(self, whole: Mapping[str, Any], process: int, rows: Sequence[int], by_id: bool) -> None:
        """Take a share of a whole state.

        As many processes as it was gathered from get what they had; others get what is theirs by its id, the latest.

        Args:
            whole: see `whole`; also the state of one process as it is.
            process: the number of this one.
            rows: how many documents each of the processes may keep among which it is dealt.
            by_id: whether each must keep those that `homes` says.

        Raises:
            ValueError: for what a cache of another size or dtype kept.
        """
        self.cache.check_state(whole[_STATE], whole["cache.embeddings"])
        states = whole[_STATE].view(-1, whole[_STATE].shape[-1])
        counts: list[int] = states[:, 0].tolist()
        filled = {name: column[: sum(counts)] for name, column in whole.items() if name not in (_STATE, _OBJECTS)}
        home = homes(filled["cache.ids"], len(rows))
        if len(states) == len(rows):
            kept_by = torch.repeat_interleave(torch.tensor(counts, device=home.device))
            fits = all(count <= most for count, most in zip(counts, rows, strict=True))
        if len(states) == len(rows) and fits and (not by_id or torch.equal(kept_by, home)):
            mine = (kept_by == process).nonzero()[:, 0]
            state = states[process].clone()
        else:
            mine = (home == process).nonzero()[:, 0]
            mine = mine[filled["cache.written"][mine].argsort(stable=True)]
            # Processes that kept what they had read may have kept the same.
            mine = mine[last_of_each(filled["cache.ids"][mine])][-rows[process] :]
            state = states.amax(0)
            state[0], state[1] = len(mine), 0
        for name, column in self.named_buffers():
            owner, _, own_name = name.rpartition(".")
            module = self.get_submodule(owner)
            if name == _STATE:
                made = state.to(column.device)
            else:
                made = column.new_full((rows[process], *column.shape[1:]), -1 if own_name == "origins" else 0)
                made[: len(mine)] = filled[name][mine.to(filled[name].device)].to(made)  # some may stay on the CPU
            setattr(module, own_name, made)
        objects = whole[_OBJECTS].get("objects", [])
        self._objects = [objects[row] for row in mine.tolist()] if objects else []


def _plain(document: Any) -> Any:
    """The document, if it is of what a checkpoint can hold and give back without running code.

    Raises:
        TypeError: naming what cannot.
    """
    if isinstance(document, Mapping):
        inside: list[Any] = [*document.keys(), *document.values()]
    elif type(document) in (list, tuple):
        inside = list(document)
    elif isinstance(document, _PLAIN):
        return document
    else:
        raise TypeError(
            f"a negative cache keeps the documents of a stream, and a checkpoint cannot hold a "
            f"{type(document).__name__}; make them of texts, numbers, tensors, lists and dictionaries, or give a data "
            "set with numbered samples, whose documents are read again (and not even encoded, with CacheConfig)"
        )
    for one in inside:
        _plain(one)
    return document
