from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simlearn import CategoricalEncoder, LoadError, Vocabulary


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.text(), unique=True), st.sampled_from(["token", "value"]))
def test_written_and_read(tmp_path: Path, tokens: list[str], kind: Any) -> None:
    Vocabulary(tokens).write(tmp_path, kind)
    read = Vocabulary.read(tmp_path)
    assert read.tokens == tokens and read.fingerprint() == Vocabulary(tokens).fingerprint()
    lines = [json.loads(line) for line in (tmp_path / "dictionary.json").read_text().splitlines()]
    assert lines == [{kind: token, f"{kind}_id": number} for number, token in enumerate(tokens, 1)]


def test_the_most_frequent_first_then_by_alphabet() -> None:
    built = Vocabulary.build(["b a", "b c", "c"], tokens=str.split)
    assert built.tokens == ["b", "c", "a"]
    assert Vocabulary.build(["b a", "b c", "c"], size=1, tokens=str.split).tokens == ["b"]
    assert Vocabulary.build(["b a", "b c", "c"], min_count=2, tokens=str.split).tokens == ["b", "c"]
    assert "~<re" in Vocabulary.build(iter(["red"])) and "red" in Vocabulary.build(["red"])


def test_looked_up() -> None:
    vocabulary = Vocabulary(["a", "b"])
    assert [vocabulary.get(token) for token in ("a", "b", "c")] == [1, 2, None]
    assert list(vocabulary) == ["a", "b"] and 1 not in vocabulary
    assert repr(vocabulary) == "Vocabulary(2 tokens: 'a', 'b')"
    assert Vocabulary(["b", "a"]).fingerprint() != vocabulary.fingerprint()
    assert Vocabulary(["ab"]).fingerprint() != vocabulary.fingerprint()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"token": "a", "token_id": 1}\n{"token": "b", "token_id": 1}', "line 2: the number 1 is there twice"),
        ('{"token": "a", "token_id": 1}\n{"token": "a", "token_id": 2}', "line 2: the token 'a' is there twice"),
        ('{"token": "a", "token_id": 1}\n{"token": "b", "token_id": 3}', "none of them number 2"),
        ('{"token": "a", "token_id": 0}', "'a' the number 0, which is padding"),
        ('{"token": "a"}', "line 1 is no entry such as"),
        ('{"token": 5, "token_id": 1}', "line 1 is no entry"),
        ('{"token": "a", "token_id": "1"}', "line 1 is no entry"),
        ("[1]", "line 1 is no entry"),
        ("a\n", "line 1 is no entry"),
        ("\udcff".encode("utf-8", "surrogateescape"), "cannot be read"),
    ],
)
def test_a_damaged_dictionary_names_the_line(tmp_path: Path, content: str | bytes, message: str) -> None:
    (tmp_path / "dictionary.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(LoadError, match=message):
        Vocabulary.read(tmp_path)


def test_no_dictionary(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="dictionary.json is missing; name the folder"):
        Vocabulary.read(tmp_path)


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        ("a text", {}, "put it into a list"),
        ([None], {}, "built of texts, got None"),
        ([1], {}, "got 1, a int"),
        ([""], {}, "no token occurs"),
        (["a"], {"min_count": 2, "tokens": str.split}, "no token occurs 2 times"),
        (["a"], {"size": 0}, "at least 1"),
        (["a"], {"min_count": 0}, "at least 1"),
    ],
)
def test_bad_texts(texts: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        Vocabulary.build(texts, **options)


def test_bad_tokens() -> None:
    with pytest.raises(ValueError, match="'a' is there more than once"):
        Vocabulary(["a", "b", "a"])
    with pytest.raises(TypeError, match="tokens must be texts, got 5"):
        Vocabulary([5])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="kind must be"):
        Vocabulary(["a"]).write("nowhere", "tokens")  # type: ignore[arg-type]


def test_built_of_an_iterator_it_is_saved_all_the_same(tmp_path: Path) -> None:
    vocabulary = Vocabulary(token for token in ("a", "b"))
    vocabulary.save(str(tmp_path / "words"))
    assert Vocabulary.load(str(tmp_path / "words")).tokens == ["a", "b"]
    encoder = CategoricalEncoder(map(str, (1, 2)), 2)
    encoder.save(str(tmp_path / "categories"))
    loaded = CategoricalEncoder.load(str(tmp_path / "categories"))
    assert loaded.values.tokens == ["1", "2"] and loaded.fingerprint() == encoder.fingerprint()
