"""Files of dialogues: each layout by hand, what is wrong in them, and a training."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_models import quiet_trainer

from simlearn import (
    BagOfTokensEncoder,
    HashedNGrams,
    MultipleNegativesRankingLoss,
    PairsSimilarityDataLoader,
    RankingSimilarityDataLoader,
    RerankingEvaluator,
    ResponseSelectionFile,
    TrainableModel,
    fit,
)
from simlearn.data import Dialogue
from simlearn.files import LoadError

TSV = "1\thi\thow are you\tfine, thanks\n0\thi\thow are you\tno idea\n0\thi\thow are you\tблин\n1\tbye\tbye then\n"
UBUNTU = (
    "Context,Utterance,Label\n"
    '"hello __eou__ anyone? __eou__ __eot__ yes __eou__ __eot__ ","i am __eou__ here __eou__",1.0\n'
    '"hello __eou__ __eot__","not this",0\n'
    '"a ""quoted""\nword __eou__ __eot__",right,1\n'
)
UBUNTU_TEST = "Context,Ground Truth Utterance,Distractor_0,Distractor_1\nhi __eou__ __eot__,yes __eou__,no,maybe\n"
CONVAI2 = (
    "1 your persona: i like tea.\n2 hello\thi there\t\tgo away|hi there|no\n3 what do you drink?\ttea\t\tbeer|tea\n"
    "1 your persona: i ski.\n2 hey\tyo\t\tyo|what\n"
)
DSTC7 = [
    {
        "messages-so-far": [{"speaker": "a", "utterance": "hi"}, {"speaker": "b", "utterance": "yes?"}],
        "options-for-correct-answers": [{"candidate-id": "1", "utterance": "my disk is full"}],
        "options-for-next": [{"utterance": "no"}, {"utterance": "my disk is full"}],
    }
]
LAYOUTS: dict[str, tuple[str, str, list[tuple[list[str], list[str]]]]] = {
    "tsv": ("tsv", TSV, [(["hi", "how are you"], ["fine, thanks", "no idea", "блин"]), (["bye"], ["bye then"])]),
    "ubuntu": (
        "ubuntu",
        UBUNTU,
        [(["hello anyone?", "yes"], ["i am here"]), (['a "quoted"\nword'], ["right"])],
    ),
    "ubuntu test": ("ubuntu", UBUNTU_TEST, [(["hi"], ["yes", "no", "maybe"])]),
    "convai2": (
        "convai2",
        CONVAI2,
        [
            (["your persona: i like tea.", "hello"], ["hi there", "go away", "no"]),
            (["your persona: i like tea.", "hello", "hi there", "what do you drink?"], ["tea", "beer"]),
            (["your persona: i ski.", "hey"], ["yo", "what"]),
        ],
    ),
    "dstc7": ("dstc7", json.dumps(DSTC7), [(["hi", "yes?"], ["my disk is full", "no"])]),
}


def opened(tmp_path: Path, layout: Any, content: str, **options: Any) -> ResponseSelectionFile:
    path = tmp_path / "dialogues"
    path.write_text(content, encoding="utf-8", newline="")
    return ResponseSelectionFile(path, layout, **options)


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_by_hand(name: str, newline: str, tmp_path: Path) -> None:
    layout, content, expected = LAYOUTS[name]
    data = opened(tmp_path, layout, content.replace("\n", newline))
    assert len(data) == len(expected)
    for index, (turns, candidates) in enumerate(expected):
        told = data.dialogue(index)
        assert [turn.replace("\r\n", "\n") for turn in told.turns] == turns and list(told.candidates) == candidates
        assert list(told.labels) == [1.0] + [0.0] * (len(candidates) - 1)
        sample, pair = data[index], data.pairs()[index]
        assert (
            sample.documents == candidates
            and sample.relevances == told.labels
            and sample.query == "\n".join(told.turns)
        )
        assert (pair.obj_a, pair.obj_b, pair.score) == (sample.query, candidates[0], 1.0)
    again = pickle.loads(pickle.dumps(data))
    assert again[-1] == data[len(data) - 1]


def test_the_latest_turns_in_their_order(tmp_path: Path) -> None:
    """The seed had them the other way round, and cut the wrong end."""
    content = "1\ta\tb\tc\td\tr\n"
    assert opened(tmp_path, "tsv", content, max_turns=2)[0].query == "c\nd"
    assert opened(tmp_path, "tsv", content, max_turns=9, template=" [SEP] ")[0].query == "a [SEP] b [SEP] c [SEP] d"
    assert (
        opened(tmp_path, "tsv", content, template=lambda turns: " | ".join(reversed(turns)))[0].query == "d | c | b | a"
    )


CHARACTERS = st.characters(blacklist_characters="\t\r\n", blacklist_categories=("Cs",))
TEXT = st.text(CHARACTERS, min_size=1).filter(str.strip)
GROUP = st.tuples(st.lists(TEXT, min_size=1, max_size=3), st.lists(TEXT, min_size=1, max_size=3))


@given(st.lists(GROUP, max_size=5))
def test_any_texts_come_back(tmp_path_factory: Any, groups: list[tuple[list[str], list[str]]]) -> None:
    lines = [
        "\t".join([str(int(number == 0)), *turns, response])
        for turns, responses in groups
        for number, response in enumerate(responses)
    ]
    data = opened(tmp_path_factory.mktemp("any"), "tsv", "".join(f"{line}\n" for line in lines))
    found = [data.dialogue(index) for index in range(len(data))]
    assert found == [Dialogue(turns, responses, [1.0] + [0.0] * (len(responses) - 1)) for turns, responses in groups]


@pytest.mark.parametrize(
    ("layout", "content", "message"),
    [
        ("tsv", "0\ta\tb\n", "line 1: a group begins with its right response"),
        ("tsv", "1\ta\tb\n2\ta\tb\n", "line 2: the label must be 0 or 1, got '2'"),
        ("tsv", "1\ta\tb\nyes\n", "line 2: the label must be 0 or 1, got 'yes'"),
        ("ubuntu", "a,b,c\n", "line 1: the columns must be Context, Utterance, Label"),
        ("ubuntu", "Context,Utterance,Label\na,b,7\n", "line 2: the label must be 0 or 1, got '7'"),
        ("ubuntu", "Context,Utterance,Label\na,b,1,c\n", "line 2: it has 4 columns, the first line 3"),
        ("convai2", "hello\tyes\n", "line 1: a line begins with its number"),
        ("dstc7", "{}", "it must be a list of dialogues, got dict"),
        ("dstc7", "[1,", "it is no JSON"),
    ],
)
def test_what_is_wrong_in_a_file_is_found_at_once(layout: str, content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=message):
        opened(tmp_path, layout, content)


@pytest.mark.parametrize(
    ("layout", "content", "message"),
    [
        ("tsv", "1\ta\tb\n0\tb\n", "line 2: a line is label, at least one utterance and a response"),
        ("tsv", "1\ta\tb\n0\tx\tb\n", "line 2: it has other utterances than line 1"),
        ("tsv", "1\t \tb\n", "line 1: nothing was said"),
        ("dstc7", '[{"messages-so-far": []}]', "dialogue 0: it lacks 'options-for-correct-answers'"),
        (
            "dstc7",
            '[{"messages-so-far": [{"utterance": "a"}], "options-for-correct-answers": [], '
            '"options-for-next": [{"utterance": "b"}]}]',
            "dialogue 0: none of the 1 candidates is right",
        ),
        (
            "dstc7",
            '[{"messages-so-far": [{"utterance": "a"}], "options-for-correct-answers": [], "options-for-next": []}]',
            "dialogue 0: there is no candidate",
        ),
    ],
)
def test_what_is_wrong_in_a_dialogue_is_found_when_it_is_read(
    layout: str, content: str, message: str, tmp_path: Path
) -> None:
    data = opened(tmp_path, layout, content)
    with pytest.raises(LoadError, match=message):
        data[0]


def test_other_bytes_and_files(tmp_path: Path) -> None:
    path = tmp_path / "latin"
    path.write_bytes("1\tà\tb\n".encode("latin-1"))
    with pytest.raises(LoadError, match="line 1: it is not UTF-8"):
        ResponseSelectionFile(path)[0]
    with pytest.raises(LoadError, match="No such file"):
        ResponseSelectionFile(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="layout must be one of 'tsv', 'ubuntu'"):
        ResponseSelectionFile(path, "json")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_turns must be at least 1"):
        ResponseSelectionFile(path, max_turns=0)
    data = opened(tmp_path, "tsv", TSV)
    with pytest.raises(IndexError, match="there are 2 dialogues"):
        data[2]
    data.path.write_text(TSV * 2)
    os.utime(data.path, ns=(1, 1))
    with pytest.raises(LoadError, match="was changed since it was opened"):
        data[0]


@pytest.mark.parametrize("name", LAYOUTS)
def test_loaders_take_them(name: str, tmp_path: Path) -> None:
    layout, content, expected = LAYOUTS[name]
    data = opened(tmp_path, layout, content)
    rankings = list(RankingSimilarityDataLoader(data, 2, shuffle=False))
    assert sum(len(batch.queries) for batch in rankings) == len(expected)
    assert rankings[0].documents[: len(expected[0][1])] == expected[0][1]
    assert sum(len(batch.queries) for batch in PairsSimilarityDataLoader(data.pairs(), 2)) == len(expected)


def test_a_model_is_trained_and_judged(tmp_path: Path) -> None:
    """With the responses of the batch as wrong ones, and in ten candidates."""
    words = [f"w{number}" for number in range(12)]
    lines = []
    for number, word in enumerate(words):
        others = [words[(number + step) % 12] for step in range(1, 10)]
        lines += [f"{int(one == word)}\told news\tsay {word}\tit is {one}" for one in [word, *others]]
    data = opened(tmp_path, "tsv", "\n".join(lines), max_turns=1)

    class Responder(TrainableModel):
        def configure_encoders(self) -> BagOfTokensEncoder:
            return BagOfTokensEncoder(HashedNGrams(4096), 32)

        def configure_loss(self) -> MultipleNegativesRankingLoss:
            return MultipleNegativesRankingLoss()

    torch.manual_seed(0)
    model = Responder(learning_rate=0.05)
    fit(model, PairsSimilarityDataLoader(data.pairs(), 6), trainer=quiet_trainer(max_epochs=20))
    report = RerankingEvaluator(data, metrics=["recall@1", "recall@5", "mrr"]).evaluate(model=model)
    assert report["recall@1"] == report["mrr"] == 1.0
