"""Models and tokenizers of other libraries are saved and loaded as they are, from their files alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_models import tiny_convnext, tiny_sentence_transformer, tiny_tokenizer, tiny_vit

from simlearn.components.hugging_face import (
    load_model,
    load_processor,
    load_sentence_transformer,
    load_tokenizer,
    save_model,
    save_processor,
    save_sentence_transformer,
    save_tokenizer,
)
from simlearn.files import LoadError, UntrustedError

TEXTS = ["hello world", "a red spoon", ""]
ROOT = Path(__file__).parents[3]


def save_images(model: Any, processor: Any, folder: Path) -> None:
    """Model and processor in one folder, as format version 1 had them."""
    save_model(model, folder)
    save_processor(processor, folder)


def load_images(folder: Path) -> tuple[Any, Any]:
    return load_model(folder), load_processor(folder)


def test_a_sentence_transformer(tmp_path: Path) -> None:
    model = tiny_sentence_transformer(tmp_path / "source", prompts={"a": "query: "})
    save_sentence_transformer(model, tmp_path / "deep" / "model")
    loaded = load_sentence_transformer(tmp_path / "deep" / "model", truncate_dim=None, dtype="float32")
    assert loaded.prompts["a"] == "query: "
    torch.testing.assert_close(loaded.encode(TEXTS), model.encode(TEXTS))
    short = load_sentence_transformer(tmp_path / "deep" / "model", truncate_dim=5, dtype="bfloat16")
    assert short.encode(TEXTS).shape == (3, 5)
    assert {parameter.dtype for parameter in short.parameters()} == {torch.bfloat16}


def test_more_modules(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense
    from sentence_transformers.sentence_transformer.modules import LSTM, Pooling, WeightedLayerPooling

    base = tiny_sentence_transformer(tmp_path / "source", hidden_size=16)
    for number, modules in enumerate(
        [
            [base[0], Pooling(16, "mean"), Dense(16, 4)],
            [base[0], LSTM(16, 8, num_layers=2), Pooling(16, "max")],
            [base[0], WeightedLayerPooling(16, num_hidden_layers=2, layer_start=1), Pooling(16, "cls")],
        ]
    ):
        if number == 2:
            base[0].model.config.output_hidden_states = True
        model = SentenceTransformer(modules=modules, device="cpu")
        save_sentence_transformer(model, tmp_path / str(number))
        loaded = load_sentence_transformer(tmp_path / str(number), truncate_dim=None, dtype="float32")
        assert loaded.state_dict().keys() == model.state_dict().keys()
        for name, tensor in model.state_dict().items():
            torch.testing.assert_close(loaded.state_dict()[name], tensor)


def test_weights_in_two_files(tmp_path: Path) -> None:
    model = tiny_sentence_transformer(tmp_path / "source")
    save_sentence_transformer(model, tmp_path / "model")
    folder = tmp_path / "model"
    weights = load_file(folder / "model.safetensors")
    shards: list[dict[str, torch.Tensor]] = [{}, {}]
    for number, (name, tensor) in enumerate(weights.items()):
        shards[number % 2][name] = tensor
    names = [f"model-0000{number + 1}-of-00002.safetensors" for number in range(2)]
    for file, shard in zip(names, shards, strict=True):
        save_file(shard, folder / file, metadata={"format": "pt"})
    weight_map = {name: names[number % 2] for number, name in enumerate(weights)}
    index = {"metadata": {"total_size": sum(tensor.nbytes for tensor in weights.values())}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()
    loaded = load_sentence_transformer(folder, truncate_dim=None, dtype="float32")
    torch.testing.assert_close(loaded.encode(TEXTS), model.encode(TEXTS))


LOOP = "{% for message in messages %}spoon {% endfor %}"


class TestTemplates:
    def test_what_one_does_where_it_is_rendered(self, tmp_path: Path) -> None:
        """Of a folder that says nothing; else there is nothing to guard against."""
        from sentence_transformers import SentenceTransformer

        model = tiny_sentence_transformer(tmp_path / "a")
        model.tokenizer.chat_template = LOOP
        model.tokenizer.save_pretrained(str(tmp_path / "a"))
        rendering = SentenceTransformer(str(tmp_path / "a"), device="cpu", local_files_only=True)
        assert "message" in rendering.modalities
        assert (
            rendering.preprocess(["cat"])["input_ids"].tolist() == rendering.preprocess(["dog"])["input_ids"].tolist()
        )

    @pytest.mark.parametrize("says", [True, False])
    def test_a_model_that_takes_texts_never_renders_it(self, tmp_path: Path, says: bool) -> None:
        """Not even where its settings are of an old version, which knew no messages."""
        model = tiny_sentence_transformer(tmp_path / "source")
        expected = model.encode(TEXTS)
        model.tokenizer.chat_template = LOOP
        save_sentence_transformer(model, tmp_path / "model")
        if not says:
            (tmp_path / "model/sentence_bert_config.json").write_text('{"max_seq_length": 64}')
        loaded = load_sentence_transformer(tmp_path / "model", truncate_dim=None, dtype="float32")
        assert loaded.tokenizer.chat_template == LOOP
        assert loaded.modalities == ["text"]
        torch.testing.assert_close(loaded.encode(TEXTS), expected)

    def test_a_folder_that_leaves_it_to_guess(self, tmp_path: Path) -> None:
        model = tiny_sentence_transformer(tmp_path / "source")
        save_sentence_transformer(model, tmp_path / "model")
        (tmp_path / "model/modules.json").unlink()
        with pytest.raises(LoadError, match=r"modules\.json is missing"):
            load_sentence_transformer(tmp_path / "model", truncate_dim=None, dtype="float32")

    def test_a_model_that_takes_messages_is_not_even_saved(self, tmp_path: Path) -> None:
        model = tiny_sentence_transformer(tmp_path / "source")
        model.tokenizer.chat_template = LOOP
        model[0].modality_config["message"] = {**model[0].modality_config["text"], "format": "flat"}
        with pytest.raises(UntrustedError, match="lets the model take messages"):
            save_sentence_transformer(model, tmp_path / "model")


@pytest.mark.parametrize("make", [tiny_vit, tiny_convnext])
def test_an_image_model(tmp_path: Path, make: Any) -> None:
    model, processor = make()
    save_images(model, processor, tmp_path / "model")
    loaded, its_processor = load_images(tmp_path / "model")
    pixels = its_processor(images=[Image.new("RGB", (20, 20), (200, 100, 0))], return_tensors="pt")
    torch.testing.assert_close(
        loaded.eval()(**pixels).last_hidden_state,
        model.eval()(
            **processor(images=[Image.new("RGB", (20, 20), (200, 100, 0))], return_tensors="pt")
        ).last_hidden_state,
    )


def test_an_image_model_that_lacks_weights(tmp_path: Path) -> None:
    save_images(*tiny_vit(), tmp_path / "model")
    weights = load_file(tmp_path / "model/model.safetensors")
    weights.pop("layernorm.weight")
    save_file(weights, tmp_path / "model/model.safetensors", metadata={"format": "pt"})
    with pytest.raises(LoadError, match="lacks weights"):
        load_images(tmp_path / "model")


@pytest.mark.parametrize("value", [torch.nan])
def test_weights_that_are_no_numbers(tmp_path: Path, value: float) -> None:
    model = tiny_sentence_transformer(tmp_path / "source")
    with torch.no_grad():
        next(model.parameters())[3, 2] = value
    save_sentence_transformer(model, tmp_path / "text")
    with pytest.raises(LoadError, match="text holds NaN in 0.model.embeddings.word_embeddings.weight"):
        load_sentence_transformer(tmp_path / "text", truncate_dim=None, dtype="float32")
    vit, processor = tiny_vit()
    with torch.no_grad():
        next(vit.parameters()).fill_(value)
    save_images(vit, processor, tmp_path / "images")
    with pytest.raises(LoadError, match="images holds NaN"):
        load_images(tmp_path / "images")


class TestTokenizers:
    def test_one_alone(self, tmp_path: Path) -> None:
        tokenizer = tiny_tokenizer()
        tokenizer.chat_template = "{{ messages }}"
        save_tokenizer(tokenizer, tmp_path / "tokenizer")
        assert not list(tmp_path.rglob("*.jinja"))
        loaded = load_tokenizer(tmp_path / "tokenizer")
        assert loaded(TEXTS)["input_ids"] == tokenizer(TEXTS)["input_ids"]
        assert (loaded.model_max_length, loaded.chat_template) == (64, "{{ messages }}")

    def test_one_that_is_damaged(self, tmp_path: Path) -> None:
        save_tokenizer(tiny_tokenizer(), tmp_path / "a")
        (tmp_path / "a/tokenizer.json").write_text('{"model": {"type": "None"}, "added_tokens": []}')
        with pytest.raises(LoadError, match="a cannot be loaded"):
            load_tokenizer(tmp_path / "a")

    def test_one_that_multiplies_texts_is_not_even_saved(self, tmp_path: Path) -> None:
        from tokenizers.normalizers import Replace

        tokenizer = tiny_tokenizer()
        tokenizer.backend_tokenizer.normalizer = Replace("a", "b" * 1000)
        with pytest.raises(UntrustedError, match=r"tokenizer\.json has normalizers: .* 1000 times as long"):
            save_tokenizer(tokenizer, tmp_path / "a")

    def test_a_panic_while_loading(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from tokenizers import Regex, Tokenizer
        from tokenizers.models import WordLevel
        from tokenizers.pre_tokenizers import Split
        from transformers import AutoTokenizer

        hostile = Tokenizer(WordLevel({"a": 0}, unk_token="a"))
        hostile.pre_tokenizer = Split(Regex("(a+)+$"), "isolated")
        save_tokenizer(tiny_tokenizer(), tmp_path / "a")
        monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *_, **__: hostile.encode("a" * 40 + "!"))
        with pytest.raises(LoadError, match="a cannot be loaded, its tokenizer gave up: Onig"):
            load_tokenizer(tmp_path / "a")


ASKS = """
import sys
asked = []
def hear(event, arguments):
    if event.startswith(("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn")):
        asked.append(event)
        raise OSError("no network in this test")
    if event == "open" and str(arguments[0]).endswith(("huggingface/token", ".netrc")):
        asked.append(arguments[0])
from pathlib import Path
from simlearn.components.hugging_face import checks, load_sentence_transformer
from simlearn.files import LoadError
import sentence_transformers, transformers, PIL.Image
for name in ("BertModel", "DetrModel", "DPTModel", "AutoProcessor", "PreTrainedTokenizerFast", "UperNetConfig"):
    getattr(transformers, name)
sys.addaudithook(hear)
guard = sys.argv[2]
if guard != "the check of keys":
    checks._OUTWARD_KEYS.clear()
if guard == "none":
    from contextlib import nullcontext
    from simlearn.components.hugging_face import models
    models.offline = nullcontext
try:
    load_sentence_transformer(Path(sys.argv[1]), truncate_dim=None, dtype="float32")
    print("loaded", end=" ")
except LoadError as error:
    print(type(error).__name__, end=" ")
print(asked)
"""


@pytest.mark.parametrize(
    ("guard", "says"),
    [("the check of keys", "UntrustedError []"), ("being offline", "LoadError []"), ("none", "socket.")],
)
def test_each_guard_alone_keeps_a_backbone_from_the_hub(tmp_path: Path, guard: str, says: str) -> None:
    """A fresh process without an offline variable; without any guard it does ask, so that the test can fail."""
    save_sentence_transformer(tiny_sentence_transformer(tmp_path / "source"), tmp_path / "model")
    config = {"model_type": "upernet", "backbone": "someone/backbone", "use_pretrained_backbone": True}
    (tmp_path / "model/config.json").write_text(json.dumps(config))
    environment = {name: value for name, value in os.environ.items() if name not in ("HF_HUB_OFFLINE", "HF_TOKEN")}
    done = subprocess.run(
        [sys.executable, "-c", ASKS, str(tmp_path / "model"), guard],
        env=environment | {"PYTHONPATH": str(ROOT), "HF_HOME": str(tmp_path / "hub")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert says in done.stdout, done.stdout + done.stderr[-2000:]
