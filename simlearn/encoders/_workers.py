"""What may travel to a loader's workers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from simlearn.encoders.encoder import Encoder


def light_method(encoder: Encoder, base: type[Encoder], name: str) -> Callable[[Any], Any]:
    """The method `name`, which a subclass of `base` must define so that pickling it carries no encoder along.

    Raises:
        TypeError: when the subclass does not define it, or defines an instance method: its pickle would take all
            weights to every worker.
    """
    cls = type(encoder)
    found = inspect.getattr_static(cls, name)
    if found is inspect.getattr_static(base, name):
        raise TypeError(f"{cls.__name__} must define {name}(record), as a @staticmethod")
    if not isinstance(found, (staticmethod, classmethod)):
        raise TypeError(
            f"{cls.__name__}.{name} must be a @staticmethod or @classmethod: it runs in workers, which get no encoder"
        )
    method: Callable[[Any], Any] = getattr(cls, name)
    return method
