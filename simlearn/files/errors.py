"""What can be wrong with what is on disk."""

from __future__ import annotations

from pathlib import Path


class LoadError(ValueError):
    """What is on disk cannot be loaded: not ours, damaged, or of a newer format."""


class UntrustedError(LoadError):
    """What is on disk asks for something that loading must not do."""


def unreadable(path: str | Path, error: OSError) -> LoadError:
    """The error to raise for a file that the system does not let us read: it names the file and the reason.

    Libraries written in Rust raise an OSError whose `filename` and `strerror` are None, so neither can be relied on.
    """
    cure = "; let its owner give you the right to read it" if isinstance(error, PermissionError) else ""
    return LoadError(f"{path} cannot be read: {error.strerror or error}{cure}")


def unwritable(path: str | Path, error: OSError, cure: str = "choose a place you may write to") -> OSError:
    """The error to raise for a folder or file that cannot be written: of the same kind, with its place and a cure."""
    reason = f"cannot write to {path}: {error.strerror or error}; {cure}"
    return OSError(error.errno, reason) if error.errno is not None else type(error)(reason)
