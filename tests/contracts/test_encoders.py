"""What every encoder of simlearn keeps: a new one must be added to `FACTORIES`."""

from __future__ import annotations

import inspect
import logging
import pickle
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import (
    tiny_convnext,
    tiny_fasttext,
    tiny_gpt2,
    tiny_sentence_transformer,
    tiny_static_model,
    tiny_transformer,
    tiny_vit,
)

import simlearn.encoders
from simlearn import meta
from simlearn.components import ClassResolver, check_folder, load_component, save_component
from simlearn.embeddings import Embeddings
from simlearn.encoders import (
    BagOfTokensEncoder,
    CategoricalEncoder,
    Encoder,
    FasttextEncoder,
    HashedNGrams,
    ImageEncoder,
    NGramVectorizer,
    NumericEncoder,
    SwitchEncoder,
    TextEncoder,
    TransformerEncoder,
    VectorEncoder,
    WordVectors,
)
from simlearn.towers.inputs import move

TEXTS = ["red spoon", "a list of cats and dogs", "sort", "", "blue"]


class Words(FasttextEncoder):
    @staticmethod
    def get_tokens(record: str) -> list[str]:
        return record.split()


class ByLength(SwitchEncoder):
    @staticmethod
    def encoder_selection(record: str) -> str:
        return "short" if len(record) < 6 else "long"


def images() -> list[Any]:
    from PIL import Image

    generator = np.random.default_rng(0)
    return [Image.fromarray(generator.integers(0, 255, (24, 24, 3), dtype=np.uint8)) for _ in range(5)]


def text(path: Path, trainable: bool, seed: int = 0) -> TextEncoder:
    return TextEncoder(
        tiny_sentence_transformer(path / f"source{seed}", hidden_size=128, seed=seed), trainable=trainable
    )


def tokens(path: Path, trainable: bool) -> TransformerEncoder:
    return TransformerEncoder(tiny_transformer(path / "source", hidden_size=128), trainable=trainable)


def causal_tokens(path: Path, trainable: bool) -> TransformerEncoder:
    return TransformerEncoder(tiny_gpt2(path / "source", hidden_size=64), trainable=trainable, layers=(1, -1))


def static(path: Path, trainable: bool) -> TextEncoder:
    return TextEncoder(tiny_static_model(size=512), trainable=trainable)


def vit(path: Path, trainable: bool) -> ImageEncoder:
    model, processor = tiny_vit()
    return ImageEncoder(model, processor=processor, trainable=trainable)


def convnext(path: Path, trainable: bool) -> ImageEncoder:
    model, processor = tiny_convnext()
    return ImageEncoder(model, processor=processor, trainable=trainable)


def switch(path: Path, trainable: bool) -> ByLength:
    return ByLength({"short": text(path, trainable), "long": text(path, trainable, seed=1)})


def words(path: Path, trainable: bool) -> Words:
    return Words.from_gensim(tiny_fasttext(), ["avg", "max"])


def bag_of_tokens(path: Path, trainable: bool) -> BagOfTokensEncoder:
    torch.manual_seed(0)
    return BagOfTokensEncoder(HashedNGrams(buckets=4096), 16, trainable=trainable, norm=0.7)


def bag_of_known_tokens(path: Path, trainable: bool) -> BagOfTokensEncoder:
    torch.manual_seed(0)
    vectorizer = NGramVectorizer.build(TEXTS[:3], word_pairs=True, oov_buckets=2000)
    return BagOfTokensEncoder(vectorizer, 16, trainable=trainable, sparse=True)


def categories(path: Path, trainable: bool) -> CategoricalEncoder:
    torch.manual_seed(0)
    return CategoricalEncoder([f"category {n}" for n in range(100)], 256, oov_buckets=3, trainable=trainable)


CATEGORIES: list[Any] = ["category 3", None, "never seen", "category 7", 5]
NUMBERS: list[Any] = [{"a": 1.5, "b": 3}, {"a": None, "b": -2}, {"a": 0, "b": 1000}, {"a": 4, "b": 2}]


def numbers(path: Path, trainable: bool) -> NumericEncoder:
    return NumericEncoder(["a", "b"], transform="quantile").fit(NUMBERS)


@dataclass(frozen=True)
class Case:
    """How to build an encoder, frozen or trainable, and what it encodes."""

    build: Callable[[Path, bool], Encoder]
    objects: Callable[[], list[Any]] = lambda: TEXTS
    can_train: bool = True
    has_dropout: bool = True
    pretrained: bool = True


FACTORIES: dict[type[Encoder], dict[str, Case]] = {
    TextEncoder: {"text": Case(text), "static": Case(static, has_dropout=False)},
    TransformerEncoder: {"tokens": Case(tokens), "tokens of a causal model": Case(causal_tokens)},
    ImageEncoder: {"vit": Case(vit, images), "convnext": Case(convnext, images, has_dropout=False)},
    SwitchEncoder: {"switch": Case(switch)},
    FasttextEncoder: {"fasttext": Case(words, can_train=False)},
    BagOfTokensEncoder: {
        "bag of tokens": Case(bag_of_tokens, has_dropout=False, pretrained=False),
        "bag of known tokens": Case(bag_of_known_tokens, has_dropout=False, pretrained=False),
    },
    CategoricalEncoder: {"categories": Case(categories, lambda: CATEGORIES, has_dropout=False, pretrained=False)},
    NumericEncoder: {"numbers": Case(numbers, lambda: NUMBERS, can_train=False, pretrained=False)},
    VectorEncoder: {
        "vectors": Case(
            lambda path, trainable: VectorEncoder(3),
            lambda: [[1.0, 2, 3], np.ones(3), torch.zeros(3), (0, 0, 1)],
            can_train=False,
            pretrained=False,
        )
    },
}
CASES = [pytest.param(case, id=name) for cases in FACTORIES.values() for name, case in cases.items()]
TRAINABLE = [parameter for parameter in CASES if parameter.values[0].can_train]  # type: ignore[union-attr]
RESOLVER = ClassResolver(classes=(Words, ByLength))


def values_of(encoded: torch.Tensor | Embeddings) -> torch.Tensor:
    """The vectors; of many an object those that count, end to end."""
    if not isinstance(encoded, Embeddings):
        return encoded
    return encoded.values[encoded.full_mask()] if encoded.is_multi_vector else encoded.values


def encode(encoder: Encoder, objects: list[Any]) -> torch.Tensor:
    return values_of(encoder(encoder.get_collate_fn()(objects)))


def change_a_weight(encoder: Encoder) -> None:
    if isinstance(encoder, FasttextEncoder):  # its vectors are no parameters
        vectors = encoder.vectors.vectors.copy()
        vectors[0, 0] += 1
        encoder.vectors = WordVectors(encoder.vectors.words, vectors, encoder.vectors.ngrams, 2, 4)
        return
    weight = next(chain(encoder.parameters(), (one for one in encoder.buffers() if one.is_floating_point())))
    with torch.no_grad():
        weight.view(-1)[0] += 1


def test_no_encoder_is_forgotten() -> None:
    public = {getattr(simlearn.encoders, name) for name in simlearn.encoders.__all__}
    encoders = {cls for cls in public if inspect.isclass(cls) and issubclass(cls, Encoder)} - {Encoder}
    assert encoders == FACTORIES.keys()


@pytest.mark.parametrize("case", CASES)
def test_one_embedding_an_object(case: Case, tmp_path: Path) -> None:
    encoder, objects = case.build(tmp_path, False), case.objects()
    encoded = encoder(encoder.get_collate_fn()(objects))
    embeddings = encoded if isinstance(encoded, Embeddings) else Embeddings(encoded)
    assert len(embeddings) == len(objects) and embeddings.size == encoder.embedding_size
    assert embeddings.is_multi_vector == encoder.many_vectors
    assert embeddings.values.isfinite().all()
    alone = encode(encoder, objects[2:3])
    torch.testing.assert_close(values_of(embeddings.take(slice(2, 3))), alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_collate_is_picklable_and_light(case: Case, tmp_path: Path) -> None:
    encoder, objects = case.build(tmp_path, False), case.objects()
    content = pickle.dumps(encoder.get_collate_fn())
    weights = sum(weight.nbytes for weight in encoder.parameters())
    assert len(content) < max(weights / 5, 2_000)
    batch = pickle.loads(content)(objects)
    torch.testing.assert_close(values_of(encoder(batch)), encode(encoder, objects))


@pytest.mark.parametrize("case", CASES)
def test_batch_moves_with_its_device_and_can_be_encoded_twice(case: Case, tmp_path: Path) -> None:
    encoder = case.build(tmp_path, False)
    batch = move(encoder.get_collate_fn()(case.objects()), "cpu")
    torch.testing.assert_close(values_of(encoder(batch)), values_of(encoder(batch)), rtol=0, atol=0)


@pytest.mark.parametrize("case", CASES)
def test_frozen_stays_in_eval_mode_without_gradients(case: Case, tmp_path: Path) -> None:
    encoder = case.build(tmp_path, False)
    assert not encoder.trainable
    assert encoder.pretrained == case.pretrained
    assert encoder.train() is encoder
    assert not any(module.training for module in encoder.modules())
    assert not any(weight.requires_grad for weight in encoder.parameters())
    first, second = encode(encoder, case.objects()), encode(encoder, case.objects())
    assert not first.requires_grad
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.parametrize("case", TRAINABLE)
def test_trainable_gets_gradients_in_train_mode(case: Case, tmp_path: Path) -> None:
    encoder = case.build(tmp_path, True)
    assert encoder.trainable
    assert all(module.training for module in encoder.modules())
    first = encode(encoder, case.objects())
    assert torch.equal(first, encode(encoder, case.objects())) != case.has_dropout
    (first * torch.randn_like(first)).sum().backward()
    waiting = [name for name, weight in encoder.named_parameters() if weight.requires_grad and weight.grad is None]
    assert not waiting, "DDP would wait for them forever"
    encoder.eval()
    torch.testing.assert_close(encode(encoder, case.objects()), encode(encoder, case.objects()), rtol=0, atol=0)


@pytest.mark.parametrize("case", CASES)
def test_fingerprint_changes_with_the_weights_alone(case: Case, tmp_path: Path) -> None:
    encoder = case.build(tmp_path, case.can_train)
    before = encoder.fingerprint()
    encoder.eval()
    encode(encoder, case.objects())
    assert encoder.fingerprint() == before
    encoder.train()
    assert encoder.fingerprint() == before
    assert case.build(tmp_path, case.can_train).fingerprint() == before
    if any(True for _ in chain(encoder.parameters(), encoder.buffers())) or isinstance(encoder, FasttextEncoder):
        change_a_weight(encoder)
        assert encoder.fingerprint() != before


@pytest.mark.parametrize("trainable", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_saved_and_loaded(
    case: Case, trainable: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    encoder, objects = case.build(tmp_path, trainable).eval(), case.objects()
    folder = tmp_path / "saved"
    capfd.readouterr()
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        save_component(encoder, folder)
        check_folder(folder)
        loaded = load_component(folder, Encoder, RESOLVER).eval()
    assert not caplog.records
    assert capfd.readouterr() == ("", "")
    assert type(loaded) is type(encoder)
    assert loaded.trainable == encoder.trainable
    assert loaded.embedding_size == encoder.embedding_size
    assert loaded.fingerprint() == encoder.fingerprint()
    torch.testing.assert_close(encode(loaded, objects), encode(encoder, objects), rtol=0, atol=0)
    save_component(loaded, folder)  # over itself
    again = load_component(folder, Encoder, RESOLVER)
    assert again.fingerprint() == encoder.fingerprint()


@pytest.mark.parametrize("case", CASES)
def test_meta_has_a_row_an_object(case: Case, tmp_path: Path) -> None:
    encoder, objects = case.build(tmp_path, False), case.objects()
    rows = encoder.extract_meta(objects)
    assert len(rows) == len(objects)
    assert all(len(column) == len(objects) for column in meta.columns(rows).values())
    extract = encoder.get_meta_extractor()
    if extract is not None:
        assert pickle.loads(pickle.dumps(extract))(objects) == rows


@pytest.mark.parametrize("case", CASES)
def test_half_precision(case: Case, tmp_path: Path) -> None:
    encoder = case.build(tmp_path, False).to(torch.bfloat16)
    assert len(encoder.fingerprint()) == 32
    assert encode(encoder, case.objects()).isfinite().all()
