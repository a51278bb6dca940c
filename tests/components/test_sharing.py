"""What stands at two places is stored once and is one again: components, parts, and tensors that are tied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_components import CLASSES, SIZE, Around
from safetensors.torch import load_file, save_file
from tiny_models import tiny_fasttext, tiny_sentence_transformer, tiny_vit
from tiny_servables import CLASSES as TINY
from tiny_servables import Letters, Scaled, snapshot
from torch import Tensor, nn

from simlearn.encoders import (
    BagOfTokensEncoder,
    FasttextEncoder,
    HashedNGrams,
    ImageEncoder,
    TextEncoder,
    WordVectors,
)
from simlearn.heads import GatedHead, SequentialHead
from simlearn.models import SimilarityModel
from simlearn.towers import TwoTower


class Own(Letters):
    """Saves itself."""

    def save(self, output_path: str) -> None:
        save_file({"letters": self.letters.weight.detach()}, str(Path(output_path) / "letters.safetensors"))

    @classmethod
    def load(cls, input_path: str) -> Own:
        weights = load_file(str(Path(input_path) / "letters.safetensors"))["letters"]
        encoder = cls(weights.shape[1])
        encoder.letters.weight.data = weights
        return encoder


class Titles(FasttextEncoder):
    @staticmethod
    def get_tokens(record: Any) -> list[str]:
        return str(record).split()


class Loud(FasttextEncoder):
    @staticmethod
    def get_tokens(record: Any) -> list[str]:
        return str(record).upper().split()


KNOWN: tuple[Any, ...] = (*CLASSES, *TINY, Own, Titles, Loud)


class TestSharing:
    """One object, or one tensor, at two places is one again, and saved again the folders are equal to the byte."""

    def check(self, model: SimilarityModel, folder: Path, parts: Any) -> SimilarityModel:
        first, second = parts(model)
        assert first is second
        model.save(folder / "a")
        loaded = SimilarityModel.load(folder / "a", classes=KNOWN)
        first, second = parts(loaded)
        assert first is second
        if isinstance(first, Tensor):
            assert torch.equal(first, parts(model)[0])
        loaded.save(folder / "b")
        assert snapshot(folder / "a") == snapshot(folder / "b")
        return loaded

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    @pytest.mark.parametrize("kinds", [(Letters, Letters), (Own, Letters), (Letters, Own), (Own, Own)])
    def test_a_table_under_two_encoders(self, kinds: Any, dtype: torch.dtype, tmp_path: Path) -> None:
        first, second = kinds[0](3), kinds[1](3)
        second.letters = first.letters
        model = SimilarityModel({"a": first, "b": second}).to(dtype)
        self.check(model, tmp_path, lambda model: [one.letters.weight for one in model.plan.encoders.values()])

    def test_a_table_that_is_tied_to_a_head(self, tmp_path: Path) -> None:
        encoder, head = BagOfTokensEncoder(HashedNGrams(SIZE), SIZE), Around(SIZE, nn.Linear(SIZE, SIZE, bias=False))
        head.inner.weight = encoder.table.weight
        model = SimilarityModel(encoder, head)
        self.check(
            model,
            tmp_path,
            lambda model: [model.plan.encoders["default"].table.weight, model.tower("query").head.inner.weight],
        )

    def test_a_part_of_another_tensor_is_refused(self, tmp_path: Path) -> None:
        first, second = Letters(3), BagOfTokensEncoder(HashedNGrams(8), 3)
        second.table.weight = nn.Parameter(first.letters.weight.detach()[:8])
        with pytest.raises(ValueError, match="is a part of .*share a whole parameter, or copy this one"):
            SimilarityModel({"a": first, "b": second}).save(tmp_path / "a")
        assert not (tmp_path / "a").exists()

    def test_a_vectorizer(self, tmp_path: Path) -> None:
        grams = HashedNGrams(32)
        model = SimilarityModel({"a": BagOfTokensEncoder(grams, 3), "b": BagOfTokensEncoder(grams, 4)})
        self.check(model, tmp_path, lambda model: [one.vectorizer for one in model.plan.encoders.values()])

    def test_a_text_model_with_two_prompts(self, tmp_path: Path) -> None:
        text = tiny_sentence_transformer(tmp_path / "source")
        towers = TwoTower(query=TextEncoder(text, prompt="q: "), document=TextEncoder(text, prompt="d: "))
        loaded = self.check(
            SimilarityModel(towers), tmp_path, lambda model: [one.model for one in model.plan.encoders.values()]
        )
        assert len(list(tmp_path.glob("a/encoders/*/sentence_transformer"))) == 1
        assert {one.arguments()["prompt"] for one in loaded.plan.encoders.values()} == {"q: ", "d: "}

    def test_an_image_model(self, tmp_path: Path) -> None:
        model, processor = tiny_vit()
        encoders = {"a": ImageEncoder(model, processor=processor), "b": ImageEncoder(model, processor=processor)}
        self.check(
            SimilarityModel(encoders), tmp_path, lambda model: [one.model for one in model.plan.encoders.values()]
        )

    def test_word_vectors(self, tmp_path: Path) -> None:
        vectors = WordVectors.from_gensim(tiny_fasttext())
        model = SimilarityModel({"a": Titles(vectors), "b": Loud(vectors, ["max"])})
        self.check(model, tmp_path, lambda model: [one.vectors for one in model.plan.encoders.values()])

    def test_a_head_in_both_roles_and_within_another(self, tmp_path: Path) -> None:
        gate = GatedHead(SIZE)
        heads: Any = {"query": SequentialHead(gate, Scaled(SIZE), gate, output_size=SIZE), "document": gate}
        model = SimilarityModel(TwoTower(query=Letters(SIZE), document=Letters(SIZE)), heads)
        loaded = self.check(
            model, tmp_path, lambda model: [model.tower("query").head.layers[0], model.tower("document").head]
        )
        layers = loaded.tower("query").head.layers
        assert layers[0] is layers[2]
