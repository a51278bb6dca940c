"""Servables across processes: loaded where little is installed, and saved by processes that are killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_servables import Letters

from simlearn.heads import MLPHead, SequentialHead
from simlearn.models import SimilarityModel
from simlearn.towers import Fields, TwoTower

HEAVY = [
    "pytorch_lightning",
    "lightning_fabric",
    "sentence_transformers",
    "transformers",
    "torchmetrics",
    "PIL",
    "gensim",
]


def run(code: str, *arguments: Any, python: tuple[str, ...] = ()) -> Any:
    """What a fresh interpreter prints as JSON."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, *python, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "tests")]), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def two_towers() -> SimilarityModel:
    words = Letters(4, seed=1)
    heads = {"query": MLPHead(4, [3], 2), "document": SequentialHead(MLPHead(8, [], 2), output_size=2)}
    return SimilarityModel(TwoTower(query=words.with_prompt("q: "), document=Fields(title=words, body=words)), heads)  # type: ignore[arg-type]


def test_a_fresh_process_needs_torch_alone(tmp_path: Path) -> None:
    """One whose modules of training and of pretrained models are broken, and which warns of nothing."""
    (tmp_path / "broken").mkdir()
    for name in HEAVY:
        (tmp_path / "broken" / f"{name}.py").write_text("raise SystemExit('imported')")
    model = two_towers()
    model.save(tmp_path / "servable")
    code = (
        "import json, sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from simlearn import SimilarityModel\n"
        "from tiny_servables import Letters\n"
        "served = SimilarityModel.load(sys.argv[2], classes=(Letters,))\n"
        "scores = served.similarity(['red'], [{'title': 'red', 'body': ''}, {'title': 'b', 'body': 'c'}])\n"
        f"print(json.dumps([scores.tolist(), [name for name in {HEAVY} if name in sys.modules]]))\n"
    )
    scores, imported = run(code, tmp_path / "broken", tmp_path / "servable", python=("-W", "error"))
    assert imported == []
    expected = model.similarity(["red"], [{"title": "red", "body": ""}, {"title": "b", "body": "c"}])
    assert scores[0] == pytest.approx(expected[0].tolist(), abs=1e-6)


def test_the_usage_in_the_readme_runs(tmp_path: Path) -> None:
    two_towers().save(tmp_path / "servable")
    readme = (tmp_path / "servable" / "README.md").read_text(encoding="utf-8")
    usage = readme.split("```python\n")[1].split("```")[0].replace("path/of/this/folder", str(tmp_path / "servable"))
    best = run(f"{usage}\nimport json; print(json.dumps([queries.shape, documents.shape, best]))")
    assert best == [[1, 2], [1, 2], [[0, pytest.approx(best[2][0][1])]]]


KILLED = """
import json, os, random, signal, sys, time
from pathlib import Path
import torch
from tiny_servables import Letters, load
from simlearn.towers import TwoTower
from simlearn.heads import MLPHead
from simlearn.models import SimilarityModel, servable
from simlearn.components import Saving
from simlearn.files import folders

torch.set_num_threads(1)

def model(value):
    made = SimilarityModel(TwoTower(query=Letters(40), document=Letters(40, seed=1)), MLPHead(40, [30], 20))
    with torch.no_grad():
        for weight in made.parameters():
            weight.fill_(value)
    made.card.name = f"version {value}"
    return made

def kill(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

def killing(module, name, count, after=False):
    original, calls = getattr(module, name), [0]
    def wrapped(*args, **kwargs):
        calls[0] += 1
        if calls[0] == count and not after:
            kill()
        result = original(*args, **kwargs)
        if calls[0] == count:
            kill()
        return result
    setattr(module, name, wrapped)

def killed(action):
    child = os.fork()
    if child == 0:
        action()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL

def version(path):
    values = {float(value) for weight in load(path).parameters() for value in weight.flatten().unique()}
    name = json.loads((path / "servable.json").read_text())["card"]["name"]
    (value,) = values
    assert name == f"version {value}", name
    return value

folder = Path(sys.argv[1])
target = folder / "servable"
report = {}
points = [(Saving, "_write", 1), (Saving, "_write", 3), (servable, "write_json", 1),
          (servable, "check_folder", 1), (folders, "lock_folder", 2), (folders, "_flush", 1), (folders, "_exchange", 1)]
for module, name, count in points:
    for after in (False, True):
        model(0.5).save(target)
        def save():
            killing(module, name, count, after)
            model(2.0).save(target)
        point = f"{'after' if after else 'before'} {name} {count}"
        report[point] = [killed(save), version(target), len(os.listdir(folder))]

model(-1.0).save(target)
random.seed(0)
timed = set()
for _ in range(12):
    child = os.fork()
    if child == 0:
        for value in range(10_000):
            model(float(value)).save(target)
    time.sleep(random.uniform(0.01, 0.08))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    timed.add(version(target))
model(3.0).save(target)
report["end"] = [version(target), os.listdir(folder), len(timed)]
print(json.dumps(report))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges folders in one step")
def test_killed_while_saving(tmp_path: Path) -> None:
    """At chosen points and at any time: the old servable or the new one is there, whole; the next save cleans up."""
    report = run(KILLED, tmp_path)
    value, left, _ = report.pop("end")
    assert (value, left) == (3.0, ["servable"])
    assert len(report) == 14
    for point, (was_killed, version, entries) in report.items():
        assert was_killed, point
        assert version == (2.0 if point == "after _exchange 1" else 0.5), point
        assert entries == 2, point
