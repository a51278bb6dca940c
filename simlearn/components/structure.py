"""What a module of torch is besides its tensors."""

from __future__ import annotations

import io
import zipfile
from hashlib import blake2b
from typing import Any

import torch
from torch import nn

from simlearn.components import hugging_face
from simlearn.components.code import is_framework
from simlearn.components.state import attributes_of, internal_hooks, shadowing
from simlearn.components.torch_layers import SETTINGS, described_layer


def structure_of(module: nn.Module) -> dict[str, Any]:
    """What besides its tensors decides what a module does: attributes, hooks, and the modules within, by name."""
    text = hugging_face.module_text(module)
    told: dict[str, Any] = {} if text is None else {"": text}
    if isinstance(module, torch.jit.ScriptModule):
        return {"script": _script_of(module)}
    if text is None or not is_framework(type(module).__module__):
        told |= attributes_of(module)
    elif text is not None:
        told |= {f"method {key}": value for key, value in shadowing(module).items()}
    told |= {f"hook {name}": value for name, value in internal_hooks(module).items()}
    if hugging_face.tells_all(module):
        return told | alterations(module)
    for name, child in module._modules.items():
        if child is not None:
            told[f"module {name}"] = child if hasattr(type(child), "fingerprint_parts") else Structure(child)
    return told


def alterations(module: nn.Module) -> dict[str, Any]:
    """What somebody has changed of a module whose configuration tells the rest, by name.

    That is hooks, methods that attributes shadow, layers of torch, and modules of classes that are nobody's library.
    """
    told: dict[str, Any] = {}
    for name, inner in module.named_modules():
        told |= {f"hook {name}{kind}": value for kind, value in internal_hooks(inner).items()}
        if inner is module:
            continue
        if not is_framework(type(inner).__module__):
            told[f"module {name}"] = Structure(inner)
        elif type(inner) in SETTINGS:
            told[f"layer {name}"] = described_layer(inner)
        told |= {f"method {name}.{key}": value for key, value in shadowing(inner).items()}
    return told


def _script_of(module: torch.jit.ScriptModule) -> list[tuple[str, bytes]]:
    """The code and attributes of a compiled module as its file has them, without where its source once was."""
    file = io.BytesIO()
    torch.jit.save(module, file)
    with zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if not name.endswith((".debug_pkl", "/serialization_id"))]
        return [(name, blake2b(archive.read(name)).digest()) for name in sorted(names)]


class Structure:
    """A module without its tensors, which its owner tells."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def fingerprint_parts(self) -> dict[str, Any]:
        """See `Component.fingerprint_parts`."""
        return {"class": type(self.module), **structure_of(self.module)}


def tensors_of(module: nn.Module) -> dict[str, Any]:
    """All tensors of a module, and what else it keeps in its state, as quantised modules do.

    Also those that a `state_dict` of the module's own leaves out. Modules whose weights a checkpoint lacks would have
    to be left out by who knows of them.
    """
    named = (*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False))
    return {**dict(named), **module.state_dict(keep_vars=True)}
