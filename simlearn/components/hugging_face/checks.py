"""What a folder with a model of transformers or sentence-transformers may ask for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from simlearn.components.inspection import check_folder
from simlearn.files import LoadError, UntrustedError, read_json

# What sentence-transformers writes about a transformer. Older keys (`tokenizer_name_or_path`, `model_args`) name files
# elsewhere.
_TRANSFORMER_KEYS = frozenset(
    "transformer_task modality_config module_output_name processing_kwargs unpad_inputs query_length document_length"
    " query_expansion max_seq_length do_lower_case".split()
)


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
