"""More than a hundred servables that are hostile or damaged, each made of a sound one of format version 1.

Weights, structure and pickles are in `models/test_hostile_*.py`; here is what exhausts time, memory, or asks the world.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

Change = Callable[[Path], Any]
MODEL = "encoders/default/sentence_transformer"
IMAGES = "encoders/default/transformers"
HUGE = 20 * 2**30
FAR = 10**9


def edit(path: Path, **changes: Any) -> None:
    """Change or add keys of a JSON object; makes the file, and its folder, where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps({**content, **changes}), encoding="utf-8")


def sparse(path: Path, head: bytes = b"", size: int = HUGE) -> None:
    """A file of many gigabytes that takes no room on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)


def _config(file: str, **changes: Any) -> Change:
    return lambda folder: edit(folder / file, **changes)


def _model(**changes: Any) -> Change:
    return _config(f"{MODEL}/config.json", **changes)


def _only(file: str, content: Any) -> Change:
    return lambda folder: (folder / file).write_text(json.dumps(content), encoding="utf-8")


def _tokenizer(**changes: Any) -> Change:
    return _config(f"{MODEL}/tokenizer.json", **changes)


def _in_tokenizer(part: str, **changes: Any) -> Change:
    def change(folder: Path) -> None:
        file = folder / MODEL / "tokenizer.json"
        content = json.loads(file.read_text(encoding="utf-8"))
        edit(file, **{part: {**(content[part] or {}), **changes}})

    return change


def _settings(**changes: Any) -> Change:
    return _config(f"{MODEL}/sentence_bert_config.json", **changes)


def _bytes(file: str, content: bytes) -> Change:
    def change(folder: Path) -> None:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)

    return change


def _sparse(file: str, head: bytes = b"") -> Change:
    return lambda folder: sparse(folder / file, head)


def _weights(file: str, change: Callable[[dict[str, torch.Tensor]], Any]) -> Change:
    def apply(folder: Path) -> None:
        weights = load_file(folder / file)
        change(weights)
        save_file(weights, folder / file)

    return apply


def _module(kind: str, config: dict[str, Any], weights: dict[str, torch.Tensor] | None = None) -> Change:
    """One more module at the end of the model, with the configuration of another."""

    def change(folder: Path) -> None:
        model = folder / MODEL
        modules = json.loads((model / "modules.json").read_text(encoding="utf-8"))
        modules.append({"idx": 9, "name": "9", "path": "9_More", "type": f"sentence_transformers.{kind}"})
        (model / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
        for name in ("config.json", "cnn_config.json", "lstm_config.json"):
            edit(model / "9_More" / name, **config)
        save_file(weights or {"weight": torch.zeros(2)}, model / "9_More" / "model.safetensors")

    return change


def _all(*changes: Change) -> Change:
    def change(folder: Path) -> None:
        for one in changes:
            one(folder)

    return change


def _nested(folder: Path) -> None:
    here = os.getcwd()
    try:
        os.chdir(folder)
        for _ in range(1900):  # the whole path is longer than one call takes
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(here)


def _many_files(folder: Path) -> None:
    (folder / "many").mkdir()
    for number in range(20_100):
        os.close(os.open(folder / "many" / f"{number}.txt", os.O_CREAT))


def _replace(old: str, new: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": old}, "content": new}


def _sequence(*parts: Any) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(parts)}


def _split(pattern: str) -> Change:
    part = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return _tokenizer(pre_tokenizer=part)


def _charsmap(replacement: bytes) -> str:
    return base64.b64encode((4).to_bytes(4, "little") + bytes(4) + replacement + b"\0").decode()


def _template(ids: int, repeats: int) -> Change:
    special = {"id": "[CLS]", "ids": [2] * ids, "tokens": ["[CLS]"] * ids}
    piece = {"SpecialToken": {"id": "[CLS]", "type_id": 0}}
    single = [*([piece] * repeats), {"Sequence": {"id": "A", "type_id": 0}}]
    post = {"type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": {"[CLS]": special}}
    return _tokenizer(post_processor=post)


def _many_added(folder: Path) -> None:
    file = folder / MODEL / "tokenizer.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    plain = {"special": False, "single_word": False, "lstrip": False, "rstrip": False, "normalized": True}
    more = [{"id": 1000 + number, "content": f"<{number}>", **plain} for number in range(200_000)]
    edit(file, added_tokens=content["added_tokens"] + more)


TEMPLATE = "{% for i in range(10**9) %}{{ messages }}{% endfor %}"
MESSAGES = {
    "text": {"method": "forward", "method_output_name": "last_hidden_state"},
    "message": {"method": "forward", "method_output_name": "last_hidden_state", "format": "flat"},
}

OUTWARD: dict[str, Change] = {
    "a backbone of the hub": _model(backbone="someone/backbone", use_pretrained_backbone=True),
    "a backbone for a detector": _model(model_type="detr", backbone="someone/backbone", use_timm_backbone=False),
    "a backbone in a configuration within": _model(vision_config={"more": {"backbone": "someone/backbone"}}),
    "a detector with nothing said": _only(f"{MODEL}/config.json", {"model_type": "detr"}),
    "a depth model with nothing said": _only(f"{MODEL}/config.json", {"model_type": "dpt", "is_hybrid": True}),
    "a model of timm": _only(f"{MODEL}/config.json", {"model_type": "timm_wrapper", "architecture": "hf_hub:a/b"}),
    "a pickle for timm": _model(model_args={"checkpoint_path": "/tmp/evil.pt"}),
    "quantisation": _model(quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True}),
    "quantisation of another kind": _model(quantization_config={"quant_method": "gptq", "bits": 4}),
    "a base model": _model(base_model_name_or_path="someone/model"),
    "an adapter": _config(f"{MODEL}/adapter_config.json", base_model_name_or_path="someone/model", peft_type="LORA"),
    "an attention kernel": _model(_attn_implementation="someone/kernel"),
    "an attention kernel within": _model(text_config={"attn_implementation": "someone/kernel:f"}),
    "other weights": _model(transformers_weights="../../evil.safetensors"),
    "code": _model(auto_map={"AutoModel": "someone/model--evil.Evil"}),
    "code in the tokenizer": _config(f"{MODEL}/tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Evil", None]}),
    "another tokenizer": _settings(tokenizer_name_or_path="someone/tokenizer"),
    "a tokenizer's file": _config(f"{MODEL}/tokenizer_config.json", vocab_file="/etc/passwd"),
    "a tokenizer's arguments": _config(f"{MODEL}/tokenizer_config.json", init_inputs=["/etc/passwd"]),
    "a tokenizer of Mistral": _config(f"{MODEL}/tokenizer_config.json", tokenizer_class="MistralCommonBackend"),
    "a processor of Bark": _config(f"{MODEL}/processor_config.json", speaker_embeddings={"repo_or_path": "a/b"}),
    "a processor by name": _config(f"{MODEL}/processor_config.json", processor_class="BarkProcessor"),
    "an audio tokenizer": _config(
        f"{MODEL}/processor_config.json",
        processor_class="HiggsAudioV2Processor",
        audio_tokenizer={"audio_tokenizer_class": "DacModel", "audio_tokenizer_name_or_path": "a/b"},
    ),
    "a retrieval model by name": _all(_settings(transformer_task="retrieval"), _model(architectures=["pipeline"])),
    "weights in other folders": _config(f"{MODEL}/model.safetensors.index.json", weight_map={"a": "../a.safetensors"}),
    "modules in other folders": _only(f"{MODEL}/modules.json", [{"idx": 0, "name": "0", "path": "..", "type": "a.B"}]),
    "pairs of modalities": _settings(
        modality_config={
            **dict.fromkeys(("text", "image", "audio", "video"), MESSAGES["text"]),
        }
    ),
    "generation by code": _config(f"{MODEL}/generation_config.json", custom_generate="someone/model"),
    "templates": _all(
        _config(f"{MODEL}/tokenizer_config.json", chat_template=TEMPLATE), _settings(modality_config=MESSAGES)
    ),
    "templates by guess": _all(
        _config(f"{MODEL}/tokenizer_config.json", chat_template=TEMPLATE),
        lambda folder: (folder / MODEL / "modules.json").unlink(),
    ),
    "templates in pairs": _settings(modality_config={"image+message": MESSAGES["text"], "text": MESSAGES["text"]}),
    "templates of an old model that does not use them": _all(
        _config(f"{MODEL}/tokenizer_config.json", chat_template=TEMPLATE),
        _only(f"{MODEL}/sentence_bert_config.json", {"max_seq_length": 64}),
    ),
    "templates that are not used": _config(f"{MODEL}/tokenizer_config.json", chat_template=TEMPLATE),
}

TOKENIZERS: dict[str, Change] = {
    "four normalizers": _tokenizer(normalizer=_sequence(*[_replace(a, b * 200) for a, b in ("eb", "bc", "cd", "de")])),
    "sequences of sequences": _tokenizer(
        normalizer=_sequence(_sequence(_replace("e", "b" * 200)), _sequence(_sequence(_replace("b", "c" * 200))))
    ),
    "a replaced pattern": _tokenizer(
        normalizer={"type": "Replace", "pattern": {"Regex": "."}, "content": "x" * 1_000_000}
    ),
    "nothing replaced": _tokenizer(normalizer=_replace("", "x" * 1000)),
    "a long prefix": _tokenizer(normalizer={"type": "Prepend", "prepend": "x" * 30_000_000}),
    "a thousand normalizers": _tokenizer(normalizer=_sequence(*[{"type": "Lowercase"}] * 100_000)),
    "a compiled map": _tokenizer(
        normalizer={"type": "Precompiled", "precompiled_charsmap": _charsmap(b"x" * 1_000_000)}
    ),
    "two compiled maps": _tokenizer(
        normalizer=_sequence(*[{"type": "Precompiled", "precompiled_charsmap": _charsmap(b"x" * 60)}] * 4)
    ),
    "nested repetition": _split(r"(a+)+$"),
    "repeated choice": _split(r"(a|aa|aaa)*$"),
    "repeated choice of classes": _split(r"(?:[a-z]|\w|[^b])+!"),
    "many repetitions": _split(r"a*a*a*a*a*a*a*a*!"),
    "a huge pattern": _split(r"((a{900}){900}){900}"),
    "a reference back": _split(r"(.+)\1!"),
    "a pattern that is none": _split(r"(((("),
    "a split by the empty pattern": _split(""),
    "a normalizer's pattern": _tokenizer(normalizer={"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""}),
    "patterns within": _tokenizer(
        pre_tokenizer={
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
            ],
        }
    ),
    "a template of many tokens": _template(1_000_000, 1),
    "a template of many pieces": _template(1, 1_000_000),
    "a fixed padding": _tokenizer(padding={"strategy": {"Fixed": FAR}, "direction": "Right", "pad_id": 0}),
    "a padding's multiple": _tokenizer(padding={"strategy": "BatchLongest", "pad_to_multiple_of": FAR}),
    "a stride": _tokenizer(truncation={"max_length": 64, "stride": 63, "strategy": "LongestFirst"}),
    "long words": _in_tokenizer("model", max_input_chars_per_word=FAR),
    "many added tokens": _many_added,
    "a token twice": _template(1, 2),
    "no unknown token": _in_tokenizer("model", unk_token="[NONE]"),
    "a vocabulary of negative numbers": _in_tokenizer("model", vocab={"[UNK]": -1}),
    "padding by the settings": _settings(processing_kwargs={"text": {"padding": "max_length", "max_length": FAR}}),
    "padding by the settings to the tokenizer's length": _all(
        _settings(processing_kwargs={"text": {"padding": "max_length"}}),
        _config(f"{MODEL}/tokenizer_config.json", model_max_length=FAR),
    ),
    "a multiple by the settings": _settings(processing_kwargs={"text": {"pad_to_multiple_of": FAR}}),
    "expanded queries": _settings(query_expansion={"strategy": "fixed", "length": FAR}),
    "a long prompt": _config(
        f"{MODEL}/config_sentence_transformers.json", prompts={"a": "x" * 20_000_000}, default_prompt_name="a"
    ),
    "the encoder's prompt": _config("encoders/default/config.json", prompt="x" * 20_000_000),
}

SIZES: dict[str, Change] = {
    **{
        f"{key} {size}": _model(**{key: size})
        for key, size in [
            ("num_hidden_layers", FAR),
            ("num_hidden_layers", 100_000),
            ("vocab_size", 10**12),
            ("vocab_size", 100_000_000),
            ("hidden_size", FAR),
            ("hidden_size", 100_000),
            ("intermediate_size", 10**12),
            ("max_position_embeddings", 10**12),
            ("max_position_embeddings", 16_000_000),
            ("type_vocab_size", FAR),
            ("num_attention_heads", FAR),
            ("num_labels", 100_000_000),
            ("chunk_size_feed_forward", FAR),
            ("vocab_size", -1),
            ("num_hidden_layers", 1e9),
            ("num_hidden_layers", "1000000000"),
        ]
    },
    "a table of the largest sizes": _model(vocab_size=131_072, hidden_size=131_072, num_attention_heads=1),
    "GPT-2": _model(model_type="gpt2", n_layer=FAR),
    "GPT-2 of many positions": _model(model_type="gpt2", n_positions=1_000_000, n_layer=1),
    "T5": _model(model_type="t5", num_layers=FAR),
    "ALBERT": _model(model_type="albert", inner_group_num=FAR),
    "a mixture": _model(model_type="mixtral", num_local_experts=500, num_hidden_layers=500),
    "DistilBERT": _model(model_type="distilbert", n_layers=FAR),
    "a model within": _model(model_type="clip", text_config={"num_hidden_layers": FAR}),
    "Swin": _model(model_type="swin", depths=[FAR, FAR]),
    "ConvNeXt": _model(model_type="convnext", depths=[2, 10**7], hidden_sizes=[8, 8]),
    "a bird of many blocks": _model(model_type="big_bird", num_random_blocks=FAR),
    "layer types": _model(model_type="modernbert", num_hidden_layers=FAR),
    "pooling": _config(f"{MODEL}/1_Pooling/config.json", embedding_dimension=10**12),
    "old pooling": _only(f"{MODEL}/1_Pooling/config.json", {"word_embedding_dimension": 10**12}),
    "a dense layer": _module("base.modules.dense.Dense", {"in_features": 10**6, "out_features": 10**6}),
    "a dense layer of allowed sizes": _module(
        "base.modules.dense.Dense", {"in_features": 99_999, "out_features": 99_999}
    ),
    "recurrent layers": _module(
        "sentence_transformer.modules.lstm.LSTM",
        {"word_embedding_dimension": 8, "hidden_dim": 8, "num_layers": 10**7, "dropout": 0, "bidirectional": True},
    ),
    "convolutions": _module(
        "sentence_transformer.modules.cnn.CNN",
        {
            "in_word_embedding_dimension": 9_999,
            "out_channels": 9_999,
            "kernel_sizes": [99_999] * 9,
            "stride_sizes": None,
        },
    ),
    "weighted layers": _module(
        "sentence_transformer.modules.weighted_layer_pooling.WeightedLayerPooling",
        {"embedding_dimension": 8, "num_hidden_layers": FAR, "layer_start": 4, "layer_weights": None},
    ),
    "a norm": _module("sentence_transformer.modules.layer_norm.LayerNorm", {"dimension": 10**12}),
    "a router's names": _module(
        "base.modules.router.Router", {"types": {"../..": "a"}, "structure": {}, "parameters": {}}
    ),
    "long texts": _settings(max_seq_length=10**12),
    "NaN": _weights(f"{MODEL}/model.safetensors", lambda weights: next(iter(weights.values())).fill_(float("nan"))),
    "infinity": _weights(
        f"{MODEL}/model.safetensors", lambda weights: next(iter(weights.values())).fill_(float("inf"))
    ),
    "other names": _weights(
        f"{MODEL}/model.safetensors", lambda weights: [weights.update({f"x{n}": weights.pop(n)}) for n in list(weights)]
    ),
    "no weights": _weights(f"{MODEL}/model.safetensors", lambda weights: weights.clear()),
    "a header that is all": _bytes(f"{MODEL}/model.safetensors", (2**62).to_bytes(8, "little") + b"{}"),
    "a header of many names": _bytes(
        f"{MODEL}/model.safetensors",
        (lambda header: len(header).to_bytes(8, "little") + header)(
            json.dumps(
                {f"{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(400_000)}
            ).encode()
        ),
    ),
    "weights of holes": _sparse(f"{MODEL}/model.safetensors", (16).to_bytes(8, "little") + b'{"a":1}         '),
}

FILES: dict[str, Change] = {
    **{
        f"20 GB of {file}": _sparse(file, head)
        for file, head in [
            ("servable.json", b"{"),
            ("encoders/default/component.json", b'{"format_version": 1, "'),
            ("encoders/default/config.json", b""),
            (f"{MODEL}/config.json", b"["),
            (f"{MODEL}/tokenizer.json", b'{"'),
            (f"{MODEL}/README.md", b"# model\n" + b"x" * 70_000),
            (f"{MODEL}/vocab.txt", b"a\n" * 40_000),
            (f"{MODEL}/more.model", b""),
            ("README.md", b"# model\n" + b"x" * 70_000),
        ]
    },
    **{
        f"servable.json: {name}": _bytes("servable.json", content)
        for name, content in {
            "lists": b"[" * 10_000_000,
            "objects": b'{"a":' * 1_000_000,
            "closed lists": b"[" * 10_000 + b"]" * 10_000,
            "many lists": b"[" + b"[]," * 12_000_000 + b"[]]",
            "many numbers": b"[" + b"1.5," * 9_000_000 + b"1]",
            "many texts": b"[" + b'"\xc3\xa9",' * 7_000_000 + b'"a"]',
            "a text": b'"' + b"x" * 49_000_000 + "\U0001f600".encode() + b'"',
            "a long text": b'"' + b"x" * 99_000_000 + b'"',
            "a long wide text": b'"' + b"x" * 99_000_000 + "\U0001f600".encode() + b'"',
            "a number": b'{"format_version": ' + b"9" * 4_000_000 + b"}",
            "an exponent": b'{"format_version": 1e999999999}',
            "escapes": b'"' + b"\\u00e9" * 7_000_000 + b'"',
            "an open text": b'{"a": "' + b"\\" * 10_000_001,
            "nothing": b"",
        }.items()
    },
    "1,900 folders": _nested,
    "20,100 files": _many_files,
    "a pipe": lambda folder: os.mkfifo(folder / MODEL / "more.json"),
    "a device": lambda folder: (folder / MODEL / "more.json").symlink_to("/dev/zero"),
    "a link out": lambda folder: (folder / MODEL / "more.txt").symlink_to("/etc/passwd"),
    "Python": _bytes(f"{MODEL}/evil.py", b"import os\n"),
    "a pickle": _bytes(f"{MODEL}/pytorch_model.bin", b"\x80\x04N."),
}


def _servable(change: Callable[[dict[str, Any]], Any]) -> Change:
    def apply(folder: Path) -> None:
        content = json.loads((folder / "servable.json").read_text(encoding="utf-8"))
        change(content)
        (folder / "servable.json").write_text(json.dumps(content), encoding="utf-8")

    return apply


def _head(**changes: Any) -> Change:
    return _config("heads/query/config.json", **changes)


MANY = 1_000_000
LINEAR = {"layer": "Linear", "settings": {"in_features": 8, "out_features": 8, "bias": False}}
COMPONENTS: dict[str, dict[str, Change]] = {
    "text": {
        "a head a million times": _servable(lambda content: content.update(heads=["query"] * MANY)),
        "an encoder a million times": _servable(lambda content: content.update(encoders=["default"] * MANY)),
        "a part a million times": _servable(
            lambda content: content["towers"].update(query=content["towers"]["query"] * MANY)
        ),
        "many towers": _servable(lambda content: content["towers"].update({str(n): [] for n in range(MANY)})),
    },
    "bag": {
        "a table of 3*10**8 buckets": _config(
            "encoders/default/config.json", vectorizer={"buckets": 3 * 10**8, "lengths": [2, 3]}
        ),
        "a table of 10**15 buckets": _config(
            "encoders/default/config.json", vectorizer={"buckets": 10**15, "lengths": [2, 3]}
        ),
        "embeddings of 10**9": _config("encoders/default/config.json", embedding_size=FAR),
        "n-grams of 10**9": _config("encoders/default/config.json", vectorizer={"buckets": 32, "lengths": [FAR]}),
        "n-grams of many lengths": _config(
            "encoders/default/config.json", vectorizer={"buckets": 32, "lengths": list(range(1, 500_000))}
        ),
        "NaN in a table": _weights(
            "encoders/default/model.safetensors", lambda w: next(iter(w.values())).fill_(torch.nan)
        ),
    },
    "fasttext": {
        "10**9 buckets": _config("encoders/default/words_config.json", bucket=FAR),
        "n-grams without end": _config("encoders/default/words_config.json", max_n=FAR),
        "n-grams from nothing": _config("encoders/default/words_config.json", min_n=-FAR),
    },
    "head-skip-connection": {
        "10**9 layers": _head(n_layers=FAR),
        "10**5 layers": _head(n_layers=100_000),
        "10**9 inputs": _head(input_embedding_size=FAR),
        "30,000 inputs": _head(input_embedding_size=30_000),
    },
    "head-mlp-layer": {
        "10**12 neurons": _head(hidden=[10**12, 10**12]),
        "30,000 neurons": _head(hidden=[30_000, 30_000]),
        "a million layers": _head(hidden=[1] * MANY),
        "10**12 outputs": _head(output=10**12),
    },
    "head-softmax-embeddings": {
        "10**9 groups": _head(output_groups=FAR),
        "10**9 a group": _head(output_size_per_group=FAR),
    },
    "head-stacked-projection": {"a million projections": _head(output_sizes=[4] * MANY)},
    "head-widening": {
        "10**9 times as wide": _head(expansion_factor=1e9),
        "10**300 times": _head(expansion_factor=1e300),
    },
    "head-sequential": {
        "a million modules": _head(modules=[LINEAR] * MANY),
        "a module of 10**12": _head(
            modules=[{"layer": "Linear", "settings": {"in_features": 8, "out_features": 10**12}}]
        ),
        "a module of 30,000": _head(
            modules=[{"layer": "Linear", "settings": {"in_features": 30_000, "out_features": 30_000}}]
        ),
    },
    "two-towers": {
        "an option a million times": _config("encoders/kind/config.json", options=["short"] * MANY),
        "many options of a head": _config("heads/document/config.json", options={str(n): 0 for n in range(300_000)}),
    },
    "image": {
        "an image of 10**9": _config(f"{IMAGES}/config.json", image_size=FAR),
        "an image of 60,000": _config(f"{IMAGES}/config.json", image_size=60_000),
        "10**9 layers": _config(f"{IMAGES}/config.json", num_hidden_layers=FAR),
        "10**9 numbers": _config(f"{IMAGES}/config.json", hidden_size=FAR),
        "10**9 channels": _config(f"{IMAGES}/config.json", num_channels=FAR),
        "pixels": _config(f"{IMAGES}/preprocessor_config.json", size={"height": 100_000, "width": 100_000}),
        "pixels of the shortest edge": _config(f"{IMAGES}/preprocessor_config.json", size={"shortest_edge": 100_000}),
        "cropped pixels": _config(f"{IMAGES}/preprocessor_config.json", do_center_crop=True, crop_size=100_000),
        "a share of the pixels": _config(
            f"{IMAGES}/preprocessor_config.json", image_processor_type="ConvNextImageProcessor", crop_pct=1e-6
        ),
        "a file of classes": _config(
            f"{IMAGES}/preprocessor_config.json",
            image_processor_type="OneFormerImageProcessor",
            class_info_file="a.json",
            repo_path="someone/classes",
        ),
        "a font": _config(
            f"{IMAGES}/preprocessor_config.json", image_processor_type="Pix2StructImageProcessor", is_vqa=True
        ),
        "a backbone": _config(f"{IMAGES}/config.json", model_type="dpt", backbone="someone/backbone"),
        "NaN": _weights(f"{IMAGES}/model.safetensors", lambda weights: next(iter(weights.values())).fill_(torch.nan)),
        "infinity": _weights(
            f"{IMAGES}/model.safetensors", lambda weights: next(iter(weights.values())).fill_(torch.inf)
        ),
    },
}

CASES: dict[str, tuple[str, Change]] = {
    **{
        f"text: {name}": ("text", change)
        for group in (OUTWARD, TOKENIZERS, SIZES, FILES)
        for name, change in group.items()
    },
    **{f"{base}: {name}": (base, change) for base, group in COMPONENTS.items() for name, change in group.items()},
}
"""By name: the servable of the fixture that it is made of, and what is done to it."""

HARMLESS = {
    "text: templates that are not used": "no modality renders them",
    "text: templates of an old model that does not use them": "it knew no messages",
    "text: a processor by name": "pads to another length, which the model does not take",
    "text: pairs of modalities": "a text is a text, whatever it looks like",
    "text: a split by the empty pattern": "splits nothing",
    "text: a token twice": "as the template says",
    "text: no unknown token": "a word that needs it is an error",
    "text: the encoder's prompt": "is an error when a text is tokenised",
    "text: chunk_size_feed_forward 1000000000": "as if the layers were not split",
    "text: long texts": "are cut where the model ends",
    "text: GPT-2 of many positions": "random weights, which no fingerprint fits",
    "text: other names": "random weights, which no fingerprint fits",
    "text: no weights": "random weights, which no fingerprint fits",
    "text: 20 GB of README.md": "nobody reads it",
    "fasttext: n-grams without end": "no word is as long",
    "bag: n-grams of 10**9": "no word is as long",
    "bag: n-grams of many lengths": "no word is as long",
}
"""What may load, or say when it encodes that it cannot, and why that harms nobody."""
