"""What a module of torch is besides its tensors."""

from __future__ import annotations

from typing import Any

from torch import nn

from simlearn.components import hugging_face
from simlearn.components.state import attributes_of, internal_hooks


def structure_of(module: nn.Module) -> dict[str, Any]:
    """What besides its tensors decides what a module does: attributes, hooks, and the modules within, by name."""
    text = hugging_face.module_text(module)
    told: dict[str, Any] = {"": text} if text is not None else attributes_of(module)
    told |= {f"hook {name}": value for name, value in internal_hooks(module).items()}
    for name, child in module._modules.items():
        if child is not None and not hugging_face.tells_all(module):
            told[f"module {name}"] = child if hasattr(child, "fingerprint_parts") else Structure(child)
    return told


class Structure:
    """A module without its tensors, which its owner tells."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def fingerprint_parts(self) -> dict[str, Any]:
        """See `Component.fingerprint_parts`."""
        return {"class": type(self.module), **structure_of(self.module)}


def tensors_of(module: nn.Module) -> dict[str, Any]:
    """All that a module keeps in its state, and the buffers that it does not; quantised modules keep more than tensors.

    Modules whose weights a checkpoint lacks would have to be left out by who knows of them.
    """
    return {**dict(module.named_buffers()), **module.state_dict(keep_vars=True)}
