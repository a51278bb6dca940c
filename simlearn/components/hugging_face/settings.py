"""What of a model of another library decides its embeddings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from torch import nn

# They change from one save to the next, or say where a model came from, not what it computes. Weights tell their dtype.
_VOLATILE_KEYS = frozenset(
    "_name_or_path transformers_version architectures dtype torch_dtype use_cache _attn_implementation processor_class"
    " image_processor_type".split()
)


def canonical(value: Any) -> Any:
    """Settings as JSON gives them back: tuples as lists, keys as sorted strings; other objects as their class."""
    if isinstance(value, Mapping):
        return [[str(key), canonical(value[key])] for key in sorted(value, key=str)]
    if isinstance(value, (list, tuple)):
        return [canonical(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, (int, float)):
        return value if isinstance(value, float) else int(value)
    return type(value).__qualname__


def settings_of(config: Mapping[str, Any]) -> Any:
    """What of a configuration decides the embeddings."""
    return canonical({key: value for key, value in config.items() if key not in _VOLATILE_KEYS})


def tokenizer_settings(tokenizer: Any) -> Any:
    """What of a tokenizer decides its tokens: a digest of vocabulary and rules, its limits and its special tokens."""
    from tokenizers import Tokenizer

    rules = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if isinstance(rules, Tokenizer):
        rules = Tokenizer.from_str(rules.to_str())
        # The last call's truncation and padding stick to a tokenizer; they are no part of what it is.
        rules.no_truncation()
        rules.no_padding()
        content = rules.to_str()
    else:
        vocabulary = tokenizer.get_vocab() if hasattr(tokenizer, "get_vocab") else None
        content = repr((type(tokenizer).__qualname__, canonical(vocabulary)))
    names = ("model_max_length", "padding_side", "truncation_side", "special_tokens_map", "chat_template")
    limits = {name: getattr(tokenizer, name, None) for name in names}
    return [blake2b(content.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest(), canonical(limits)]


def module_text(module: Any) -> str | None:
    """What a module of transformers or sentence-transformers says of itself; None for any other module.

    It takes the place of the module's attributes, which hold much that decides nothing.
    """
    if not _is_of(module, "transformers", "sentence_transformers"):
        return None
    told: list[Any] = [type(module).__qualname__]
    if hasattr(module, "get_config_dict"):
        told.append(canonical(_lasting(module.get_config_dict())))
    if hasattr(getattr(module, "config", None), "to_dict"):
        told.append(canonical(_lasting(module.config.to_dict())))
    # A SentenceTransformer has the tokenizer of a module within, which tells it: digesting one takes a third of a load.
    if not isinstance(module, nn.Sequential) and getattr(module, "tokenizer", None) is not None:
        told.append(tokenizer_settings(module.tokenizer))
    names = ("truncate_dim", "default_prompt_name")  # of a SentenceTransformer itself
    prompts = {
        name: text for name, text in (getattr(module, "prompts", None) or {}).items() if text
    }  # it adds empty ones
    return json.dumps([*told, [canonical(getattr(module, name, None)) for name in names], canonical(prompts)])


def tells_all(module: Any) -> bool:
    """Whether the configuration of a module decides the modules within, as that of a model of transformers does."""
    return _is_of(module, "transformers") and hasattr(getattr(module, "config", None), "to_dict")


def settings_text(value: Any) -> str | None:
    """What a tokenizer, image processor or configuration of these libraries decides; None for other objects."""
    if not _is_of(value, "transformers", "tokenizers"):
        return None
    if not hasattr(value, "backend_tokenizer") and hasattr(value, "to_str"):  # a tokenizer itself, with its truncation
        return str(value.to_str())
    if hasattr(value, "backend_tokenizer") or hasattr(value, "get_vocab"):
        return json.dumps(tokenizer_settings(value))
    return json.dumps(canonical(_lasting(value.to_dict()))) if hasattr(value, "to_dict") else None


def _lasting(config: Any) -> Any:
    """A configuration, and those of models within the model, without what changes from one save to the next."""
    if isinstance(config, Mapping):
        return {key: _lasting(value) for key, value in config.items() if key not in _VOLATILE_KEYS}
    return [_lasting(item) for item in config] if isinstance(config, (list, tuple)) else config


def _is_of(value: Any, *libraries: str) -> bool:
    return any(cls.__module__.partition(".")[0] in libraries for cls in type(value).__mro__)
