"""The health of the space while it is trained: a few figures an epoch, and a word when it collapses."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from simlearn.distances import Distance
from simlearn.distributed import gather, world_size
from simlearn.embeddings import Embeddings
from simlearn.encoding import evaluating
from simlearn.evaluation.health import Health
from simlearn.relations import Relation, RelationKind
from simlearn.relations.relation import ALL
from simlearn.scoring import DistanceScorer
from simlearn.training.trainable import Trainable

_FIRST = "first"
_LARGEST_MATRIX = 2**24


class SpaceHealth(Callback):
    """Logs the health of the embeddings as `health_<figure>`, and warns once when all objects become one point.

    A batch is encoded without gradients, in eval mode, before the first step and at the ends of epochs, short ones
    taken together; figures are those of at most `sample` of its queries, some milliseconds of work. Under DDP every
    process adds its share, and all log the same.

    Two signs stand for a collapse. Where embeddings compare by an angle it is a mean cosine above 0.98: in the tutorial
    collapsed models end at 0.999 and above, the untrained one starts at 0.89, good ones end below 0.15. Where they
    compare by a distance, an offset common to all raises the cosine though nothing is wrong, and it is a mean distance
    below 2% of what it was before training. The effective rank is logged beside them but decides nothing: two groups
    alone, well separated, have a rank of 1 too.

    Args:
        sample: how many embeddings to look at.
        every_n_steps: also look after so many steps of an epoch; None at the ends of epochs alone. For epochs of hours.
        min_steps: at the end of an epoch look only so many steps after the last time; the first and the last epoch are
            always looked at.
        patience: how many looks in a row must find a collapse before it is told, since some trainings pass through one;
            the end of the training waits for no more.
        max_cosine: the first sign.
        min_distance_share: the second.

    Raises:
        ValueError: for a sample below 3, and steps or patience below 1.

    ```python
    trainer = pl.Trainer(callbacks=[SpaceHealth(every_n_steps=500)])
    ```
    """

    def __init__(
        self,
        sample: int = 256,
        every_n_steps: int | None = None,
        *,
        min_steps: int = 50,
        patience: int = 3,
        max_cosine: float = 0.98,
        min_distance_share: float = 0.02,
    ) -> None:
        if sample < 3:
            raise ValueError(f"sample must be at least 3, got {sample}")
        if patience < 1 or (every_n_steps is not None and every_n_steps < 1):
            raise ValueError(f"patience and every_n_steps must be at least 1, got {patience} and {every_n_steps}")
        self.sample = sample
        self.every_n_steps = every_n_steps
        self.min_steps = min_steps
        self.patience = patience
        self.max_cosine = max_cosine
        self.min_distance_share = min_distance_share
        self.first: Health | None = None
        """Before the first step."""
        self.last: Health | None = None
        """The latest look."""
        self._batch: Any = None
        self._looked_at: int | None = None  # the step
        self._in_a_row = 0
        self._warned = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin anew, unless a checkpoint said how it began."""
        self._batch, self._looked_at, self._in_a_row, self._warned, self.last = None, None, 0, False, None
        if trainer.global_step == 0:
            self.first = None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Look before the first step, to know what the space was."""
        if self.first is None and trainer.global_step == 0:
            self.first = self._look(pl_module, batch)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the batch for the end of the epoch; look where steps are counted."""
        self._batch = batch
        if self.every_n_steps is not None and (batch_idx + 1) % self.every_n_steps == 0:
            self._look_and_tell(pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look, where it is time."""
        last = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        last = last or 0 < trainer.max_steps <= trainer.global_step
        since = None if self._looked_at is None else trainer.global_step - self._looked_at
        if since is None or since >= (1 if last else self.min_steps):
            self._look_and_tell(pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tell of a collapse that was found too late for patience, and let go of the batch."""
        if self._in_a_row and self.last is not None:
            self._warn(pl_module, self.last)
        self._batch = None

    def state_dict(self) -> dict[str, Any]:
        """How the space began, so that a resumed training still knows it."""
        return {_FIRST: None if self.first is None else vars(self.first)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `state_dict`."""
        told = state_dict[_FIRST]
        self.first = None if told is None else Health(**told)

    def is_collapsed(self, health: Health, compares_angles: bool = True) -> bool:
        """Whether figures are a sign of collapse.

        Args:
            health: the figures.
            compares_angles: whether embeddings compare by cosine or dot product, not by a distance.
        """
        if compares_angles:
            return health.mean_cosine > self.max_cosine
        return self.first is not None and health.mean_distance < self.min_distance_share * self.first.mean_distance

    def _look_and_tell(self, module: pl.LightningModule) -> None:
        health = None if self._batch is None else self._look(module, self._batch)
        if health is None:
            return
        self.last, self._looked_at = health, module.trainer.global_step
        for name, value in health.figures().items():
            module.log(f"health_{name}", value, rank_zero_only=False)
        self._in_a_row = self._in_a_row + 1 if self.is_collapsed(health, _compares_angles(module)) else 0
        if self._in_a_row >= self.patience:
            self._warn(module, health)

    def _warn(self, module: pl.LightningModule, health: Health) -> None:
        if self._warned:
            return
        self._warned = True
        if not module.trainer.is_global_zero:
            return
        if _compares_angles(module):
            began = "" if self.first is None else f" ({self.first.mean_cosine:.3f} before training)"
            sign = f"the mean cosine of {health.count} objects is {health.mean_cosine:.4f}{began}"
        else:
            share = health.mean_distance / self.first.mean_distance if self.first is not None else math.nan
            sign = f"the mean distance of {health.count} objects is {share:.2%} of what it was before training"
        warnings.warn(
            f"the space has collapsed: {sign}, the effective rank {health.effective_rank:.1f}. Every object gets nearly"
            f" the same embedding, and {type(getattr(module, 'loss', None)).__name__} no longer tells them apart. "
            "Usual causes are batch-hard triplets without the division by the negatives' distance and wrong labels. "
            'Take a softmax loss (InfoNCELoss, MultipleNegativesRankingLoss) or TripletLoss(mining="semi_hard"), and '
            "look through the data with simlearn.examine; a lower learning rate or another margin does not help",
            stacklevel=2,
        )

    @torch.no_grad()
    def _look(self, module: pl.LightningModule, batch: Any) -> Health | None:
        """The health of a batch over all processes; None where it cannot be measured."""
        if not isinstance(module, Trainable):
            return None
        with evaluating(module.model):
            compared = module.compared(batch)
        if compared is None:
            return None
        queries, documents, relation = compared
        rows = _spread_rows(len(queries), max(1, self.sample // world_size()))
        sampled = pooled(queries.take(rows.to(queries.device)))
        first, second = _similar(sampled, documents, relation, rows)
        sampled = gather(sampled)
        pairs: tuple[Tensor, Tensor] | None = None
        if first.shape[1] == second.shape[1]:  # a scorer may compare towers of unequal size
            pairs = gather(first), gather(second)
        if len(sampled) < 3 or not bool(sampled.isfinite().all()):
            self._tell_of_nan(module, sampled)
            return None
        scorer = module.model.scorer
        by_distance = scorer if isinstance(scorer, DistanceScorer) and not queries.is_multi_vector else None
        return Health.of(sampled, pairs if pairs is not None and len(pairs[0]) else None, by_distance)

    def _tell_of_nan(self, module: pl.LightningModule, sampled: Tensor) -> None:
        bad = int((~sampled.isfinite()).any(dim=1).sum())
        if bad and not self._warned and module.trainer.is_global_zero:
            warnings.warn(
                f"{bad} of {len(sampled)} embeddings are NaN or infinite: training has diverged. Lower the learning "
                "rate, clip gradients (gradient_clip_val=1.0 in the Trainer), or train in bf16 instead of fp16",
                stacklevel=2,
            )
        self._warned = self._warned or bad > 0


def _compares_angles(module: pl.LightningModule) -> bool:
    scorer = module.model.scorer if isinstance(module, Trainable) else None
    distance = getattr(scorer, "distance", Distance.COSINE)
    return distance in (Distance.COSINE, Distance.DOT_PRODUCT)


def _spread_rows(count: int, most: int) -> Tensor:
    """Rows at even distances: batches of groups hold one group after the other."""
    return torch.linspace(0, count - 1, min(count, most)).round().long() if count else torch.empty(0, dtype=torch.long)


def pooled(embeddings: Embeddings) -> Tensor:
    """(N, D): of many vectors an object their mean."""
    values = embeddings.values.float()
    if not embeddings.is_multi_vector:
        return values
    mask = embeddings.full_mask()[..., None]
    return (values * mask).sum(1) / mask.sum(1).clamp(min=1)


def _similar(sampled: Tensor, documents: Embeddings, relation: Relation, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The sampled queries that have a similar document, and one of these each."""
    rows = rows.to(relation.device)
    if relation.kind is RelationKind.PAIRS:
        has, at = relation.paired_scores()[rows] > 0, rows
    else:  # a row at a time only where the whole matrix would be large
        whole = relation.n_queries * relation.n_documents <= _LARGEST_MATRIX
        parts = [ALL] if whole else [slice(row, row + 1) for row in rows.tolist()]
        tiles = [relation.positives(part).to(torch.uint8).max(dim=1) for part in parts if relation.n_documents]
        has = torch.cat([tile.values for tile in tiles]) > 0 if tiles else rows.new_zeros(0, dtype=torch.bool)
        at = torch.cat([tile.indices for tile in tiles]) if tiles else rows
        if whole and tiles:
            has, at = has[rows], at[rows]
    return sampled[has.to(sampled.device)], pooled(documents.take(at[has].to(documents.device)))
