"""Word vectors look words up as gensim does, from arrays and JSON alone."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import tiny_fasttext

from simlearn.components import check_folder
from simlearn.encoders import WordVectors
from simlearn.encoders.word_vectors import ngram_buckets
from simlearn.files import LoadError

UNKNOWN = ["spoons", "größer", "日本", "ёлки", "émigré", "\U0001f600smile", "q", "ab", ""]


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_fasttext()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.text(max_size=12).filter(lambda text: text.isprintable()), min_size=1, max_size=5),
    st.integers(1, 3),
    st.integers(0, 4),
    st.sampled_from([1, 7, 2_000_000]),
)
def test_buckets_are_those_of_gensim(words: list[str], min_n: int, more: int, buckets: int) -> None:
    from gensim.models.fasttext import ft_ngram_hashes

    owners, found = ngram_buckets(words, min_n, min_n + more, buckets)
    for number, word in enumerate(words):
        assert sorted(found[owners == number].tolist()) == sorted(ft_ngram_hashes(word, min_n, min_n + more, buckets))


@pytest.mark.parametrize("on_disk", [False, True])
def test_known_and_unknown_words_have_the_vectors_of_gensim(tmp_path: Path, model: Any, on_disk: bool) -> None:
    WordVectors.from_gensim(model).save(tmp_path)
    check_folder(tmp_path)
    vectors = WordVectors.load(tmp_path, on_disk=on_disk)
    assert isinstance(vectors.vectors, np.memmap) == on_disk
    words = [*model.wv.index_to_key, *UNKNOWN]
    found, known = vectors.look_up(words)
    np.testing.assert_allclose(found, np.stack([model.wv.get_vector(word) for word in words]), atol=1e-6)
    assert found.dtype == np.float32
    assert known.all()


def test_words_without_ngrams_only(model: Any) -> None:
    base = WordVectors.from_gensim(model)
    found, known = WordVectors(base.words, base.vectors, base.ngrams, 5, 6).look_up(["", "q"])
    assert known.all()
    assert not found.any()


def test_plain_vectors_know_their_words_only(model: Any) -> None:
    from gensim.models import KeyedVectors

    plain = KeyedVectors(3)
    plain.add_vectors(["cat", "dog"], np.arange(6, dtype=np.float32).reshape(2, 3))
    found, known = WordVectors.from_gensim(plain).look_up(["dog", "mouse", "cat"])
    assert known.tolist() == [True, False, True]
    assert found.tolist() == [[3.0, 4.0, 5.0], [0.0, 0.0, 0.0], [0.0, 1.0, 2.0]]


def test_fasttext_without_ngrams() -> None:
    model = tiny_fasttext(bucket=0)
    found, known = WordVectors.from_gensim(model).look_up(["cat", "unheard"])
    assert known.tolist() == [True, False]
    np.testing.assert_allclose(found[0], model.wv["cat"])


def test_files_of_gensim(tmp_path: Path, model: Any) -> None:
    model.save(str(tmp_path / "whole"))
    model.wv.save(str(tmp_path / "vectors"))
    expected = WordVectors.from_gensim(model).digest
    assert WordVectors.from_gensim(tmp_path / "whole").digest == expected
    assert WordVectors.from_gensim(str(tmp_path / "vectors"), on_disk=True).digest == expected


def test_bin_file_of_fasttext(tmp_path: Path, model: Any) -> None:
    from gensim.models.fasttext import save_facebook_model

    save_facebook_model(model, str(tmp_path / "model.bin"))
    vectors = WordVectors.from_gensim(tmp_path / "model.bin")
    words = ["cat", *UNKNOWN]
    expected = np.stack([model.wv.get_vector(word) for word in words])
    np.testing.assert_allclose(vectors.look_up(words)[0], expected, atol=1e-6)


def test_saving_into_the_folder_it_is_mapped_from(tmp_path: Path, model: Any) -> None:
    """Emptying a mapped file kills the process that reads the map."""
    WordVectors.from_gensim(model).save(tmp_path)
    mapped = WordVectors.load(tmp_path, on_disk=True)
    mapped.save(tmp_path)
    assert WordVectors.load(tmp_path).digest == mapped.digest


def test_digest_covers_everything(model: Any) -> None:
    base = WordVectors.from_gensim(model)
    vectors = base.vectors + np.eye(*base.vectors.shape, dtype=np.float32)
    others = [
        WordVectors(base.words, vectors, base.ngrams, 2, 4),
        WordVectors(base.words, base.vectors, None, 2, 4),
        WordVectors(base.words, base.vectors, base.ngrams, 2, 5),
        WordVectors(base.words[::-1], base.vectors, base.ngrams, 2, 4),
    ]
    assert len({base.digest, *(other.digest for other in others)}) == 5
    assert WordVectors(list(base.words), base.vectors.copy(), base.ngrams, 2, 4).digest == base.digest


def test_tables_that_do_not_fit() -> None:
    table = np.zeros((2, 3), dtype=np.float32)
    with pytest.raises(ValueError, match="3 words do not fit"):
        WordVectors(["a", "b", "c"], table)
    with pytest.raises(ValueError, match="do not fit tables"):
        WordVectors(["a", "b"], table, np.zeros((2, 4), dtype=np.float32))
    with pytest.raises(ValueError, match="matrices of floats"):
        WordVectors(["a", "b"], table.astype(np.int64))
    with pytest.raises(ValueError, match="min_n=3, max_n=2"):
        WordVectors(["a", "b"], table, table, 3, 2)
    with pytest.raises(TypeError, match="word vectors of gensim or a path, got dict"):
        WordVectors.from_gensim({})


def test_damaged_files(tmp_path: Path, model: Any) -> None:
    base = WordVectors.from_gensim(model)

    def damaged(name: str, content: bytes) -> None:
        folder = tmp_path / name
        base.save(folder)
        (folder / name).write_bytes(content)
        with pytest.raises(LoadError):
            WordVectors.load(folder)

    objects = io.BytesIO()
    np.save(objects, np.array([{}], dtype=object), allow_pickle=True)
    damaged("vectors.npy", objects.getvalue())
    damaged("vectors.npy", pickle.dumps(base.vectors))
    damaged("ngrams.npy", b"")
    damaged("words.json", b'["only one"]')
    damaged("words.json", b"[1, 2, 3]")
    damaged("words_config.json", b"{}")
    (tmp_path / "vectors.npy/vectors.npy").unlink()
    with pytest.raises(LoadError):
        WordVectors.load(tmp_path / "vectors.npy")
