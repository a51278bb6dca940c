"""Hard negatives mined anew while training, with the model as it is by then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from simlearn.data import BoundLoader, RankingSimilarityDataLoader
from simlearn.embeddings import Embeddings
from simlearn.encoding import encode_in_batches, evaluating
from simlearn.negatives import HardNegatives
from simlearn.samples import SimilarityRankingSample
from simlearn.towers.chunks import embed_in_chunks
from simlearn.training.session import Session
from simlearn.training.stage import TrainStage
from simlearn.training.trainable_model import TrainableModel


class RefreshNegatives(Callback):
    """Mines the negatives of the training data before the first epoch, and again every so many.

    What was hard for last week's model is easy for today's. Embeddings of frozen encoders come from the cache, if there
    is one. Under DDP every process encodes and searches its share, and all train on the same negatives. They are
    part of a checkpoint, so a training that is resumed goes on with those it had.

    ```python
    negatives = HardNegatives(pairs, corpus, num_negatives=4, relative_margin=0.05)
    trainer = pl.Trainer(callbacks=[RefreshNegatives(negatives, every_n_epochs=2)], max_epochs=10)
    simlearn.fit(model, RankingSimilarityDataLoader(negatives, batch_size=64), trainer=trainer)
    ```

    Args:
        negatives: the data set that the training loader reads.
        every_n_epochs: how many epochs between two minings; the first comes at the start.
        batch_size: how many objects are encoded at once.

    Raises:
        ValueError: for numbers below 1; and when training starts on other data.
    """

    def __init__(self, negatives: HardNegatives, every_n_epochs: int = 1, batch_size: int = 64) -> None:
        if every_n_epochs < 1 or batch_size < 1:
            raise ValueError(f"every_n_epochs and batch_size must be at least 1, got {every_n_epochs} and {batch_size}")
        self.negatives = negatives
        self.every_n_epochs = every_n_epochs
        self.batch_size = batch_size
        self._mined_in: int | None = None
        self._all_cached = False
        self._restored = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse other data; make batches of the negatives that a checkpoint brought."""
        loader = pl_module._data.loaders.get(TrainStage.TRAIN) if isinstance(pl_module, TrainableModel) else None
        if loader is None or getattr(loader.source, "data", None) is not self.negatives:
            raise ValueError(
                "RefreshNegatives mines for another data set than the one trained on; train with "
                "RankingSimilarityDataLoader(negatives), and give the same negatives to both"
            )
        self._all_cached = False
        if not self._restored:
            self._mined_in = None
        elif isinstance(pl_module, TrainableModel):
            self._make_table(trainer, pl_module._data)
        self._restored = False

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Mine, where it is time."""
        epoch = trainer.current_epoch
        due = self._mined_in is None or epoch - self._mined_in >= self.every_n_epochs
        if not due or not isinstance(pl_module, TrainableModel):
            return
        session = pl_module._data
        self._cache_all(session)
        with evaluating(pl_module.model), torch.no_grad():
            counts = self.negatives.mine(_Encode(session, self.batch_size), pl_module.model.scorer)
        self._mined_in = epoch
        self._make_table(trainer, session)
        pl_module.log("mined_negatives", float(counts.found))
        pl_module.log("queries_without_negatives", float(counts.empty))

    def state_dict(self) -> dict[str, Any]:
        """The negatives, and the epoch in which they were mined."""
        return {"mined_in": self._mined_in, "negatives": self.negatives.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `state_dict`."""
        self._mined_in = state_dict["mined_in"]
        self.negatives.load_state_dict(state_dict["negatives"])
        self._restored = True

    def _cache_all(self, session: Session) -> None:
        """Encode and tokenise what any mining may bring up, once."""
        if self._all_cached:
            return
        self._all_cached = True
        everything = RankingSimilarityDataLoader(_everything(self.negatives))
        if session.cache is not None and session.cache.tables:
            session.cache.fill(everything, progress=False)
        if session.tokens is not None:
            session.tokens.fill(everything, progress=False)

    def _make_table(self, trainer: pl.Trainer, session: Session) -> None:
        """Where batches are rows of the cache, put the rows of the new negatives in their place."""
        if session._tables.get(TrainStage.TRAIN) is None or session.cache is None:
            return
        if not self._all_cached:
            self._cache_all(session)
        loader = session.loaders[TrainStage.TRAIN]
        table = session.cache.fill(loader, session.loss.relation_check(True), progress=False)
        session._tables[TrainStage.TRAIN] = table
        if isinstance(trainer.train_dataloader, BoundLoader):
            trainer.train_dataloader.table = table


class _Encode:
    """Embeds objects as training does: frozen parts from the cache, the rest by the model."""

    def __init__(self, session: Session, batch_size: int) -> None:
        self.session = session
        self.batch_size = batch_size

    def __call__(self, objects: list[Any], role: str) -> Embeddings:
        tower = self.session.model.tower(role)
        collate, lookups = tower.collator(), self.session.lookups(role)
        device = self.session.model.device

        def embed(batch: list[Any]) -> Embeddings:
            return embed_in_chunks(tower, collate(batch, lookups).to(device), self.session.cache)

        return encode_in_batches(objects, embed, batch_size=self.batch_size)


def _everything(negatives: HardNegatives) -> Sequence[SimilarityRankingSample]:
    """All queries and documents as samples, for the cache to read."""
    queries, documents = negatives.known.queries, negatives.known.documents
    size = -(-len(documents) // len(queries))
    parts = [documents[start : start + size] for start in range(0, size * len(queries), size)]
    return [SimilarityRankingSample(query, part, [1.0] * len(part)) for query, part in zip(queries, parts, strict=True)]
