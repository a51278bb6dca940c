"""FasttextEncoder reduces a record's word vectors, and serves without gensim and pickles."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import tiny_fasttext

from simlearn.components import ClassResolver, check_folder, load_component, save_component
from simlearn.encoders import Encoder, FasttextEncoder, WordVectors
from simlearn.files import LoadError

RECORDS = ["red spoon", "", "the cat sorts 日本", "red"]


class Words(FasttextEncoder):
    @staticmethod
    def get_tokens(record: str) -> list[str]:
        return record.split()


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_fasttext()


def test_reduces_the_vectors_of_gensim(model: Any) -> None:
    encoder = Words.from_gensim(model, aggregations=["max", "avg", "min"])
    embeddings = encoder(encoder.get_collate_fn()(RECORDS))
    assert embeddings.shape == (4, encoder.embedding_size) == (4, 36)
    for record, embedding in zip(RECORDS, embeddings.numpy(), strict=True):
        vectors = np.stack([model.wv.get_vector(word) for word in record.split()] or [np.zeros(12)])
        expected = np.concatenate([vectors.max(0), vectors.mean(0), vectors.min(0)])
        np.testing.assert_allclose(embedding, expected, atol=1e-6)


def test_record_without_known_words_is_zero_and_float32() -> None:
    vectors = WordVectors(["cat"], np.ones((1, 3), dtype=np.float64))
    encoder = Words(vectors, aggregations=("avg", "min"))
    embeddings = encoder(encoder.get_collate_fn()(["", "mouse", "mouse cat"]))
    assert embeddings.dtype == torch.float32
    assert embeddings.tolist() == [[0.0] * 6, [0.0] * 6, [1.0] * 6]
    assert encoder(encoder.get_collate_fn()([])).shape == (0, 6)


def test_always_frozen(model: Any) -> None:
    encoder = Words.from_gensim(model)
    assert not encoder.trainable
    assert not encoder.train().training
    assert not encoder.state_dict(), "word vectors stay out of checkpoints"


def test_collate_numbers_distinct_words_and_carries_no_vectors(model: Any) -> None:
    collate = Words.from_gensim(model).get_collate_fn()
    assert len(pickle.dumps(collate)) < 500
    batch = pickle.loads(pickle.dumps(collate))(["cat dog cat", "dog"])
    assert batch["words"] == ["cat", "dog"]
    assert batch["tokens"].tolist() == [0, 1, 0, 1]
    assert batch["lengths"].tolist() == [3, 1]


@pytest.mark.parametrize("on_disk", [False, True])
def test_saved_as_arrays_and_json(tmp_path: Path, model: Any, on_disk: bool) -> None:
    encoder = Words.from_gensim(model, ["avg", "max"], on_disk=on_disk)
    save_component(encoder, tmp_path)
    check_folder(tmp_path)
    assert {path.suffix for path in tmp_path.rglob("*.*")} == {".json", ".npy"}
    loaded = load_component(tmp_path, Encoder, ClassResolver(classes=(Words,)))
    assert isinstance(loaded, Words)
    assert isinstance(loaded.vectors.vectors, np.memmap) == on_disk
    assert loaded.fingerprint() == encoder.fingerprint()
    batch = encoder.get_collate_fn()(RECORDS)
    torch.testing.assert_close(loaded(batch), encoder(batch), rtol=0, atol=0)
    torch.testing.assert_close(Words(tmp_path / "vectors", ("avg", "max"))(batch), encoder(batch), rtol=0, atol=0)


def test_serves_without_gensim(tmp_path: Path, model: Any) -> None:
    Words.from_gensim(model).save(str(tmp_path))
    code = (
        "import sys\n"
        "sys.modules['gensim'] = None\n"
        "from simlearn.encoders import FasttextEncoder\n"
        "class Words(FasttextEncoder):\n"
        "    get_tokens = staticmethod(str.split)\n"
        "encoder = Words.load(sys.argv[1])\n"
        "print(encoder(encoder.get_collate_fn()(['cat unheard'])).shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stdout == "torch.Size([1, 12])\n", done.stderr


def test_file_of_gensim_is_opened_on_request_only(tmp_path: Path, model: Any) -> None:
    path = tmp_path / "model"
    model.save(str(path))
    with pytest.raises(ValueError, match=r"Words.from_gensim\(path\), which may unpickle"):
        Words(path)
    assert Words.from_gensim(path).fingerprint() == Words.from_gensim(model).fingerprint()


def test_fingerprint_knows_the_aggregations(model: Any) -> None:
    prints = {
        Words.from_gensim(model, names).fingerprint() for names in (["avg"], ["max"], ["avg", "max"], ["max", "avg"])
    }
    assert len(prints) == 4


def test_bad_arguments(model: Any) -> None:
    class Missing(FasttextEncoder):
        pass

    class Heavy(FasttextEncoder):
        def get_tokens(self, record: str) -> list[str]:  # type: ignore[override]
            return record.split()

    class Letters(FasttextEncoder):
        get_tokens = staticmethod(str)  # type: ignore[assignment]

    for names in ([], ["sum"], "avg"):
        with pytest.raises(ValueError, match=r"aggregations must be a list of \['avg', 'max', 'min'\]"):
            Words.from_gensim(model, names)
    with pytest.raises(TypeError, match="must define get_tokens"):
        Missing.from_gensim(model)
    with pytest.raises(TypeError, match="@staticmethod or @classmethod"):
        Heavy.from_gensim(model)
    with pytest.raises(TypeError, match="see from_gensim"):
        Words(model)
    with pytest.raises(TypeError, match="must return a list of str, got 'red'"):
        Letters.from_gensim(model).get_collate_fn()(["red"])


def test_damaged(tmp_path: Path, model: Any) -> None:
    Words.from_gensim(model).save(str(tmp_path))
    for content in ('{"on_disk": false}', '{"on_disk": false, "aggregations": ["sum"]}', "[]", '{"aggregations": []}'):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(LoadError):
            Words.load(str(tmp_path))
