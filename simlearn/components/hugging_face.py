"""What the encoders over Hugging Face models share: safe, quiet loading, and what of a model decides its embeddings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

from simlearn.components import check_folder
from simlearn.files import LoadError, UntrustedError, read_json

# What sentence-transformers writes about a transformer. Older keys (`tokenizer_name_or_path`, `model_args`) name files
# elsewhere.
_TRANSFORMER_KEYS = frozenset(
    "transformer_task modality_config module_output_name processing_kwargs unpad_inputs query_length document_length"
    " query_expansion max_seq_length do_lower_case".split()
)
# They change from one save to the next, or say where a model came from, not what it computes. Weights tell their dtype.
_VOLATILE_KEYS = frozenset(
    "_name_or_path transformers_version architectures dtype torch_dtype use_cache _attn_implementation processor_class"
    " image_processor_type".split()
)


@contextmanager
def quiet(*, reports: bool = True) -> Iterator[None]:
    """Without the progress bars of transformers; without its load reports too where the caller looks at them itself."""
    import transformers

    logging: Any = transformers.utils.logging
    had_bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    if not reports:
        logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bars:
            logging.enable_progress_bar()


@contextmanager
def load_errors(folder: Path) -> Iterator[None]:
    """Raise LoadError for whatever a library raises about damaged files, which may be anything."""
    try:
        yield
    except LoadError:
        raise
    except Exception as error:
        raise LoadError(f"{folder} cannot be loaded: {type(error).__name__}: {error}") from error


def check_pretrained_folder(folder: Path) -> None:
    """`check_folder`, and what only these models can ask for.

    Raises:
        LoadError: when the folder is missing.
        UntrustedError: for files that point outside the folder (adapters, another tokenizer) or that name methods or
            attention kernels to run.
    """
    if not folder.is_dir():
        raise LoadError(f"{folder} is missing")
    check_folder(folder)
    for file in folder.rglob("*.json"):
        if file.name == "adapter_config.json":
            raise UntrustedError(f"{file} is an adapter for a model elsewhere; merge it into the model before saving")
        if file.name == "config.json":
            _check_attention(file, read_json(file))
        elif re.fullmatch(r"sentence_.*_config\.json", file.name):
            _check_transformer(file, read_json(file))


def _check_attention(file: Path, config: Any) -> None:
    for key, value in config.items() if isinstance(config, dict) else ():
        if key in ("attn_implementation", "_attn_implementation") and "/" in str(value):
            raise UntrustedError(f"{file} asks for the attention kernel {value!r}, which is code from elsewhere")
        _check_attention(file, value)  # that of a model within the model


def _check_transformer(file: Path, config: Any) -> None:
    if not isinstance(config, dict):
        raise LoadError(f"{file} is damaged: it holds no settings")
    if unknown := sorted(config.keys() - _TRANSFORMER_KEYS):
        raise UntrustedError(f"{file} has the settings {unknown}, which may point to other files or code")
    modalities = config.get("modality_config", {})
    for modality in modalities.values() if isinstance(modalities, dict) else [modalities]:
        method = modality.get("method") if isinstance(modality, dict) else modality
        if not re.fullmatch(r"forward|get_[a-z]+_features", str(method)):
            raise UntrustedError(f"{file} asks for the method {method!r} of the model, which computes no embeddings")


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
