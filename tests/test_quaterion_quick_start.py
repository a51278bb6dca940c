"""The quick start page of Quaterion, with `Quaterion.fit` written as `simlearn.fit` and the imports changed."""

from __future__ import annotations

import json
import warnings
from os import makedirs
from os.path import join
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from tiny_models import tiny_sentence_transformer
from torch import Tensor, nn
from torch.utils.data import Dataset

import simlearn
from simlearn import (
    Encoder,
    EncoderHead,
    GroupSimilarityDataLoader,
    SimilarityGroupSample,
    SimilarityLoss,
    SimilarityModel,
    SkipConnectionHead,
    TrainableModel,
    TripletLoss,
)

THINGS = ("the thing I use for soup", "it gives light at night", "something to sit on")


class JsonDataset(Dataset[Any]):
    def __init__(self, path: str) -> None:
        super().__init__()
        with open(path) as f:
            self.data = [json.loads(line) for line in f.readlines()]

    def __getitem__(self, index: int) -> SimilarityGroupSample:
        item = self.data[index]
        return SimilarityGroupSample(obj=item, group=hash(item["label"]))

    def __len__(self) -> int:
        return len(self.data)


class DescriptionEncoder(Encoder):
    def __init__(self, transformer: Any, pooling: Any) -> None:
        super().__init__()
        self.transformer = transformer
        self.pooling = pooling
        self.encoder = nn.Sequential(self.transformer, self.pooling)

    @property
    def trainable(self) -> bool:
        return False

    @property
    def embedding_size(self) -> int:
        return self.transformer.get_word_embedding_dimension()

    def forward(self, batch: Any) -> Tensor:
        return self.encoder(batch)["sentence_embedding"]

    def collate_descriptions(self, batch: list[Any]) -> Any:
        descriptions = [record["description"] for record in batch]
        return self.transformer.tokenize(descriptions)

    def get_collate_fn(self) -> Any:
        return self.collate_descriptions

    def save(self, output_path: str) -> None:
        for name, part in (("transformer", self.transformer), ("pooling", self.pooling)):
            makedirs(join(output_path, name))  # which sentence-transformers 6 leaves to its caller
            part.save(join(output_path, name))

    @classmethod
    def load(cls, input_path: str) -> Encoder:
        from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

        transformer = Transformer.load(join(input_path, "transformer"))
        pooling = Pooling.load(join(input_path, "pooling"))
        return cls(transformer=transformer, pooling=pooling)


class Model(TrainableModel):
    def __init__(self, lr: float, path: str) -> None:
        self._lr = lr
        self._path = path
        super().__init__()

    def configure_encoders(self) -> Encoder | dict[str, Encoder]:
        from sentence_transformers import SentenceTransformer

        pre_trained = SentenceTransformer(self._path)
        transformer, pooling = pre_trained[0], pre_trained[1]
        return DescriptionEncoder(transformer, pooling)

    def configure_head(self, input_embedding_size: int) -> EncoderHead:
        return SkipConnectionHead(input_embedding_size)

    def configure_loss(self) -> SimilarityLoss:
        return TripletLoss()

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.model.parameters(), lr=self._lr)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_the_page_runs(tmp_path: Path) -> None:
    # Labels that a random encoder cannot know, so that there is something to learn.
    lines = [json.dumps({"description": f"{text} {n}", "label": f"even {n % 2}"}) for text in THINGS for n in range(8)]
    data = tmp_path / "my_data.json"
    data.write_text("\n".join(lines))
    train_dataloader = GroupSimilarityDataLoader(JsonDataset(str(data)), batch_size=12)
    val_dataloader = GroupSimilarityDataLoader(JsonDataset(str(data)), batch_size=12)
    source = tmp_path / "encoder"
    tiny_sentence_transformer(source).save(str(source), create_model_card=False)

    model = Model(lr=0.01, path=str(source))
    before = model.model.encode([json.loads(line) for line in lines])
    simlearn.fit(trainable_model=model, trainer=None, train_dataloader=train_dataloader, val_dataloader=val_dataloader)

    trainer_kwargs = simlearn.trainer_defaults()
    trainer_kwargs["min_epochs"] = 10
    trainer_kwargs["callbacks"].append(pl.Callback())
    trainer = pl.Trainer(**trainer_kwargs)
    simlearn.fit(
        trainable_model=model, trainer=trainer, train_dataloader=train_dataloader, val_dataloader=val_dataloader
    )
    assert trainer.current_epoch == 10

    model.save_servable(str(tmp_path / "my_similarity_model"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        served = SimilarityModel.load(tmp_path / "my_similarity_model", classes=(DescriptionEncoder,))
    objects = [json.loads(line) for line in lines]
    np.testing.assert_allclose(served.encode(objects), model.model.encode(objects), rtol=1e-5, atol=1e-6)
    assert not np.allclose(served.encode(objects), before)
