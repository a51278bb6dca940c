"""Tokenising gives up with an error that names the text, and takes every text for a text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import tiny_sentence_transformer, tiny_static_model, tiny_tokenizer

from simlearn.encoders import TextEncoder
from simlearn.encoders._text_collate import TextCollate

LONG = "a" * 40 + "!" + "z" * 200


def break_down(tokenizer: Any) -> None:
    """Give a tokenizer a pattern that goes through all ways to split letters."""
    from tokenizers import Regex
    from tokenizers.pre_tokenizers import Split

    getattr(tokenizer, "backend_tokenizer", tokenizer).pre_tokenizer = Split(Regex("(a+)+$"), "isolated")


@pytest.mark.parametrize("kind", ["transformer", "static"])
def test_a_panic_names_the_text(tmp_path: Path, kind: str) -> None:
    model = tiny_sentence_transformer(tmp_path) if kind == "transformer" else tiny_static_model()
    break_down(model.tokenizer)
    collate = TextCollate(model[0], None, None)
    assert len(collate(["hello", "world"])["input_ids"]) > 0
    with pytest.raises(ValueError, match=f"gave up on the text '{LONG[:100]}': Onig: .*retry-limit") as raised:
        collate(["hello", LONG, "world"])
    assert LONG[:101] not in str(raised.value), "the text is cut short"
    with pytest.raises(ValueError, match="gave up on the text"):
        collate.tokenize([LONG])
    with pytest.raises(ValueError, match="gave up on the text"):
        collate.lengths([LONG])
    assert len(collate(["hello"])["input_ids"]) > 0, "the tokenizer goes on"


def test_a_panic_is_caught_by_a_service(tmp_path: Path) -> None:
    model = tiny_sentence_transformer(tmp_path)
    break_down(model.tokenizer)
    with pytest.raises(BaseException, match="retry-limit") as raised:
        model.encode([LONG])
    assert not isinstance(raised.value, Exception)
    collate = TextEncoder(model).get_collate_fn()
    try:
        collate([LONG])
    except Exception as error:
        caught = error
    assert type(caught) is ValueError


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_all_else_passes(tmp_path: Path, kind: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_sentence_transformer(tmp_path)

    def stop(*_: Any, **__: Any) -> Any:
        raise kind

    monkeypatch.setattr(model[0], "preprocess", stop)
    with pytest.raises(kind):
        TextCollate(model[0], None, None)(["hello"])


def test_a_prompt_that_would_be_read_with_every_text(tmp_path: Path) -> None:
    model = tiny_sentence_transformer(tmp_path)
    TextCollate(model[0], "x" * 65_536, None)
    with pytest.raises(ValueError, match="a prompt may have 65,536 characters, got 65,537"):
        TextCollate(model[0], "x" * 65_537, None)


@pytest.fixture
def clip(tmp_path: Path) -> Any:
    """A model of texts and images."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor

    sizes = {
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "projection_dim": 8,
    }
    tokenizer = tiny_tokenizer()
    text = {**sizes, "vocab_size": len(tokenizer), "max_position_embeddings": 64, "eos_token_id": 3}
    config = CLIPConfig(text_config=text, vision_config={**sizes, "image_size": 16, "patch_size": 8}, projection_dim=8)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        CLIPModel(config).save_pretrained(str(tmp_path / "clip"))
    images = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    CLIPProcessor(images, tokenizer).save_pretrained(str(tmp_path / "clip"))
    return SentenceTransformer(modules=[Transformer(str(tmp_path / "clip"))], device="cpu")


@pytest.mark.parametrize(
    "text", ["http://127.0.0.1:9/red.png", "/etc/red.jpg", "data:image/png;base64,AAAA", "https://127.0.0.1:9/cat.mp4"]
)
def test_a_text_that_looks_like_the_address_of_an_image(clip: Any, text: str) -> None:
    assert set(clip.modalities) >= {"text", "image"}
    collate = TextEncoder(clip).get_collate_fn()
    as_text, other = collate([text]), collate([text.replace(".", " ").replace("data:", "data ")])
    assert as_text["modality"] == other["modality"] == "text"
    assert "pixel_values" not in as_text
    plain = clip.tokenizer([text])["input_ids"]
    assert as_text["input_ids"].tolist() == plain


def test_sentence_transformers_itself_would_open_it(clip: Any, tmp_path: Path) -> None:
    """Else there is nothing to guard against."""
    from PIL import Image

    Image.new("RGB", (16, 16)).save(tmp_path / "red.png")
    assert "pixel_values" in clip[0].preprocess([str(tmp_path / "red.png")])


def test_texts_and_prompts_are_encoded_as_before(clip: Any) -> None:
    encoder = TextEncoder(clip, prompt="query: ")
    texts = ["a red spoon", "the cat"]
    expected = clip.encode([f"query: {text}" for text in texts])
    with torch.no_grad():
        torch.testing.assert_close(encoder(encoder.get_collate_fn()(texts)), torch.from_numpy(expected))
