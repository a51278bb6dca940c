"""Encoders, heads and scorers of a user's own, on torch alone, and servables made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from simlearn.embeddings import Embeddings
from simlearn.encoders import Encoder, Prompted
from simlearn.heads import EncoderHead
from simlearn.models import SimilarityModel
from simlearn.scoring import Scorer


class Letters(Encoder):
    """The mean of learnt vectors of a text's characters, with dropout in training."""

    def __init__(self, size: int = 6, seed: int = 0, frozen: bool = False) -> None:
        super().__init__()
        self.config = {"size": size, "seed": seed, "frozen": frozen}
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.letters = nn.Embedding(64, size)
        self.dropout = nn.Dropout(0.5)

    @property
    def trainable(self) -> bool:
        return not self.config["frozen"]

    @property
    def embedding_size(self) -> int:
        return int(self.config["size"])

    def with_prompt(self, prompt: str) -> Prompted:
        return Prompted(self, prompt)

    def get_collate_fn(self) -> LettersCollate:
        return LettersCollate()

    def get_prompted_collate_fn(self, prompt: str) -> LettersCollate:
        return LettersCollate(prompt)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        vectors = self.dropout(self.letters(batch["codes"])) * batch["mask"][..., None]
        return vectors.sum(1) / batch["mask"].sum(1, keepdim=True)

    def get_config_dict(self) -> dict[str, Any]:
        return self.config


class LettersCollate:
    def __init__(self, prompt: str = "") -> None:
        self.prompt = prompt

    def __call__(self, texts: list[str]) -> dict[str, Tensor]:
        rows = [[ord(letter) % 64 for letter in f"{self.prompt}{text} "] for text in texts]
        longest = max(map(len, rows))
        return {
            "codes": torch.tensor([row + [0] * (longest - len(row)) for row in rows]),
            "mask": torch.tensor([[1.0] * len(row) + [0.0] * (longest - len(row)) for row in rows]),
        }


class Numbers(Encoder):
    """A linear layer over one number."""

    def __init__(self, size: int = 3) -> None:
        super().__init__()
        self.linear = nn.Linear(1, size)

    @property
    def embedding_size(self) -> int:
        return self.linear.out_features

    def get_collate_fn(self) -> Any:
        return _column

    def forward(self, batch: Tensor) -> Tensor:
        return self.linear(batch)

    def get_config_dict(self) -> dict[str, Any]:
        return {"size": self.embedding_size}


def _column(numbers: list[float]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float32)[:, None]


class ManyVectors(Letters):
    """A vector for each character."""

    many_vectors = True

    def forward(self, batch: dict[str, Tensor]) -> Any:
        return Embeddings(self.letters(batch["codes"]), batch["mask"].bool())


class Scaled(EncoderHead):
    """Multiplies by a learnt factor: a head that simlearn does not know."""

    def __init__(self, input_embedding_size: int, dropout: float = 0.0) -> None:
        super().__init__(input_embedding_size, dropout)
        self.factor = nn.Parameter(torch.tensor(2.0))

    @property
    def output_size(self) -> int:
        return self.input_embedding_size

    def transform(self, input_vectors: Tensor) -> Tensor:
        return input_vectors * self.factor


class Sharp(Scorer):
    """A dot product with a learnt temperature: a scorer that simlearn does not know."""

    def __init__(self, scale: float = 3.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        return queries.values @ documents.values.T * self.scale


CLASSES = (Letters, Numbers, ManyVectors, Scaled, Sharp)


def load(path: str | Path) -> SimilarityModel:
    return SimilarityModel.load(path, classes=CLASSES)


def embeddings(model: SimilarityModel, objects: list[Any], documents: list[Any] | None = None) -> list[np.ndarray]:
    """What the model makes of queries and documents, to compare models by."""
    return [
        np.asarray(model.encode_query(objects, batch_size=3)),
        np.asarray(model.encode_document(objects if documents is None else documents, batch_size=3)),
    ]


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, with its content."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
