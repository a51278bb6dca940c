"""Durable files: JSON that is checked when it is read, and folders that are replaced in one step."""

from simlearn.files.errors import LoadError, UntrustedError, unreadable, unwritable
from simlearn.files.folders import remove_drafts, remove_folder, replaced_folder
from simlearn.files.json_files import FORMAT_VERSION, check_name, read_json, read_versioned_json, write_json
from simlearn.files.modes import apply_umask
from simlearn.files.tensors import write_tensors

__all__ = [
    "FORMAT_VERSION",
    "LoadError",
    "UntrustedError",
    "apply_umask",
    "check_name",
    "read_json",
    "read_versioned_json",
    "remove_drafts",
    "remove_folder",
    "replaced_folder",
    "unreadable",
    "unwritable",
    "write_json",
    "write_tensors",
]
