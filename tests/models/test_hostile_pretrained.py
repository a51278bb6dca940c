"""A sentence-transformers model inside a servable may ask for no class, file or kernel from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hostile import assert_refused, hostile_code, hostile_pickle, tampered

MODEL = Path("encoders/query/sentence_transformer")
NAMES = ["evil.Evil", "os.system", "builtins.eval", "torch.nn.Linear", "subprocess.Popen", "simlearn.heads.MLPHead"]
HIDDEN = ["sentence_transformers.util.misc.importlib", "sentence_transformers.evil", "sentence_transformers..os.system"]
OUTSIDE = ["/tmp", "..", "../../../..", "1_Pooling/../../../..", "~/model", "C:\\model", "..\\model", None, 1]


def edit(servable: Path, file: str, **changes: Any) -> str:
    """Change or add keys of a JSON object of the model; makes the file where there is none."""
    path = servable / MODEL / file
    path.parent.mkdir(exist_ok=True)
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps({**content, **changes}), encoding="utf-8")
    return str(MODEL / file)


def edit_module(servable: Path, number: int, **changes: Any) -> str:
    path = servable / MODEL / "modules.json"
    modules = json.loads(path.read_text(encoding="utf-8"))
    modules[number].update(changes)
    path.write_text(json.dumps(modules), encoding="utf-8")
    return str(MODEL / "modules.json")


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("name", [*NAMES, *HIDDEN, "someone/repository--evil.Evil"])
def test_modules(servable: Path, name: str, number: int) -> None:
    file = edit_module(servable, number, type=name)
    (servable.parent / "sentence_transformers_evil.py").write_text(hostile_code(servable))
    assert_refused(servable, file, says="asks for")


@pytest.mark.parametrize("path", OUTSIDE)
def test_modules_elsewhere(servable: Path, path: Any) -> None:
    assert_refused(servable, edit_module(servable, 1, path=path), says="outside its own folder")


def deep(content: Any, depth: int) -> dict[str, Any]:
    for level in range(depth):
        content = {"a": content} if level % 2 else {"b": [content]}
    return {"more": content}


AUTO_MAPS = [
    {"AutoModel": "evil.Evil"},
    {"AutoTokenizer": ["evil.Evil", None]},
    "someone/repository--evil.Evil",
    ["evil.Evil"],
]
CONFIGS = [
    "config.json",
    "tokenizer_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "generation_config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
    "more/config.json",
    "Config.JSON",
    "anything.json",
]


@pytest.mark.parametrize("file", CONFIGS)
@pytest.mark.parametrize("auto_map", AUTO_MAPS)
def test_auto_map(servable: Path, file: str, auto_map: Any) -> None:
    (servable / MODEL / "more").mkdir()
    assert_refused(servable, edit(servable, file, auto_map=auto_map), says="auto_map.*code to be run")


@pytest.mark.parametrize("depth", [0, 1, 5, 40, 90])
@pytest.mark.parametrize("content", [{"auto_map": AUTO_MAPS[0]}, {"trust_remote_code": True}, {"type": "evil.Evil"}])
def test_at_depth(servable: Path, content: Any, depth: int) -> None:
    assert_refused(servable, edit(servable, "config.json", **deep(content, depth)))


def test_trust_remote_code(servable: Path) -> None:
    file = edit(servable, "sentence_bert_config.json", model_args={"trust_remote_code": True})
    assert_refused(servable, file, says="trust_remote_code")


@pytest.mark.parametrize("name", [*NAMES, *HIDDEN])
def test_classes_of_tokenizers_and_layers(servable: Path, name: str) -> None:
    for number, (file, key) in enumerate(
        [
            ("tokenizer_config.json", "tokenizer_class"),
            ("config.json", "tokenizer_class"),
            ("wordembedding_config.json", "tokenizer_class"),
            ("3_Dense/config.json", "activation_function"),
            ("router_config.json", "types"),
            ("3_Router/config.json", "types"),
            ("preprocessor_config.json", "image_processor_type"),
        ]
    ):
        value = {"query": name} if key == "types" else name
        refused = edit(servable, file, **{key: value})
        assert_refused(servable, refused, says="asks for")
        edit(servable, file, **{key: "BertTokenizer" if number < 3 else None})


@pytest.mark.parametrize("name", ["EvilTokenizer", "evil", "os"])
def test_tokenizers_that_transformers_lacks(servable: Path, name: str) -> None:
    edit(servable, "tokenizer_config.json", tokenizer_class=name)
    (servable / MODEL / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "Evil"}}')
    assert_refused(servable, "encoders/query", may_build=True)


@pytest.mark.parametrize("part", ["normalizer", "pre_tokenizer", "post_processor", "decoder", "model"])
def test_tokenizer_parts_of_ones_own(servable: Path, part: str) -> None:
    edit(servable, "tokenizer.json", **{part: {"type": "Custom", "module": "evil", "class": "Evil"}})
    assert_refused(servable, "encoders/query", may_build=True)


@pytest.mark.parametrize("shard", ["../../../../evil.safetensors", "/evil.safetensors", None])
def test_shards_elsewhere(servable: Path, shard: Any) -> None:
    (servable / MODEL / "model.safetensors").unlink()
    file = edit(servable, "model.safetensors.index.json", metadata={}, weight_map={"embeddings": shard})
    assert_refused(servable, file, says="outside its own folder")


def test_shards_that_are_pickles(servable: Path) -> None:
    (servable.parent / "evil.bin").write_bytes(hostile_pickle(servable))
    (servable / MODEL / "model.safetensors").unlink()
    file = edit(servable, "model.safetensors.index.json", metadata={}, weight_map={"embeddings": "evil.bin"})
    assert_refused(servable, "encoders/query", may_build=True)
    with tampered(servable / MODEL / "evil.bin", hostile_pickle(servable)):
        assert_refused(servable, str(MODEL / "evil.bin"))
    edit(servable, "model.safetensors.index.json", weight_map={"embeddings": "../../../../evil.bin"})
    assert_refused(servable, file, says="outside its own folder")


def test_adapters_of_models_elsewhere(servable: Path) -> None:
    file = edit(servable, "adapter_config.json", base_model_name_or_path=str(servable.parent), peft_type="LORA")
    assert_refused(servable, file, says="adapter")


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("config.json", {"_attn_implementation": "someone/kernel"}),
        ("config.json", {"text_config": {"attn_implementation": "someone/kernel@main:evil"}}),
        ("sentence_bert_config.json", {"tokenizer_name_or_path": "/elsewhere"}),
        ("sentence_bert_config.json", {"model_args": {"weights_only": False}}),
        ("sentence_bert_config.json", {"processor_kwargs": {"use_auth_token": True}}),
        ("sentence_bert_config.json", {"modality_config": {"text": {"method": "push_to_hub"}}}),
        ("sentence_bert_config.json", {"modality_config": {"text": {"method": "__class__"}}}),
        ("sentence_roberta_config.json", {"model_args": {}}),
    ],
)
def test_settings_that_lead_elsewhere(servable: Path, file: str, changes: dict[str, Any]) -> None:
    assert_refused(servable, edit(servable, file, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "evil"},
        {"model_type": None},
        {"model_type": ["bert"]},
        {"hidden_size": "a"},
        {"hidden_size": 10**12},
        {"num_hidden_layers": "two"},
        {"hidden_act": "os.system"},
        {"vocab_size": 0},
        {"architectures": ["evil.Evil"], "model_type": "evil.Evil"},
    ],
)
def test_configurations_that_make_no_model(servable: Path, changes: dict[str, Any]) -> None:
    edit(servable, "config.json", **changes)
    assert_refused(servable, "encoders/query", may_build=True)


@pytest.mark.parametrize("content", [{}, [], "text", {"trainable": False, "evil": 1, "model": {}}, {"model": None}])
def test_settings_of_the_encoder(servable: Path, content: Any) -> None:
    (servable / "encoders/query/config.json").write_text(json.dumps(content))
    assert_refused(servable, "encoders/query", may_build=True)
