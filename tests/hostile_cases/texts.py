"""Tokenizers and settings that make a short text long, or a fast one slow."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from hostile_cases.changes import (
    FAR,
    MODEL,
    Change,
    config_of,
    edit,
    in_tokenizer,
    settings,
    together,
    tokenizer,
)


def replace(old: str, new: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": old}, "content": new}


def sequence(*parts: Any) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(parts)}


def split(pattern: str) -> Change:
    part = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return tokenizer(pre_tokenizer=part)


def charsmap(replacement: bytes) -> str:
    return base64.b64encode((4).to_bytes(4, "little") + bytes(4) + replacement + b"\0").decode()


def template(ids: int, repeats: int) -> Change:
    special = {"id": "[CLS]", "ids": [2] * ids, "tokens": ["[CLS]"] * ids}
    piece = {"SpecialToken": {"id": "[CLS]", "type_id": 0}}
    single = [*([piece] * repeats), {"Sequence": {"id": "A", "type_id": 0}}]
    post = {"type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": {"[CLS]": special}}
    return tokenizer(post_processor=post)


def many_added(folder: Path) -> None:
    file = folder / MODEL / "tokenizer.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    plain = {"special": False, "single_word": False, "lstrip": False, "rstrip": False, "normalized": True}
    more = [{"id": 1000 + number, "content": f"<{number}>", **plain} for number in range(200_000)]
    edit(file, added_tokens=content["added_tokens"] + more)


TEXTS: dict[str, Change] = {
    "four normalizers": tokenizer(normalizer=sequence(*[replace(a, b * 200) for a, b in ("eb", "bc", "cd", "de")])),
    "sequences of sequences": tokenizer(
        normalizer=sequence(sequence(replace("e", "b" * 200)), sequence(sequence(replace("b", "c" * 200))))
    ),
    "a replaced pattern": tokenizer(
        normalizer={"type": "Replace", "pattern": {"Regex": "."}, "content": "x" * 1_000_000}
    ),
    "nothing replaced": tokenizer(normalizer=replace("", "x" * 1000)),
    "a long prefix": tokenizer(normalizer={"type": "Prepend", "prepend": "x" * 30_000_000}),
    "a thousand normalizers": tokenizer(normalizer=sequence(*[{"type": "Lowercase"}] * 100_000)),
    "a compiled map": tokenizer(normalizer={"type": "Precompiled", "precompiled_charsmap": charsmap(b"x" * 1_000_000)}),
    "two compiled maps": tokenizer(
        normalizer=sequence(*[{"type": "Precompiled", "precompiled_charsmap": charsmap(b"x" * 60)}] * 4)
    ),
    "nested repetition": split(r"(a+)+$"),
    "repeated choice": split(r"(a|aa|aaa)*$"),
    "repeated choice of classes": split(r"(?:[a-z]|\w|[^b])+!"),
    "many repetitions": split(r"a*a*a*a*a*a*a*a*!"),
    "a huge pattern": split(r"((a{900}){900}){900}"),
    "a reference back": split(r"(.+)\1!"),
    "a pattern that is none": split(r"(((("),
    "a split by the empty pattern": split(""),
    "a normalizer's pattern": tokenizer(normalizer={"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""}),
    "patterns within": tokenizer(
        pre_tokenizer={
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
            ],
        }
    ),
    "a template of many tokens": template(1_000_000, 1),
    "a template of many pieces": template(1, 1_000_000),
    "a fixed padding": tokenizer(padding={"strategy": {"Fixed": FAR}, "direction": "Right", "pad_id": 0}),
    "a padding's multiple": tokenizer(padding={"strategy": "BatchLongest", "pad_to_multiple_of": FAR}),
    "a stride": tokenizer(truncation={"max_length": 64, "stride": 63, "strategy": "LongestFirst"}),
    "long words": in_tokenizer("model", max_input_chars_per_word=FAR),
    "many added tokens": many_added,
    "a token twice": template(1, 2),
    "no unknown token": in_tokenizer("model", unk_token="[NONE]"),
    "a vocabulary of negative numbers": in_tokenizer("model", vocab={"[UNK]": -1}),
    "padding by the settings": settings(processing_kwargs={"text": {"padding": "max_length", "max_length": FAR}}),
    "padding by the settings to the tokenizer's length": together(
        settings(processing_kwargs={"text": {"padding": "max_length"}}),
        config_of(f"{MODEL}/tokenizer_config.json", model_max_length=FAR),
    ),
    "a multiple by the settings": settings(processing_kwargs={"text": {"pad_to_multiple_of": FAR}}),
    "expanded queries": settings(query_expansion={"strategy": "fixed", "length": FAR}),
    "a long prompt": config_of(
        f"{MODEL}/config_sentence_transformers.json", prompts={"a": "x" * 20_000_000}, default_prompt_name="a"
    ),
    "the encoder's prompt": config_of("encoders/default/config.json", prompt="x" * 20_000_000),
}
