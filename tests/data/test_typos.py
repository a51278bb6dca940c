from __future__ import annotations

import math
import pickle
import random
import subprocess
import sys
from collections import Counter
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


def test_all_that_changes_a_token_is_equally_likely() -> None:
    """Though places that change nothing are tried first: the digits and the doubled letters here."""
    token, texts = "11aa2b", 12_000
    seen = Counter(KeyboardTypos(0.5)(token, seed) for seed in range(texts))
    expected: Counter[str] = Counter({token: 0.5})
    near = neighbours("qwerty")
    places = [place for place, letter in enumerate(token) if letter in near]
    for place in places:
        for slip in near[token[place]]:
            expected[token[:place] + slip + token[place + 1 :]] += 0.25 / len(places) / len(near[token[place]])
    for place in range(len(token)):
        expected[token[:place] + token[place + 1 :]] += 0.125 / len(token)
    swaps = [place for place in range(len(token) - 1) if token[place] != token[place + 1]]
    for place in swaps:
        expected[token[:place] + token[place + 1] + token[place] + token[place + 2 :]] += 0.125 / len(swaps)
    assert set(seen) == set(expected)
    surprise = sum((seen[text] - texts * share) ** 2 / (texts * share) for text, share in expected.items())
    assert surprise < 1.8 * len(expected), "chi squared"


def test_operations_that_a_token_cannot_have_go_to_the_others() -> None:
    found = Counter(len(KeyboardTypos(1.0)("120", seed)) for seed in range(4000))
    assert found[2] / 4000 == pytest.approx(0.5, abs=0.03), "deletions and swaps: digits have no neighbours"


def test_errors_of_long_texts_are_independent() -> None:
    text = " ".join(["spoon"] * 64)
    hit = [[word != "spoon" for word in KeyboardTypos(0.5)(text, seed).split()] for seed in range(400)]
    for place in range(64):
        assert sum(row[place] for row in hit) / 400 == pytest.approx(0.5, abs=0.12)
        together = sum(row[place] and row[(place + 8) % 64] for row in hit) / 400
        assert together == pytest.approx(0.25, abs=0.12)


def test_shares_too_small_for_a_product() -> None:
    typos = KeyboardTypos(1.0, mix={"delete": 5e-324})
    assert {len(typos("abcdef", seed)) for seed in range(50)} == {5}


def test_spaces_stay_and_copies_do_the_same() -> None:
    typos = KeyboardTypos(1.0)
    text = "  red\t spoon\n of\u00a0wood "
    copy = pickle.loads(pickle.dumps(typos))
    for seed in range(20):
        typed = typos(text, seed)
        assert [c for c in typed if c.isspace()] == [c for c in text if c.isspace()]
        assert copy(text, seed) == typed


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
        ({"probability": 0.5, "mix": {"delete": math.nan, "substitute": 2}}, "finite numbers"),
        ({"probability": 0.5, "mix": {"substitute": 2, "transpose": math.nan}}, "finite numbers"),
        ({"probability": 0.5, "mix": {"delete": math.inf}}, "finite numbers"),
        ({"probability": math.nan}, "from 0 to 1"),
        ({"probability": 0.5, "layout": "dvorak"}, "layout must be one of"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KeyboardTypos(**options)
    with pytest.raises(TypeError, match="reads texts"):
        KeyboardTypos(0.5)(5, 1)  # type: ignore[arg-type]
