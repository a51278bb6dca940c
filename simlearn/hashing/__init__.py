"""Names for values that every process and every run agrees on.

Python's `hash(str)` changes from process to process, so it can neither name a group under DDP nor key a cache on disk.
Two functions replace it, over one type-tagged encoding (`("a", "b")` and `"ab"` differ, `{1, 2}` and `{2, 1}` agree):

* `stable_id` names groups, subgroups and objects with 64 bits; integers keep their value;
* `content_key` names *what an encoder would see* with 128 bits; it tells 3 from 3.0, because an encoder may.
"""

from __future__ import annotations

from collections.abc import Hashable
from hashlib import blake2b
from typing import Any

from simlearn.hashing.encoding import CURE, encode, is_integral, scalar

_INT64 = range(-(2**63), 2**63)

_ENDLESS = "contains itself, or is nested too deeply"


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
        ValueError: for NaN and NaT, which equal nothing, themselves included, and for nesting without end or too deep.

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
        plain = scalar(value)
        if isinstance(plain, (int, float)) and is_integral(plain) and int(plain) in _INT64:
            return int(plain)
        encode(plain, out, exact=False)
    except ValueError as error:
        raise ValueError(f"{name} {value!r:.80}: {error}; {advice}") from None
    except TypeError as error:
        raise TypeError(f"{name} {value!r:.80}: {error}; {advice}") from None
    except RecursionError:  # without the value: writing it out would go as deep
        raise ValueError(f"{name}: a {type(value).__qualname__} {_ENDLESS}; {advice}") from None
    return int.from_bytes(blake2b(out, digest_size=8).digest(), "little", signed=True)


def content_key(value: Any) -> bytes:
    """Name the content of an object with 16 bytes, so that equal content is recognised in any process, run or data set.

    What an encoder could tell apart has different keys, even where Python calls it equal: `1`, `1.0` and `True` have
    three, and dictionaries whose items are in another order, which an encoder that joins their values sees, have two.
    A namedtuple, and whatever else extends one of these types, counts with the name of its class and its attributes.

    Classes count by their names, not by their modules, which differ between a script and its workers; a dataclass is
    its fields, a plain Enum its name, a Path its words and not what the file holds, an image the frame that it shows.

    Args:
        value: str, bytes, numbers, None, Enum, dates and times, UUID, Path, numpy arrays, dense torch tensors, PIL
            images, or a dict, list, tuple, set or dataclass of these.

    Returns:
        16 bytes of blake2b.

    Raises:
        TypeError: for any other type; the message names it.
        ValueError: for NaT, and for an object that contains itself or is nested too deeply.
    """
    cls = type(value)
    # Nearly every object of a text data set: spare it the general way. One of numpy's is told from a str by nothing.
    if cls is str or (cls.__module__ == "numpy" and isinstance(value, str)):
        return blake2b(b"s" + value.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    out = bytearray()
    try:
        encode(value, out, exact=True)
    except RecursionError:
        raise ValueError(f"a {type(value).__qualname__} {_ENDLESS}; {CURE}") from None
    return blake2b(out, digest_size=16).digest()
