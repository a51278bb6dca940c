"""Tensors and arrays as digests of their numbers, read once and where they are."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

BY_NAME = (torch.dtype, torch.layout, torch.memory_format, np.dtype)
"""Classes whose objects are their names."""

PLAIN_TENSORS = (Tensor, nn.Parameter, nn.Buffer)
"""Classes of tensors that add nothing to their numbers."""

_WHOLE = (torch.per_tensor_affine, torch.per_tensor_symmetric)


def tensor_key(tensor: Tensor) -> Any:
    """What is equal for tensors that are read as one: views of one memory; what has no memory is itself."""
    if type(tensor) not in PLAIN_TENSORS or tensor.layout is not torch.strided or tensor.is_nested:
        return id(tensor)
    if tensor.is_meta or tensor.is_quantized or not tensor.numel():
        return id(tensor)
    is_turned = tensor.is_conj(), tensor.is_neg()
    return ("tensor", tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.device, is_turned)


def tensor_parts(tensor: Tensor) -> Iterator[Any]:
    """What a tensor is made of: texts, numbers, digests, and tensors within.

    Raises:
        TypeError: for a tensor that has no numbers yet.
    """
    if isinstance(tensor, (nn.UninitializedParameter, nn.UninitializedBuffer)):
        raise TypeError("it is made when it is first used; encode something once")
    if tensor.is_nested:
        yield from ("nested", *tensor.unbind())
        return
    yield f"{tensor.dtype} {tuple(tensor.shape)} {tensor.layout}"
    if hasattr(tensor, "__tensor_flatten__"):  # of other tensors, as quantised weights
        names, facts = tensor.__tensor_flatten__()
        yield from (type(tensor).__qualname__, repr(facts), *(getattr(tensor, name) for name in names))
        return
    if tensor.is_meta:
        return
    plain = tensor.detach().cpu()
    if plain.is_quantized:
        if plain.qscheme() in _WHOLE:
            yield from (float(plain.q_scale()), int(plain.q_zero_point()))
        else:
            yield plain.q_per_channel_axis()
            yield from (plain.q_per_channel_scales(), plain.q_per_channel_zero_points())
        plain = plain.int_repr()
    if plain.layout is torch._mkldnn:  # type: ignore[attr-defined]
        plain = plain.to_dense()
    if plain.layout is not torch.strided:
        plain = plain.coalesce() if plain.layout is torch.sparse_coo else plain.to_sparse().coalesce()
        yield from (plain.indices(), plain.values())
        return
    words = plain.resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8)
    yield blake2b(words.numpy().data, digest_size=16).digest()


def array_parts(array: np.ndarray[Any, Any]) -> Iterator[Any]:
    """What a plain array of numbers or texts is made of."""
    yield f"{array.dtype.descr if array.dtype.names else array.dtype.str} {array.shape}"
    words = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    yield blake2b(words.data, digest_size=16).digest()
