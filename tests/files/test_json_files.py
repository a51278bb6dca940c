"""JSON that would fill the memory, or exhaust the parser, is refused before anything is built of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simlearn.files import LoadError, read_json

TOKENS = st.sampled_from(['"[unused1]"', '"a"', '"\\""', '"\\\\"', '"}{]["', '"\\\\\\"["', "1", "null"])
CONTENTS = st.recursive(
    TOKENS,
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]")
        | st.lists(inner, max_size=4).map(
            lambda items: "{" + ",".join(f'"{n}[": {item}' for n, item in enumerate(items)) + "}"
        )
    ),
    max_leaves=60,
)


def read(folder: Path, content: bytes) -> object:
    (folder / "a.json").write_bytes(content)
    return read_json(folder / "a.json")


class TestDepth:
    def test_a_hundred(self, tmp_path: Path) -> None:
        read(tmp_path, b"[" * 100 + b"]" * 100)
        read(tmp_path, b'{"a":' * 100 + b"1" + b"}" * 100)
        read(tmp_path, b"[" + b"[[]]," * 500 + b"1]")
        for content in (b"[" * 101 + b"]" * 101, b'{"a":[' * 51 + b"]}" * 51, b"[" * 10_000_000):
            with pytest.raises(
                LoadError, match=r"a\.json is not JSON that a model needs: it (is nested more|holds more)"
            ):
                read(tmp_path, content)

    def test_brackets_in_strings(self, tmp_path: Path) -> None:
        assert read(tmp_path, json.dumps(["[" * 1000, '"[' * 500, "\\[{" * 500]).encode())
        assert read(tmp_path, json.dumps({"[" * n: n for n in range(300)}).encode())

    def test_brackets_behind_strings(self, tmp_path: Path) -> None:
        for content in (
            b'["a",' + b'["\\\\",' * 200 + b"1" + b"]" * 201,
            b'{"\\"":' * 200 + b"1" + b"}" * 200,
            b'["\\\\\\"[", ' * 200 + b"1" + b"]" * 200,
        ):
            with pytest.raises(LoadError, match="nested more than 100"):
                read(tmp_path, content)

    def test_whatever_the_recursion_limit_is(self, tmp_path: Path) -> None:
        """A process that raised it would die of a full stack, beyond all except clauses."""
        (tmp_path / "a.json").write_bytes(b"[" * 3_000_000)
        code = (
            "import sys; from simlearn.files import *; sys.setrecursionlimit(10**9)\n"
            "try: read_json(sys.argv[1])\nexcept LoadError: print('refused')"
        )
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.json")], capture_output=True, text=True)
        assert done.stdout.strip() == "refused", done

    @given(CONTENTS, st.integers(1, 120))
    def test_as_deep_as_it_is(self, tmp_path_factory: pytest.TempPathFactory, content: str, around: int) -> None:
        def depth(value: object) -> int:
            children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
            return 0 if children is None else 1 + max(map(depth, children), default=0)

        folder = tmp_path_factory.getbasetemp()
        padded = f"[{'[' * around}{content}{']' * around}{', []' * 101}]"  # so many that they are looked at
        expected = json.loads(padded)
        if depth(expected) <= 100:
            assert read(folder, padded.encode()) == expected
        else:
            with pytest.raises(LoadError, match="nested more than 100"):
                read(folder, padded.encode())


class TestSize:
    def test_of_the_file(self, tmp_path: Path) -> None:
        with (tmp_path / "a.json").open("wb") as file:
            file.write(b'{"a": "')
            file.truncate(20 * 2**30)
        start = time.process_time()
        with pytest.raises(LoadError, match=r"a\.json is larger than 100,000,000 bytes"):
            read_json(tmp_path / "a.json")
        assert time.process_time() - start < 2

    def test_callers_may_expect_more_or_less(self, tmp_path: Path) -> None:
        (tmp_path / "a.json").write_bytes(b'"' + b"x" * 100_000_000 + b'"')
        with pytest.raises(LoadError, match="larger than"):
            read_json(tmp_path / "a.json")
        assert len(read_json(tmp_path / "a.json", max_bytes=110_000_000)) == 100_000_000
        (tmp_path / "b.json").write_bytes(b"[1]")
        assert read_json(tmp_path / "b.json", max_bytes=3) == [1]
        with pytest.raises(LoadError, match="larger than 2 bytes"):
            read_json(tmp_path / "b.json", max_bytes=2)

    def test_of_a_pipe(self, tmp_path: Path) -> None:
        """Which has no size before it is read."""
        os.mkfifo(tmp_path / "a.json")
        writer = threading.Thread(target=lambda: (tmp_path / "a.json").write_bytes(b"[1, 2, 3]"))
        writer.start()
        with pytest.raises(LoadError, match="larger than 5 bytes"):
            read_json(tmp_path / "a.json", max_bytes=5)
        writer.join()

    @pytest.mark.parametrize(
        ("letter", "count"), [("é", 45_000_000), ("я", 45_000_000), ("x", 90_000_000), ("\U0001f600", 24_000_000)]
    )
    def test_in_memory(self, tmp_path: Path, letter: str, count: int) -> None:
        assert read(tmp_path, b'"' + letter.encode() * count + b'"') == letter * count

    def test_one_wide_letter_widens_all(self, tmp_path: Path) -> None:
        with pytest.raises(LoadError, match="would take more than 200,000,000 bytes of memory"):
            read(tmp_path, b'"' + b"x" * 50_000_000 + "\U0001f600".encode() + b'"')

    @pytest.mark.parametrize("value", [b"1", b"[]", b"{}", b'""', b'"\xc3\xa9"', b'"\\""'])
    def test_of_lists(self, tmp_path: Path, value: bytes) -> None:
        start = time.process_time()
        with pytest.raises(LoadError, match="holds more than 4,000,000 values"):
            read(tmp_path, b"[" + (value + b",") * 4_000_001 + b"1]")
        assert time.process_time() - start < 2

    def test_commas_in_strings(self, tmp_path: Path) -> None:
        assert read(tmp_path, b'["' + b"," * 5_000_000 + b'"]') == ["," * 5_000_000]

    def test_a_large_vocabulary(self, tmp_path: Path) -> None:
        """Of 262,144 tokens and 514,906 pairs to be merged: as large as any that embedding models have."""
        vocabulary = {f"token{number}": number for number in range(262_144)}
        merges = [[f"left{number}", f"right{number}"] for number in range(514_906)]
        content = {"model": {"vocab": vocabulary, "merges": merges}}
        assert read(tmp_path, json.dumps(content, indent=2).encode()) == content

    def test_two_million_words(self, tmp_path: Path) -> None:
        words = [f"word{number}" for number in range(2_000_000)]
        assert read(tmp_path, json.dumps(words, indent=2).encode()) == words

    def test_numbers_of_many_digits(self, tmp_path: Path) -> None:
        for number in (b"9" * 5000, b"-" + b"9" * 4_000_000, b"1e" + b"9" * 1000):
            with pytest.raises(LoadError, match="is not JSON"):
                read(tmp_path, number)
