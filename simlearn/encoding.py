"""The one loop that encodes many objects: for the cache, for evaluation and for serving."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from simlearn.distributed import is_distributed, rank, together, world_size
from simlearn.embeddings import Embeddings, gather_embeddings
from simlearn.progress import Bar

EncodeBatch = Callable[[list[Any]], Embeddings]


def encode_in_batches(
    objects: Sequence[Any], encode_batch: EncodeBatch, *, batch_size: int = 32, progress: str | None = None
) -> Embeddings:
    """Encode objects in batches of similar length, so that little is padded.

    Args:
        objects: N objects, at least one.
        encode_batch: from a list of objects to their embeddings.
        batch_size: how many objects at once.
        progress: the label of a progress bar; None shows none.

    Returns:
        The embeddings of the N objects in their own order, where `encode_batch` left them.

    Raises:
        ValueError: for no objects or a batch size below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if not len(objects):
        raise ValueError("there is nothing to encode")
    if len(objects) <= batch_size and progress is None:
        return _alone(encode_batch(list(objects)), len(objects))
    order = sorted(range(len(objects)), key=lambda row: -rough_length(objects[row]))
    whole: Tensor | None = None
    ragged: list[Embeddings] = []
    with Bar(total=len(objects), desc=progress, disable=progress is None, unit="obj", leave=False) as bar:
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            part = encode_batch([objects[row] for row in rows])
            _check_count(part, len(rows))
            if part.is_multi_vector:
                ragged.append(part)
            else:
                if whole is None:  # written in place: a list of parts to join would need the memory twice
                    whole = part.values.new_empty((len(objects), part.size))
                if part.size != whole.shape[1]:
                    raise ValueError(f"the encoder returned vectors of size {whole.shape[1]}, then of size {part.size}")
                whole[torch.tensor(rows, device=whole.device)] = part.values
            bar.update(len(rows))
    if whole is None:
        joined = Embeddings.concatenate(ragged)
        return joined.take(torch.argsort(torch.tensor(order, device=joined.device)))
    if ragged:
        raise ValueError("the encoder returned one vector an object for some batches and many for others")
    return Embeddings(whole)


def _alone(part: Embeddings, count: int) -> Embeddings:
    """The only batch, copied: an encoder may give a view of what it was given, or of its weights."""
    _check_count(part, count)
    return Embeddings.concatenate([part]) if part.is_multi_vector else Embeddings(part.values.clone())


def _check_count(part: Embeddings, count: int) -> None:
    if len(part) != count:
        raise ValueError(f"the encoder returned {len(part)} embeddings for {count} objects")


def encode_shared(count: int, encode: Callable[[slice], Embeddings]) -> Embeddings:
    """Encode N objects that all processes have; each does its share, and all have the embeddings of all.

    Args:
        count: N.
        encode: from the places of some of the objects, in a row, to their embeddings; without collectives.

    Returns:
        The embeddings of the N objects in their own order.

    Raises:
        RuntimeError: when it failed in another process.
    """
    if not is_distributed() or count < world_size():  # nobody would know the shape of nothing
        return encode(slice(0, count))
    shares = [slice(*ends) for ends in pairwise(count * process // world_size() for process in range(world_size() + 1))]
    own = together(lambda: encode(shares[rank()]), "encoding")
    return gather_embeddings([own], [[share.stop - share.start] for share in shares])[0]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode for a while; afterwards every module is in the mode it was in, which may differ from its parent's."""
    training = [module for module in modules_of(model) if module.training]
    if training:
        model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def modules_of(model: nn.Module) -> Iterator[nn.Module]:
    """A module and all inside it, from the outside to the inside; one that is shared comes again.

    torch's `modules()` takes several times as long, which one query to a small model would notice.
    """
    found = [model]
    for module in found:  # which grows meanwhile
        yield module
        if module._modules:
            found += [child for child in module._modules.values() if child is not None]


def rough_length(obj: Any) -> int:
    """How long an object is to encode, roughly: characters of a text, or of all texts in it; 0 for the rest."""
    if isinstance(obj, (str, bytes)):
        return len(obj)
    if isinstance(obj, Mapping):
        return sum(rough_length(value) for value in obj.values())
    if isinstance(obj, (list, tuple)):
        return sum(rough_length(value) for value in obj)
    return 0
