"""Tokenising in a loader's workers, which get the tokenizer but not the weights."""

from __future__ import annotations

import copy
import json
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from simlearn.components.hugging_face import settings_of, tokenizer_settings
from simlearn.components.hugging_face.panics import panic
from simlearn.encoders._token_layout import TokenLayout
from simlearn.encoders.tokens import Tokens

_MAX_PROMPT = 65_536
_MEDIA = frozenset({"image", "video", "audio"})
_AT_ONCE = 512
"""Texts tokenised at once: what lies around the tokens of a short text among long ones is thrown away."""


class TextCollate:
    """Tokenises texts. A worker gets the tokenizer without the weights.

    Args:
        input_module: the first module of a `SentenceTransformer`.
        prompt: what is put before every text.
        max_length: longest text in tokens; None for the module's own limit.

    Raises:
        ValueError: for a prompt of more than 65,536 characters, which would be read anew with every text.
    """

    def __init__(self, input_module: Any, prompt: str | None, max_length: int | None) -> None:
        if prompt is not None and len(prompt) > _MAX_PROMPT:
            raise ValueError(f"a prompt may have {_MAX_PROMPT:,} characters, got {len(prompt):,}; shorten it")
        self.input_module = input_module
        self.prompt = prompt
        self.max_length = max_length

    def __call__(self, texts: list[Any]) -> dict[str, Any]:
        """Turn N texts into a dictionary of tensors, an empty one for no texts.

        Raises:
            TypeError: for an object that is no text.
            ValueError: for a text on which the tokenizer gives up.
        """
        _check_texts(texts)
        return self._preprocess(list(texts)) if texts else {}

    @cached_property
    def layout(self) -> TokenLayout | None:
        """How tokens become features; None where the model pads in a way of its own."""
        return TokenLayout.learn(self._preprocess)

    @property
    def can_split(self) -> bool:
        """Whether `pad(tokenize(texts))` is what the collate function itself gives; see `Tokenising`."""
        return self.layout is not None

    def tokenize(self, texts: list[Any]) -> Tokens:
        """The tokens of N texts, with the prompt and cut off.

        Raises:
            TypeError: for an object that is no text.
            ValueError: for a model that cannot be used in two steps, and a text on which the tokenizer gives up.
        """
        _check_texts(texts)
        if self.layout is None:
            raise ValueError("this model's tokens cannot be told from its padding; collate its texts at once")
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        parts = [Tokens(torch.empty((0, len(self.layout.kept)), dtype=torch.int32), torch.empty(0, dtype=torch.long))]
        for start in range(0, len(texts), _AT_ONCE):
            rows = order[start : start + _AT_ONCE]
            parts.append(self.layout.split(self._preprocess([texts[row] for row in rows])))
        return Tokens.concatenate(parts).take(torch.tensor(order, dtype=torch.long).argsort())

    def pad(self, tokens: Tokens) -> dict[str, Any]:
        """What `__call__` gives for texts that were tokenised, without the tokenizer; an empty dictionary for none."""
        if self.layout is None:
            raise ValueError("this model's tokens cannot be told from its padding; collate its texts at once")
        return self.layout.pad(tokens) if len(tokens) else {}

    def lengths(self, texts: list[Any]) -> Tensor:
        """The number of tokens (N,) of each text.

        Raises:
            TypeError: for a model that masks no padding.
        """
        if self.can_split:
            return self.tokenize(texts).lengths
        features = self(texts)
        mask = features.get("attention_mask")
        if texts and (not isinstance(mask, Tensor) or mask.ndim != 2 or len(mask) != len(texts)):
            raise TypeError("this model's tokens cannot be counted text by text; use encode_chunk_size")
        return torch.empty(0, dtype=torch.long) if mask is None else mask.sum(dim=1)

    def token_settings(self) -> str:
        """The tokenizer, its limits and settings, the prompt and the longest text."""
        settings: list[Any] = [self.prompt or None, self.max_length]
        for part in self.input_module.modules():
            if hasattr(part, "get_config_dict"):
                settings.append([type(part).__qualname__, settings_of(part.get_config_dict())])
            if getattr(part, "tokenizer", None) is not None:
                settings.append(tokenizer_settings(part.tokenizer))
        return json.dumps([settings, repr(self.layout)])

    def _preprocess(self, texts: list[str]) -> dict[str, Any]:
        try:
            return self._features(texts)
        except panic() as error:
            raise ValueError(
                f"the tokenizer gave up on the text {self._culprit(texts)!r}: {error!s:.200}; leave the text out, or "
                "use a model whose tokenizer has no such pattern"
            ) from error

    def _features(self, texts: list[str]) -> dict[str, Any]:
        limit = {} if self.max_length is None else {"processing_kwargs": {"text": {"max_length": self.max_length}}}
        inputs: list[Any] = list(texts)
        if not _MEDIA.isdisjoint(getattr(self.input_module, "modalities", ())):
            # A model of images too would open a text that looks like the address of one, from the disk or the network.
            inputs = [{"text": text} for text in texts]
        return dict(self.input_module.preprocess(inputs, prompt=self.prompt or None, **limit))

    def _culprit(self, texts: list[str]) -> str:
        """The first text that the tokenizer gives up on, cut short."""
        for text in texts:
            try:
                self._features([text])
            except panic():
                return text[:100]
        return texts[0][:100]  # it took each of them alone

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "input_module": _without_weights(self.input_module)}


def _check_texts(texts: list[Any]) -> None:
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(
                f"TextEncoder encodes str, got {type(text).__name__}; if the text is a field of the object, pick "
                "it with Field(name, encoder) or Fields(name=encoder)"
            )


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
