"""A tower at work: the inputs of its parts, through their encoders and the head, to one embedding an object."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, Protocol

import torch
from torch import Tensor

from simlearn import meta as columns
from simlearn.embeddings import Embeddings
from simlearn.encoders import Encoder
from simlearn.encoding import evaluating
from simlearn.heads import EmptyHead, EncoderHead
from simlearn.towers.inputs import CachedRows, Inputs, cast
from simlearn.towers.plan import Part, Plan, TowerCollator, merge_meta


class KnownVectors(Protocol):
    """Embeddings that were computed before: a cache, seen by a tower."""

    def take(self, part: Part, rows: CachedRows, device: torch.device) -> tuple[Embeddings, columns.Meta]:
        """Embeddings and meta of the rows of a part, on `device`."""
        ...


class Tower:
    """The parts of one side of a model, joined by its head. It owns no weights: the model does.

    Args:
        parts: the parts, by name ascending; their embeddings are concatenated in this order.
        encoders: the model's encoders by name.
        head: the head on top.
    """

    def __init__(self, parts: tuple[Part, ...], encoders: Mapping[str, Encoder], head: EncoderHead) -> None:
        self.parts = parts
        self.encoders = encoders
        self.head = head

    @property
    def embedding_size(self) -> int:
        """The length of the embeddings that come out of the head."""
        return self.head.output_size

    def collator(self) -> TowerCollator:
        """From objects to the inputs of this tower."""
        return TowerCollator.of(self.parts, self.encoders)

    def embed(self, inputs: Inputs, known: KnownVectors | None = None) -> Embeddings:
        """Encode N objects.

        Args:
            inputs: what the tower's collator returned, on the model's device.
            known: where the vectors of `CachedRows` are.

        Raises:
            ValueError: when parts with many vectors an object would have to be joined.
        """
        parts = []
        meta = {"": inputs.meta}
        for part in self.parts:
            features = inputs.features[part.name]
            if isinstance(features, CachedRows):
                if known is None:
                    raise ValueError("these inputs are rows of a cache, which was not passed")
                embeddings, meta[part.name] = known.take(part, features, self._device())
                parts.append(embeddings)
            else:
                encoder = self.encoders[part.encoder]
                encoded: Any = encoder(cast(features, encoder))
                parts.append(encoded if isinstance(encoded, Embeddings) else Embeddings(encoded))
                if parts[-1].is_multi_vector and not encoder.many_vectors:
                    warnings.warn(
                        f"{type(encoder).__name__} gives many vectors an object without saying so: let it set "
                        "many_vectors = True, or no objects at all have the embeddings (0, D) in place of (0, 0, D)",
                        stacklevel=2,
                    )
        joined = _join(parts)
        return self.head.embed(Embeddings(cast(joined.values, self.head), joined.mask), merge_meta(meta))

    def embeddings_of_nothing(self) -> Embeddings:
        """(0, D), or (0, 0, D) for many vectors an object, as the tower would give them.

        Without a batch to run, only the weights tell device and dtype. Encoders say whether they give many vectors, and
        the head is shown no objects of one vector each: what a pooling makes of these, no list of names could tell.
        """
        like = next((tensor for tensor in self._tensors() if tensor.is_floating_point()), torch.empty(0))
        if not any(self.encoders[part.encoder].many_vectors for part in self.parts):
            return Embeddings(like.new_empty((0, self.embedding_size)).detach())
        given = like.new_empty((0, 1, self.head.input_embedding_size))
        nothing = Embeddings(cast(given, self.head), torch.ones((0, 1), dtype=torch.bool, device=like.device))
        with evaluating(self.head), torch.no_grad():
            made = self.head.embed(nothing, {})
        return Embeddings(made.values[:, :0]) if made.is_multi_vector else made

    def _device(self) -> torch.device:
        """Where the head is: a cached encoder may stay on the CPU, its vectors have to come along."""
        return next((tensor.device for tensor in self._tensors()), torch.device("cpu"))

    def _tensors(self) -> Iterator[Tensor]:
        for module in (self.head, *(self.encoders[part.encoder] for part in self.parts)):
            yield from chain(module.parameters(), module.buffers())


def _join(parts: list[Embeddings]) -> Embeddings:
    if len(parts) == 1:
        return parts[0]
    if any(part.is_multi_vector for part in parts):
        raise ValueError("embeddings of many vectors an object cannot be concatenated with others; pool them first")
    dtype = parts[0].values.dtype
    for part in parts[1:]:
        dtype = torch.promote_types(dtype, part.values.dtype)
    return Embeddings(torch.cat([part.values.to(dtype) for part in parts], dim=1))


def heads_by_role(plan: Plan, head: EncoderHead | Mapping[str, EncoderHead] | None) -> dict[str, EncoderHead]:
    """The heads by role; one for both towers stands under "query" alone, so that it is stored once.

    Args:
        plan: the encoders and towers.
        head: as `SimilarityModel` takes it.

    Raises:
        ValueError: for heads that do not fit the towers.
    """
    if not isinstance(head, Mapping):
        sizes = {role: plan.input_size(role) for role in plan.roles}
        if head is None and len(set(sizes.values())) > 1:
            head = {role: EmptyHead(size) for role, size in sizes.items()}
        else:
            head = {"query": head if head is not None else EmptyHead(sizes["query"])}
    elif plan.is_symmetric and set(head) != {"query"}:
        raise ValueError("a head for each role needs two towers: TwoTower(query=encoder, document=encoder)")
    elif "query" not in head or set(head) - set(plan.roles):
        raise ValueError(f"heads must be given for {' and '.join(plan.roles)}, got {sorted(head)}")
    for role in plan.roles:
        one = head.get(role, head["query"])
        if not isinstance(one, EncoderHead):
            raise TypeError(f"the {role} head must be an EncoderHead, got {type(one).__name__}")
        if one.input_embedding_size != plan.input_size(role):
            raise ValueError(
                f"the {role} head takes embeddings of size {one.input_embedding_size}, the encoders give "
                f"{plan.input_size(role)}; build it from the input_embedding_size that configure_head receives"
            )
    return {role: one for role, one in head.items() if role == "query" or one is not head["query"]}
