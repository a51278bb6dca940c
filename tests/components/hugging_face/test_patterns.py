"""Which regular expressions a tokenizer may have."""

from __future__ import annotations

import time

import pytest

from simlearn.components.hugging_face.patterns import pattern_fault

# Of GPT-2, GPT-4, GPT-4o, CLIP, BLOOM, Falcon, DeepSeek, Hunyuan, Qwen, SmolLM, XLM-R and T5.
REAL = [
    None,
    "",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    r" ?[^(\s|[.,!?…。，、।۔،])]+",
    r"[0-9][0-9][0-9]",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[一-龥぀-ゟ゠-ヿ]+",
    r"\d{1,3}(?=(?:\d{3})*\b)",
    r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Ll}&&[^\p{Han}]]*[\p{Ll}&&[^\p{Han}]]+(?i:'s|'t)?|\s*[\r\n]+",
    r"(?=(\d{3})+(?!\d))",
    r"\s+",
    r" {2,}",
    r"(?:\r?\n)+",
    r"[]a]+",
    r"a{,}",
    r"a++b*?",
]


@pytest.mark.parametrize("pattern", REAL)
def test_patterns_of_real_tokenizers(pattern: str | None) -> None:
    assert pattern_fault(pattern) is None


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        (r"(a+)+$", "repeats a group"),
        (r"(?>(a+)+)", "repeats a group"),
        (r"(?:a*)*", "repeats a group"),
        (r"((a{2,9}){2,9}){2,9}", "repeats a group"),
        (r"(x+x+)+y", "repeats a group"),
        (r"(a|aa)*b", "repeats a group"),
        (r"((a|aa)b)*c", "repeats a group"),
        (r"(?<name>a|b)+", "repeats a group"),
        (r"(?=(a+)+b)", "repeats a group"),
        (r"[)(]*(b+)+", "repeats a group"),
        (r"\((b+)+", "repeats a group"),
        (r"[[a]b]([c]+)*", "repeats a group"),
        (r"[^]]([c]+)*", "repeats a group"),
        (r"a+{2,}", "repeats a group"),
        (r"(.*a){12,}", "repeats a group"),
        (r"\s*\s*\s*\s*x", "in a row"),
        (r"b|(a*b*)(c*d*)", "in a row"),
        (r"a{1,900}b{1,900}c{1,900}d{1,900}", "in a row"),
        (r"a{100000}", "1,000 times"),
        (r"((a{11}){11}){11}", "1,000 times"),
        (r"(.)\1", "refers back"),
        (r"(?<x>a\g<x>?b)", "refers back"),
        (r"(?<x>a)\k<x>", "refers back"),
        (r"(?(1)a|b)", "refers back"),
        (r"(?~ab)", "refers back"),
        (r"(?x)(a+ )+", "comments"),
        (r"(?#()(a+)+", "comments"),
        ("a" * 20_001, "longer than"),
    ],
)
def test_patterns_that_may_take_for_ever(pattern: str, says: str) -> None:
    assert says in str(pattern_fault(pattern))


@pytest.mark.parametrize("pattern", ["(" * 20_000, "[" * 20_000, "\\" * 19_999, "a{" * 9_000, ")" * 9_000, "|" * 9_000])
def test_looking_takes_no_time(pattern: str) -> None:
    start = time.process_time()
    pattern_fault(pattern)
    assert time.process_time() - start < 1
