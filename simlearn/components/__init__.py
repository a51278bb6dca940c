"""Saving and loading that trusts nothing on disk.

Weights are safetensors, structure is JSON with a format version. Loading builds classes of simlearn, classes the
caller passes, and classes of modules the caller names; whatever else a file asks for is an error, and nothing of it is
imported. `check_folder` looks at every file of a folder before the first one is used.
"""

from simlearn.components.folders import (
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
from simlearn.components.inspection import check_folder
from simlearn.components.resolver import SIMLEARN_ONLY, ClassResolver, class_entry, is_own

__all__ = [
    "COMPONENT_FILE",
    "SIMLEARN_ONLY",
    "WEIGHTS_FILE",
    "ClassResolver",
    "check_components",
    "check_folder",
    "class_entry",
    "component_entries",
    "is_own",
    "load_component",
    "load_module",
    "load_weights",
    "save_component",
    "save_module",
]
