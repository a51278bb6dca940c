"""What a folder with a model of transformers or sentence-transformers may ask for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from simlearn.components.hugging_face.sizes import check_image_sizes, check_sizes
from simlearn.components.hugging_face.tokenizers import (
    MAX_ADDED,
    MAX_LENGTH,
    MAX_MULTIPLE,
    check_tokenizer,
    is_tokenizer,
)
from simlearn.components.inspection import check_folder, mappings
from simlearn.files import LoadError, UntrustedError

# What sentence-transformers writes about a transformer. Older keys (`tokenizer_name_or_path`, `model_args`) name files
# elsewhere.
_TRANSFORMER_KEYS = frozenset(
    "transformer_task modality_config module_output_name processing_kwargs unpad_inputs query_length document_length"
    " query_expansion max_seq_length do_lower_case".split()
)
# "retrieval" takes any name of transformers for the model's class.
_TASKS = ("feature-extraction", "fill-mask", "sequence-classification", "text-generation", "any-to-any")
# Keys that make a loader ask the hub, open files by a path of their own, or import further packages. timm takes
# `model_args` for a path to a pickle; the image processor of OneFormer reads `class_info_file` from `repo_path`.
_OUTWARD_KEYS = {
    "backbone": "asks the hub for another model",
    "backbone_kwargs": "asks the hub for another model",
    "use_pretrained_backbone": "asks the hub for another model's weights",
    "use_timm_backbone": "builds a model by name",
    "base_model_name_or_path": "needs a model elsewhere",
    "tokenizer_name_or_path": "needs a tokenizer elsewhere",
    "tokenizer_name": "needs a tokenizer elsewhere",
    "audio_tokenizer": "needs a model elsewhere",
    "audio_tokenizer_name_or_path": "needs a model elsewhere",
    "feature_extractor_name_or_path": "needs a feature extractor elsewhere",
    "speaker_embeddings": "reads files by their paths",
    "repo_path": "reads files by their paths",
    "class_info_file": "reads files by their paths",
    "font": "reads files by their paths",
    "font_path": "reads files by their paths",
    "init_inputs": "gives a tokenizer's constructor arguments by position, which may be paths",
    "gguf_file": "reads weights in another format",
    "transformers_weights": "reads weights of another name",
    "model_args": "gives timm a path to weights",
    "checkpoint_path": "reads weights by their path",
    "quantization_config": "imports further packages and runs their kernels; save the model with plain weights",
    "compression_config": "imports further packages and runs their kernels; save the model with plain weights",
    "kernel_config": "runs kernels from elsewhere",
    "use_kernels": "runs kernels from elsewhere",
    "fusion_config": "replaces parts of the model",
    "distributed_config": "opens connections to other processes",
    "custom_generate": "runs code from elsewhere",
    "is_vqa": "asks the hub for a font",
}
_IMPLEMENTATIONS = frozenset(
    "attn_implementation _attn_implementation experts_implementation _experts_implementation".split()
)
_SETTINGS_FILE = re.compile(r"sentence_.*_config\.json")
_READ_WHOLE = frozenset({".txt", ".md", ".model", ".spm"})  # vocabularies, and the model's card
_MAX_WHOLE = 50_000_000  # bytes
_MAX_PROMPT = 65_536  # characters that are read anew before every text


def check_pretrained_folder(folder: Path) -> None:
    """`check_folder`, and what only these models can ask for.

    Raises:
        LoadError: when the folder is missing or damaged, or names sizes that its weights do not have.
        UntrustedError: for files that point outside the folder (adapters, another tokenizer, a backbone by name), that
            name methods, packages or attention kernels to run, that render a template of their own for every text, or
            whose tokenizer multiplies texts.
    """
    if not folder.is_dir():
        raise LoadError(f"{folder} is missing")
    contents: dict[Path, Any] = {}

    def look(file: Path, content: Any) -> None:
        name = file.name.lower()
        if name == "adapter_config.json":
            raise UntrustedError(f"{file} is an adapter for a model elsewhere; merge it into the model before saving")
        if is_tokenizer(content):
            check_tokenizer(file, content)
            return  # a vocabulary may have any word for a key
        if "config" in name:
            _check_keys(file, content)
        if "token" in name:
            _check_added(file, content)
        if _SETTINGS_FILE.fullmatch(name):
            _check_transformer(file, content)
        if name == "config_sentence_transformers.json":
            _check_prompts(file, content)
        if name in ("preprocessor_config.json", "processor_config.json"):
            check_image_sizes(file, content)
        contents[file] = content

    check_folder(folder, look)
    for file in folder.rglob("*"):
        if file.suffix.lower() in _READ_WHOLE and file.stat().st_size > _MAX_WHOLE:
            raise LoadError(f"{file} is larger than {_MAX_WHOLE:,} bytes, and would be read into memory whole")
    for file, content in contents.items():
        if file.name.lower() == "config.json":
            check_sizes(file, content)
        _check_padding(file, content, contents.get(file.parent / "tokenizer_config.json"))


def _check_keys(file: Path, content: Any) -> None:
    """Refuse keys that lead outside the folder, those of a model within the model too."""
    for mapping in mappings(content):
        for key in mapping.keys() & _OUTWARD_KEYS.keys():
            if mapping[key]:
                raise UntrustedError(f"{file} has the setting {key!r}, which {_OUTWARD_KEYS[key]}")
        for key in mapping.keys() & _IMPLEMENTATIONS:
            if "/" in str(mapping[key]):
                raise UntrustedError(f"{file} asks for the kernel {mapping[key]!r:.100}, which is code from elsewhere")
        architecture = mapping.get("architecture")
        if isinstance(architecture, str) and re.search(r"[/:\\]", architecture):
            raise UntrustedError(f"{file} asks for the architecture {architecture!r:.100}, which lies elsewhere")
        if file.name.lower() == "tokenizer_config.json":
            for key in mapping:
                if re.fullmatch(r".*_files?", str(key)) and mapping[key] and key != "special_tokens_map_file":
                    raise UntrustedError(f"{file} has the setting {key!r}, which names a file outside the model")


def _check_added(file: Path, content: Any) -> None:
    lists = content.values() if isinstance(content, dict) else ()
    if any(isinstance(tokens, (list, dict)) and len(tokens) > MAX_ADDED for tokens in (content, *lists)):
        raise UntrustedError(f"{file} has more than {MAX_ADDED:,} added tokens, each of which is looked for on its own")


def _check_padding(file: Path, content: Any, tokenizer: Any) -> None:
    longest = tokenizer.get("model_max_length") if isinstance(tokenizer, dict) else None
    for mapping in mappings(content):
        multiple = mapping.get("pad_to_multiple_of")
        if isinstance(multiple, (int, float)) and multiple > MAX_MULTIPLE:
            raise UntrustedError(f"{file} pads texts to a multiple of {multiple} tokens; the most is {MAX_MULTIPLE}")
        if "query_expansion" in mapping and isinstance(mapping["query_expansion"], dict):
            _check_padded(file, mapping["query_expansion"].get("length"))
        if "max_length" in (mapping.get("padding"), mapping.get("padding_strategy")):
            _check_padded(file, mapping.get("max_length") or longest)


def _check_padded(file: Path, length: Any) -> None:
    if not isinstance(length, (int, float)) or length > MAX_LENGTH:
        raise UntrustedError(f"{file} pads every text to {length!r:.40} tokens; the most is {MAX_LENGTH:,}")


def _check_transformer(file: Path, config: Any) -> None:
    if not isinstance(config, dict):
        raise LoadError(f"{file} is damaged: it holds no settings")
    if unknown := sorted(config.keys() - _TRANSFORMER_KEYS):
        raise UntrustedError(f"{file} has the settings {unknown}, which may point to other files or code")
    if config.get("transformer_task", _TASKS[0]) not in _TASKS:
        raise UntrustedError(f"{file} asks for the task {config['transformer_task']!r:.80}; known are {_TASKS}")
    modalities = config.get("modality_config", {})
    for modality in modalities.values() if isinstance(modalities, dict) else [modalities]:
        method = modality.get("method") if isinstance(modality, dict) else modality
        if not re.fullmatch(r"forward|get_[a-z]+_features", str(method)):
            raise UntrustedError(f"{file} asks for the method {method!r} of the model, which computes no embeddings")
    if isinstance(modalities, dict) and any("message" in str(names) for names in modalities):
        # sentence-transformers makes a message of every text then, and renders the tokenizer's template for it. A
        # template that lies in the folder of a model without messages is never rendered.
        raise UntrustedError(
            f"{file} lets the model take messages, so that a template of the folder, which is a program, would run for "
            "every text; take 'message' out of the model's modality_config before saving and give a prompt instead"
        )


def _check_prompts(file: Path, content: Any) -> None:
    prompts = content.get("prompts") if isinstance(content, dict) else None
    for name, prompt in prompts.items() if isinstance(prompts, dict) else ():
        if isinstance(prompt, str) and len(prompt) > _MAX_PROMPT:
            raise UntrustedError(f"{file} has the prompt {name!r:.80} of {len(prompt):,} characters before every text")
