"""The base of all that is saved, keyed or served."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, TypeVar

from torch import nn

from simlearn.components.arguments import Given, arguments_of
from simlearn.components.code import is_framework
from simlearn.components.description import described
from simlearn.components.layout import defined_below
from simlearn.components.loading import Loading
from simlearn.components.resolver import SIMLEARN_ONLY, ClassResolver
from simlearn.components.saving import Saving, unknown
from simlearn.components.state import attributes_of, shadowing
from simlearn.components.structure import alterations, structure_of, tensors_of
from simlearn.components.telling import Teller

_Own = TypeVar("_Own", bound="Component")


class Component:
    """An encoder, head, scorer, vectorizer, pooling or loss: what has settings, may have parts, and is saved.

    Its settings are the constructor's arguments: an attribute of the same name says what an argument is now, else what
    the constructor was given. Components among them are its parts, which are saved in folders of their own; one that
    stands at two places is saved once, and is one object again after loading. So a subclass defines nothing of this.

    It is told from others by its `fingerprint`. What cannot be told is refused where it would do harm: by a cache that
    outlives the process, and by `save`.
    """

    required: ClassVar[tuple[str, ...]] = ()
    """Names that a class has to define; one that leaves them as the base has them is abstract."""
    part_base: ClassVar[type] = object
    """What the class of every part must derive from."""
    opened_by_name: ClassVar[tuple[str, ...]] = ()
    """Arguments that may name a model that lies elsewhere. A file never does: loading would go and get it."""
    version_1_prefix: ClassVar[str] = ""
    """What the names of tensors begin with that format version 1 left out."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Remember what the constructor is given, for arguments that it keeps under no name."""
        made = super().__new__(cls)
        made.__dict__["_given"] = Given(args, kwargs)
        return made

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments as they are now, by name.

        Raises:
            TypeError: for arguments that nothing tells.
        """
        told = arguments_of(self)
        if told.missing:
            raise TypeError(unknown(type(self), told.missing))
        return told.held

    def kept_arguments(self) -> dict[str, Any]:
        """Those of the arguments, by name, that attributes of their names do not tell as they are now. Default: none.

        Override it for a list that grows, or for a model that the constructor opened by a name.
        """
        return {}

    def get_config_dict(self) -> dict[str, Any]:
        """The constructor's arguments as JSON can hold them, components among them as their class and arguments.

        Override it only for a constructor whose arguments cannot be read off; what it returns is then passed to the
        constructor, and nothing else.
        """
        return {name: described(value) for name, value in self.arguments().items()}

    def fingerprint(self) -> str:
        """32 hexadecimal digits that change with all that decides what the component says.

        That is its class, settings, parts and tensors, and of classes that are not simlearn's the code, all
        attributes, and the globals that the code reads. Two components with one fingerprint say the same: a cache keyed
        by it never serves another one's vectors. Comments, layout and the version of Python do not count, nor does what
        methods count or remember while they run.

        Raises:
            CannotTellError: for what nothing can be told of, such as an open file, naming it.
        """
        return Teller().tell(self).hex()

    def fingerprint_settings(self) -> str | None:
        """What besides the tensors decides what the component says, as text; None leaves that to its attributes.

        Override it where attributes hold what decides nothing and cannot be told, and tell all that does.
        """
        return None

    def fingerprint_weights(self) -> dict[str, Any]:
        """The tensors that decide what the component says, by name. Default: all. Leave out what nothing reads."""
        return tensors_of(self) if isinstance(self, nn.Module) else {}

    def fingerprint_parts(self) -> dict[str, Any]:
        """What `fingerprint` tells, by name, besides the class."""
        kind = type(self)
        if kind.fingerprint is not Component.fingerprint:
            return {"fingerprint": self.fingerprint()}
        told: dict[str, Any] = {f"tensor {name}": tensor for name, tensor in self.fingerprint_weights().items()}
        text = self.fingerprint_settings()
        structure = structure_of(self) if isinstance(self, nn.Module) else attributes_of(self)
        if not is_framework(kind.__module__):
            teller = next(base for base in kind.__mro__ if "fingerprint_settings" in vars(base))
            is_own = is_framework(teller.__module__) or defined_below(kind, "__init__", "fingerprint_settings")
            return {**told, "settings": text, **(structure if is_own else {})}
        if text is None:  # a class of simlearn says by its arguments what it does
            told |= {f"argument {name}": value for name, value in self.arguments().items()}
            told |= {name: value for name, value in structure.items() if name.startswith(("module ", "hook "))}
        elif isinstance(self, nn.Module):
            told |= alterations(self)
        return {**told, "settings": text, **shadowing(self)}

    def check_savable(self) -> None:
        """Raise what `save` would raise about the component itself. Default: nothing."""
        return

    def save(self, output_path: str) -> None:
        """Write the component into a folder: JSON and safetensors.

        Raises:
            TypeError: for settings that no file can hold, or that would not make the same component again.
            ValueError: for NaN or infinity in the settings, and NaN in the weights.
        """
        Saving(output_path, {"": self}, itself=self).write()

    @classmethod
    def load(cls: type[_Own], input_path: str) -> _Own:
        """Read what `save` wrote, where simlearn has all classes of the parts."""
        return cls.load_with(input_path, SIMLEARN_ONLY)

    @classmethod
    def load_with(cls: type[_Own], input_path: str, resolver: ClassResolver) -> _Own:
        """Read what `save` wrote, finding the classes of the parts with `resolver`."""
        return Loading(input_path, resolver).own(cls)

    @classmethod
    def from_version_1(cls, settings: dict[str, Any], folder: Path, place: str) -> dict[str, Any]:
        """Settings that format version 1 wrote, as today's JSON. Default: as they are.

        Args:
            settings: of its `config.json`.
            folder: the component's folder.
            place: of the folder below the root.
        """
        return settings
