"""Names for values that every process and every run agrees on.

Python's `hash(str)` changes from process to process, so it can neither name a group under DDP nor key a cache on disk.
Two functions replace it, over one type-tagged encoding (`("a", "b")` and `"ab"` differ, `{1, 2}` and `{2, 1}` agree):

* `stable_id` names groups, subgroups and objects with 64 bits; integers keep their value;
* `content_key` names *what an encoder would see* with 128 bits; it tells 3 from 3.0, because an encoder may.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import sys
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
        value: int, float, str, bytes, None, Enum, date, time, datetime, timedelta, UUID, Path, or a tuple, frozenset or
            frozen dataclass of these; numpy scalars and tensors without dimensions count as the value that they hold.
        name: what the value is, for the error message.
        cure: what the error message advises; by default to pass `<name>_key=`.

    Returns:
        An integer in [-2**63, 2**63).

    Raises:
        TypeError: for any other type (lists, dictionaries, arrays, plain objects).
        ValueError: for NaN and NaT, which equal nothing, themselves included.

    >>> stable_id(3) == stable_id(3.0) == 3
    True
    >>> stable_id("spoon") == stable_id("spoon"), stable_id("spoon") == stable_id(b"spoon")
    (True, False)
    """
    if type(value) is int and value in _INT64:
        return value
    out = bytearray()
    advice = cure or f"pass `{name}_key=` a function that turns it into a str or an int"
    try:
        plain = _scalar(value)
        if isinstance(plain, (int, float)) and _is_integral(plain) and int(plain) in _INT64:
            return int(plain)
        _encode(plain, out, exact=False)
    except ValueError as error:
        raise ValueError(f"{name} {value!r:.80}: {error}; {advice}") from None
    except TypeError as error:
        raise TypeError(f"{name} {value!r:.80}: {error}; {advice}") from None
    return int.from_bytes(blake2b(out, digest_size=8).digest(), "little", signed=True)


def content_key(value: Any) -> bytes:
    """Name the content of an object with 16 bytes, so that equal content is recognised in any process, run or data set.

    What an encoder could tell apart has different keys, even where Python calls it equal: `1`, `1.0` and `True` have
    three, and dictionaries whose items are in another order, which an encoder that joins their values sees, have two.

    Args:
        value: str, bytes, numbers, None, Enum, dates and times, UUID, Path, numpy arrays, dense torch tensors, PIL
            images, or a dict, list, tuple, set or dataclass of these.

    Returns:
        16 bytes of blake2b.

    Raises:
        TypeError: for any other type; the message names it.
    """
    if isinstance(value, str):  # nearly every object of a text data set: spare it the general way
        return blake2b(b"s" + value.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    out = bytearray()
    _encode(value, out, exact=True)
    return blake2b(out, digest_size=16).digest()


def _is_integral(value: float) -> bool:
    return isinstance(value, int) or value.is_integer()


def _scalar(value: Any) -> Any:
    """The Python value in a numpy scalar, or in a tensor or array without dimensions; anything else as it is."""
    if type(value).__module__.partition(".")[0] not in ("numpy", "torch") or getattr(value, "ndim", None) != 0:
        return value
    plain = value.item()
    if plain is None:
        raise ValueError("NaT equals nothing, not even itself")
    return plain


def _frame(out: bytearray, tag: bytes, payload: bytes | bytearray) -> None:
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
    if not exact:
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
        # Without its module: what a script calls `__main__` has another name in its worker processes. A combination of
        # flags has no name before Python 3.11.
        _frame(out, b"e", f"{type(value).__qualname__}.{value.name or value.value}".encode())
    elif isinstance(value, (datetime.date, datetime.time)):
        _date(value, out, exact)
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
        out += b"".join(sorted(_encoded(item, exact) for item in value))  # a set has no order
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        _dataclass(value, out, exact)
    elif exact:
        _encode_content(value, out)
    else:
        raise TypeError(f"a {type(value).__qualname__} has no stable name")


def _encoded(value: Any, exact: bool) -> bytes:
    out = bytearray()
    _encode(value, out, exact)
    return bytes(out)


def _number(value: float, out: bytearray, exact: bool) -> None:
    if exact:
        kind = bool if isinstance(value, bool) else int if isinstance(value, int) else float
        text = float.hex(value) if isinstance(value, float) else f"{int(value):x}"  # str() refuses very long integers
        _frame(out, kind.__name__[:1].upper().encode(), text.encode())
    elif isinstance(value, float) and math.isnan(value):
        raise ValueError("NaN equals nothing, not even itself")
    elif _is_integral(value):
        _frame(out, b"i", f"{int(value):x}".encode())
    else:
        _frame(out, b"f", float.hex(value).encode())


def _date(value: datetime.date | datetime.time, out: bytearray, exact: bool) -> None:
    if value != value:
        raise ValueError("NaT equals nothing, not even itself")
    if isinstance(value, datetime.datetime):
        moment = value.astimezone(datetime.timezone.utc) if value.tzinfo and not exact else value
        _frame(out, b"t", moment.isoformat().encode())
    else:
        _frame(out, b"d", value.isoformat().encode())


def _dataclass(value: Any, out: bytearray, exact: bool) -> None:
    """The names of the fields belong to it: a renamed field is another content."""
    if not exact and not type(value).__dataclass_params__.frozen:
        raise TypeError(f"the dataclass {type(value).__qualname__} is not frozen, so its value could change")
    fields = [f for f in dataclasses.fields(value) if exact or f.compare]
    _frame(out, b"c", type(value).__qualname__.encode())
    _sequence(out, b"(", (part for f in fields for part in (f.name, getattr(value, f.name))), len(fields), exact)


def _encode_content(value: Any, out: bytearray) -> None:
    """The types that only objects have, not their names: mutable containers, arrays, tensors, images.

    They are told by their module so that naming a str imports neither numpy nor torch nor PIL.
    """
    modules = {cls.__module__.partition(".")[0] for cls in type(value).__mro__}
    if isinstance(value, list):
        _sequence(out, b"[", value, len(value), exact=True)
    elif isinstance(value, dict):
        _sequence(out, b"<", value.items(), len(value), exact=True)
    elif isinstance(value, bytearray):
        _frame(out, b"y", value)
    elif "torch" in modules and getattr(value, "layout", None) is sys.modules["torch"].strided:
        tensor = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
        _frame(out, b"T", f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        out += tensor.reshape(-1).view(sys.modules["torch"].uint8).numpy().tobytes()
    elif "numpy" in modules and hasattr(value, "tobytes") and not value.dtype.hasobject:
        _frame(out, b"A", f"{value.dtype.descr if value.dtype.names else value.dtype.str}{value.shape}".encode())
        out += value.tobytes()
    elif "numpy" in modules and hasattr(value, "tolist"):
        _sequence(out, b"O", [str(value.dtype), value.shape, value.tolist()], 3, exact=True)
    elif "PIL" in modules and hasattr(value, "getpalette"):
        value.load()  # a lazily opened file does not know its mode and palette before
        palette = None if value.palette is None else (value.palette.mode, value.getpalette(None))
        _frame(out, b"P", f"{value.mode}{value.size}{palette}{value.info.get('transparency')}".encode())
        out += value.tobytes()
    else:
        raise TypeError(
            f"objects of type {type(value).__qualname__} have no content key; give a key function for them "
            "(`CacheConfig(key_extractors=...)` for a cache)"
        )
