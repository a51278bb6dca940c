"""Negative caches of several processes: what is dealt, saved, and dealt again."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from cached_models import AS_ONE, Cached, SaveAt, documents_of, loader_of, trainer_of
from processes import forked
from pytorch_lightning.callbacks import ModelCheckpoint
from small_models import pairs, quiet_trainer, weights

from simlearn import (
    CosineScorer,
    NegativeCacheConfig,
    PairsSimilarityDataLoader,
    ShardedDataset,
    fit,
)
from simlearn.negatives.negative_cache.documents import CachedDocuments, homes


@pytest.mark.parametrize("options", AS_ONE.values(), ids=AS_ONE)
def test_two_processes_train_as_one(options: dict[str, Any]) -> None:
    found, kept = [], []
    for processes in (1, 2):
        model = Cached(NegativeCacheConfig(**options)).double()
        fit(model, loader_of(batch_size=16 // processes), trainer=trainer_of(processes))
        found.append(weights(model))
        kept.append(documents_of(model))
    for name, one in found[0].items():
        if not name.startswith("memories."):  # which have another order of rows
            torch.testing.assert_close(one, found[1][name], rtol=1e-6, atol=1e-7)
    assert kept[0].keys() == kept[1].keys()
    for name, row in kept[0].items():
        assert row == pytest.approx(kept[1][name], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("distributed", ["sharded", "local", "replicated"])
@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_of_two_processes_goes_on(tmp_path: Path, distributed: Any, processes: int) -> None:
    """In two bit for bit; in one with what they had."""
    path = tmp_path / "middle.ckpt"
    config = NegativeCacheConfig(40, top_k=8, refresh=2, distributed=distributed)
    whole = Cached(config).double()
    fit(whole, loader_of(batch_size=4), trainer=trainer_of(2, callbacks=[SaveAt(11, path)]))
    again = Cached(config, seed=9).double()
    fit(again, loader_of(batch_size=8 // processes), trainer=trainer_of(processes), ckpt_path=str(path))
    saved = torch.load(path, weights_only=True)["state_dict"]
    states = saved["memories.negative_cache.parts.documents.cache.state"].view(-1, 5)
    assert len(states) == (1 if distributed == "replicated" else 2)
    assert len(saved["memories.negative_cache.parts.documents.cache.ids"].unique()) >= 40 - 8
    if processes == 2:
        for name, value in weights(whole).items():
            assert torch.equal(value, weights(again)[name]), name
    assert len(documents_of(again)) == 40


@pytest.mark.parametrize("distributed", ["sharded", "local", "replicated"])
def test_documents_of_shards_on_disk(tmp_path: Path, distributed: Any) -> None:
    """Which are a stream: documents go to the process that keeps them."""
    lines = [json.dumps({"a": one.obj_a, "b": one.obj_b}) for one in pairs(64)]
    for number in range(4):
        (tmp_path / f"{number}.jsonl").write_text("\n".join(lines[number::4]))
    data = ShardedDataset(str(tmp_path / "*.jsonl"))
    model = Cached(NegativeCacheConfig(128, top_k=8, distributed=distributed)).double()
    fit(model, PairsSimilarityDataLoader(data, 4, obj_a="a", obj_b="b"), trainer=trainer_of(2))
    part = model.memory._documents[0]
    assert len(part) == 64
    documents = part.origins_at(torch.arange(64))
    assert sorted(documents) == sorted(one.obj_b for one in pairs(64))  # type: ignore[type-var]
    embeddings = torch.nn.functional.normalize(torch.tensor(model.model.encode(list(documents))), dim=1)
    assert float((embeddings * part.cache.embeddings[:64]).sum(1).min()) > 0.9, "each beside its embedding"


class KillAt(pl.Callback):
    """Kills its process, as a machine does that goes away."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def test_a_run_that_was_killed_is_as_one_that_was_not(tmp_path: Path) -> None:
    config = NegativeCacheConfig(40, samples=2, refresh=2)

    def train(callbacks: list[pl.Callback], path: str | None = None) -> Cached:
        model = Cached(config)
        trainer = quiet_trainer(max_epochs=2, callbacks=callbacks, enable_checkpointing=bool(callbacks))
        fit(model, loader_of(), trainer=trainer, ckpt_path=path)
        return model

    saves = ModelCheckpoint(tmp_path, every_n_train_steps=3, save_top_k=-1)
    child = forked(lambda: train([saves, KillAt(11)]))
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    latest = max(tmp_path.glob("*.ckpt"), key=lambda path: int(path.stem.rpartition("=")[2]))
    assert latest.stem.endswith("step=9")
    again, whole = train([], str(latest)), train([])
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(again)[name]), name


class Shards(pl.Callback):
    """Sees what a process keeps in the middle of a run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        torch.save(documents_of(pl_module), self.path / f"{trainer.global_rank}.pt")


def test_each_process_keeps_its_own(tmp_path: Path) -> None:
    model = Cached(NegativeCacheConfig(200))
    fit(model, loader_of(batch_size=4), trainer=trainer_of(2, precision=32, callbacks=[Shards(tmp_path)]))
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert len(first) > 16 and len(second) > 16 and not first.keys() & second.keys()
    assert documents_of(model).keys() == first.keys() | second.keys() and len(documents_of(model)) == 64
    assert len(model.memory._documents[0].cache.embeddings) == 200, "whole again"


def test_caches_of_their_own(tmp_path: Path) -> None:
    model = Cached(NegativeCacheConfig(30, distributed="local"))
    trainer = trainer_of(2, precision=32, callbacks=[Shards(tmp_path)])
    fit(model, loader_of(batch_size=4), trainer=trainer)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert len(first) == len(second) == 30
    assert float(trainer.callback_metrics["train_cache_fill"]) == 1.0


def test_fewer_rows_than_processes() -> None:
    for options in ({"size": 1}, {"size": 8, "top_k": 1, "groups": True}):
        with pytest.raises(Exception, match=r"cannot be dealt to 2 processes.*distributed='replicated'"):
            fit(Cached(NegativeCacheConfig(**options)), loader_of(batch_size=4), trainer=trainer_of(2, precision=32))


def test_dealt_to_others() -> None:
    """From three processes to two, and to one: each document where its id says, the latest where room is short."""
    ids, counts = torch.randperm(1000, generator=torch.Generator().manual_seed(0))[:60], [10, 30, 20]
    whole: dict[str, Any] = {
        "cache.embeddings": ids[:, None].float().repeat(1, 3),
        "cache.ids": ids,
        "cache.written": torch.arange(60, dtype=torch.int32),
        "origins": ids[:, None].repeat(1, 2),
        "owners": ids.clone(),
        "subgroups": ids.clone(),
        "cache.state": torch.tensor([[count, 3, 7, 9, 64] for count in counts]),
        "_extra_state": {"objects": [str(one) for one in ids.tolist()]},
    }

    def held(process: int, rows: list[int], by_id: bool = True) -> CachedDocuments:
        part = CachedDocuments(NegativeCacheConfig(64), 3, CosineScorer())
        part.hold(whole, process, rows, by_id)
        count = len(part)
        for column in (part.cache.embeddings[:, 0], part.origins[:, 1], part.owners, part.subgroups):
            assert torch.equal(column[:count].long(), part.cache.ids[:count])
        assert part.origins_at(torch.arange(count)) == [str(one) for one in part.cache.ids[:count].tolist()]
        assert part.cache.state[1:].tolist() in ([0, 7, 9, 64], [3, 7, 9, 64])
        return part

    two = [held(process, [50, 50]) for process in range(2)]
    assert sorted(int(one) for part in two for one in part.cache.ids[: len(part)]) == sorted(ids.tolist())
    assert all(bool((homes(part.cache.ids[: len(part)], 2) == n).all()) for n, part in enumerate(two))
    one = held(0, [25])
    assert torch.equal(one.cache.ids, ids[-25:])
    three = [held(process, [40] * 3, by_id=False) for process in range(3)]
    assert [len(part) for part in three] == counts, "as they were"
    whole["_extra_state"]["objects"][:10] = whole["_extra_state"]["objects"][-10:]
    for column in whole.values():
        if isinstance(column, torch.Tensor) and len(column) == 60 and column is not whole["cache.written"]:
            column[:10] = column[-10:].clone()  # as of processes that kept what they had read
    assert torch.equal(held(0, [55]).cache.ids[:50], ids[10:])
