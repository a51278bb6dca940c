"""What is saved, keyed and loaded: one base, which trusts nothing on disk and guesses nothing.

A component's settings are its constructor's arguments, its parts are components among them, and its fingerprint is all
that decides what it says. Weights are safetensors, structure is JSON with a format version. Loading builds classes of
simlearn, classes the caller passes, and classes of modules the caller names; whatever else a file asks for is an error,
and nothing of it is imported. `check_folder` looks at every file of a folder before the first one is used.

===================  ===============================================================================================
`component`          the base
`arguments`          with which an object was constructed; `values` are these as JSON, `description` for people
`telling`            what decides what an object does, as a digest of its `parts`, its `tensors`, its `structure`,
                     its `state` without its `memories`, and its `code` with what that `reads`
`rebuilding`         would these arguments make the same object again? Asked while all is `untouched`
`saving`             objects into folders of a `layout`; `libraries` for those of other libraries
`loading`            and back; `building` before there is memory and within `limits`, `weights` against the header
`inspection`         every file of a folder, before one is used
`resolver`           from the name of a class to the class
===================  ===============================================================================================
"""

from simlearn.components.building import load_module, save_module
from simlearn.components.component import Component
from simlearn.components.description import described, from_description
from simlearn.components.inspection import check_folder
from simlearn.components.layout import COMPONENT_FILE, FORMAT_VERSION
from simlearn.components.libraries import is_known
from simlearn.components.loading import Loading, check_components, component_entries, load_component
from simlearn.components.resolver import SIMLEARN_ONLY, ClassResolver, class_entry, is_own
from simlearn.components.saving import Saving, save_component
from simlearn.components.telling import CannotTellError, Teller
from simlearn.components.weights import WEIGHTS_FILE, load_weights

__all__ = [
    "COMPONENT_FILE",
    "FORMAT_VERSION",
    "SIMLEARN_ONLY",
    "WEIGHTS_FILE",
    "CannotTellError",
    "ClassResolver",
    "Component",
    "Loading",
    "Saving",
    "Teller",
    "check_components",
    "check_folder",
    "class_entry",
    "component_entries",
    "described",
    "from_description",
    "is_known",
    "is_own",
    "load_component",
    "load_module",
    "load_weights",
    "save_component",
    "save_module",
]
