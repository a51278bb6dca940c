"""What use, or somebody's hand, makes of a component after it was constructed is kept, told, or refused."""

from __future__ import annotations

import collections
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import SmallModel, quiet_trainer
from tiny_models import tiny_sentence_transformer, tiny_tokenizer
from torch import Tensor, nn

from simlearn import (
    BagOfTokensEncoder,
    Encoder,
    HashedNGrams,
    MLPHead,
    PairsSimilarityDataLoader,
    SimilarityModel,
    SimilarityPairSample,
    TextEncoder,
    fit,
)


class Numbered(Encoder):
    """Gives words numbers as they come, as users do; the numbers decide the vectors."""

    def __init__(self, words: list[str], size: int = 3) -> None:
        super().__init__()
        self.numbers = {word: number for number, word in enumerate(words)}
        self.table = nn.EmbeddingBag(50, size)

    embedding_size = property(lambda self: self.table.embedding_dim)

    def get_collate_fn(self) -> Any:
        return self.collate

    def collate(self, texts: list[str]) -> list[Tensor]:
        return [
            torch.tensor([self.numbers.setdefault(word, len(self.numbers)) for word in text.split()]) for text in texts
        ]

    def forward(self, batch: list[Tensor]) -> Tensor:
        return torch.cat([self.table(numbers[None]) for numbers in batch])


class Holding(Encoder):
    """Holds what it is given."""

    def __init__(self, held: Any) -> None:
        super().__init__()
        self.held = held

    embedding_size = 1

    def forward(self, batch: Tensor) -> Tensor:
        return batch


def test_words_that_were_numbered_as_they_came_are_served_with_these_numbers(tmp_path: Path) -> None:
    encoder = Numbered(["red"])
    model = SimilarityModel(encoder)
    texts = ["spoon red", "blue fork", "red knife"]
    expected = model.encode(texts)
    assert len(encoder.numbers) == 5
    model.save(tmp_path / "servable")
    loaded = SimilarityModel.load(tmp_path / "servable", classes=(Numbered,))
    for order in (texts[::-1], texts):  # another order would give words that are new other numbers
        vectors = {text: vector.tolist() for text, vector in zip(order, loaded.encode(order), strict=True)}
        assert [vectors[text] for text in texts] == expected.tolist()


def test_an_argument_counts_where_it_only_filled_a_memory() -> None:
    one, other = Numbered(["red", "spoon"]), Numbered(["a", "b", "spoon", "red"])
    other.load_state_dict(one.state_dict())
    assert one.fingerprint() != other.fingerprint()


def test_a_tokenizer_is_told_with_its_truncation() -> None:
    told = []
    for length in (4, 64):
        tokenizer = tiny_tokenizer().backend_tokenizer
        tokenizer.enable_truncation(length)
        told.append(Holding(tokenizer).fingerprint())
    assert told[0] != told[1]


def test_prompts_that_were_assigned_survive(tmp_path: Path) -> None:
    model = tiny_sentence_transformer(tmp_path / "source")
    model.prompts = {"q": "query: "}
    SimilarityModel(TextEncoder(model)).save(tmp_path / "servable")
    (loaded,) = SimilarityModel.load(tmp_path / "servable").plan.encoders.values()
    assert isinstance(loaded, TextEncoder) and loaded.model.prompts["q"] == "query: "


def hooked(model: Any) -> None:
    model[1].register_forward_hook(lambda module, given, made: made)


def other_epsilon(model: Any) -> None:
    next(part for part in model.modules() if isinstance(part, nn.LayerNorm)).eps = 0.5


def patched(model: Any) -> None:
    pool = model[1].forward
    model[1].forward = lambda features, **options: pool(features, **options)


@pytest.mark.parametrize("change", [hooked, other_epsilon, patched])
def test_a_model_that_was_changed_by_hand_is_another_and_no_file_holds_it(tmp_path: Path, change: Any) -> None:
    model = tiny_sentence_transformer(tmp_path / "source")
    before = TextEncoder(model).fingerprint()
    change(model)
    assert TextEncoder(model).fingerprint() != before
    with pytest.raises(TypeError, match="changed by hand since it was loaded"):
        SimilarityModel(TextEncoder(model)).save(tmp_path / "servable")
    assert not (tmp_path / "servable").exists()


def test_a_layer_with_hooks_is_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        layer = torch.nn.utils.weight_norm(nn.Linear(2, 2))
    with pytest.raises(TypeError, match="a Linear has hooks, as weight_norm adds them"):
        SimilarityModel(Holding(layer)).save(tmp_path / "servable")


def test_a_vectorizer_that_was_exchanged_survives(tmp_path: Path) -> None:
    encoder = BagOfTokensEncoder(HashedNGrams(64), 8)
    encoder.vectorizer = HashedNGrams(64, (2,))
    model = SimilarityModel(encoder)
    model.save(tmp_path / "servable")
    loaded = SimilarityModel.load(tmp_path / "servable")
    assert loaded.encode(["spoon"]).tolist() == model.encode(["spoon"]).tolist()


def test_a_counter_is_refused_with_its_cure(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"held is a Counter, which no file holds; give dict\(\.\.\.\) of it"):
        SimilarityModel(Holding(collections.Counter("abc"))).save(tmp_path / "servable")


@pytest.mark.parametrize("lengths", [tuple(range(1, 99_999)), (3, 3), (101,)])
def test_lengths_that_would_take_gigabytes(lengths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="distinct and at most 100"):
        HashedNGrams(64, lengths)


class OwnFiles(Holding):
    """Writes what no servable may hold, as many of Quaterion's encoders did."""

    def save(self, output_path: str) -> None:
        torch.save(self.state_dict(), Path(output_path) / "weights.pt")

    @classmethod
    def load(cls, input_path: str) -> Any:
        return cls(None)


def test_files_that_no_servable_may_hold_are_found_before_the_first_step() -> None:
    class Model(SmallModel):
        def configure_encoders(self) -> Any:
            return OwnFiles(None)

        def configure_head(self, input_embedding_size: int) -> Any:
            return MLPHead(input_embedding_size, [], 2)

    samples = [SimilarityPairSample(torch.tensor([number]), torch.tensor([number + 1.0])) for number in range(8)]
    with pytest.warns(UserWarning, match=r"cannot be saved.*weights\.pt"):
        fit(Model(), PairsSimilarityDataLoader(samples, batch_size=4), trainer=quiet_trainer(max_epochs=1))
