"""Vectors kept by key."""

from simlearn.store.vector_table import VectorTable

__all__ = ["VectorTable"]
