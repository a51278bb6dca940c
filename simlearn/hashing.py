"""Names for values that every process and every run agrees on.

Python's `hash(str)` changes from process to process, so it can neither name a group under DDP nor key a cache on disk. Two
functions replace it, over one type-tagged encoding (`("a", "b")` and `"ab"` differ, `{1, 2}` and `{2, 1}` agree):

* `stable_id` names groups, subgroups and objects with 64 bits; integers keep their value;
* `content_key` names *what an encoder would see* with 128 bits; it tells 3 from 3.0, because an encoder may.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import uuid
from collections.abc import Hashable, Iterable
from enum import Enum
from hashlib import blake2b
from pathlib import PurePath
from typing import Any

_INT64 = range(-(2**63), 2**63)


def stable_id(value: Hashable, *, name: str = "group", cure: str | None = None) -> int:
    """Map a group, subgroup or object name to a signed 64-bit integer, alike in every process and run.

    Integers and integral floats keep their value: `3`, `3.0` and `np.int64(3)` agree, and 0 stays 0. Every other value
    becomes 64 bits of blake2b over its type-tagged encoding.

    Args:
        value: int, float, str, bytes, None, Enum, date, datetime, UUID, Path, or a tuple, frozenset or frozen dataclass of
            these; numpy scalars and one-element tensors count as the Python number they hold.
        name: what the value is, for the error message.
        cure: what the error message advises; by default to pass `<name>_key=`.

    Returns:
        An integer in [-2**63, 2**63).

    Raises:
        TypeError: for any other type (lists, dictionaries, arrays, plain objects).
        ValueError: for NaN, which equals nothing, itself included.

    >>> stable_id(3) == stable_id(3.0) == 3
    True
    >>> stable_id("spoon") == stable_id("spoon"), stable_id("spoon") == stable_id(b"spoon")
    (True, False)
    """
    if type(value) is int and value in _INT64:
        return value
    if hasattr(value, "item") and not isinstance(value, (int, float, str, bytes)) and getattr(value, "size", None) != 0:
        value = _scalar(value)
    if isinstance(value, (int, float)) and _is_integral(value) and int(value) in _INT64:
        return int(value)
    out = bytearray()
    advice = cure or f"pass `{name}_key=` a function that turns it into a str or an int"
    try:
        _encode(value, out, exact=False)
    except ValueError as error:
        raise ValueError(f"{name} {value!r:.80}: {error}; {advice}") from None
    except TypeError as error:
        raise TypeError(f"{name} {value!r:.80}: {error}; {advice}") from None
    return int.from_bytes(blake2b(out, digest_size=8).digest(), "little", signed=True)


def content_key(value: Any) -> bytes:
    """Name the content of an object with 16 bytes, so that equal content is recognised in any process, run or data set.

    Args:
        value: str, bytes, numbers, None, Enum, dates, UUID, Path, numpy arrays, torch tensors, PIL images, or a dict, list,
            tuple, set or dataclass of these.

    Returns:
        16 bytes of blake2b. Equal objects of equal type share them; `3` and `3.0` do not.

    Raises:
        TypeError: for any other type; the message names it.
    """
    if type(value) is str:  # nearly every object of a text data set: spare it the general way
        return blake2b(b"s" + value.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    out = bytearray()
    _encode(value, out, exact=True)
    return blake2b(out, digest_size=16).digest()


def _is_integral(value: float) -> bool:
    return isinstance(value, int) or value.is_integer()


def _scalar(value: Any) -> Any:
    """The Python number in a numpy scalar or a one-element tensor; anything else comes back as it is."""
    module = type(value).__module__
    if module == "numpy" and not type(value).__name__ == "ndarray":
        return value.item()
    if module.startswith("torch") and value.ndim == 0:
        return value.item()
    return value


def _frame(out: bytearray, tag: bytes, payload: bytes) -> None:
    """Append a tag, the payload's length and the payload, so that no two sequences of values share their bytes."""
    out += tag
    out += len(payload).to_bytes(8, "little")
    out += payload


def _sequence(out: bytearray, tag: bytes, items: Iterable[Any], count: int, exact: bool) -> None:
    out += tag
    out += count.to_bytes(8, "little")
    for item in items:
        _encode(item, out, exact)


def _encode(value: Any, out: bytearray, exact: bool) -> None:
    """Append the type-tagged encoding of `value`. `exact` tells number types apart and admits mutable containers."""
    if hasattr(value, "item") and not exact:
        value = _scalar(value)
    if isinstance(value, str):
        _frame(out, b"s", value.encode("utf-8", "surrogatepass"))
    elif isinstance(value, bytes):
        _frame(out, b"b", value)
    elif value is None:
        out += b"n"
    elif isinstance(value, (bool, int, float)) and type(value).__module__ != "numpy":
        _number(value, out, exact)
    elif isinstance(value, Enum):
        _frame(out, b"e", f"{type(value).__qualname__}.{value.name}".encode())
    elif isinstance(value, datetime.datetime):
        moment = value.astimezone(datetime.timezone.utc) if value.tzinfo else value
        _frame(out, b"t", moment.isoformat().encode())
    elif isinstance(value, (datetime.date, datetime.time)):
        _frame(out, b"d", value.isoformat().encode())
    elif isinstance(value, datetime.timedelta):
        _sequence(out, b"l", (value.days, value.seconds, value.microseconds), 3, exact)
    elif isinstance(value, uuid.UUID):
        _frame(out, b"u", value.bytes)
    elif isinstance(value, PurePath):
        _frame(out, b"p", value.as_posix().encode("utf-8", "surrogatepass"))
    elif isinstance(value, tuple):
        _sequence(out, b"(", value, len(value), exact)
    elif isinstance(value, (frozenset, set) if exact else frozenset):
        _sequence(out, b"{", (), len(value), exact)
        encoded = []
        for item in value:
            one = bytearray()
            _encode(item, one, exact)
            encoded.append(bytes(one))
        for one_item in sorted(encoded):
            out += one_item
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        if not exact and not type(value).__dataclass_params__.frozen:  # type: ignore[attr-defined]
            raise TypeError(f"the dataclass {type(value).__qualname__} is not frozen, so its value could change")
        _frame(out, b"c", type(value).__qualname__.encode())
        fields = dataclasses.fields(value)
        _sequence(out, b"(", (getattr(value, field.name) for field in fields), len(fields), exact)
    elif exact:
        _encode_content(value, out)
    else:
        raise TypeError(f"a {type(value).__qualname__} has no stable name")


def _number(value: float, out: bytearray, exact: bool) -> None:
    if isinstance(value, float) and math.isnan(value) and not exact:
        raise ValueError("NaN equals nothing, not even itself")
    if exact:
        _frame(out, type(value).__name__[:1].encode().upper(), repr(value).encode())
    elif _is_integral(value):
        _frame(out, b"i", str(int(value)).encode())
    else:
        _frame(out, b"f", float(value).hex().encode())


def _encode_content(value: Any, out: bytearray) -> None:
    """The types that only objects have, not their names: mutable containers, arrays, tensors, images.

    They are told by their module so that naming a str imports neither numpy nor torch nor PIL.
    """
    if isinstance(value, (list, dict)):
        tag, items = (b"[", value) if isinstance(value, list) else (b"<", list(value.items()))
        _sequence(out, tag, items, len(items), exact=True)
        return
    modules = {cls.__module__.partition(".")[0] for cls in type(value).__mro__}
    if "torch" in modules and hasattr(value, "detach"):
        tensor = value.detach().cpu().contiguous()
        _frame(out, b"T", f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        out += tensor.reshape(-1).view(_torch_bytes()).numpy().tobytes() if tensor.numel() else b""
    elif "numpy" in modules and hasattr(value, "tobytes") and not value.dtype.hasobject:
        _frame(out, b"A", f"{value.dtype.str}{value.shape}".encode())
        out += value.tobytes()
    elif "numpy" in modules and hasattr(value, "tolist"):
        _sequence(out, b"O", [tuple(value.shape), value.tolist()], 2, exact=True)
    elif "PIL" in modules and hasattr(value, "getdata"):
        _frame(out, b"P", f"{value.mode}{value.size}{value.getpalette() if value.mode == 'P' else ''}".encode())
        out += value.tobytes()
    else:
        raise TypeError(
            f"objects of type {type(value).__qualname__} have no content key; give a key function for them "
            "(`CacheConfig(key_extractors=...)` for a cache)"
        )


def _torch_bytes() -> Any:
    import torch

    return torch.uint8
