"""Panics of libraries written in Rust, which Python sees as a BaseException that `except Exception` lets pass."""

from __future__ import annotations

import sys


def panic() -> tuple[type[BaseException], ...]:
    """What to catch: the class of the exception that is being handled if it is one, else nothing.

    Each library has a class of its own, which cannot be imported. Nothing else is caught: neither KeyboardInterrupt nor
    SystemExit. Write `except panic() as error:`.
    """
    kind = sys.exc_info()[0]
    is_panic = kind is not None and (kind.__module__, kind.__name__) == ("pyo3_runtime", "PanicException")
    return (kind,) if kind is not None and is_panic else ()
