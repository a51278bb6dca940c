"""The example of product search: what its README says, and what it promises of runs."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from omegaconf import OmegaConf

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "product_search"
MODULES = ("callbacks", "catalogue", "data", "evaluate", "models", "qdrl", "runs", "search", "settings", "train")

Train = Callable[..., Any]


@pytest.fixture(scope="module")
def example() -> Iterator[SimpleNamespace]:
    """The example's modules, whose plain names nobody else gets to see."""
    sys.path.insert(0, str(EXAMPLE))
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    finally:
        sys.path.remove(str(EXAMPLE))
        for name in MODULES:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def place(example: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a very small shop."""
    folder = tmp_path_factory.mktemp("product-search")
    size = example.catalogue.Size(products=120, clicks=400, brands=4, queries=40, shards=2)
    example.catalogue.write(folder / "small-shop", size)
    return folder


@pytest.fixture
def train(example: SimpleNamespace, place: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """Trains as the command line does, in this process."""
    from hydra import compose, initialize_config_dir

    monkeypatch.chdir(place)

    def run(*overrides: str, name: str = "config") -> Any:
        with initialize_config_dir(str(EXAMPLE / "conf"), version_base="1.3"):
            default = example.settings.typed(compose("config"))
            config = example.settings.typed(compose(name, ["data=small", "warmup=2", *overrides]))
        return example.train.train(config, default)

    return run


def weights(run: Any) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = torch.load(run.last, weights_only=True)["state_dict"]
    return loaded


def commands() -> list[str]:
    return re.findall(r"^   \$ (.+)$", (EXAMPLE / "README.rst").read_text(encoding="utf-8"), re.MULTILINE)


def call(command: str, folder: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    program = shlex.split(command.replace("examples/product_search/", f"{EXAMPLE}/"))
    assert program[0] == "python"
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}
    environment = {**os.environ, **paths, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *program[1:]], cwd=folder, env=environment, capture_output=True, text=True, **options
    )


@pytest.mark.slow
def test_every_command_of_the_readme(tmp_path: Path) -> None:
    (tmp_path / "questions.txt").write_text("red kettle\n\nblue lamp\n")
    assert len(commands()) >= 9
    outputs = {}
    for command in commands():
        program, _, given = command.partition(" < ")
        options: dict[str, Any] = {"input": (tmp_path / given).read_text()} if given else {"stdin": subprocess.DEVNULL}
        done = call(program, tmp_path, **options)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        outputs[command] = done.stdout
    told = list(outputs.values())
    assert "recall@10/typos_prob=0.5" in told[2] and re.search("better|worse|chance|equal", told[2])
    assert len(told[3].splitlines()) == 5 and told[4].count("search: ") == 4
    assert "goes on after epoch 3" in told[5] and "a new run" in told[6]
    run = tmp_path / "runs" / "first"
    assert {path.name for path in run.iterdir()} >= {
        "config.yaml",
        "changes.yaml",
        "commit",
        "metrics.json",
        "servable",
    }
    assert [epoch["epoch"] for epoch in json.loads((run / "metrics.json").read_text())] == [0, 1, 2, 3]
    assert yaml.safe_load((run / "changes.yaml").read_text())["data.folder"] == "small-shop"
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    assert len(list((tmp_path / "runs").iterdir())) == 5  # first, warm, two of -m, qdrl


@pytest.mark.parametrize("loss", ["softmax", "triplet"])
@pytest.mark.parametrize("model", ["simple_text", "two_tower", "multi_modal"])
def test_all_models_and_losses(train: Train, model: str, loss: str) -> None:
    run = train(f"model={model}", f"loss={loss}", "num_epochs=2")
    first, second = run.epochs()
    assert second["train_loss"] < first["train_loss"]
    assert {"validation_loss", "search_recall@10", "search_mrr@10/typos_prob=0.5"} <= set(second)


def test_the_simple_model_has_one_tower(example: SimpleNamespace, train: Train) -> None:
    run = train("model=simple_text", "num_epochs=1")
    model = example.search.SimilarityModel.load(run.servable)
    as_title = model.encode_document({"document_name": "red lamp"})
    assert (model.encode_query("red lamp") == as_title).all()


def test_resume_equals_an_uninterrupted_run(train: Train) -> None:
    drawn = ["loss=triplet", "loss.mining=random", "loss.num_negatives=3", "data.typos=0.3"]  # everything random
    whole = weights(train(*drawn, "num_epochs=4", "run=runs/whole"))
    train(*drawn, "num_epochs=2", "run=runs/parts")
    Path("runs/parts").rename("runs/moved")
    parts = train(*drawn, "num_epochs=4", "run=runs/moved")
    recalls = [epoch["search_recall@10"] for epoch in parts.epochs()]
    assert len(recalls) == 4
    assert torch.load(parts.best, weights_only=True)["epoch"] == recalls.index(max(recalls))
    for name, value in weights(parts).items():
        assert torch.equal(value, whole[name]), name


def test_a_warm_start_takes_the_weights_alone(example: SimpleNamespace, train: Train) -> None:
    first = train("num_epochs=2", "run=runs/cold")
    warm = train("num_epochs=1", "learning_rate=0", "init_from=runs/cold")
    best = torch.load(first.best, weights_only=True)["state_dict"]
    assert all(torch.equal(value, best[name]) for name, value in weights(warm).items())
    assert (
        torch.load(warm.last, weights_only=True)["global_step"]
        < torch.load(first.best, weights_only=True)["global_step"]
    )
    with pytest.raises(ValueError, match="another model than"):
        train("model.hidden=[7]", "init_from=runs/cold")
    with pytest.raises(ValueError, match="finished an epoch"):
        train("init_from=runs/nowhere")


def test_training_goes_by_what_is_measured(train: Train) -> None:
    with pytest.raises(ValueError, match=r"monitor=recall@10 is not measured, only validation_loss, search_recall@10,"):
        train("monitor=recall@10")
    run = train("num_epochs=2", "monitor=validation_loss", "evaluation.enabled=false")
    assert run.servable.exists() and "search_recall@10" not in run.epochs()[0]


def test_a_run_refuses_another_config(train: Train) -> None:
    run = train("num_epochs=1", "run=runs/own")
    before = run.config.read_text()
    with pytest.raises(ValueError, match=r"loss\.temperature: 0\.1 there, 0\.2 here; seed: 0 there, 1 here"):
        train("num_epochs=2", "run=runs/own", "loss.temperature=0.2", "seed=1")
    with pytest.raises(ValueError, match=r"model\.category_size: 32 there, None here"):
        train("num_epochs=2", "run=runs/own", "model=two_tower")
    with pytest.raises(ValueError, match="num_epochs=2 or more goes on"):
        train("num_epochs=1", "run=runs/own")
    assert run.config.read_text() == before


def test_both_losses_are_in_one_chart(train: Train) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.custom_scalar.layout_pb2 import Layout

    events = EventAccumulator(str(train("num_epochs=2").folder / "tensorboard"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {"loss/train", "loss/validation", "search_recall@10", "search_mrr@10/typos_prob=0.5"} <= tags
    assert len(events.Scalars("search_recall@10")) == 2
    layout = Layout.FromString(events.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
    assert list(layout.category[0].chart[0].multiline.tag) == ["loss/train", "loss/validation"]


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("loss.temprature=1", "Key 'temprature' not in 'Softmax'"),
        ("loss=triplet loss.temperature=1", "Key 'temperature' not in 'Triplet'"),
        ("num_epoch=1", "Key 'num_epoch' not in 'Config'"),
        ("learning_rate=fast", "'fast' of type 'str' could not be converted to Float"),
        ("model=nonsense", "multi_modal\n\tsimple_text\n\ttwo_tower"),
    ],
)
def test_misspelt_overrides(train: Train, override: str, told: str) -> None:
    with pytest.raises(Exception) as raised:
        train(*override.split())
    messages, error = [], raised.value
    while error is not None:
        messages.append(str(error))
        error = error.__cause__
    assert told in "\n".join(messages)


def old_config(place: Path) -> dict[str, Any]:
    config: Any = OmegaConf.to_container(OmegaConf.load(EXAMPLE / "qdrl.yaml"))
    return config


def changed(config: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """With other values by dotted keys, `__` for the dot; None deletes."""
    for key, value in changes.items():
        *sections, last = key.split("__")
        own = config
        for section in sections:
            own = own.setdefault(section, {})
        own.pop(last, None)
        if value is not None:
            own[last] = value
    return config


def test_the_yaml_of_qdrl(example: SimpleNamespace, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    new = example.qdrl.convert(old_config(place))
    assert new["run"] == "runs/qdrl" and new["init_from"] is None and new["monitor"] == "search_recall@10"
    assert new["model"] == {
        "embedding_size": 64,
        "hidden": [64],
        "output": 64,
        "category_size": 16,
        "category_hashing": "md5",
        "category_buckets": 9,
    }
    assert new["evaluation"] == {"enabled": True, "k": [10, 60, 100], "typos": [0.0, 0.5]}
    triplet = changed(old_config(place), loss={"type": "triplet", "batch_size": 64, "num_negatives": 63, "margin": 0.3})
    assert example.qdrl.convert(triplet)["loss"] == {"margin": 0.3, "average": "all", "mining": "all"}
    few = changed(triplet, loss__num_negatives=5)
    assert example.qdrl.convert(few)["loss"] == {
        "margin": 0.3,
        "average": "all",
        "mining": "random",
        "num_negatives": 5,
    }
    short = changed(old_config(place), model__last_linear=False, model__output_dim=None)
    assert example.qdrl.convert(short)["model"]["output"] is None
    (place / "runs" / "qdrl").mkdir(parents=True)
    again = example.qdrl.convert(changed(old_config(place), reuse_epoch=False))
    assert (again["run"], again["init_from"]) == (None, "runs/qdrl")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"negatives__type": "random"}, "negatives.type is refused"),
        ({"loss__temprature": 1}, r"loss\.temprature is no key of qdrl; known are task_id"),
        ({"loss__margin": 1}, r"loss\.margin: of no use with model.type: multi_modal, loss.type: softmax"),
        ({"loss__batch_size": 32}, "must be batch_size, which is 64"),
        ({"loss__type": "hinge"}, "those there are: batch_softmax, triplet"),
        ({"model__type": "Bert"}, "those there are: SimpleTextEncoder, TwoTower"),
        ({"model__last_linear": False, "model__output_dim": 32}, "output_dim is 32, and with last_linear: False"),
        ({"model__category_feature__num_embeddings": 50}, "category_feature.num_embeddings is 50; .* need"),
        ({"model__document__categorical_feature": "brand"}, "the model reads the categorical feature 'brand'"),
        ({"num_epochs": None}, "num_epochs is missing"),
    ],
)
def test_what_is_refused_of_qdrl(
    example: SimpleNamespace, place: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], told: str
) -> None:
    monkeypatch.chdir(place)
    with pytest.raises(ValueError, match=told):
        example.qdrl.convert(changed(old_config(place), **changes))


def test_a_shop_is_the_same_every_time_and_hard_for_words_alone(example: SimpleNamespace) -> None:
    size = example.catalogue.SMALL
    first, second = (example.catalogue.Shop(size, seed=1).clicks(2000) for _ in range(2))
    assert first == second != example.catalogue.Shop(size, seed=2).clicks(2000)
    there = [
        word in row["document_name"].lower().split() for row in first for word in row["query_search_phrase"].split()
    ]
    assert 1 / 3 < 1 - sum(there) / len(there) < 0.6
    clicks = sorted((sum(row["document_id"] == name for row in first) for name in ("p0", "p200")), reverse=True)
    assert clicks[0] > 5 * max(clicks[1], 1)
