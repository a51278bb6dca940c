"""Durable files: written in one step, locked between processes, readable for whom the umask says.

=================  =============================================================================
`writing`          at a place of a file, or a file in one step; until the disk has it
`json_files`       JSON that is checked when it is read
`sealed`           JSON in one step, with a checksum
`tensors`          safetensors in one step
`mapping`          files as arrays and tensors (imported from there: it needs torch)
`folders`          replaced in one step, removed in one step, abandoned drafts
`temporary`        folders that end with their process
`locks`            between processes
`modes`            permissions by the umask
`errors`           that name the file, the reason and the cure
=================  =============================================================================
"""

from simlearn.files.errors import LoadError, UntrustedError, unreadable, unwritable
from simlearn.files.folders import remove_drafts, remove_folder, replaced_folder
from simlearn.files.json_files import FORMAT_VERSION, check_name, read_json, read_versioned_json, write_json
from simlearn.files.locks import CAN_SHARE, LOCK_FILE, InUse, locked, nobody_uses
from simlearn.files.modes import apply_umask
from simlearn.files.sealed import read_sealed, write_sealed
from simlearn.files.temporary import temporary_folder
from simlearn.files.tensors import add_tensors, write_tensors
from simlearn.files.writing import replace_file, sync, write_at

__all__ = [
    "CAN_SHARE",
    "FORMAT_VERSION",
    "LOCK_FILE",
    "InUse",
    "LoadError",
    "UntrustedError",
    "add_tensors",
    "apply_umask",
    "check_name",
    "locked",
    "nobody_uses",
    "read_json",
    "read_sealed",
    "read_versioned_json",
    "remove_drafts",
    "remove_folder",
    "replace_file",
    "replaced_folder",
    "sync",
    "temporary_folder",
    "unreadable",
    "unwritable",
    "write_at",
    "write_json",
    "write_sealed",
    "write_tensors",
]
