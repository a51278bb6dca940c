"""A folder of caches is listed, measured, verified and pruned; what is in use stays."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_servables import Letters

from simlearn import EncodedObjects, SimilarityModel
from simlearn.cache import list_entries, prune, size, verify
from simlearn.cache.__main__ import main
from simlearn.embeddings import Embeddings
from simlearn.store import DiskTable

ROOT = str(Path(__file__).parents[2])
DAY = 86_400


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk of a test need not outlast a power cut."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def table(path: Path, rows: int, days: float = 0) -> Path:
    """A table that was last used so many days ago."""
    with DiskTable(path, description={"class": "Letters", "prompt": "query: "}) as made:
        keys = [number.to_bytes(16, "little") for number in range(rows)]
        made.append(keys, Embeddings(torch.ones(rows, 3)), {})
    return aged(path, days)


def aged(path: Path, days: float) -> Path:
    then = time.time() - days * DAY
    for file in [path, *path.rglob("*")]:
        os.utime(file, (then, then))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two tables, encoded objects, the rows of a data set, and what is nobody's."""
    cache = tmp_path / "cache"
    table(cache / "old-1234", 10, days=40)
    table(cache / "text-5678", 1000, days=1)
    SimilarityModel(Letters(6)).encode_to_disk(["a", "b", "a"], cache / "corpus")
    (cache / "datasets").mkdir()
    save_file({"label/n": torch.ones(2)}, cache / "datasets/abcd.safetensors")
    aged(cache / "datasets", 20)
    (cache / "notes.txt").write_text("mine")
    (cache / "mine").mkdir()
    (cache / "mine/store.json").write_text("{}")
    return cache


def names(folder: Path) -> list[str]:
    return [entry.name for entry in list_entries(folder)]


ALL = ["corpus", "datasets/abcd.safetensors", "old-1234", "text-5678"]


def damage(path: Path, place: int = 4) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


class TestListing:
    def test_everything_is_told(self, folder: Path) -> None:
        corpus, rows, old, text = list_entries(folder)
        assert [entry.name for entry in (corpus, rows, old, text)] == ALL
        assert [entry.kind for entry in (corpus, rows, old, text)] == [
            "encoded objects",
            "rows of a data set",
            "vectors",
            "vectors",
        ]
        assert (text.rows, text.layout) == (1000, "one vector an object of size 3 and float32")
        assert text.description == {"class": "Letters", "prompt": "query: "} and corpus.rows == 2
        assert text.size == sum(path.stat().st_size for path in text.path.rglob("*") if path.is_file())
        assert size(folder) == sum(entry.size for entry in (corpus, rows, old, text))
        assert 39 < (time.time() - old.last_used.timestamp()) / DAY < 41

    def test_an_entry_itself(self, folder: Path) -> None:
        assert names(folder / "text-5678") == ["text-5678"] and names(folder / "corpus") == ["corpus"]
        assert names(folder / "mine") == []
        with pytest.raises(FileNotFoundError, match="is no folder; pass the save_dir"):
            list_entries(folder / "nowhere")

    def test_looking_is_not_using(self, folder: Path) -> None:
        before = [entry.last_used for entry in list_entries(folder)]
        verify(folder)
        assert [entry.last_used for entry in list_entries(folder)] == before
        DiskTable(folder / "old-1234")
        assert list_entries(folder / "old-1234")[0].last_used > before[2]

    def test_what_cannot_be_read_is_listed(self, folder: Path) -> None:
        damage(folder / "old-1234/commit.json", 40)
        problem = list_entries(folder)[2].problem
        assert problem is not None and "commit.json" in problem
        assert prune(folder, names=["old-1234"]).removed[0].name == "old-1234"


class TestVerifying:
    def test_all_is_well(self, folder: Path) -> None:
        prune(folder, names=["datasets/abcd.safetensors"])
        assert all(one.is_sound and not one.damaged for one in verify(folder))

    def test_a_flipped_bit_is_found_and_repaired(self, folder: Path) -> None:
        damage(folder / "text-5678/vectors/data.ninja")
        damage(folder / "corpus/table/vectors/data.ninja")
        corpus, _, old, text = verify(folder)
        assert (corpus.damaged, old.damaged, text.damaged) == (1, 0, 1)
        assert not text.is_sound and old.is_sound and corpus.problem is None
        corpus, _, _, text = verify(folder, repair=True)
        assert text.repaired and text.is_sound and len(DiskTable(folder / "text-5678")) == 999
        assert corpus.repaired and "encode_to_disk writes it anew" in str(corpus.problem)
        assert verify(folder / "text-5678")[0].damaged == 0

    def test_a_file_cut_short(self, folder: Path) -> None:
        os.truncate(folder / "text-5678/vectors/data.ninja", 120)
        assert verify(folder / "text-5678")[0].damaged == 990
        assert verify(folder / "text-5678", repair=True)[0].repaired
        assert len(DiskTable(folder / "text-5678")) == 10

    def test_the_rows_of_a_data_set(self, folder: Path) -> None:
        assert "damaged, so it is not used" in str(verify(folder)[1].problem), "it has no checksum"
        assert verify(folder, repair=True)[1].is_sound
        assert "datasets/abcd.safetensors" not in names(folder)

    def test_a_damaged_order(self, folder: Path) -> None:
        damage(folder / "corpus/order/rows.npy", 130)
        assert "is not what was written to it" in str(verify(folder)[0].problem)


class TestPruning:
    def test_by_name(self, folder: Path) -> None:
        assert [entry.name for entry in prune(folder, names=["corpus"]).removed] == ["corpus"]
        assert names(folder) == ALL[1:]
        with pytest.raises(ValueError, match=r"holds no \['corpus', 'x'\], only \["):
            prune(folder, names=["corpus"], keep=["x"])

    def test_by_age(self, folder: Path) -> None:
        assert [entry.name for entry in prune(folder, unused_days=30).removed] == ["old-1234"]
        prune(folder, unused_days=10, keep=["datasets/abcd.safetensors"])
        assert names(folder) == ["corpus", "datasets/abcd.safetensors", "text-5678"]
        prune(folder, unused_days=10)
        assert names(folder) == ["corpus", "text-5678"]

    def test_by_size(self, folder: Path) -> None:
        sizes = {entry.name: entry.size for entry in list_entries(folder)}
        assert not prune(folder, max_size=sum(sizes.values())).removed
        removed = prune(folder, max_size=sizes["corpus"] + sizes["text-5678"]).removed
        assert [entry.name for entry in removed] == ["old-1234", "datasets/abcd.safetensors"]
        assert [entry.name for entry in prune(folder, max_size=0).removed] == ["text-5678", "corpus"]

    def test_nothing_is_removed_to_see_what_would_be(self, folder: Path) -> None:
        assert len(prune(folder, max_size=0, dry_run=True).removed) == 4
        assert names(folder) == ALL

    def test_it_wants_to_know_what(self, folder: Path) -> None:
        with pytest.raises(ValueError, match="say what to prune: names, unused_days or max_size"):
            prune(folder)

    def test_what_is_not_ours_stays(self, folder: Path) -> None:
        prune(folder, unused_days=-1)
        assert sorted(os.listdir(folder)) == ["datasets", "mine", "notes.txt"]

    def test_what_kills_left_behind(self, folder: Path) -> None:
        (folder / ".text-5678.12ab.simlearn-draft").mkdir()
        (folder / "datasets/abcd.1234.draft").write_bytes(b"")
        (folder / "datasets/new.1234.draft").write_bytes(b"")
        os.utime(folder / "datasets/abcd.1234.draft", (1, 1))
        prune(folder, unused_days=1000)
        assert not (folder / ".text-5678.12ab.simlearn-draft").exists()
        assert sorted(os.listdir(folder / "datasets")) == ["abcd.safetensors", "new.1234.draft"]

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no flock")
    def test_what_is_in_use_stays(self, folder: Path) -> None:
        held = DiskTable(folder / "text-5678")
        encoded = EncodedObjects(folder / "corpus")
        pruned = prune(folder, unused_days=-1)
        assert {entry.name for entry in pruned.in_use} == {"text-5678", "corpus"}
        assert names(folder) == ["corpus", "text-5678"] and len(encoded.vectors) == 2
        del held, encoded
        assert not prune(folder, unused_days=-1).in_use and names(folder) == []

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no flock")
    def test_what_another_process_uses_stays(self, folder: Path) -> None:
        code = f"""
from simlearn.store import DiskTable
table = DiskTable({str(folder / "text-5678")!r})
print("open", flush=True)
input()
"""
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": ROOT},
        )
        assert process.stdout is not None and process.stdout.readline() == b"open\n"
        assert [entry.name for entry in prune(folder, names=["text-5678"]).in_use] == ["text-5678"]
        process.kill()
        process.wait()
        process.communicate()
        assert [entry.name for entry in prune(folder, names=["text-5678"]).removed] == ["text-5678"]


class TestTerminal:
    def test_list(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["list", str(folder)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split() == ["name", "holds", "rows", "size", "last", "used"]
        assert lines[3].split()[0] == "old-1234" and lines[3].endswith("40 days ago")
        assert (
            "Letters, prompt 'query: ', one vector an object of size 3 and float32" in lines[4] and "1,000" in lines[4]
        )
        assert lines[5].startswith("4 entries, ")

    def test_verify(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        shutil.rmtree(folder / "datasets")
        assert main(["verify", str(folder)]) == 0
        damage(folder / "text-5678/vectors/data.ninja")
        assert main(["verify", str(folder)]) == 1
        assert "1 of 1,000 rows damaged: --repair drops them" in capsys.readouterr().out
        assert main(["verify", "--repair", str(folder)]) == 0
        assert "1 of 1,000 rows dropped" in capsys.readouterr().out

    def test_size_and_prune(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["size", str(folder)]) == 0
        assert capsys.readouterr().out.endswith(" kB\n")
        assert main(["prune", str(folder), "--unused-days", "30", "--dry-run"]) == 0
        assert capsys.readouterr().out.startswith("would remove old-1234: ")
        assert main(["prune", str(folder), "--max-size", "1.5kB", "--keep", "corpus", "--name", "old-1234"]) == 0
        assert names(folder) == ["corpus"]
        held = EncodedObjects(folder / "corpus")
        assert main(["prune", str(folder), "--name", "corpus"]) == 1
        assert "corpus is in use by a process and stays" in capsys.readouterr().err and len(held) == 3

    def test_errors_are_words(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["prune", str(folder)]) == 1
        assert main(["list", str(folder / "nowhere")]) == 1
        errors = capsys.readouterr().err.splitlines()
        assert errors[0] == "error: say what to prune: names, unused_days or max_size" and len(errors) == 2
        with pytest.raises(SystemExit):
            main(["prune", str(folder), "--max-size", "many"])
        assert "such as 20GB; got 'many'" in capsys.readouterr().err
