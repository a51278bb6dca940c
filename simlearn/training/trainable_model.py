"""The model a user trains: encoders, head and loss by name, everything else supplied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from simlearn.cache import CacheConfig
from simlearn.data import Batch, BoundLoader, SimilarityDataLoader
from simlearn.encoders.towers import ROLES, EncoderSpec, Role, plan
from simlearn.heads import EmptyHead, EncoderHead
from simlearn.losses import LossResult, SimilarityLoss
from simlearn.losses.gathering import gather_batch
from simlearn.models import SimilarityModel
from simlearn.negatives import CrossBatchMemory, XbmConfig
from simlearn.relations import Relation
from simlearn.scoring import DistanceScorer, Scorer
from simlearn.training.epoch_sums import EpochSums
from simlearn.training.frozen_weights import remove_frozen, restore_frozen
from simlearn.training.optimization import default_optimizer, forgotten, linear_warmup
from simlearn.training.session import Session
from simlearn.training.stage import TrainStage


class TrainableModel(pl.LightningModule):
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
        self.loss: SimilarityLoss = _checked(self.configure_loss(), SimilarityLoss, "configure_loss")
        self.model = self._build()
        xbm = self.configure_xbm()
        self.memory = None if xbm is None else CrossBatchMemory(_checked(xbm, XbmConfig, "configure_xbm"), self.loss)
        self.cache_config = self.configure_caches()
        self._session: Session | None = None
        self._sums = EpochSums()

    # What a user defines

    def configure_encoders(self) -> EncoderSpec:
        """The encoders: one, a dictionary (concatenated), `Field`, `Fields` or `TwoTower(query=..., document=...)`."""
        raise NotImplementedError(f"{type(self).__name__} must define configure_encoders")

    def configure_head(self, input_embedding_size: int) -> EncoderHead:
        """The head on top of the encoders; called for each tower. Default: none (`EmptyHead`)."""
        return EmptyHead(input_embedding_size)

    def configure_query_head(self, input_embedding_size: int) -> EncoderHead:
        """The head of the query tower, where it differs. Default: `configure_head`."""
        return self.configure_head(input_embedding_size)

    def configure_document_head(self, input_embedding_size: int) -> EncoderHead:
        """The head of the document tower, where it differs. Default: `configure_head`."""
        return self.configure_head(input_embedding_size)

    def configure_loss(self) -> SimilarityLoss:
        """The loss."""
        raise NotImplementedError(f"{type(self).__name__} must define configure_loss")

    def configure_scorer(self) -> Scorer | None:
        """How embeddings compare. Default: by the loss's distance, and by cosine where it names none."""
        return None

    def configure_caches(self) -> CacheConfig | None:
        """Which frozen encoders are cached. Default: none."""
        return None

    def configure_xbm(self) -> XbmConfig | None:
        """How batches are compared with earlier ones (cross-batch memory). Default: not at all."""
        return None

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

    # How it is built

    def _build(self) -> SimilarityModel:
        parts = plan(self.configure_encoders())
        sizes = {
            role: sum(parts.encoders[part.encoder].embedding_size for part in getattr(parts, role)) for role in ROLES
        }
        if parts.is_symmetric:
            heads: dict[Role, EncoderHead] = {"query": self.configure_head(sizes["query"])}
        else:
            heads = {
                "query": self.configure_query_head(sizes["query"]),
                "document": self.configure_document_head(sizes["document"]),
            }
        for head in heads.values():
            _checked(head, EncoderHead, "configure_head")
        model = SimilarityModel(parts, heads, self._resolve_scorer())
        model.card.name = type(self).__name__
        return model

    def _resolve_scorer(self) -> Scorer:
        scorer, distance = self.configure_scorer(), self.loss.distance
        if scorer is None:
            return self.loss.scorer()
        _checked(scorer, Scorer, "configure_scorer")
        if distance is not None and getattr(scorer, "distance", None) is not distance:
            name = scorer.distance.value if isinstance(scorer, DistanceScorer) else type(scorer).__name__
            raise ValueError(
                f"the loss compares by {distance.value}, the model's scorer by {name}; name the distance in one place"
            )
        return scorer

    # How it is trained; `simlearn.fit` calls these

    def use_loaders(self, train: SimilarityDataLoader | None, validation: SimilarityDataLoader | None) -> None:
        """Choose what the coming `trainer.fit` reads; None reads nothing."""
        given = {TrainStage.TRAIN: train, TrainStage.VALIDATION: validation}
        loaders = {stage: loader for stage, loader in given.items() if loader is not None}
        chunks = self.encode_chunk_size, self.encode_chunk_tokens
        self._session = Session(self.model, self.loss, loaders, *chunks) if loaders else None

    def train_dataloader(self) -> Any:
        """The bound training loader; see `use_loaders`."""
        return self._bound(TrainStage.TRAIN)

    def val_dataloader(self) -> Any:
        """The bound validation loader, none where there is no validation."""
        has_validation = self._session is not None and TrainStage.VALIDATION in self._session.loaders
        return self._bound(TrainStage.VALIDATION) if has_validation else []

    def _bound(self, stage: TrainStage) -> BoundLoader:
        return self._data.bound(stage, self.trainer.global_rank, self.trainer.world_size)

    @property
    def _data(self) -> Session:
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
            self._data.fill_cache(self.cache_config, progress=self.trainer.progress_bar_callback is not None)

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
        queries, documents = self._data.embed(batch)
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

    def on_validation_epoch_end(self) -> None:
        """Log the mean validation loss over all samples of all processes, and the counts."""
        self._log_sums(TrainStage.VALIDATION)

    def _log_sums(self, stage: TrainStage) -> None:
        """The loss as a mean, counts as they are. In training every process has seen the global batch."""
        for name, (total, weight) in self._sums.take(f"{stage}_", stage is not TrainStage.TRAIN).items():
            is_loss = name == f"{stage}_loss"
            self.log(name, total / weight if is_loss else total, prog_bar=is_loss)

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


def _checked(value: Any, kind: type, method: str) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{method} must return a {kind.__name__}, got {type(value).__name__}")
    return value
