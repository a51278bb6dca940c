"""Saving and loading that trusts nothing on disk.

Weights are safetensors, structure is JSON with a format version. Loading builds classes of simlearn, classes the
caller passes, and classes of modules the caller names; whatever else a file asks for is an error, and nothing of it is
imported. `check_folder` looks at every file of a folder before the first one is used.
"""

from simlearn.persistence.components import (
    COMPONENT_FILE,
    WEIGHTS_FILE,
    check_components,
    component_entries,
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
    remove_drafts,
    remove_folder,
    replaced_folder,
    write_json,
)
from simlearn.persistence.inspection import check_folder
from simlearn.persistence.resolver import SIMLEARN_ONLY, ClassResolver, class_entry, is_own

__all__ = [
    "COMPONENT_FILE",
    "FORMAT_VERSION",
    "SIMLEARN_ONLY",
    "WEIGHTS_FILE",
    "ClassResolver",
    "LoadError",
    "UntrustedError",
    "check_components",
    "check_folder",
    "check_name",
    "class_entry",
    "component_entries",
    "is_own",
    "load_component",
    "load_module",
    "load_weights",
    "read_json",
    "read_versioned_json",
    "remove_drafts",
    "remove_folder",
    "replaced_folder",
    "save_component",
    "save_module",
    "write_json",
]
