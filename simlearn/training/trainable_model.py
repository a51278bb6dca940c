"""The model a user trains: encoders, head and loss by name, everything else supplied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from simlearn.data import Batch, BoundLoader, SimilarityDataLoader
from simlearn.evaluation import AttachedMetric
from simlearn.losses import LossResult
from simlearn.losses.gathering import gather_batch
from simlearn.relations import Relation
from simlearn.training.epoch_evaluation import EpochEvaluation
from simlearn.training.epoch_sums import EpochSums
from simlearn.training.frozen_weights import remove_frozen, restore_frozen
from simlearn.training.metric_log import MetricLog
from simlearn.training.optimization import default_optimizer, forgotten, linear_warmup
from simlearn.training.recipe import ModelRecipe
from simlearn.training.session import Session
from simlearn.training.stage import TrainStage


class TrainableModel(ModelRecipe):
    """Subclass it, say how to build the parts, and hand it to `simlearn.fit`.

    Attributes that the `configure_...` methods need must be set before `super().__init__()`.

    Args:
        learning_rate: of heads, the loss's parameters and encoders that start from nothing.
        encoder_learning_rate: of pretrained encoders that are trained.
        weight_decay: of AdamW, on matrices.
        warmup: steps over which the learning rates rise linearly; a float below 1 is a share of all planned steps, or
            of one epoch where training stops by itself.
        encode_chunk_size: encode so many objects at a time and compute their activations anew in the backward pass:
            slower by a forward pass, but a batch then takes little more memory than one chunk. None encodes the whole
            batch at once.
        encode_chunk_tokens: like `encode_chunk_size`, but so many tokens at a time, padding counted. Objects of
            like length share a chunk, so little is padded; the loss sees the batch in its own order.

    Raises:
        TypeError: when a `configure_...` method returns something else than it should.
        ValueError: when the parts do not fit each other.
    """

    def __init__(
        self,
        *,
        learning_rate: float = 1e-3,
        encoder_learning_rate: float = 2e-5,
        weight_decay: float = 0.01,
        warmup: int | float = 0.1,
        encode_chunk_size: int | None = None,
        encode_chunk_tokens: int | None = None,
    ) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.encoder_learning_rate = encoder_learning_rate
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.encode_chunk_size = encode_chunk_size
        self.encode_chunk_tokens = encode_chunk_tokens
        self.loss = self._build_loss()
        self.model = self._build_model(self.loss)
        self.memory = self._build_memory(self.loss)
        self.cache_config = self.configure_caches()
        self._session: Session | None = None
        self._sums = EpochSums()
        self._metrics = MetricLog(self.configure_metrics())
        self._evaluation: EpochEvaluation | None = None

    # What a user may define besides

    def configure_optimizers(self) -> Any:
        """The optimiser and its schedule, as Lightning takes them. Default: AdamW with linear warm-up.

        An own optimiser must hold every trainable parameter of `self.model` and `self.loss`: `self.parameters()` does.
        """
        optimizer = default_optimizer(
            self.model, self.loss, self.learning_rate, self.encoder_learning_rate, self.weight_decay
        )
        schedule = linear_warmup(optimizer, self._warmup_steps())
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def process_results(
        self, embeddings: Tensor, targets: Relation, batch_idx: int, stage: TrainStage, **kwargs: Any
    ) -> None:
        """Called after every step; does nothing by default.

        Args:
            embeddings: (N, D) of the queries.
            targets: what is similar to what.
            batch_idx: the number of the batch in its epoch.
            stage: the stage.
            **kwargs: `document_embeddings`: (M, D), and whatever later versions add.
        """

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

    # How it is trained; `simlearn.fit` calls these

    def use_loaders(self, train: SimilarityDataLoader | None, validation: SimilarityDataLoader | None) -> None:
        """Choose what the coming `trainer.fit` reads; None reads nothing."""
        given = {TrainStage.TRAIN: train, TrainStage.VALIDATION: validation}
        loaders = {stage: loader for stage, loader in given.items() if loader is not None}
        chunks = self.encode_chunk_size, self.encode_chunk_tokens
        self._session = Session(self.model, self.loss, loaders, *chunks) if loaders else None
        self._evaluation = None

    @property
    def attached_metrics(self) -> list[AttachedMetric]:
        """What `configure_metrics` returned."""
        return self._metrics.metrics

    def train_dataloader(self) -> Any:
        """The bound training loader; see `use_loaders`."""
        return self._bound(TrainStage.TRAIN)

    def val_dataloader(self) -> Any:
        """The bound validation loader, none where there is no validation."""
        has_validation = self._session is not None and TrainStage.VALIDATION in self._session.loaders
        return self._bound(TrainStage.VALIDATION) if has_validation else []

    def _bound(self, stage: TrainStage) -> BoundLoader:
        return self.session.bound(stage, self.trainer.global_rank, self.trainer.world_size)

    @property
    def session(self) -> Session:
        """The data of the running fit.

        Raises:
            RuntimeError: outside of one.
        """
        if self._session is None:
            raise RuntimeError("there is no training data; call simlearn.fit(model, train_dataloader=...)")
        return self._session

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
        self.model.train()
        self.loss.train()

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch; a loader that no `fit` has bound gives something else, and is refused."""
        if not isinstance(batch, Batch):
            raise TypeError(
                f"a step got a {type(batch).__name__}; train with simlearn.fit, which binds the loader to the model"
            )
        return batch.to(device, non_blocking=True)

    def _step(self, batch: Batch, batch_idx: int, stage: TrainStage) -> Tensor:
        queries, documents = self.session.embed(batch)
        relation = batch.relation
        if stage is TrainStage.TRAIN:
            queries, documents, relation = gather_batch(queries, documents, relation)
        result = self.loss.compute(queries, documents, relation, self.model.scorer)
        value, counts = (result.value, result.counts) if isinstance(result, LossResult) else (result, {})
        for name, count in counts.items():
            self._sums.add(f"{stage}_{name}", count)
        if stage is TrainStage.TRAIN and self.memory is not None:
            if self.trainer.global_step >= self.memory.config.start_iteration:
                against_memory = self.memory.compare(self.loss, queries, documents, relation, self.model.scorer)
                self.log("train_xbm_loss", against_memory.detach(), batch_size=batch.size)
                value = value + against_memory
            self.memory.remember(documents, relation)
        if stage is TrainStage.TRAIN:
            self.log("train_loss", value.detach(), prog_bar=True, batch_size=batch.size)
        else:
            self._sums.add(f"{stage}_loss", value, batch.size)
        self._metrics.step(self, self._sums, stage, (queries, documents), relation, batch.size)
        self.process_results(queries.values, relation, batch_idx, stage, document_embeddings=documents.values)
        return value

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of one batch."""
        return self._step(batch, batch_idx, TrainStage.TRAIN)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds to the epoch's validation loss."""
        self._step(batch, batch_idx, TrainStage.VALIDATION)

    def on_train_epoch_end(self) -> None:
        """Log what the epoch's steps counted."""
        self._log_sums(TrainStage.TRAIN)
        if self._session is not None and TrainStage.VALIDATION not in self._session.loaders:
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
        batches = None if self._session is None else self._bound(TrainStage.TRAIN).batch_count
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
        if self.memory is not None:  # switched on only now, it starts empty
            checkpoint["state_dict"].setdefault("memory._extra_state", {})
