"""A check for losses of one's own: do several processes train like one?"""

from __future__ import annotations

import copy
import multiprocessing
import tempfile
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import start_processes

from simlearn.distributed import all_reduce_sum, world_size
from simlearn.embeddings import Embeddings
from simlearn.losses.class_loss import class_losses
from simlearn.losses.global_loss import global_loss
from simlearn.losses.similarity_loss import SimilarityLoss
from simlearn.relations import Relation, RelationKind
from simlearn.scoring import Scorer

_SIZES = (6, 4)
"""Samples of each process: uneven, as the last batch of an epoch may be."""

_CANDIDATES = 3
"""Documents a query, in rankings."""


def verify_distributed(
    loss: SimilarityLoss, *, embedding_size: int = 8, scorer: Scorer | None = None, tolerance: float = 1e-9
) -> None:
    """Compare a loss on two processes (gloo, on the CPU) with the same loss on one that has both batches.

    simlearn gathers the batches of all processes before it computes a loss, which is right for every loss that is a
    function of its batch and its parameters. One that talks to other processes itself, keeps state from step to step
    or draws random numbers may fail. The loss is copied, and the copy computed in double precision.

    Args:
        loss: any loss, also one of your own.
        embedding_size: of the embeddings that it is given.
        scorer: that of your model; None for that of the loss's own distance.
        tolerance: how much values and gradients may differ, relative to the largest entry.

    Raises:
        ValueError: naming what differs: the value, the gradient of the model, or of a parameter of the loss.
        RuntimeError: when called inside a process group, or when the loss fails in one of the processes.
    """
    if world_size() > 1:
        raise RuntimeError("verify_distributed starts processes of its own; call it outside a process group")
    loss = copy.deepcopy(loss).double()
    scorer = copy.deepcopy(scorer if scorer is not None else loss.scorer()).double()
    for kind in sorted(loss.relations - {RelationKind.MATRIX}):
        batches = _Batches(kind, embedding_size, loss)
        expected = batches.train(loss, scorer, slice(None))
        for rank, answer in enumerate(_on_two(batches, loss, scorer)):
            for name, value in expected.items():
                scale = max(float(value.abs().max()), 1e-12) if value.numel() else 1.0
                worst = float((answer[name] - value).abs().max()) / scale if value.numel() else 0.0
                if not worst <= tolerance:
                    raise ValueError(
                        f"{type(loss).__name__} on {kind}: {name} of process {rank} of two differs from that of one "
                        f"process by {worst:.2g} of its size; a loss must be a function of the batch that it is given, "
                        "which is the global one already"
                    )


class _Batches:
    """Random samples of one kind, of which each process takes some."""

    def __init__(self, kind: RelationKind, embedding_size: int, loss: SimilarityLoss) -> None:
        generator = torch.Generator().manual_seed(0)
        size = sum(_SIZES)
        documents = size * (_CANDIDATES if kind is RelationKind.RANKING else 1)
        self.kind = kind
        self.queries = torch.randn(size, embedding_size, generator=generator, dtype=torch.float64)
        self.documents = torch.randn(documents, embedding_size, generator=generator, dtype=torch.float64)
        self.weight = torch.randn(embedding_size, embedding_size, generator=generator, dtype=torch.float64)
        self.scores = torch.randint(0, 2, (documents,), generator=generator).double()
        self.groups = torch.arange(size) % 3
        for part in class_losses(loss):
            if part.has_classes:
                self.groups = part.class_ids[self.groups % max(1, int((part.class_ids < part.class_ids.max()).sum()))]
            else:
                part.set_classes(self.groups)

    def train(self, loss: SimilarityLoss, scorer: Scorer, rows: slice) -> dict[str, Tensor]:
        """The value, and the gradients as DDP averages them."""
        weight = self.weight.clone().requires_grad_()
        relation = self._relation(rows)
        queries = Embeddings(self.queries[rows] @ weight)
        per_query = len(self.documents) // len(self.queries)
        first, last, _ = rows.indices(len(self.queries))
        documents = Embeddings(self.documents[first * per_query : last * per_query] @ weight)
        value = global_loss(loss, queries, queries if relation.is_shared else documents, relation, scorer).value
        named = {"the gradient of the model": weight}
        trained = [(name, parameter) for name, parameter in loss.named_parameters() if parameter.requires_grad]
        named |= {f"the gradient of {name}": parameter for name, parameter in trained}
        gradients = torch.autograd.grad(value, list(named.values()), materialize_grads=True)
        averaged = [all_reduce_sum(gradient) / world_size() for gradient in gradients]
        return {"the value": value.detach(), **dict(zip(named, averaged, strict=True))}

    def _relation(self, rows: slice) -> Relation:
        size = len(self.queries[rows])
        if self.kind is RelationKind.GROUPS:
            return Relation.from_groups(self.groups[rows])
        if self.kind is RelationKind.LABELS:
            return Relation.from_labels(torch.arange(size + 1), self.groups[rows])
        if self.kind is RelationKind.PAIRS:
            return Relation.from_pairs(self.scores[rows])
        scores = self.scores.view(len(self.queries), _CANDIDATES)[rows]
        return Relation.from_ranking(_CANDIDATES * torch.arange(size + 1), scores.flatten())


def _on_two(batches: _Batches, loss: SimilarityLoss, scorer: Scorer) -> list[dict[str, Tensor]]:
    # A fork knows classes of a notebook, which nothing could import in a fresh process.
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    with tempfile.TemporaryDirectory() as folder:
        arguments = (folder, batches, loss, scorer)
        start_processes(_process, arguments, nprocs=len(_SIZES), start_method=method)  # type: ignore[no-untyped-call]
        return [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(len(_SIZES))]


def _process(rank: int, folder: str, batches: _Batches, loss: SimilarityLoss, scorer: Scorer) -> None:
    torch.set_num_threads(1)  # a forked process that starts threads of its own may wait for ever
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=len(_SIZES),
        timeout=timedelta(seconds=60),
    )
    start = sum(_SIZES[:rank])
    torch.save(batches.train(loss, scorer, slice(start, start + _SIZES[rank])), Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()
