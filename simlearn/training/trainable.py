"""What Lightning needs of whatever simlearn trains, over a few questions to the subclass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from simlearn.cache import CacheConfig
from simlearn.data import Batch, BoundLoader, SimilarityDataLoader
from simlearn.embeddings import Embeddings
from simlearn.evaluation import BaseEvaluator
from simlearn.models import SimilarityModel
from simlearn.relations import Relation
from simlearn.training.epoch_evaluation import EpochEvaluation
from simlearn.training.epoch_sums import EpochSums
from simlearn.training.frozen_weights import remove_frozen, restore_frozen
from simlearn.training.metric_log import MetricLog
from simlearn.training.objective import Outcome
from simlearn.training.optimization import clip_sparse, default_optimizer, forgotten, linear_warmup
from simlearn.training.session import Session
from simlearn.training.stage import TrainStage


class Trainable(pl.LightningModule):
    """The base of all that `simlearn.fit` trains.

    A subclass builds `self.model`, what is served in the end, and answers four questions: what a fit reads (`bind`),
    whether these samples can teach it anything (`check`), what a step makes of a batch (`step`), and what the model
    card should say of the training (`facts`). Optimisers, sums over epochs, logging, checkpoints, evaluators and
    servables follow from that.

    Args:
        learning_rate: of what starts from nothing.
        encoder_learning_rate: of pretrained weights that are trained.
        weight_decay: of AdamW, on matrices.
        warmup: steps over which the learning rates rise linearly; a float below 1 is a share of all planned steps, or
            of one epoch where training stops by itself.
    """

    model: SimilarityModel
    cache_config: CacheConfig | None = None

    def __init__(
        self,
        *,
        learning_rate: float = 1e-3,
        encoder_learning_rate: float = 2e-5,
        weight_decay: float = 0.01,
        warmup: int | float = 0.1,
    ) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.encoder_learning_rate = encoder_learning_rate
        self.weight_decay = weight_decay
        self.warmup = warmup
        self._metrics = MetricLog([])
        self._session: Session | None = None
        self._sums = EpochSums()
        self._evaluation: EpochEvaluation | None = None

    # What a subclass answers

    def bind(self, loaders: Mapping[TrainStage, SimilarityDataLoader]) -> Session:
        """The data of a fit, from the user's loaders by stage."""
        raise NotImplementedError(f"{type(self).__name__} must define bind")

    def check(self, train: SimilarityDataLoader, validation: SimilarityDataLoader | None, world_size: int) -> None:
        """Raise for what could not be learnt, or learnt from; before anything starts, with an error that says why."""
        raise NotImplementedError(f"{type(self).__name__} must define check")

    def step(self, batch: Batch, batch_idx: int, stage: TrainStage) -> Outcome:
        """What one batch is worth."""
        raise NotImplementedError(f"{type(self).__name__} must define step")

    def trained_parts(self) -> list[nn.Module]:
        """The modules whose weights training changes; those of other attributes no optimiser would hold."""
        return [self.model]

    def facts(self) -> dict[str, Any]:
        """What a model card says of the training besides epochs, steps and the like."""
        return {}

    def start_together(self) -> None:
        """Called in every process of a fit when all are there, before a checkpoint is loaded and DDP begins."""

    def finish_together(self) -> None:
        """Called in every process of a fit that has come to its end."""

    # What a user may define besides

    def configure_evaluators(self) -> Mapping[str, BaseEvaluator]:
        """Evaluators run each epoch on data of their own, logged as `<name>_<metric>`. Default: none.

        Each runs after validation, or after the epoch where there is no validation data. A checkpoint, early stopping
        and `fit(monitor=...)` can go by any of their figures.
        """
        return {}

    def configure_optimizers(self) -> Any:
        """The optimiser and its schedule, as Lightning takes them. Default: AdamW with linear warm-up.

        An own optimiser must hold every trainable parameter of `self.trained_parts()`: `self.parameters()` does.
        """
        optimizer = default_optimizer(
            self.trained_parts(), self.learning_rate, self.encoder_learning_rate, self.weight_decay
        )
        schedule = linear_warmup(optimizer, self._warmup_steps())
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Lightning's clipping, also of sparse gradients."""
        parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
        by_value = gradient_clip_algorithm == "value"
        if not gradient_clip_val or not clip_sparse(parameters, gradient_clip_val, by_value):
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def save_servable(self, path: str, scores: Mapping[str, float] | None = None) -> None:
        """Write the inference-only model, which `SimilarityModel.load` reads.

        Under DDP rank 0 writes while the others wait.

        Args:
            path: a folder; an older servable there is replaced in one step.
            scores: figures for the model card.

        Raises:
            FileExistsError: when something else is there.
        """
        self.model.card.scores.update(scores or {})
        if self._trainer is None or self.trainer.is_global_zero:
            self.model.save(path)
        if self._trainer is not None:
            self.trainer.strategy.barrier("save_servable")

    # The data of a fit

    def use_loaders(self, train: SimilarityDataLoader | None, validation: SimilarityDataLoader | None) -> None:
        """Choose what the coming `trainer.fit` reads; None reads nothing."""
        given = {TrainStage.TRAIN: train, TrainStage.VALIDATION: validation}
        loaders = {stage: loader for stage, loader in given.items() if loader is not None}
        self._session = self.bind(loaders) if loaders else None
        self._evaluation = None

    @property
    def session(self) -> Session:
        """The data of the running fit.

        Raises:
            RuntimeError: outside of one.
        """
        if self._session is None:
            raise RuntimeError("there is no training data; call simlearn.fit(model, train_dataloader=...)")
        return self._session

    @property
    def evaluators(self) -> Mapping[str, BaseEvaluator]:
        """What `configure_evaluators` has given to the running fit; none outside of one."""
        return {} if self._evaluation is None else self._evaluation.evaluators

    def reads(self, stage: TrainStage) -> SimilarityDataLoader | None:
        """The user's loader of a stage; None where a fit has none, and outside of one."""
        return None if self._session is None else self._session.loaders.get(stage)

    def compared(self, batch: Any) -> tuple[Embeddings, Embeddings, Relation] | None:
        """What the space is judged by: queries, documents and their relation, by the weights and mode of the moment."""
        return (*self.session.embed(batch), batch.relation) if isinstance(batch, Batch) else None

    def train_dataloader(self) -> Any:
        """The bound training loader; see `use_loaders`."""
        return self._bound(TrainStage.TRAIN)

    def val_dataloader(self) -> Any:
        """The bound validation loader, none where there is no validation."""
        return [] if self.reads(TrainStage.VALIDATION) is None else self._bound(TrainStage.VALIDATION)

    def _bound(self, stage: TrainStage) -> BoundLoader:
        return self.session.bound(stage, self.trainer.global_rank, self.trainer.world_size)

    # The course of a fit

    def on_fit_start(self) -> None:
        """Fill the cache and check the optimisers, before the first batch is made."""
        optimizers = self.optimizers(use_pl_optimizer=False)
        missing = forgotten(self.named_parameters(), optimizers if isinstance(optimizers, list) else [optimizers])
        if missing:
            raise ValueError(
                f"no optimiser holds {', '.join(missing)}, so they would never be trained; build the optimiser from "
                "self.parameters(), or freeze them with requires_grad_(False)"
            )
        if self.cache_config is not None:
            self.session.fill_cache(self.cache_config, progress=self.trainer.progress_bar_callback is not None)
        if self._session is not None:
            kinds = {loader.relation for loader in self._session.loaders.values()}
            self._metrics.start(kinds, not self.model.is_symmetric, self.device)
            self._evaluation = EpochEvaluation(self.configure_evaluators(), self._session)
            self._evaluation.prepare()

    def on_train_start(self) -> None:
        """Set train mode: Lightning leaves modules as they are, and pretrained ones come in eval mode."""
        for part in self.trained_parts():
            part.train()

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch; a loader that no `fit` has bound gives something else, and is refused."""
        if not isinstance(batch, Batch):
            raise TypeError(
                f"a step got a {type(batch).__name__}; train with simlearn.fit, which binds the loader to the model"
            )
        return batch.to(device, non_blocking=True)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of one batch."""
        return self._step(batch, batch_idx, TrainStage.TRAIN)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds to the epoch's validation loss."""
        self._step(batch, batch_idx, TrainStage.VALIDATION)

    def _step(self, batch: Batch, batch_idx: int, stage: TrainStage) -> Tensor:
        outcome = self.step(batch, batch_idx, stage)
        for name, count in outcome.counts.items():
            self._sums.add(f"{stage}_{name}", count)
        if stage is TrainStage.TRAIN:
            for name, term in outcome.terms.items():
                self.log(f"train_{name}", term.detach(), batch_size=batch.size)
            for name, figure in outcome.figures.items():
                self.log(f"train_{name}", figure, batch_size=batch.size)
            self.log("train_loss", outcome.value.detach(), prog_bar=True, batch_size=batch.size)
        else:
            self._sums.add(f"{stage}_loss", outcome.value, batch.size)
        self._metrics.log(self, self._sums, stage, outcome.measured, batch.size)
        return outcome.value

    def on_train_epoch_end(self) -> None:
        """Log what the epoch's steps counted."""
        self._log_sums(TrainStage.TRAIN)
        if self.reads(TrainStage.VALIDATION) is None:
            self._evaluate()

    def on_validation_epoch_end(self) -> None:
        """Log the mean validation loss over all samples of all processes, and the counts."""
        self._log_sums(TrainStage.VALIDATION)
        if not self.trainer.sanity_checking:
            self._evaluate()

    def _evaluate(self) -> None:
        if self._evaluation is not None:
            for name, value in self._evaluation.run().items():
                self.log(name, value)

    def _log_sums(self, stage: TrainStage) -> None:
        """The loss as a mean, counts as they are. In training every process has seen the global batch."""
        for name, (total, weight) in self._sums.take(f"{stage}_", stage is not TrainStage.TRAIN).items():
            is_loss = name == f"{stage}_loss"
            self.log(name, total / weight if is_loss else total, prog_bar=is_loss)
        self._metrics.finish(self, self._sums, stage)

    def _warmup_steps(self) -> int:
        if self.warmup >= 1 or self.warmup == 0:
            return int(self.warmup)
        if self.warmup < 0:
            raise ValueError(f"warmup must not be negative, got {self.warmup}")
        batches = (
            None if self._session is None else self._session.batch_count(TrainStage.TRAIN, self.trainer.world_size)
        )
        if batches is None:
            return 100
        steps = max(1, batches // self.trainer.accumulate_grad_batches)
        if self.trainer.max_steps > 0:
            return int(self.warmup * self.trainer.max_steps)
        epochs = self.trainer.max_epochs
        return int(self.warmup * steps * (epochs if epochs is not None and epochs > 0 else 1))

    # What it leaves in a checkpoint

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave frozen weights out."""
        remove_frozen(self.model, checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Fill frozen weights in, and refuse those of another encoder."""
        restore_frozen(self.model, checkpoint)
