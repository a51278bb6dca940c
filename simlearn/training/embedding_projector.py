"""Files for TensorBoard's projector, written while training."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from simlearn.evaluation import BaseEvaluator, RetrievalEvaluator
from simlearn.evaluation.reports.projector import export_projector, list_projections
from simlearn.training.space_health import pooled
from simlearn.training.stage import TrainStage
from simlearn.training.trainable import Trainable

_FOLDER = "projector"
_BATCH = 64


class EmbeddingProjector(Callback):
    """Writes the embeddings of a corpus for TensorBoard's projector, to see how the space changes while it is trained.

    After validation, or after the epoch where nothing is validated, they go to `projector/epoch_0003` in the run's
    folder: the logger's, or the trainer's `default_root_dir`. Open them with `tensorboard --logdir <run's folder>`,
    which lists the latest first. The same objects are shown each time, so that epochs can be compared; of many vectors
    an object, their mean is. Embeddings of frozen encoders come from the cache, if there is one. Under DDP all
    processes encode, and the first one writes.

    ```python
    trainer = pl.Trainer(callbacks=[EmbeddingProjector(every_n_epochs=2, size=5000)])
    ```

    Args:
        every_n_epochs: how many validations between two writings. Each takes some ten bytes a value: 10,000 objects of
            384 values 40 MB.
        size: the most objects to show. Of more, so many are drawn at random, none twice.
        seed: of the drawing.
        objects: what to show; None for the corpus of an evaluator.
        labels: what is known of each of the objects: one column, or a column a name. None shows the objects alone.
        role: the tower that reads the objects, `"query"` or `"document"`.
        evaluator: the name that `configure_evaluators` gives to the evaluator whose corpus is shown; None for the first
            `RetrievalEvaluator`, or else the first evaluator.

    Raises:
        ValueError: for numbers below 1, no objects, labels of another length or without objects, and another role; and,
            when training starts, without anything to show.
        TypeError: when training starts with a model that is no `TrainableModel` or other `Trainable`.
    """

    def __init__(
        self,
        every_n_epochs: int = 1,
        size: int = 10_000,
        seed: int = 0,
        *,
        objects: Sequence[Any] | None = None,
        labels: Mapping[str, Sequence[Any]] | Sequence[Any] | None = None,
        role: Literal["query", "document"] = "document",
        evaluator: str | None = None,
    ) -> None:
        if every_n_epochs < 1 or size < 1:
            raise ValueError(f"every_n_epochs and size must be at least 1, got {every_n_epochs} and {size}")
        if role not in ("query", "document"):
            raise ValueError(f"role must be 'query' or 'document', got {role!r}")
        if objects is None and labels is not None:
            raise ValueError("labels are those of objects: give both, or neither for the corpus of an evaluator")
        if objects is not None and evaluator is not None:
            raise ValueError("give objects or the name of an evaluator, not both")
        if objects is not None and not len(objects):
            raise ValueError("there are no objects to show; leave objects out for the corpus of an evaluator")
        columns = _columns("label", labels)
        for name, column in columns.items():
            if objects is not None and len(column) != len(objects):
                raise ValueError(f"labels {name!r} has {len(column)} values for {len(objects)} objects")
        self.every_n_epochs = every_n_epochs
        self.size = size
        self.seed = seed
        self.objects = objects
        self.labels = labels
        self.role = role
        self.evaluator = evaluator
        self._validations = 0
        self._written: list[str] = []  # by this training: others may have left theirs in the folder
        self._shown: tuple[str, list[Any], dict[str, list[Any]]] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw what is shown, and refuse a fit without anything."""
        if not isinstance(pl_module, Trainable):
            raise TypeError(f"EmbeddingProjector shows models of simlearn, got a {type(pl_module).__name__}")
        if trainer.global_step == 0:
            self._validations, self._written = 0, []
        role, objects, columns = self._given(pl_module.evaluators)
        rows = range(len(objects))
        if len(rows) > self.size:
            rows = sorted(random.Random(self.seed).sample(rows, self.size))  # type: ignore[assignment]
        drawn = [objects[row] for row in rows]
        self._shown = role, drawn, {name: [column[row] for row in rows] for name, column in columns.items()}
        pl_module.session.keep(drawn, role)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write, where it is time."""
        if not trainer.sanity_checking:
            self._write(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write where nothing is validated."""
        if isinstance(pl_module, Trainable) and pl_module.reads(TrainStage.VALIDATION) is None:
            self._write(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let go of the objects."""
        self._shown = None

    def state_dict(self) -> dict[str, Any]:
        """How many validations there were, and what was written, so that a resumed training goes on with it."""
        return {"validations": self._validations, "written": list(self._written)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `state_dict`."""
        self._validations, self._written = state_dict["validations"], list(state_dict["written"])

    def _write(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self._shown is None or not isinstance(module, Trainable):
            return
        self._validations += 1
        if self._validations % self.every_n_epochs or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        role, objects, columns = self._shown
        embeddings = module.session.encode(objects, role, batch_size=_BATCH, shared=True)
        folder = Path(trainer.log_dir or trainer.default_root_dir)  # asked by all processes, which agree on it
        if trainer.is_global_zero:
            epoch = trainer.current_epoch + 1
            own = folder / _FOLDER / f"epoch_{epoch:04d}"
            export_projector(own, pooled(embeddings), columns, name=f"epoch {epoch}")
            self._written.append(own.name)
            there = [one for one in dict.fromkeys(reversed(self._written)) if (own.parent / one).exists()]
            list_projections(folder, [own.parent / one for one in there])

    def _given(self, evaluators: Mapping[str, BaseEvaluator]) -> tuple[str, Sequence[Any], dict[str, Sequence[Any]]]:
        """The role of all there is to show, the objects, and what is known of them by name."""
        if self.objects is not None:
            known = _columns("label", self.labels)
            return self.role, self.objects, {**known, "object": self.objects} if "object" not in known else known
        if self.evaluator is not None and self.evaluator not in evaluators:
            raise ValueError(
                f"EmbeddingProjector shows the corpus of evaluator {self.evaluator!r}, and configure_evaluators gives "
                f"{', '.join(map(repr, evaluators)) or 'none'}"
            )
        if not evaluators:
            raise ValueError(
                "EmbeddingProjector has nothing to show: return an evaluator from the model's configure_evaluators, or "
                "pass objects="
            )
        searches = [name for name, one in evaluators.items() if isinstance(one, RetrievalEvaluator)]
        chosen = evaluators[self.evaluator or next(iter(searches or evaluators))]
        if isinstance(chosen, RetrievalEvaluator):
            corpus = chosen.corpus
            documents = [corpus.distinct[row] for row in corpus.rows.tolist()]
            return "document", documents, {"id": corpus.ids, "object": documents}
        role, objects = chosen.objects()[-1]
        return role, objects, {"object": objects}


def _columns(name: str, given: Mapping[str, Sequence[Any]] | Sequence[Any] | None) -> dict[str, Sequence[Any]]:
    if given is None:
        return {}
    return dict(given) if isinstance(given, Mapping) else {name: given}
