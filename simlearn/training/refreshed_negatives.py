"""Hard negatives mined anew while training, with the model as it is by then."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from simlearn.embeddings import Embeddings
from simlearn.encoding import evaluating
from simlearn.negatives import HardNegatives
from simlearn.training.stage import TrainStage
from simlearn.training.trainable import Trainable


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
        self._all_kept = False
        self._restored = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse other data. Of negatives that a checkpoint brought, the caches know already."""
        loader = pl_module.reads(TrainStage.TRAIN) if isinstance(pl_module, Trainable) else None
        if loader is None or getattr(loader.source, "data", None) is not self.negatives:
            raise ValueError(
                "RefreshNegatives mines for another data set than the one trained on; train with "
                "RankingSimilarityDataLoader(negatives), and give the same negatives to both"
            )
        self._all_kept = False
        if not self._restored:
            self._mined_in = None
        self._restored = False

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Mine, where it is time."""
        epoch = trainer.current_epoch
        due = self._mined_in is None or epoch - self._mined_in >= self.every_n_epochs
        if not due or not isinstance(pl_module, Trainable):
            return
        session, known = pl_module.session, self.negatives.known
        if not self._all_kept:  # whatever any mining may bring up is encoded, or tokenised, once
            self._all_kept = True
            session.keep(known.queries, "query")
            session.keep(known.documents, "document")

        def encode(objects: list[Any], role: str) -> Embeddings:
            return session.encode(objects, role, batch_size=self.batch_size)

        with evaluating(pl_module.model), torch.no_grad():
            counts = self.negatives.mine(encode, pl_module.model.scorer)
        self._mined_in = epoch
        session.refresh(TrainStage.TRAIN)
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
