from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simlearn import KeyboardTypos
from simlearn.data.typos import neighbours

WORDS = "czerwona lampa stojaca 120 cm do salonu led biurko".split()


def rate(typos: KeyboardTypos, texts: int = 2000) -> float:
    """The share of tokens that change."""
    text = " ".join(WORDS)
    changed = (typos(text, seed).split() for seed in range(texts))
    return sum(a != b for words in changed for a, b in zip(words, WORDS, strict=True)) / texts / len(WORDS)


@pytest.mark.parametrize("probability", [0.25, 0.5, 0.75, 1.0])
def test_rates_are_exact(probability: float) -> None:
    assert rate(KeyboardTypos(probability)) == pytest.approx(probability, abs=0.012)


@pytest.mark.parametrize(("probability", "measured"), [(0.25, 0.229), (0.5, 0.453), (0.75, 0.677), (1.0, 0.905)])
def test_with_operations_that_change_nothing_rates_are_those_of_qdrl(probability: float, measured: float) -> None:
    """Its words are not known; how many digits and doubled letters they have moves the rate by a few hundredths."""
    assert rate(KeyboardTypos(probability, no_ops=True)) == pytest.approx(measured, abs=0.035)


def test_one_text_and_seed_give_one_result_in_every_process() -> None:
    random.seed(3)
    state = random.getstate()
    found = [KeyboardTypos(0.7)("red spoon of wood", seed) for seed in range(20)]
    assert random.getstate() == state, "nobody else's random numbers are touched"
    code = "from simlearn import KeyboardTypos; print([KeyboardTypos(0.7)('red spoon of wood', s) for s in range(20)])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output == f"{found}\n" and len(set(found)) > 10


def edits(token: str) -> dict[str, set[str]]:
    """All results of each operation."""
    near = neighbours("qwerty")
    slips = {
        token[:i] + (n.upper() if c.isupper() else n) + token[i + 1 :]
        for i, c in enumerate(token)
        for n in near.get(c.lower(), "")
    }
    swaps = {token[:i] + token[i + 1] + token[i] + token[i + 2 :] for i in range(len(token) - 1)}
    return {
        "substitute": slips,
        "delete": {token[:i] + token[i + 1 :] for i in range(len(token))},
        "transpose": swaps - {token},
    }


@given(st.text(min_size=2, max_size=6).filter(lambda text: not any(c.isspace() for c in text)), st.integers(0, 50))
def test_a_token_has_exactly_one_error(token: str, seed: int) -> None:
    found = KeyboardTypos(1.0)(token, seed)
    assert any(found in results for results in edits(token).values())
    for operation, results in edits(token).items():
        found = KeyboardTypos(1.0, mix={operation: 1.0})(token, seed)  # type: ignore[dict-item]
        assert found in (results or {token})


@given(st.text(max_size=30), st.integers())
def test_what_stays(text: str, seed: int) -> None:
    assert KeyboardTypos(0.0)(text, seed) == text
    typed = KeyboardTypos(1.0)(text, seed)
    assert len(typed.split()) == len(text.split())
    for before, after in zip(text.split(), typed.split(), strict=True):
        assert len(before) > 1 or after == before, "tokens of one letter stay"


def test_shares_of_the_operations() -> None:
    typos = KeyboardTypos(1.0)
    lengths = [len(typos("abcdefgh", seed)) for seed in range(4000)]
    assert lengths.count(7) / 4000 == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("layout", ["qwerty", "qwertz", "azerty"])
def test_neighbours_are_mutual(layout: Any) -> None:
    near = neighbours(layout)
    assert len(near) == 26 and all(letter in near[other] for letter, others in near.items() for other in others)
    assert all(2 <= len(others) <= 7 for others in near.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"probability": 1.5}, "from 0 to 1"),
        ({"probability": 0.5, "mix": {"insert": 1}}, "names \\['insert'\\]"),
        ({"probability": 0.5, "mix": {"delete": 0}}, "not all 0"),
        ({"probability": 0.5, "mix": {"delete": -1, "substitute": 2}}, "0 or more"),
        ({"probability": 0.5, "layout": "dvorak"}, "layout must be one of"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KeyboardTypos(**options)
    with pytest.raises(TypeError, match="reads texts"):
        KeyboardTypos(0.5)(5, 1)  # type: ignore[arg-type]
