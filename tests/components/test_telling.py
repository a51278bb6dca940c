"""Two encoders that say different things have two fingerprints; one that says the same keeps its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from foreign import encoder_of

from simlearn.components import CannotTellError, Teller

PLAIN = "def __init__(self, scale=1.0):\n        super().__init__()\n        self.scale = scale"
FORWARD = "def forward(self, batch):\n        return batch * self.scale"


def cls(*members: str, before: str = "") -> str:
    """A user's encoder `E` with these members, and what stands before it in the module."""
    return f"{before}\n\nclass E(Base):\n    " + "\n\n    ".join(members) + "\n"


SIMPLE = cls(PLAIN, FORWARD)


def cases(file: str) -> list[tuple[str, str]]:
    """The title and code of each case in a file beside this one."""
    text = (Path(__file__).parent / file).read_text(encoding="utf-8")
    blocks = [block.partition("\n") for block in text.split("=== ")[1:]]
    return [(title, code) for title, _, code in blocks]


# Each time the encoder says something else.
DECIDES = [(*title.partition(": ")[::2], code) for title, code in cases("decides.txt")]


def told(code: str, folder: Path) -> str:
    fingerprint = encoder_of(code, folder).fingerprint()
    assert isinstance(fingerprint, str)
    return fingerprint


@pytest.mark.parametrize(("replaced", "code"), [one[1:] for one in DECIDES], ids=[one[0] for one in DECIDES])
def test_what_decides_changes_it_and_nothing_else(
    replaced: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = replaced.split(" -> ")
    monkeypatch.setenv("SIMLEARN_TEST", "0")
    assert old in code
    first = told(code, tmp_path)
    assert told(code, tmp_path) == first, "in another file"
    assert told(f"# a remark\nUNUSED = 3\n\n\n{code}\n\nALSO = 4\n", tmp_path) == first
    assert told(code.replace(old, new), tmp_path) != first


# Classes with `change`, which changes what the encoder says while it lives.
CHANGED = cases("changes.txt")


@pytest.mark.parametrize("code", [one[1] for one in CHANGED], ids=[one[0] for one in CHANGED])
def test_a_change_while_it_lives_is_seen(code: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = encoder_of(code, tmp_path)
    first = encoder.fingerprint()
    assert encoder.fingerprint() == first
    encoder.change()
    assert encoder.fingerprint() != first


# Classes whose `forward` counts, remembers or loads: they say the same afterwards.
REMEMBERS = cases("remembers.txt")


@pytest.mark.parametrize("code", [one[1] for one in REMEMBERS], ids=[one[0] for one in REMEMBERS])
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_encoding_mode_and_gradients_leave_it(code: str, tmp_path: Path) -> None:
    encoder = encoder_of(code, tmp_path)
    first = encoder.fingerprint()
    for _ in range(2):
        encoder(encoder.get_collate_fn()([1, 2]))
        assert encoder.fingerprint() == first
    encoder.train(False)
    encoder.requires_grad_(False)
    for module in encoder.modules():
        module.training = True
    assert encoder.fingerprint() == first


REFUSED: list[tuple[str, str, str]] = [
    ("file", "open(__file__)", "TextIOWrapper"),
    ("socket", "__import__('socket').socket()", "socket"),
    ("generator", "(one for one in [1])", "generator"),
    ("database", "__import__('sqlite3').connect(':memory:')", "sqlite3.Connection"),
    ("lazy weights", "torch.nn.LazyLinear(1).weight", "UninitializedParameter"),
    ("function of numpy", "__import__('numpy').frompyfunc(lambda x: x, 1, 1)", "ufunc"),
]


@pytest.mark.parametrize(("made", "name"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED])
def test_what_cannot_be_told_is_refused_with_its_place_and_a_cure(made: str, name: str, tmp_path: Path) -> None:
    code = cls(f"def __init__(self):\n        super().__init__()\n        self.kept = {{'it': [{made}]}}", FORWARD)
    encoder = encoder_of(code, tmp_path)
    with pytest.raises(CannotTellError, match=rf"'0' of 'it' of 'kept' is a .*{name}.*keep what was read of it"):
        encoder.fingerprint()


@pytest.mark.parametrize(
    "made",
    [
        "__import__('logging').getLogger('x')",
        "__import__('threading').Lock()",
        "__import__('concurrent.futures').futures.ThreadPoolExecutor(1)",
        "torch.relu",
        "torch.nn.functional.relu",
        "__import__('numpy').add",
        "__import__('typing').TypeVar('T')",
        "list[int]",
        "__import__('types').MappingProxyType({'a': 1})",
        "torch.nested.nested_tensor([torch.ones(1), torch.ones(2)])",
        "torch.empty(2, device='meta')",
        "torch.device('cpu')",
        "__import__('os').environ",
        "__import__('sys')",
        "object",
        "__import__('decimal').Decimal(1)",
        "1j",
        "...",
    ],
)
def test_nothing_else_is_refused(made: str, tmp_path: Path) -> None:
    code = cls(f"def __init__(self):\n        super().__init__()\n        self.kept = {made}", FORWARD)
    assert told(code, tmp_path) == told(code, tmp_path)


def test_what_contains_itself_is_told_however_it_is_met(tmp_path: Path) -> None:
    def ring(size: int) -> list[Any]:
        rows: list[Any] = [[number] for number in range(size)]
        for number, row in enumerate(rows):
            row.append(rows[(number + 1) % size])
        return rows

    one, other = ring(3), ring(3)
    assert Teller().tell(one[0]) == Teller().tell(other[0])
    assert Teller().tell(one[0]) != Teller().tell(one[1])
    assert Teller().tell([one[0], one[1]]) == Teller().tell([other[0], other[1]])
    teller = Teller()
    assert [teller.tell(row) for row in one] == [Teller().tell(row) for row in other], "whatever was told before"

    # B stands in A as well as beside it; in the second one it points to another list.
    a: list[Any] = ["a"]
    b: list[Any] = ["b", a]
    a.append(b)
    c: list[Any] = ["c", b]
    d: list[Any] = ["c"]
    d.append(["b", d])
    assert Teller().tell([a, c]) != Teller().tell([a, d])


def test_a_fingerprint_reads_nested_objects_only_so_deep() -> None:
    value: list[Any] = []
    for _ in range(5000):
        value = [value]
    with pytest.raises(CannotTellError, match="nested too deep"):
        Teller().tell(value)


def test_values_that_processes_share_are_never_passed_over(tmp_path: Path) -> None:
    code = cls(
        "def __init__(self):\n        super().__init__()\n        self.kept = multiprocessing.Value('d', 1.0)",
        FORWARD,
        before="import multiprocessing",
    )
    with pytest.raises(CannotTellError, match="'kept' is a multiprocessing.sharedctypes.Synchronized"):
        encoder_of(code, tmp_path).fingerprint()
