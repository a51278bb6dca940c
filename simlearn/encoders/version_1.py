"""Who encoded what format version 1 and the caches of its time hold, as they said it.

They told a component by its class, by the settings that it told itself, and by its weights. Of classes that are not
simlearn's they told the code too, but neither attributes, closures nor globals; so only what simlearn's own left is
found again.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import torch
from torch import nn

from simlearn.components import Component
from simlearn.components.arguments import parameters_of
from simlearn.components.code import is_framework
from simlearn.components.layout import overrides
from simlearn.encoders.encoder import Encoder
from simlearn.encoders.hashed_ngrams import HashedNGrams
from simlearn.files import add_tensors


def fingerprint(encoder: Encoder) -> str:
    """The fingerprint of an encoder whose class, settings and weights say all."""
    text = encoder.fingerprint_settings()
    digest = blake2b(type(encoder).__qualname__.encode(), digest_size=16)
    digest.update((_settings(encoder) if text is None else text).encode())
    add_tensors(digest, encoder.fingerprint_weights())
    return digest.hexdigest()


def identity(encoder: Encoder, prompt: str | None, autocast: torch.dtype | None = None) -> str | None:
    """What a table of vectors was called after; None where that did not tell the encoder from others."""
    if not _is_told(encoder):
        return None
    return _digest([fingerprint(encoder), repr(prompt), repr(autocast)])


def head_identity(head: nn.Module) -> str | None:
    """What a head was known by; None where that did not tell it from others."""
    if not _is_told(head):
        return None
    parts = [module for module in head.modules() if isinstance(module, Component)]
    digest = blake2b(_digest([repr(head), *map(_settings, parts)]).encode(), digest_size=16)
    add_tensors(digest, head.state_dict())
    return digest.hexdigest()


def _is_told(component: nn.Module) -> bool:
    """Whether class, settings and weights said all: what is not simlearn's said less.

    A vectorizer of one's own was told by the arguments of `HashedNGrams` alone, so not even a table that an encoder
    over `HashedNGrams` would call its own is certain to be.
    """
    given = component.arguments().values() if isinstance(component, Component) else ()
    if any(isinstance(one, HashedNGrams) for one in given):
        return False
    return all(is_framework(type(one).__module__) for one in component.modules())


def _settings(component: Component) -> str:
    """The arguments as JSON had them: all of them, vectorizers without their class; of others what they told."""
    if not is_framework(type(component).__module__):
        says = overrides(type(component), "get_config_dict")
        return repr(sorted(component.get_config_dict().items())) if says else ""
    config = component.get_config_dict()
    told = {name: _without_class(config.get(name)) for name in parameters_of(type(component))}
    return repr(sorted(told.items()))


def _without_class(value: Any) -> Any:
    return {key: item for key, item in value.items() if key != "type"} if isinstance(value, dict) else value


def _digest(texts: Iterable[str]) -> str:
    digest = blake2b(digest_size=16)
    for text in texts:
        digest.update(len(text).to_bytes(8, "little") + text.encode())
    return digest.hexdigest()
