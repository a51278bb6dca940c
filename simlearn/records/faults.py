"""What becomes of what cannot be read."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from simlearn.files import LoadError


class Faults:
    """What could not be read: raised at once, or counted and left out.

    Args:
        skip: whether it is left out.
    """

    def __init__(self, skip: bool = False) -> None:
        self.skip = skip
        self.messages: list[str] = []

    @contextmanager
    def at(self, place: str | Callable[[], str]) -> Iterator[None]:
        """Read something, which is left out where it fails and that is wanted.

        Raises:
            LoadError: naming the place.
        """
        try:
            yield
        except (ImportError, MemoryError):
            raise
        except Exception as error:  # fsspec's file systems and pyarrow raise errors of any kind
            told = error
            if not isinstance(error, LoadError):
                where = place if isinstance(place, str) else place()
                told = LoadError(f"{where} cannot be read: {str(error) or type(error).__name__}")
            if not self.skip:
                raise told from (None if told is error else error)
            self.messages.append(str(told))

    def report(self) -> None:
        """Warn of what was left out since the last time."""
        if self.messages:
            warnings.warn(f"{len(self.messages)} left out: {self.messages[0]}", stacklevel=2)
            self.messages = []


def check_columns(where: str, wanted: Sequence[str], there: Sequence[str]) -> None:
    """Refuse columns that a file lacks.

    Raises:
        LoadError: naming them and those that are there; and for one that is there several times.
    """
    if missing := [name for name in wanted if name not in there]:
        listed = ", ".join(map(repr, there)) or "none"
        raise LoadError(f"{where} has no column {', '.join(map(repr, missing))}; there are {listed}")
    if repeated := sorted({name for name in wanted if list(there).count(name) > 1}):
        raise LoadError(f"{where} has several columns {', '.join(map(repr, repeated))}; rename them, or name others")


def wanted_columns(columns: Sequence[str] | None) -> list[str] | None:
    """The columns that are read; None for all. One may come without a list around it.

    Raises:
        ValueError: for no column at all.
    """
    if columns is None:
        return None
    named = [columns] if isinstance(columns, str) else list(columns)
    if not named:
        raise ValueError("columns names no column; leave it out to read all of them")
    return named
