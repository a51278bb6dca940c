"""What every component of simlearn keeps, of whatever kind: saved, loaded, told from others, inherited from."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_servables import snapshot
from torch import nn

from simlearn import encoders, heads, losses, scoring
from simlearn.components import ClassResolver, Component, check_folder, load_component, save_component
from simlearn.components.arguments import construct, parameters_of
from simlearn.components.layout import is_abstract
from simlearn.embeddings import Embeddings
from simlearn.encoders import (
    AsciiFold,
    Encoder,
    HashedNGrams,
    NGrams,
    NGramVectorizer,
    QdrlVectorizer,
    UnicodeFold,
    Vocabulary,
    WordVectors,
)
from simlearn.heads import EncoderHead, Pooling
from simlearn.losses import ClassLoss, GroupLoss, MaskLoss, PairwiseLoss, SimilarityLoss
from simlearn.scoring import CosineScorer, DistanceScorer, DotScorer, MaxSim, PolyAttention, Scorer
from tests.contracts import test_encoders, test_heads, test_losses

OPEN_LOSSES = {SimilarityLoss, GroupLoss, MaskLoss, PairwiseLoss, ClassLoss}
"""Bases that name nothing as required: either of two methods will do."""
DECIDE_NOTHING = {"trainable", "on_disk", "local_files_only"}
"""Arguments that no output depends on."""
RESOLVER = ClassResolver(classes=(test_encoders.Words, test_encoders.ByLength))


@dataclass(frozen=True)
class Case:
    """How to make a component, given an empty folder, and what it says."""

    make: Callable[[Path], Any]
    says: Callable[[Any], Any]


def of_encoder(case: test_encoders.Case) -> Case:
    def says(encoder: Encoder) -> Any:
        return test_encoders.encode(encoder.eval(), case.objects())

    return Case(lambda folder: case.build(folder, False), says)


def of_head(cls: type[EncoderHead]) -> Case:
    vectors, meta = test_heads.vectors((test_heads.ROWS, test_heads.SIZE)), test_heads.meta_for(cls)
    return Case(lambda folder: test_heads.made(cls, 0.25), lambda head: head.eval()(vectors, meta))


def of_pooling(cls: type[Pooling]) -> Case:
    texts = test_heads.ragged(5, 0.0)
    texts = Embeddings(texts.values.double(), texts.mask)

    def says(head: Pooling) -> Any:
        # Small products differ in the last bit by where in memory the weights happen to lie.
        return head.double().eval().embed(texts).values.round(decimals=10)

    return Case(lambda folder: test_heads.pooling(cls, 0.25), says)


def of_loss(make: Callable[[], SimilarityLoss]) -> Case:
    known = make()
    batch = test_losses.batch(known, min(known.relations), 3, 6)

    def says(loss: SimilarityLoss) -> Any:
        return test_losses.result_of(loss.double().eval(), *batch).value

    return Case(lambda folder: test_losses.made(make), says)


def of_scorer(make: Callable[[], Scorer]) -> Case:
    rows = Embeddings(test_heads.vectors((5, 4)))
    return Case(lambda folder: make(), lambda scorer: scorer(rows, rows))


def of_many(make: Callable[[], Scorer], many_documents: bool) -> Case:
    texts, rows = test_heads.ragged(5, 0.0), Embeddings(test_heads.vectors((5, test_heads.SIZE)))
    texts = Embeddings(texts.values.double(), texts.mask)
    documents = texts if many_documents else Embeddings(rows.values.double())
    return Case(lambda folder: make(), lambda scorer: scorer.double()(texts, documents).round(decimals=10))


def codes(text: str) -> torch.Tensor:
    return torch.tensor([ord(character) for character in text])


def word_vectors(folder: Path) -> WordVectors:
    encoder = test_encoders.words(folder, False)
    return encoder.vectors


CASES: dict[type, list[Case]] = {
    **{cls: [of_encoder(case) for case in cases.values()] for cls, cases in test_encoders.FACTORIES.items()},
    **{cls: [of_head(cls)] for cls in test_heads.FACTORIES},
    **{cls: [of_pooling(cls)] for cls in test_heads.POOLINGS},
    **{cls: [of_loss(make) for make in makes] for cls, makes in test_losses.FACTORIES.items()},
    CosineScorer: [of_scorer(CosineScorer)],
    DotScorer: [of_scorer(DotScorer)],
    DistanceScorer: [of_scorer(lambda: DistanceScorer("euclidean"))],
    MaxSim: [of_many(lambda: MaxSim("mean", normalize=True), many_documents=True)],
    PolyAttention: [
        of_many(lambda: PolyAttention("sqrt", scale=0.06), many_documents=False),
        of_many(lambda: PolyAttention("multihead", embedding_size=test_heads.SIZE), many_documents=False),
    ],
    HashedNGrams: [
        Case(lambda folder: HashedNGrams(64, (2, 3)), lambda grams: torch.tensor(grams("red spoon"))),
        Case(lambda folder: HashedNGrams(64, [4]), lambda grams: torch.tensor(grams("red spoon"))),
    ],
    AsciiFold: [Case(lambda folder: AsciiFold(True), lambda fold: codes(fold("Łódź/a - b")))],
    UnicodeFold: [Case(lambda folder: UnicodeFold(), lambda fold: codes(fold("Straße №5")))],
    NGrams: [Case(lambda folder: NGrams(word_pairs=True), lambda grams: codes(" ".join(grams("red spoon"))))],
    Vocabulary: [Case(lambda folder: Vocabulary(["red", "spoon"]), lambda words: codes(" ".join(words)))],
    NGramVectorizer: [
        Case(
            lambda folder: NGramVectorizer(Vocabulary(["red", "~<re"]), characters=[3, 2], limits={"words": 2}),
            lambda vectorize: torch.tensor(vectorize("a red spoon")),
        )
    ],
    QdrlVectorizer: [
        Case(
            lambda folder: QdrlVectorizer(
                Vocabulary(["red"]),
                word_unigrams_limit=2,
                word_bigrams_limit=2,
                char_trigrams_limit=2,
                num_oov_tokens=9,
            ),
            lambda vectorize: vectorize.padded(["a red spoon of wood"]),
        )
    ],
    WordVectors: [Case(word_vectors, lambda vectors: torch.from_numpy(vectors.look_up(["red", "größer"])[0]))],
}
EACH = [
    pytest.param(case, id=f"{cls.__name__}-{number}")
    for cls, cases in CASES.items()
    for number, case in enumerate(cases)
]
each_case = pytest.mark.parametrize("case", EACH)


def load(folder: Path, *classes: type) -> Any:
    check_folder(folder)
    return load_component(folder, Component, ClassResolver((*RESOLVER.classes, *classes)))  # type: ignore[type-abstract]


def same(first: Any, second: Any, says: Callable[[Any], Any]) -> None:
    assert type(second) is type(first)
    assert second.get_config_dict() == first.get_config_dict()
    assert second.fingerprint() == first.fingerprint()
    torch.testing.assert_close(says(second), says(first), rtol=0, atol=0, equal_nan=True)


def test_no_component_is_forgotten() -> None:
    rooms = (encoders, heads, losses, scoring)
    public = {getattr(room, name) for room in rooms for name in room.__all__}
    components = {cls for cls in public if inspect.isclass(cls) and issubclass(cls, Component)}
    open_bases = {cls for cls in components if is_abstract(cls)} | OPEN_LOSSES
    assert open_bases - {cls for cls in CASES if is_abstract(cls)} >= OPEN_LOSSES | {Encoder, EncoderHead, Scorer}
    assert components - open_bases == CASES.keys() - open_bases, "give each component a case in this file"
    assert CASES.keys() <= components


@each_case
def test_saved_and_loaded(case: Case, tmp_path: Path) -> None:
    component = case.make(tmp_path)
    if isinstance(component, nn.Module) and not isinstance(component, Encoder):
        with torch.no_grad():
            for parameter in component.parameters():  # away from what a constructor makes
                parameter.mul_(1.25)
    random_state = torch.get_rng_state()
    modes = modes_of(component)
    save_component(component, tmp_path / "a")
    assert torch.equal(torch.get_rng_state(), random_state) and modes_of(component) == modes
    loaded = load(tmp_path / "a")
    save_component(loaded, tmp_path / "b")
    assert snapshot(tmp_path / "a") == snapshot(tmp_path / "b")
    same(component, loaded, case.says)


def modes_of(component: Any) -> Any:
    if not isinstance(component, nn.Module):
        return None
    return [one.training for one in component.modules()], [one.requires_grad for one in component.parameters()]


TEXTS = ["euclidean", "manhattan", "dot_product", "silu", "gelu", "layer", "all", "any", "mean", "TripletMarginLoss"]


def others(value: Any) -> list[Any]:
    """What an argument could be instead, most likely first."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value * 2]
    if isinstance(value, float):
        return [value * 0.5, value + 0.25, value * 2]
    if isinstance(value, str):
        return [text for text in TEXTS if text != value]
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], (int, float)):
        return [[one + 1 for one in value], [one * 0.5 for one in value], list(value)[:-1], [*value, 7]]
    if isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value):
        return [[*value, "min"]]
    return ["query: ", *TEXTS, 0.5, 1, True] if value is None else []


def construct_again(component: Any, **changes: Any) -> Any:
    torch.manual_seed(0)
    return construct(type(component), {**component.arguments(), **changes})


@each_case
def test_another_argument_gives_another_fingerprint(case: Case, tmp_path: Path) -> None:
    component = case.make(tmp_path)
    told = construct_again(component).fingerprint()
    assert construct_again(component).fingerprint() == told
    arguments = {
        name: component.arguments().get(name, parameter.default)
        for name, parameter in parameters_of(type(component)).items()
    }
    changed = []
    for name in arguments.keys() - DECIDE_NOTHING:
        for other in others(arguments[name]):
            try:
                altered = construct_again(component, **{name: other})
            except (TypeError, ValueError, RuntimeError, AttributeError):
                continue
            if altered.get_config_dict() == component.get_config_dict():  # its constructor took it for the same
                continue
            assert altered.fingerprint() != told, f"{name}={other!r}"
            changed.append(name)
            break
    values = [value for name, value in arguments.items() if name not in DECIDE_NOTHING]
    assert changed or not any(map(others, values)), "no argument of it could be changed"


def kept(self: Any, gain: float) -> None:
    object.__setattr__(self, "gain", gain)


def kept_otherwise(self: Any, gain: float) -> None:
    object.__setattr__(self, "factor", gain)


def lost(self: Any, gain: float) -> None:
    object.__setattr__(self, "factors", [gain, gain])


WAYS = {"under its name": kept, "under another name": kept_otherwise, "as something else": lost}


def subclass_of(cls: Any, passing: str, keep: Callable[[Any, float], None]) -> type:
    """One with an argument `gain` more, as it could be written."""

    class ByName(cls):
        def __init__(self, *args: Any, gain: float = 1.0, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            keep(self, gain)

    class AmongOthers(cls):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            gain = kwargs.pop("gain", 1.0)
            super().__init__(*args, **kwargs)
            keep(self, gain)

    class ByPlace(cls):
        def __init__(self, gain: float = 1.0, /, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            keep(self, gain)

    return {"by name": ByName, "among **kwargs": AmongOthers, "by place": ByPlace}[passing]


def made(cls: type, base: type, arguments: dict[str, Any], passing: str) -> Any:
    kinds = {name: parameter.kind for name, parameter in parameters_of(base).items()}
    places = [one for name in arguments if kinds[name] is inspect.Parameter.VAR_POSITIONAL for one in arguments[name]]
    names = {name: one for name, one in arguments.items() if kinds[name] is not inspect.Parameter.VAR_POSITIONAL}
    torch.manual_seed(0)
    return cls(5.0, *places, **names) if passing == "by place" else cls(*places, gain=5.0, **names)


@pytest.mark.parametrize("keep", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("passing", ["by name", "among **kwargs", "by place"])
@pytest.mark.parametrize("case", [pytest.param(cases[0], id=cls.__name__) for cls, cases in CASES.items()])
def test_a_subclass_with_an_argument_more(
    case: Case, passing: str, keep: Callable[[Any, float], None], tmp_path: Path
) -> None:
    """It survives, or is refused when it is saved; it never loads as something else."""
    plain = case.make(tmp_path)
    cls = subclass_of(type(plain), passing, keep)
    component = made(cls, type(plain), plain.arguments(), passing)
    if isinstance(component, nn.Module):
        component.load_state_dict(plain.state_dict(), strict=False)  # what it was fitted with
    try:
        save_component(component, tmp_path / "a")
    except TypeError as error:
        assert "gain" in str(error) or "factor" in str(error), error
        assert not (tmp_path / "a").exists()
        assert isinstance(plain, (WordVectors, losses.PytorchMetricLearningWrapper)), error
        return
    loaded = load(tmp_path / "a", cls)
    same(component, loaded, case.says)
    for name in ("gain", "factor", "factors"):
        assert getattr(loaded, name, None) == getattr(component, name, None)
