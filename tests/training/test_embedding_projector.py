"""Files for TensorBoard's projector while a model trains."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger
from small_models import SmallModel, groups, numbers, pairs, quiet_trainer, small_pairs, weights

import simlearn
from simlearn import CacheConfig, EmbeddingProjector, GroupEvaluator, PairsSimilarityDataLoader, RetrievalEvaluator, fit

CORPUS = {f"d{row}": vector for row, vector in enumerate([*numbers(5, 40), numbers(5, 40)[0]])}
SEARCH = RetrievalEvaluator({"q": numbers(6, 1)[0]}, CORPUS, {"q": ["d3"]}, ["mrr"])


class Evaluated(SmallModel):
    def __init__(self, evaluators: Mapping[str, Any] | None = None, **options: Any) -> None:
        self.asked = [{"search": SEARCH} if evaluators is None else evaluators]
        super().__init__(**options)

    def configure_evaluators(self) -> Any:
        return self.asked[0]


def train(projector: EmbeddingProjector, folder: Path, model: Any = None, **options: Any) -> Any:
    model = Evaluated() if model is None else model
    trainer = quiet_trainer(callbacks=[projector], default_root_dir=str(folder), **options)
    fit(model, small_pairs(), small_pairs(), trainer=trainer)
    return model


def table(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text().splitlines()]


def vectors(folder: Path) -> torch.Tensor:
    return torch.tensor([[float(one) for one in row] for row in table(folder / "tensors.tsv")])


def test_the_corpus_after_each_validation(tmp_path: Path) -> None:
    model = train(EmbeddingProjector(), tmp_path, num_sanity_val_steps=2)
    folders = sorted((tmp_path / "projector").iterdir())
    assert [folder.name for folder in folders] == ["epoch_0001", "epoch_0002"]
    header, *rows = table(folders[1] / "metadata.tsv")
    assert header == ["id", "object"] and [row[0] for row in rows] == list(CORPUS)
    assert not torch.equal(vectors(folders[0]), vectors(folders[1]))
    expected = model.model.embed(list(CORPUS.values()), "document").values
    torch.testing.assert_close(vectors(folders[1]), expected, rtol=1e-5, atol=1e-6)
    config = (tmp_path / "projector_config.pbtxt").read_text()
    paths = [line.split('"')[1] for line in config.splitlines() if "tensor_path" in line]
    assert paths == ["projector/epoch_0002/tensors.tsv", "projector/epoch_0001/tensors.tsv"]
    assert all((tmp_path / path).exists() for path in paths)


def test_the_same_rows_each_time_and_none_twice(tmp_path: Path) -> None:
    def drawn(seed: int, name: str) -> list[list[str]]:
        train(EmbeddingProjector(size=10, seed=seed), tmp_path / name)
        tables = [table(folder / "metadata.tsv") for folder in sorted((tmp_path / name / "projector").iterdir())]
        ids = [[row[0] for row in rows[1:]] for rows in tables]
        assert ids[0] == ids[1] and len(set(ids[0])) == len(ids[0]) == 10
        return ids

    assert drawn(0, "a") == drawn(0, "b") != drawn(1, "c")


def test_every_so_many_validations_also_when_resumed(tmp_path: Path) -> None:
    train(EmbeddingProjector(every_n_epochs=2), tmp_path / "a", max_epochs=5)
    assert [one.name for one in sorted((tmp_path / "a" / "projector").iterdir())] == ["epoch_0002", "epoch_0004"]
    for epochs, path in ((1, None), (4, str(tmp_path / "last.ckpt"))):
        trainer = quiet_trainer(
            callbacks=[EmbeddingProjector(every_n_epochs=2)], default_root_dir=str(tmp_path / "b"), max_epochs=epochs
        )
        fit(Evaluated(), small_pairs(), small_pairs(), trainer=trainer, ckpt_path=path)
        trainer.save_checkpoint(tmp_path / "last.ckpt")
    assert [one.name for one in sorted((tmp_path / "b" / "projector").iterdir())] == ["epoch_0002", "epoch_0004"]


def test_without_validation_data_after_the_epoch(tmp_path: Path) -> None:
    trainer = quiet_trainer(callbacks=[EmbeddingProjector()], default_root_dir=str(tmp_path), max_epochs=1)
    fit(Evaluated(), small_pairs(), trainer=trainer)
    assert (tmp_path / "projector" / "epoch_0001" / "tensors.tsv").exists()


def test_into_the_folder_of_the_logger_and_not_what_lies_there(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, name="runs", version=3)
    old = tmp_path / "runs" / "version_3" / "projector" / "epoch_0009"
    old.mkdir(parents=True)
    train(EmbeddingProjector(), tmp_path / "elsewhere", logger=logger, max_epochs=1)
    config = (tmp_path / "runs" / "version_3" / "projector_config.pbtxt").read_text()
    assert "epoch_0001/tensors.tsv" in config and "0009" not in config


@pytest.mark.parametrize("cached", [False, True])
def test_objects_of_ones_own(cached: bool, tmp_path: Path) -> None:
    objects, names = numbers(7, 12), [f"n{row}" for row in range(12)]
    model = SmallModel(frozen=cached, cache=CacheConfig() if cached else None, two_towers=True)
    projector = EmbeddingProjector(objects=objects, labels=names, role="query", size=8)
    train(projector, tmp_path, model, max_epochs=1)
    header, *rows = table(tmp_path / "projector" / "epoch_0001" / "metadata.tsv")
    assert header == ["label", "object"] and len(rows) == 8
    chosen = [objects[names.index(row[0])] for row in rows]
    expected = model.model.embed(chosen, "query").values
    torch.testing.assert_close(vectors(tmp_path / "projector" / "epoch_0001"), expected, rtol=1e-5, atol=1e-6)
    alone = EmbeddingProjector(objects=objects, labels={"a": names, "b": names})
    train(alone, tmp_path / "columns", max_epochs=1)
    assert table(tmp_path / "columns" / "projector" / "epoch_0001" / "metadata.tsv")[0] == ["a", "b", "object"]


def test_an_evaluator_by_name_and_of_other_kinds(tmp_path: Path) -> None:
    group = GroupEvaluator(groups(12, seed=8))
    for name, rows in ((None, 42), ("groups", 12)):
        evaluators = {"groups": group, "search": SEARCH}
        train(EmbeddingProjector(evaluator=name), tmp_path / str(name), Evaluated(evaluators), max_epochs=1)
        assert len(table(tmp_path / str(name) / "projector" / "epoch_0001" / "metadata.tsv")) == rows


def test_training_is_the_same_with_it_and_without(tmp_path: Path) -> None:
    trained = []
    for callbacks in ([], [EmbeddingProjector(size=5)]):
        model = Evaluated(dropout=0.3)
        torch.manual_seed(1)
        trainer = quiet_trainer(callbacks=callbacks, default_root_dir=str(tmp_path))
        fit(model, small_pairs(), small_pairs(), trainer=trainer)
        trained.append(weights(model))
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])


def test_a_trial_run_writes_nothing(tmp_path: Path) -> None:
    train(EmbeddingProjector(), tmp_path, fast_dev_run=True)
    assert not list(tmp_path.iterdir())


class Writers(EmbeddingProjector):
    """Leaves a file for each process."""

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_end(trainer, pl_module)
        Path(trainer.default_root_dir, f"rank_{trainer.global_rank}_{self._written}").touch()


def test_two_processes_write_what_one_does(tmp_path: Path) -> None:
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        trainer = quiet_trainer(
            callbacks=[Writers()],
            default_root_dir=str(folder),
            devices=processes,
            strategy="ddp_fork" if processes > 1 else "auto",
            precision="64-true",
        )
        loader = PairsSimilarityDataLoader(pairs(), batch_size=16 // processes, shuffle=False)
        fit(Evaluated().double(), loader, loader, trainer=trainer)
    assert len(list((tmp_path / "2").glob("rank_*"))) == 2
    alone, both = (vectors(tmp_path / str(n) / "projector" / "epoch_0002") for n in (1, 2))
    torch.testing.assert_close(alone, both, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every_n_epochs": 0}, "must be at least 1, got 0 and 10000"),
        ({"size": 0}, "must be at least 1"),
        ({"role": "corpus"}, "role must be 'query' or 'document'"),
        ({"labels": ["a"]}, "labels are those of objects"),
        ({"objects": []}, "there are no objects"),
        ({"objects": [1, 2], "labels": ["a"]}, "'label' has 1 values for 2 objects"),
        ({"objects": [1, 2], "evaluator": "search"}, "not both"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EmbeddingProjector(**options)


def test_a_fit_without_anything_to_show(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to show.*configure_evaluators, or pass objects="):
        train(EmbeddingProjector(), tmp_path, SmallModel())
    with pytest.raises(ValueError, match="evaluator 'other'.*gives 'search'"):
        train(EmbeddingProjector(evaluator="other"), tmp_path)
    with pytest.raises(TypeError, match="shows models of simlearn, got a BoringModel"):
        EmbeddingProjector().on_train_start(quiet_trainer(), BoringModel())
    assert simlearn.EmbeddingProjector is EmbeddingProjector


class BoringModel(pl.LightningModule):
    pass
