"""The head of layers and heads, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, overload

from torch import Tensor, nn

from simlearn.components import (
    SIMLEARN_ONLY,
    WEIGHTS_FILE,
    ClassResolver,
    load_component,
    load_weights,
    save_component,
    save_module,
)
from simlearn.files import LoadError, read_json
from simlearn.heads._layers import build, describe, input_size, keeps_size
from simlearn.heads.encoder_head import EncoderHead
from simlearn.meta import Meta


class SequentialHead(EncoderHead):
    """Applies modules in order; a list of modules that can be changed (`append`, `[]`, `del`, `len`, iteration).

    It is saved as JSON and safetensors, without pickle. So its modules must be heads or layers of torch.nn: linear
    ones, activations, normalisations, dropouts, `Flatten` and `Unflatten`. Any other module trains, but raises on
    `save`. A module that stands at two places is stored and trained once.

    Args:
        modules: layers and heads. For many vectors an object, (N, M, D), take those that act on the last dimension;
            `nn.BatchNorm1d` does not.
        output_size: the length of the embeddings that come out.
        input_embedding_size: D; default: what the given modules say.

    Raises:
        TypeError: for what is no module.
        ValueError: when the modules do not tell the input size, and in `forward` when vectors of another size than
            `output_size` come out.

    >>> head = SequentialHead(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4), output_size=4)
    >>> head.input_embedding_size, len(head)
    (8, 3)
    """

    def __init__(self, *modules: nn.Module, output_size: int, input_embedding_size: int | None = None) -> None:
        super().__init__(_first_input_size(modules) if input_embedding_size is None else input_embedding_size)
        if output_size < 1:
            raise ValueError(f"output_size must be at least 1, got {output_size}")
        self._output_size = output_size
        self.layers = nn.ModuleList(_checked(module) for module in modules)

    @property
    def output_size(self) -> int:
        """The constructor's `output_size`."""
        return self._output_size

    def transform(self, input_vectors: Tensor) -> Tensor:
        """Apply the modules without meta."""
        return self.forward(input_vectors)

    def forward(self, input_vectors: Tensor, meta: Meta | None = None) -> Tensor:
        """Apply the modules in order, heads with `meta`."""
        output = input_vectors
        for layer in self.layers:
            output = layer(output, meta) if isinstance(layer, EncoderHead) else layer(output)
        if output.shape[-1] != self._output_size:
            raise ValueError(
                f"SequentialHead made vectors of {output.shape[-1]} values, its output_size is {self._output_size}; "
                "give it the output size of its last layer"
            )
        return output

    def append(self, module: nn.Module) -> SequentialHead:
        """Add a module at the end; returns the head."""
        self.layers.append(_checked(module))
        return self

    @overload
    def __getitem__(self, index: int) -> nn.Module: ...

    @overload
    def __getitem__(self, index: slice) -> list[nn.Module]: ...

    def __getitem__(self, index: int | slice) -> nn.Module | list[nn.Module]:
        return list(self.layers)[index]

    def __setitem__(self, index: int, module: nn.Module) -> None:
        self.layers[index] = _checked(module)

    def __delitem__(self, index: int | slice) -> None:
        del self.layers[index]

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[nn.Module]:
        return iter(self.layers)

    def get_config_dict(self) -> dict[str, Any]:
        """The sizes and, for each module, a layer's class and settings or a head's class.

        Raises:
            TypeError: for a module that cannot be saved, with what to do about it.
        """
        return {
            "output_size": self._output_size,
            "input_embedding_size": self.input_embedding_size,
            "modules": [self._describe(index) for index in range(len(self))],
        }

    def save(self, output_path: str) -> None:
        """Write `config.json`, the weights of the layers, and each head into `heads/<its index>`.

        Raises:
            TypeError: for a module that cannot be saved, with what to do about it.
            ValueError: when two layers share a weight.
        """
        config = self.get_config_dict()
        layers = {index: layer for index, layer in enumerate(self) if "layer" in config["modules"][index]}
        weights = [weight for layer in layers.values() for weight in layer.parameters()]
        if len({id(weight) for weight in weights}) < len(weights):
            raise ValueError(
                "two layers of a SequentialHead share a weight, which its file cannot say; use one layer twice, "
                "or wrap them in a subclass of EncoderHead"
            )
        save_module(_by_index(layers), output_path, config)
        for index, module in enumerate(self):
            if "head" in config["modules"][index]:
                save_component(module, Path(output_path) / "heads" / str(index))

    @classmethod
    def load(cls, input_path: str) -> EncoderHead:
        """Read what `save` wrote, with heads of simlearn only."""
        return cls.load_with(input_path, SIMLEARN_ONLY)

    @classmethod
    def load_with(cls, input_path: str, resolver: ClassResolver) -> EncoderHead:
        """Read what `save` wrote, finding the classes of its heads with `resolver`.

        Raises:
            LoadError: when a file is missing, damaged or names a layer that is not allowed.
        """
        config = read_json(Path(input_path) / "config.json")
        if not isinstance(config, dict) or not isinstance(config.get("modules"), list):
            raise LoadError(f"{input_path} holds no SequentialHead: its config.json lists no modules")
        modules: list[nn.Module] = []
        layers: dict[int, nn.Module] = {}
        for index, entry in enumerate(config.pop("modules")):
            if not isinstance(entry, dict):
                raise LoadError(f"{input_path}: module {index} must be an object, got {entry!r:.100}")
            if "head" in entry:
                modules.append(load_component(Path(input_path) / "heads" / str(index), EncoderHead, resolver))
            elif "same_as" in entry:
                if entry["same_as"] not in range(index):
                    raise LoadError(f"{input_path}: module {index} must repeat an earlier one, got {entry!r:.100}")
                modules.append(modules[entry["same_as"]])
            else:
                layers[index] = build(entry)
                modules.append(layers[index])
        load_weights(_by_index(layers), Path(input_path) / WEIGHTS_FILE)
        try:
            return cls(*modules, **config)
        except (TypeError, ValueError) as error:
            raise LoadError(f"{input_path}/config.json does not fit {cls.__name__}: {error}") from error

    def _describe(self, index: int) -> dict[str, Any]:
        module = self[index]
        first = next(earlier for earlier, candidate in enumerate(self) if candidate is module)
        if first < index:
            return {"same_as": first}
        if isinstance(module, EncoderHead):
            return {"head": type(module).__name__}
        try:
            return describe(module)
        except TypeError as error:
            raise TypeError(f"module {index} of the SequentialHead: {error}") from None


def _by_index(layers: dict[int, nn.Module]) -> nn.Module:
    return nn.ModuleDict({str(index): layer for index, layer in layers.items()})


def _checked(module: nn.Module) -> nn.Module:
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"SequentialHead takes modules, got {type(module).__name__}; "
            "most functions have a module that does the same, such as nn.ReLU() for torch.relu"
        )
    return module


def _first_input_size(modules: tuple[nn.Module, ...]) -> int:
    for module in modules:
        size = input_size(_checked(module))
        if size is not None:
            return size
        if not keeps_size(module):
            break
    raise ValueError("the modules do not tell what vectors SequentialHead takes; pass input_embedding_size")
