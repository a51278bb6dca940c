"""The type-tagged bytes of values, out of which their names are hashed."""

from __future__ import annotations

import dataclasses
import datetime
import math
import os
import struct
import sys
import uuid
from collections.abc import Iterable
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from pathlib import PurePath, PureWindowsPath
from typing import Any

from simlearn.hashing.extensions import PLAIN, attributes, beyond_iso, extends

CURE = "give a key function for them (`CacheConfig(key_extractors=...)` for a cache)"

_ORIENTATION = 0x0112
"""The EXIF tag that says how an image is to be turned."""


def is_integral(value: float) -> bool:
    """Whether a number is a whole one."""
    return isinstance(value, int) or value.is_integer()


def scalar(value: Any) -> Any:
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
        encode(item, out, exact)


def encode(value: Any, out: bytearray, exact: bool) -> None:
    """Append the type-tagged encoding of `value`. `exact` tells number types apart and admits mutable containers."""
    cls: Any = type(value)
    if cls is str:  # what nearly all is made of, before anything else is asked
        _frame(out, b"s", value.encode("utf-8", "surrogatepass"))
        return
    if cls is tuple:
        _sequence(out, b"(", value, len(value), exact)
        return
    if not exact:
        value = scalar(value)
    elif cls not in PLAIN and extends(cls):
        _extended(value, out)
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
        nanoseconds = getattr(value, "nanoseconds", 0)  # those of pandas have them
        parts = [value.days, value.seconds, value.microseconds, *([nanoseconds] if nanoseconds else [])]
        _sequence(out, b"l", parts, len(parts), exact)
    elif isinstance(value, uuid.UUID):
        _frame(out, b"u", value.bytes)
    elif isinstance(value, PurePath):
        # Paths of this system agree with those of others: a cache may move. Another system's, written out here, do not.
        is_own = not exact or isinstance(value, PureWindowsPath) is (os.name == "nt")
        _frame(out, b"p" if is_own else b"q", value.as_posix().encode("utf-8", "surrogatepass"))
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
    encode(value, out, exact)
    return bytes(out)


def _extended(value: Any, out: bytearray) -> None:
    """Append what a value adds to what follows, which the built-in type that it extends says."""
    _frame(out, b"k", type(value).__qualname__.encode())
    encode(attributes(value), out, exact=True)


def _number(value: float, out: bytearray, exact: bool) -> None:
    if exact:
        kind = bool if isinstance(value, bool) else int if isinstance(value, int) else float
        text = float.hex(value) if isinstance(value, float) else f"{int(value):x}"  # str() refuses very long integers
        _frame(out, kind.__name__[:1].upper().encode(), text.encode())
    elif isinstance(value, float) and math.isnan(value):
        raise ValueError("NaN equals nothing, not even itself")
    elif is_integral(value):
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
    if exact and (told := beyond_iso(value)):
        _frame(out, b"z", repr(told).encode())


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
    cls: Any = type(value)
    modules = _packages(cls)
    if isinstance(value, list):
        _sequence(out, b"[", value, len(value), exact=True)
    elif isinstance(value, dict):
        _sequence(out, b"<", value.items(), len(value), exact=True)
    elif isinstance(value, bytearray):
        _frame(out, b"y", value)
    elif cls is Decimal:  # a price in Parquet, say; all of a column have the same number of places
        _frame(out, b"m", str(value).encode())
    elif "torch" in modules and _is_dense(value):
        torch = sys.modules["torch"]
        if type(value) not in (torch.Tensor, torch.nn.Parameter):
            _extended(value, out)
            value = value.as_subclass(torch.Tensor)
        tensor = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
        _frame(out, b"T", f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        out += tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
    elif "numpy" in modules and hasattr(value, "tobytes"):
        _array(value, out)
    elif "PIL" in modules and hasattr(value, "getpalette"):
        _image(value, out)
    else:
        raise TypeError(f"objects of type {type(value).__qualname__} have no content key; {CURE}")


@lru_cache(maxsize=1024)
def _packages(cls: type) -> frozenset[str]:
    return frozenset(base.__module__.partition(".")[0] for base in cls.__mro__)


def _is_dense(value: Any) -> bool:
    """Whether a tensor is its numbers: one without data, nested, or quantised has or says more than these."""
    if getattr(value, "layout", None) is not sys.modules["torch"].strided:
        return False
    return not (value.is_nested or value.is_quantized or value.is_meta)


def _array(value: Any, out: bytearray) -> None:
    """Append a numpy array or scalar."""
    np = sys.modules["numpy"]
    if type(value) is not np.ndarray and isinstance(value, np.ndarray) and type(value) is not np.memmap:
        value = _bare(value, out)
    if value.dtype.hasobject:
        _sequence(out, b"O", [str(value.dtype), value.shape, value.tolist()], 3, exact=True)
    else:
        _frame(out, b"A", f"{value.dtype.descr if value.dtype.names else value.dtype.str}{value.shape}".encode())
        out += value.tobytes()


def _bare(value: Any, out: bytearray) -> Any:
    """Append what a subclass of numpy's arrays adds, and give the array; a mask is no attribute, and hides values."""
    np = sys.modules["numpy"]
    if not isinstance(value, np.ma.MaskedArray):
        _extended(value, out)
        return value
    _frame(out, b"k", type(value).__qualname__.encode())
    encode([np.ma.getmaskarray(value), value.fill_value], out, exact=True)
    return np.ma.getdata(value)


def _image(value: Any, out: bytearray) -> None:
    """Append a PIL image, with what Pillow itself applies when it is asked to: orientation and colour profile."""
    value.load()  # a lazily opened file does not know its mode and palette before
    palette = None if value.palette is None else (value.palette.mode, value.getpalette(None))
    _frame(out, b"P", f"{value.mode}{value.size}{palette}{value.info.get('transparency')}".encode())
    out += value.tobytes()
    try:
        orientation = value.getexif().get(_ORIENTATION, 1)
    except (SyntaxError, ValueError, struct.error):  # no encoder can read it either, but for its bytes
        orientation = value.info.get("exif")
    profile = value.info.get("icc_profile")
    if orientation != 1 or profile is not None:
        _sequence(out, b"x", [orientation, profile], 2, exact=True)
