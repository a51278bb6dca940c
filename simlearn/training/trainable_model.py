"""The model a user trains: encoders, head and loss by name, everything else supplied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from simlearn.data import Batch, SimilarityDataLoader
from simlearn.evaluation import AttachedMetric
from simlearn.negatives import Memory
from simlearn.relations import Relation, RelationKind
from simlearn.training.data_checks import check_data, check_ids, check_kind, find_classes
from simlearn.training.metric_log import MetricLog
from simlearn.training.model_checks import check_model, warn_if_unsavable
from simlearn.training.objective import Objective, Outcome
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
        super().__init__(
            learning_rate=learning_rate,
            encoder_learning_rate=encoder_learning_rate,
            weight_decay=weight_decay,
            warmup=warmup,
        )
        self.encode_chunk_size = encode_chunk_size
        self.encode_chunk_tokens = encode_chunk_tokens
        self.loss = self._build_loss()
        self.model = self._build_model(self.loss)
        self.memories = nn.ModuleDict(self._build_memories(self.loss))
        self.cache_config = self.configure_caches()
        self._metrics = MetricLog(self.configure_metrics())

    def process_results(
        self, embeddings: Tensor, targets: Relation, batch_idx: int, stage: TrainStage, **kwargs: Any
    ) -> None:
        """Called after every step; does nothing by default.

        Args:
            embeddings: (N, D) of the queries; in training those of all processes.
            targets: what is similar to what.
            batch_idx: the number of the batch in its epoch.
            stage: the stage.
            **kwargs: `document_embeddings`: (M, D), and whatever later versions add.
        """

    @property
    def attached_metrics(self) -> list[AttachedMetric]:
        """What `configure_metrics` returned."""
        return self._metrics.metrics

    # How it is trained; `simlearn.fit` asks these

    def bind(self, loaders: Mapping[TrainStage, SimilarityDataLoader]) -> Session:
        """See `Trainable`."""
        keeps = any(memory.encodes_again for memory in self._memories().values())
        return Session(self.model, self.loss, loaders, self.encode_chunk_size, self.encode_chunk_tokens, keeps)

    def check(self, train: SimilarityDataLoader, validation: SimilarityDataLoader | None, world_size: int) -> None:
        """See `Trainable`; also finds the classes of losses that learn a vector for each."""
        check_model(self, self.model, train, world_size, self.encode_chunk_size, self.encode_chunk_tokens)
        check_data(train, self.loss, world_size)
        is_counted = train.relation is RelationKind.PAIRS and not train.is_stream
        for memory in self._memories().values():
            memory.check(train.relation, len(train.source) if is_counted else None)  # type: ignore[arg-type]
        if self._memories():
            check_ids(train)
        if validation is not None:
            check_kind(validation, self.loss)
        warn_if_unsavable(self.model)
        find_classes(self.loss, train)

    def trained_parts(self) -> list[nn.Module]:
        """The model and the loss."""
        return [self.model, self.loss]

    @property
    def objective(self) -> Objective:
        """What a step makes of embeddings, of the parts of the moment: a loss that was exchanged counts at once."""
        memories = list(self._memories().values())
        watched = type(self).process_results is not TrainableModel.process_results
        return Objective(self.loss, self.model.scorer, memories, self._metrics, watched)

    def step(self, batch: Batch, batch_idx: int, stage: TrainStage) -> Outcome:
        """See `Trainable`."""
        queries, documents = self.session.embed(batch)
        step = self.trainer.global_step
        earlier = self.session.earlier(stage)
        outcome = self.objective.step(queries, documents, batch.relation, stage, step, batch.origins, earlier)
        values, others = outcome.queries.values, outcome.documents.values
        self.process_results(values, outcome.relation, batch_idx, stage, document_embeddings=others)
        return outcome

    def facts(self) -> dict[str, Any]:
        """The loss with its settings."""
        try:
            settings = ", ".join(f"{key}={value}" for key, value in self.loss.get_config_dict().items())
        except TypeError:  # of a loss that keeps its arguments to itself, its class is all that can be said
            settings = "..."
        return {"loss": f"{type(self.loss).__name__}({settings})"}

    def _memories(self) -> dict[str, Memory]:
        return {name: memory for name, memory in self.memories.items() if isinstance(memory, Memory)}

    def start_together(self) -> None:
        """See `Trainable`; memories take their shares."""
        # DDP would send every buffer of the first process to the others in every step.
        names = [f"memories.{name}" for name, _ in self.memories.named_buffers()]
        ignore: Any = DistributedDataParallel._set_params_and_buffers_to_ignore_for_model
        ignore(self, names)
        for memory in self._memories().values():
            memory.start()

    def finish_together(self) -> None:
        """See `Trainable`; memories become whole again."""
        for memory in self._memories().values():
            memory.finish()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """See `Trainable`; what memories keep in other processes goes into the checkpoint too."""
        super().on_save_checkpoint(checkpoint)
        for name, memory in self._memories().items():
            checkpoint["state_dict"] |= {f"memories.{name}.{key}": value for key, value in memory.whole().items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """See `Trainable`; memories that are switched on only now start empty."""
        super().on_load_checkpoint(checkpoint)
        state = checkpoint["state_dict"]
        if "memory._extra_state" in state:  # as version 0.1 named it
            state["memories.xbm._extra_state"] = state.pop("memory._extra_state")
        for name, memory in self._memories().items():
            prefix = f"memories.{name}."
            kept = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
            own = {**memory.state_dict(), **(memory.share_of(kept) if kept else {})}
            state.update({f"{prefix}{key}": value for key, value in own.items()})
