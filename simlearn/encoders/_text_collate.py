"""Tokenising in a loader's workers, which get the tokenizer but not the weights."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn


class TextCollate:
    """Tokenises texts. A worker gets the tokenizer without the weights.

    Args:
        input_module: the first module of a `SentenceTransformer`.
        prompt: what is put before every text.
        max_length: longest text in tokens; None for the module's own limit.
    """

    def __init__(self, input_module: Any, prompt: str | None, max_length: int | None) -> None:
        self.input_module = input_module
        self.prompt = prompt
        self.max_length = max_length

    def __call__(self, texts: list[Any]) -> dict[str, Any]:
        """Turn N texts into a dictionary of tensors, an empty one for no texts.

        Raises:
            TypeError: for an object that is no text.
        """
        for text in texts:
            if not isinstance(text, str):
                raise TypeError(
                    f"TextEncoder encodes str, got {type(text).__name__}; if the text is a field of the object, pick "
                    "it with Field(name, encoder) or Fields(name=encoder)"
                )
        if not texts:
            return {}
        limit = {} if self.max_length is None else {"processing_kwargs": {"text": {"max_length": self.max_length}}}
        return dict(self.input_module.preprocess(list(texts), prompt=self.prompt or None, **limit))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "input_module": _without_weights(self.input_module)}


class _NoWeights(nn.Module):
    """Stands for a network in a worker: tokenising asks at most for its configuration."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config


def _without_weights(input_module: nn.Module) -> nn.Module:
    from sentence_transformers.base.modules import InputModule

    # Routers hold input modules in containers; whatever else is below an input module is the network.
    kept = (InputModule, nn.ModuleDict, nn.Sequential)
    parts = [part for part in input_module.modules() if not isinstance(part, kept)]
    light: nn.Module = copy.deepcopy(
        input_module, {id(part): _NoWeights(getattr(part, "config", None)) for part in parts}
    )
    return light
