"""Objects are encoded into a folder, whoever is killed meanwhile, and read from it."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from processes import forked, kill_when
from tiny_servables import Letters, ManyVectors
from torch import nn

from simlearn.files import LoadError
from simlearn.heads import EmptyHead, MLPHead, SequentialHead
from simlearn.models import EncodedObjects, SimilarityModel
from simlearn.search import top_k
from simlearn.store import DiskTable
from simlearn.towers import TwoTower

ROOT = str(Path(__file__).parents[2])
TEXTS = ["red spoon", "", "a list of cats and dogs", "red spoon", "b", "the of the", ""]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk of a test need not outlast a power cut."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def model(seed: int = 0, encoder: Any = None) -> SimilarityModel:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return SimilarityModel(encoder or Letters(6), MLPHead(6, [5], 4))


def many_texts(count: int = 1000) -> Iterator[str]:
    """Of many lengths, one in ten of them twice."""
    names = (number // 10 * 9 + min(number % 10, 8) for number in range(count))
    return (f"{'x' * (name % 17)}{name}" for name in names)


class Counting(Letters):
    """Remembers what it encodes."""

    def __init__(self, *options: Any) -> None:
        super().__init__(*options)
        self.seen: list[str] = []

    def get_collate_fn(self) -> Any:
        return lambda texts: (self.seen.extend(texts), super(Counting, self).get_collate_fn()(texts))[1]


class TestWhatIsThere:
    def test_it_is_what_encode_says(self, tmp_path: Path) -> None:
        encoder = Counting()
        one = model(encoder=encoder).train()
        encoded = one.encode_to_disk(iter(TEXTS), tmp_path / "corpus")
        assert sorted(encoder.seen) == sorted(set(TEXTS)), "each once"
        assert one.training and all(module.training for module in one.modules())
        assert len(encoded) == 7 and encoded.embedding_size == 4
        assert encoded.rows.tolist() == [0, 1, 2, 0, 3, 4, 1]
        assert (encoded.vectors.shape, encoded.vectors.dtype) == ((5, 4), np.float32)
        expected = one.encode(TEXTS)
        np.testing.assert_allclose(encoded.vectors[encoded.rows], expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(encoded.take([-1, 2]).values, expected[[6, 2]], rtol=1e-5, atol=1e-6)
        chunks = list(encoded.chunks(3))
        assert [len(chunk) for chunk in chunks] == [3, 3, 1]
        np.testing.assert_allclose(torch.cat([chunk.values for chunk in chunks]), expected, rtol=1e-5, atol=1e-6)

    def test_it_is_read_without_the_model(self, tmp_path: Path) -> None:
        first = model().encode_to_disk(TEXTS, tmp_path / "corpus")
        for encoded in (EncodedObjects(tmp_path / "corpus"), pickle.loads(pickle.dumps(first))):
            assert np.array_equal(encoded.vectors, first.vectors) and np.array_equal(encoded.rows, first.rows)
        assert len(pickle.dumps(first)) < 500
        assert repr(first) == f"EncodedObjects({str(tmp_path / 'corpus')!r}): 7 objects, vectors of size 4"
        assert np.load(tmp_path / "corpus/order/rows.npy").tolist() == first.rows.tolist()
        assert json.loads((tmp_path / "corpus/order/order.json").read_text())["objects"] == 7

    def test_nothing_in_it_can_be_written_to(self, tmp_path: Path) -> None:
        encoded = model().encode_to_disk(TEXTS, tmp_path / "corpus")
        for array in (encoded.vectors, encoded.rows):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1
        encoded.take([0]).values.zero_()
        assert encoded.take([0]).values.any()
        with pytest.raises(IndexError):
            encoded.take([7])
        with pytest.raises(ValueError, match="size must be at least 1"):
            encoded.chunks(0)

    def test_it_can_be_searched(self, tmp_path: Path) -> None:
        one = model()
        encoded = one.encode_to_disk(TEXTS, tmp_path / "corpus")
        queries = one.encode(TEXTS, to_numpy=False)
        found = top_k(queries, encoded.chunks(2), 3)
        assert torch.equal(found.indices, top_k(queries, queries, 3).indices)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            mapped = top_k(queries, encoded.vectors, 1).indices[:, 0]
        assert mapped.tolist() == encoded.rows.tolist()

    def test_nothing(self, tmp_path: Path) -> None:
        encoded = model().encode_to_disk([], tmp_path / "corpus")
        assert len(encoded) == 0 and encoded.vectors.shape == (0, 4) and encoded.rows.shape == (0,)
        assert list(encoded.chunks()) == [] and encoded.take([]).values.shape == (0, 4)
        assert len(model().encode_to_disk(TEXTS, tmp_path / "corpus")) == 7
        emptied = model().encode_to_disk([], tmp_path / "corpus")
        assert len(emptied) == 0 and emptied.take([]).values.shape == (0, 4) and len(emptied.vectors) == 5

    def test_normalised_and_cut(self, tmp_path: Path) -> None:
        one = model()
        encoded = one.encode_to_disk(TEXTS, tmp_path / "corpus", normalize=True, truncate_dim=3)
        expected = one.encode(TEXTS, normalize=True, truncate_dim=3)
        assert encoded.embedding_size == 3
        np.testing.assert_allclose(encoded.vectors[encoded.rows], expected, rtol=1e-5, atol=1e-6)
        with pytest.raises(ValueError, match=r"different: normalize, truncate_dim"):
            one.encode_to_disk(TEXTS, tmp_path / "corpus")

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_in_another_dtype(self, tmp_path: Path, dtype: torch.dtype) -> None:
        one = model()
        encoded = one.encode_to_disk(TEXTS, tmp_path / "corpus", dtype=dtype)
        assert encoded.take([0]).values.dtype is dtype
        expected = one.encode(TEXTS, to_numpy=False).to(dtype)
        assert torch.allclose(encoded.take(slice(0, 7)).values.float(), expected.float(), rtol=1e-2)
        if dtype is torch.bfloat16:
            with pytest.raises(ValueError, match="numpy has no bfloat16"):
                _ = encoded.vectors
        else:
            assert encoded.vectors.dtype == np.float16
        with pytest.raises(ValueError, match=f"keeps vectors in {dtype}, not in torch.float64"):
            one.encode_to_disk(TEXTS, tmp_path / "corpus", dtype=torch.float64)

    def test_many_vectors_an_object(self, tmp_path: Path) -> None:
        one = SimilarityModel(ManyVectors(6), MLPHead(6, [], 4))
        encoded = one.encode_to_disk(TEXTS, tmp_path / "corpus", normalize=True)
        taken, expected = encoded.take(slice(0, 7)), one.embed(TEXTS)
        assert torch.equal(taken.full_mask(), expected.full_mask())
        unit = nn.functional.normalize(expected.values, dim=-1) * expected.full_mask()[..., None]
        assert torch.allclose(taken.values, unit, atol=1e-6)
        assert [chunk.values.shape[1] for chunk in encoded.chunks(2)] == [10, 24, 11, 1]
        with pytest.raises(ValueError, match="many vectors here"):
            _ = encoded.vectors


class TestGoingOn:
    def test_only_what_is_new_is_encoded(self, tmp_path: Path) -> None:
        model().encode_to_disk(TEXTS, tmp_path / "corpus")
        encoder = Counting()
        # A class of its own is another encoder; the same one is told by its weights, whatever object it is.
        first = model(encoder=Counting()).encode_to_disk(TEXTS, tmp_path / "counted")
        again = model(encoder=encoder).encode_to_disk(["new", *TEXTS[::-1]], tmp_path / "counted")
        assert encoder.seen == ["new"] and again.rows.tolist() == [5, *first.rows[::-1].tolist()]
        assert len(first) == 7, "what was open stays"

    def test_keys_of_a_user(self, tmp_path: Path) -> None:
        class Page:
            def __init__(self, number: int, text: str) -> None:
                self.number, self.text = number, text

        def texts(pages: list[Page]) -> list[str]:
            return [page.text for page in pages]

        class Pages(Letters):
            def get_collate_fn(self) -> Any:
                collate = super().get_collate_fn()
                return lambda pages: collate(texts(pages))

        pages = [Page(1, "one"), Page(2, "two"), Page(1, "not read")]
        one = model(encoder=Pages())
        with pytest.raises(TypeError, match=r"type .*Page have no content key; .* for encode_to_disk it is `key=`"):
            one.encode_to_disk(pages, tmp_path / "corpus")
        encoded = one.encode_to_disk(pages, tmp_path / "pages", key=lambda page: page.number)
        assert encoded.rows.tolist() == [0, 1, 0]
        with pytest.raises(ValueError, match="different: keys"):
            one.encode_to_disk(pages, tmp_path / "pages", key=lambda page: page.text)

    def test_another_model_is_refused(self, tmp_path: Path) -> None:
        one = model()
        one.encode_to_disk(TEXTS, tmp_path / "corpus")
        others: dict[str, SimilarityModel] = {
            "encoders, head": model(seed=1, encoder=Letters(6, seed=1)),
            "head": model(seed=1),
            "encoders": model(encoder=Letters(6).with_prompt("query: ")),
            "role": SimilarityModel(
                TwoTower(query=one.plan.encoders["default"], document=Letters(6)), one.heads["query"]
            ),  # type: ignore[arg-type]
        }
        before = sorted(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        for different, other in others.items():
            with pytest.raises(ValueError, match=f"another model.*different: .*{different}.*another folder"):
                other.encode_to_disk(TEXTS, tmp_path / "corpus", role="query")
        assert sorted(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()) == before

    def test_heads_are_told_apart_by_what_they_do(self, tmp_path: Path) -> None:
        def with_layer(layer: nn.Module) -> SimilarityModel:
            return SimilarityModel(Letters(6), SequentialHead(layer, input_embedding_size=6, output_size=6))

        with_layer(nn.LeakyReLU(0.1)).encode_to_disk(TEXTS, tmp_path / "corpus")
        with_layer(nn.LeakyReLU(0.1)).encode_to_disk(TEXTS, tmp_path / "corpus")
        for layer in (nn.LeakyReLU(0.2), nn.ReLU()):
            with pytest.raises(ValueError, match="different: head"):
                with_layer(layer).encode_to_disk(TEXTS, tmp_path / "corpus")

    def test_two_towers_need_a_role_and_two_folders(self, tmp_path: Path) -> None:
        letters = Letters(6)
        towers = SimilarityModel(TwoTower(query=letters, document=letters.with_prompt("text: ")), EmptyHead(6))
        with pytest.raises(ValueError, match="pass role='query' or 'document'"):
            towers.encode_to_disk(TEXTS, tmp_path / "corpus")
        encoded = towers.encode_to_disk(TEXTS, tmp_path / "corpus", "document")
        expected = towers.encode_document(TEXTS)
        np.testing.assert_allclose(encoded.vectors[encoded.rows], expected, rtol=1e-5, atol=1e-6)

    def test_what_is_no_place_for_it(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(FileExistsError, match="holds something else than encoded objects"):
            model().encode_to_disk(TEXTS, tmp_path)
        assert os.listdir(tmp_path) == ["notes.txt"]
        with pytest.raises(TypeError, match="got one str"):
            model().encode_to_disk("text", tmp_path / "corpus")
        with pytest.raises(ValueError, match="batch_size must be at least 1"):
            model().encode_to_disk(TEXTS, tmp_path / "corpus", batch_size=0)
        with pytest.raises(LoadError, match="holds no encoded objects"):
            EncodedObjects(tmp_path / "corpus")

    def test_objects_that_end_in_an_error(self, tmp_path: Path) -> None:
        def broken() -> Iterator[str]:
            yield from many_texts(200)
            raise OSError("the line is cut")

        encoder = Counting()
        one = model(encoder=encoder)
        with pytest.raises(OSError, match="the line is cut"):
            one.encode_to_disk(broken(), tmp_path / "corpus", batch_size=4)
        kept = len(DiskTable(tmp_path / "corpus/table"))
        assert kept > 100 and os.listdir(tmp_path / "corpus") == ["table"]
        encoder.seen.clear()
        assert len(one.encode_to_disk(many_texts(200), tmp_path / "corpus", batch_size=4)) == 200
        assert len(encoder.seen) == 180 - kept


class TestDamage:
    def test_a_flipped_bit_of_the_order(self, tmp_path: Path) -> None:
        model().encode_to_disk(TEXTS, tmp_path / "corpus")
        path = tmp_path / "corpus/order/rows.npy"
        whole = path.read_bytes()
        for place in (0, 60, 128, len(whole) - 1):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises(LoadError, match=r"rows.npy .*encode_to_disk writes it anew"):
                EncodedObjects(tmp_path / "corpus")
        path.write_bytes(whole[:-8])
        with pytest.raises(LoadError, match=r"rows.npy"):
            EncodedObjects(tmp_path / "corpus")
        assert model().encode_to_disk(TEXTS, tmp_path / "corpus").rows.tolist() == [0, 1, 2, 0, 3, 4, 1]

    def test_a_repaired_table(self, tmp_path: Path) -> None:
        encoder = Counting()
        before = model(encoder=encoder).encode_to_disk(TEXTS, tmp_path / "corpus").take(slice(0, 7)).values
        path = tmp_path / "corpus/table/vectors/data.ninja"
        whole = path.read_bytes()
        path.write_bytes(whole[:16] + bytes([whole[16] ^ 1]) + whole[17:])
        with pytest.raises(LoadError, match="row 1 of .* is not what was written"):
            EncodedObjects(tmp_path / "corpus").take([1])
        assert DiskTable.repair(tmp_path / "corpus/table") == 1
        with pytest.raises(LoadError, match="was pruned or repaired since"):
            EncodedObjects(tmp_path / "corpus")
        encoder.seen.clear()
        healed = model(encoder=encoder).encode_to_disk(TEXTS, tmp_path / "corpus")
        assert encoder.seen == [""] and torch.allclose(healed.take(slice(0, 7)).values, before, atol=1e-6)


@pytest.mark.skipif(sys.platform != "linux", reason="forks, and kills")
def test_killed_and_gone_on_with_equals_uninterrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simlearn.store.pending.COMMIT_BYTES", 1)  # each chunk is committed
    whole = model().encode_to_disk(many_texts(), tmp_path / "whole", batch_size=4)

    class Slow(Letters):
        def forward(self, batch: Any) -> Any:
            time.sleep(0.002)
            return super().forward(batch)

    def encode() -> None:
        slow = model(encoder=Slow())
        slow.encode_to_disk(many_texts(), tmp_path / "killed", batch_size=4)

    def committed() -> int:
        table = tmp_path / "killed/table"
        return len(DiskTable(table)) if (table / "commit.json").exists() else 0

    kept = 0
    for _ in range(4):
        kill_when(forked(encode), lambda before=kept: committed() > before)
        rows = committed()
        assert kept < rows < 900
        kept = rows
        with pytest.raises(LoadError, match="never encoded to the end"):
            EncodedObjects(tmp_path / "killed")
    encoder = Slow()
    with torch.no_grad():
        gone_on = model(encoder=encoder).encode_to_disk(many_texts(), tmp_path / "killed", batch_size=4)
    assert np.array_equal(gone_on.rows, whole.rows)
    assert np.array_equal(gone_on.vectors, whole.vectors), "bit for bit: the same batches were encoded"
    assert sorted(os.listdir(tmp_path / "killed")) == ["order", "table"], "no draft is left"


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_two_processes_encode_into_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simlearn.store.pending.COMMIT_BYTES", 1)

    def encode(texts: list[str]) -> None:
        model().encode_to_disk(texts, tmp_path / "both", batch_size=4)

    texts = list(many_texts())
    children = [forked(lambda: encode(texts)), forked(lambda: encode(texts[::-1]))]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    encoded = model().encode_to_disk(texts, tmp_path / "both")
    assert len(encoded.vectors) == 900 and sorted(os.listdir(tmp_path / "both")) == ["order", "table"]
    np.testing.assert_allclose(encoded.vectors[encoded.rows], model().encode(texts), rtol=1e-5, atol=1e-6)


MEMORY = """
import resource, sys
sys.path.insert(0, {tests!r})
from test_encoding_to_disk import SimilarityModel, torch
from simlearn.encoders import Encoder

class Trivial(Encoder):
    embedding_size = 8
    def get_collate_fn(self):
        return torch.tensor
    def forward(self, numbers):
        return numbers[:, None] * torch.ones(8)

model = SimilarityModel(Trivial())
model.encode_to_disk(map(float, range(2000)), sys.argv[1] + "/first", batch_size=256)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
encoded = model.encode_to_disk(map(float, range(200_000)), sys.argv[1] + "/second", batch_size=256)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 200_000)
assert encoded.take([123_456]).values.tolist() == [[123_456.0] * 8]
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory in another unit")
def test_memory_stays_bounded(tmp_path: Path) -> None:
    here = Path(__file__).parent
    command = [sys.executable, "-c", MEMORY.format(tests=str(here)), str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([ROOT, str(here.parent)]), "OMP_NUM_THREADS": "1"}
    output = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    assert float(output) < 200, "bytes an object, buffers of some megabytes included"
