"""Panics are caught, and nothing else that is no Exception."""

from __future__ import annotations

import pytest
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split

from simlearn.components.hugging_face.panics import panic


def test_a_panic_of_a_tokenizer() -> None:
    tokenizer = Tokenizer(WordLevel({"a": 0}, unk_token="a"))
    tokenizer.pre_tokenizer = Split(Regex("(a+)+$"), "isolated")
    with pytest.raises(BaseException, match="retry-limit") as raised:
        tokenizer.encode("a" * 40 + "!")
    assert not isinstance(raised.value, Exception), "else there is nothing to catch"
    caught = None
    try:
        tokenizer.encode("a" * 40 + "!")
    except panic() as error:
        caught = error
    assert type(caught) is raised.type


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, ValueError, MemoryError])
def test_all_else_passes(kind: type[BaseException]) -> None:
    with pytest.raises(kind):
        try:
            raise kind
        except panic():
            pytest.fail("that was no panic")


def test_outside_of_a_handler() -> None:
    assert panic() == ()
