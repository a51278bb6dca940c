"""The base: settings from the signature, copies, pickles and workers, and files of one's own."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_components import SIZE, Gain, Same
from tiny_servables import Letters, embeddings
from torch import nn
from torch.utils.data import DataLoader

from simlearn.encoders import Encoder, HashedNGrams
from simlearn.heads import EncoderHead, MLPHead
from simlearn.models import SimilarityModel


class Words(Encoder):
    """Its collate function is a bound method, so that the workers get the encoder."""

    def __init__(self, grams: HashedNGrams, hidden: Any = None) -> None:
        super().__init__()
        self.grams = grams
        self.table = nn.EmbeddingBag(grams.buckets, SIZE)
        self.was_given = hidden is not None

    @property
    def embedding_size(self) -> int:
        return SIZE

    def collate(self, texts: list[str]) -> torch.Tensor:
        return torch.tensor([self.grams(text)[:1] for text in texts])

    def get_collate_fn(self) -> Any:
        return self.collate

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.table(batch)


def test_arguments_and_config() -> None:
    head = Gain(SIZE, 2.0)
    assert head.arguments() == head.get_config_dict() == {"input_embedding_size": SIZE, "gain": 2.0}
    assert head.kept_arguments() == {} and head.check_savable() is None


def test_arguments_that_nothing_tells() -> None:
    head = Gain(SIZE)
    vars(head)["_given"] = None
    del head.gain
    with pytest.raises(TypeError, match="Gain takes the arguments 'gain' and keeps them under no such name"):
        head.arguments()


def test_save_and_load(tmp_path: Path) -> None:
    head = MLPHead(SIZE, [3], 2)
    head.save(str(tmp_path / "a"))
    loaded = MLPHead.load(str(tmp_path / "a"))
    assert loaded.fingerprint() == head.fingerprint() and loaded.get_config_dict() == head.get_config_dict()
    assert Same.load.__func__ is EncoderHead.load.__func__  # type: ignore[attr-defined]


def test_copies_share_no_memory_and_are_told_as_one(tmp_path: Path) -> None:
    model = SimilarityModel(Letters(SIZE), MLPHead(SIZE, [3], 2))
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert [one.tobytes() for one in embeddings(other, ["a"])] == [
            one.tobytes() for one in embeddings(model, ["a"])
        ]
        assert other.tower("query").head.fingerprint() == model.tower("query").head.fingerprint()
        with torch.no_grad():
            next(other.tower("query").head.parameters()).add_(1)
        assert other.tower("query").head.fingerprint() != model.tower("query").head.fingerprint()
    torch.save(model, tmp_path / "model.pt")
    again = torch.load(tmp_path / "model.pt", weights_only=False)
    assert embeddings(again, ["a"])[0].tobytes() == embeddings(model, ["a"])[0].tobytes()


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers(start: str) -> None:
    """Also where they are started anew, and the encoder was given what nobody can pickle."""
    encoder = Words(HashedNGrams(64), hidden=lambda: 1)
    loader: Any = DataLoader(
        ["red", "spoon"],
        batch_size=1,
        num_workers=1,
        collate_fn=encoder.get_collate_fn(),
        multiprocessing_context=start,
    )  # type: ignore[arg-type]
    assert torch.equal(torch.cat(list(loader)), encoder.collate(["red", "spoon"]))
