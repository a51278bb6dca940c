"""Embeddings kept by the content key of what was encoded: in memory, or on disk."""

from simlearn.store.disk_table import DiskTable
from simlearn.store.key_index import KeyIndex
from simlearn.store.table import KEY_SIZE, Keys, Table, as_keys
from simlearn.store.vector_table import VectorTable

__all__ = [
    "KEY_SIZE",
    "DiskTable",
    "KeyIndex",
    "Keys",
    "Table",
    "VectorTable",
    "as_keys",
]
