"""What values say beyond the built-in types that they extend."""

from __future__ import annotations

import dataclasses
import datetime
import uuid
from collections import OrderedDict
from enum import Enum
from functools import cached_property, lru_cache
from types import MemberDescriptorType
from typing import Any

_EXTENDED = (str, bytes, bytearray, int, float, tuple, list, dict, set, frozenset)
_DATED = (datetime.date, datetime.time, datetime.timedelta, uuid.UUID)

PLAIN = frozenset({*_EXTENDED, *_DATED, bool, type(None), datetime.datetime, OrderedDict})
"""Types that are what they hold; an OrderedDict says nothing that a dict does not."""


@lru_cache(maxsize=1024)
def extends(cls: type) -> bool:
    """Whether an encoder may tell instances of a class from those of the built-in type that it extends."""
    if cls in PLAIN or not issubclass(cls, (*_EXTENDED, *_DATED)):
        return False
    if cls.__module__.partition(".")[0] == "numpy":  # its scalars count as what they extend, or are told as arrays
        return False
    return not (issubclass(cls, (list, dict)) and dataclasses.is_dataclass(cls))  # told by its fields


def attributes(value: Any) -> dict[str, Any]:
    """The attributes of a value by name: its own dictionary, without what was derived from others, and its slots."""
    if isinstance(value, Enum):
        return {"name": value.name}
    cls: Any = type(value)
    told = {name: member for name, member in getattr(value, "__dict__", {}).items() if not _is_derived(cls, name)}
    told |= {name: getattr(value, name) for name in _slots(cls) if hasattr(value, name)}
    if isinstance(value, tuple) and hasattr(cls, "_fields"):
        told["_fields"] = cls._fields
    # A class, such as the factory of a defaultdict, counts by its name.
    return {name: told[name].__qualname__ if isinstance(told[name], type) else told[name] for name in sorted(told)}


def _is_derived(cls: type, name: str) -> bool:
    return isinstance(getattr(cls, name, None), cached_property)


@lru_cache(maxsize=1024)
def _slots(cls: type) -> frozenset[str]:
    """Attributes that are kept beside the dictionary, `default_factory` of a defaultdict among them."""
    members = [item for base in cls.__mro__ for item in vars(base).items()]
    return frozenset(name for name, member in members if isinstance(member, MemberDescriptorType))


def beyond_iso(value: Any) -> tuple[Any, ...]:
    """What a date or time says that its ISO form does not: which of two equal hours, and the names of its zone."""
    fold, zone = getattr(value, "fold", 0), getattr(value, "tzinfo", None)
    if isinstance(zone, datetime.timezone):
        unnamed = datetime.timezone(zone.utcoffset(None))
        zone = None if zone.tzname(None) == unnamed.tzname(None) else zone  # the ISO form has the offset
    if zone is None:
        return (fold,) if fold else ()
    return fold, type(zone).__qualname__, getattr(zone, "key", getattr(zone, "zone", None)), value.tzname()
