"""Saving and loading that trusts nothing on disk.

Weights are safetensors, structure is JSON with a format version. Loading builds classes of simlearn, classes the caller
passes, and classes of modules the caller names; whatever else a file asks for is an error, and nothing of it is imported.
`check_folder` looks at every file of a folder before the first one is used.
"""

from simlearn.persistence.components import (
    COMPONENT_FILE,
    WEIGHTS_FILE,
    load_component,
    load_module,
    load_weights,
    save_component,
    save_module,
)
from simlearn.persistence.errors import LoadError, UntrustedError
from simlearn.persistence.files import (
    FORMAT_VERSION,
    check_name,
    read_json,
    read_versioned_json,
    replaced_folder,
    write_json,
)
from simlearn.persistence.inspection import check_folder
from simlearn.persistence.resolver import SIMLEARN_ONLY, ClassResolver, class_entry

__all__ = [
    "COMPONENT_FILE",
    "ClassResolver",
    "FORMAT_VERSION",
    "LoadError",
    "SIMLEARN_ONLY",
    "UntrustedError",
    "WEIGHTS_FILE",
    "check_folder",
    "check_name",
    "class_entry",
    "load_component",
    "load_module",
    "load_weights",
    "read_json",
    "read_versioned_json",
    "replaced_folder",
    "save_component",
    "save_module",
    "write_json",
]
