"""Similarity learning on torch and Lightning: train an embedding model here, serve it anywhere.

The public names are loaded when they are first used, so that `import simlearn` costs nothing and a service that only
loads a servable never imports Lightning. They stand in `__init__.pyi`, and nowhere else.
"""

from __future__ import annotations

import lazy_loader

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name not in __all__:  # in Python's own words, which editors and tests know
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _load(name)
