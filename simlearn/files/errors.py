"""What can be wrong with what is on disk."""

from __future__ import annotations


class LoadError(ValueError):
    """What is on disk cannot be loaded: not ours, damaged, or of a newer format."""


class UntrustedError(LoadError):
    """What is on disk asks for something that loading must not do."""
