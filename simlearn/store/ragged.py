"""Many vectors an object: end to end while they are kept, padded and masked while they are used."""

from __future__ import annotations

import torch
from torch import Tensor

from simlearn.embeddings import Embeddings


def flatten(embeddings: Embeddings) -> tuple[Tensor, Tensor | None]:
    """The vectors that count, end to end.

    Returns:
        Values (T, D), and how many of them each object has (N,) int64; None for one vector each.
    """
    values = embeddings.values.detach()
    if not embeddings.is_multi_vector:
        return values, None
    if embeddings.mask is None:
        return values.flatten(0, 1), torch.full((len(values),), values.shape[1], device=values.device)
    return values[embeddings.mask], embeddings.mask.sum(dim=1)


def pad(values: Tensor, starts: Tensor, lengths: Tensor) -> Embeddings:
    """Embeddings of N objects out of the vectors of all.

    Args:
        values: (T, D).
        starts: (N,) int64, where in `values` an object's vectors begin.
        lengths: (N,) int64, how many there are.

    Returns:
        (N, M, D), with a mask where objects differ in their number of vectors, and zeros where it is False.
    """
    count, longest = len(lengths), int(lengths.max()) if len(lengths) else 0
    place = torch.arange(longest, device=lengths.device)
    mask = place < lengths[:, None]
    source = starts[:, None] + place
    if bool(mask.all()):
        return Embeddings(values.index_select(0, source.flatten()).view(count, longest, values.shape[1]))
    padded = values.new_zeros((count * longest, values.shape[1]))
    padded[mask.flatten()] = values.index_select(0, source[mask])
    return Embeddings(padded.view(count, longest, values.shape[1]), mask)
