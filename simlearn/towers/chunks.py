"""Encoding a batch in chunks, so that its size is bounded by its embeddings and not by what encoding them keeps.

Each chunk runs forward twice: once to know its embedding, and once more in the backward pass, where its activations
are needed (Chen et al. 2016; Gao et al. 2021 do it for contrastive losses). torch's non-reentrant checkpoints keep all
of it in one graph: any loss works, dropout is replayed, and DDP sees every gradient once. A function that ran a
backward pass of its own inside the backward pass would be silently wrong there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from simlearn.embeddings import Embeddings
from simlearn.encoders.tokens import count_tokens
from simlearn.towers.inputs import InputChunks, Inputs
from simlearn.towers.plan import Plan, TowerCollator
from simlearn.towers.token_budget import Lookups, collate_within
from simlearn.towers.tower import KnownVectors, Tower


def collate_in_chunks(
    tower: TowerCollator, objects: list[Any], size: int | None, tokens: int | None, known: Lookups | None = None
) -> Inputs | InputChunks:
    """Collate N objects, in chunks of at most `size` objects or `tokens` tokens; None of either does not cut them.

    Args:
        tower: the tower's collator.
        objects: the objects.
        size: objects of a chunk.
        tokens: tokens of a chunk, instead; see `collate_within`.
        known: see `TowerCollator`.
    """
    if tokens is not None:
        return collate_within(tower, objects, tokens, known)
    if size is None or len(objects) <= size:
        return tower(objects, known)
    return InputChunks(tuple(tower(objects[start : start + size], known) for start in range(0, len(objects), size)))


def embed_in_chunks(tower: Tower, inputs: Inputs | InputChunks, known: KnownVectors | None) -> Embeddings:
    """The embeddings of inputs in the order of the objects; of chunks one at a time, keeping nothing else of them."""
    if isinstance(inputs, Inputs):
        return tower.embed(inputs, known)
    embed = _checkpointed if torch.is_grad_enabled() else Tower.embed
    embeddings = Embeddings.concatenate([embed(tower, chunk, known) for chunk in inputs.chunks])
    return embeddings if inputs.places is None else embeddings.take(inputs.places)


def _checkpointed(tower: Tower, chunk: Inputs, known: KnownVectors | None) -> Embeddings:
    def run(inputs: Inputs) -> tuple[Tensor, Tensor | None]:
        embeddings = tower.embed(inputs, known)
        return embeddings.values, embeddings.mask

    values, mask = checkpoint(run, chunk, use_reentrant=False)
    return Embeddings(values, mask)


def check_chunkable(plan: Plan, heads: Mapping[str, nn.Module]) -> None:
    """Refuse batch normalisation that training changes: its statistics would be those of a chunk, and counted twice.

    Raises:
        ValueError: naming the layer.
    """
    trained: list[tuple[str, nn.Module]] = [
        *((name, encoder) for name, encoder in plan.encoders.items() if encoder.trainable),
        *(("head", head) for head in heads.values()),
    ]
    for name, module in trained:
        for layer_name, layer in module.named_modules():
            if isinstance(layer, _BatchNorm):
                raise ValueError(
                    f"encoding in chunks excludes batch normalisation in train mode ({name}.{layer_name}): a chunk "
                    "would be normalised by its own statistics; use layer normalisation, or freeze the encoder"
                )


def check_countable(plan: Plan) -> None:
    """Refuse trainable encoders that cannot tell how many tokens an object has; others may yet be cached.

    Raises:
        TypeError: naming the encoder.
    """
    for parts in plan.towers.values():
        collator = TowerCollator.of(parts, plan.encoders)
        for part, collate in zip(collator.parts, collator.collate_fns, strict=True):
            if plan.encoders[part.encoder].trainable:
                count_tokens(collate, [], part.encoder)
