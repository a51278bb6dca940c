"""Does a table on disk survive kills at random moments?

Processes fill a table, alone or two at once, and are killed at random moments. After every kill the table is opened as
the next run would: every vector in it must be right, what the killed process had told as committed must be there, and
the next process goes on. At last the table must be complete, with no file beside its own.

    python benchmarks/cache_kills.py [--tiny] [--kills 240]
"""

from __future__ import annotations

import argparse
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from simlearn.embeddings import Embeddings
from simlearn.files import LoadError
from simlearn.meta import columns
from simlearn.store import DiskTable, as_keys, pending

COUNT = 1200
"""Objects in a full table."""
BATCH = 20
WIDTH = 16
MANY = 6
PATIENCE = 60.0
"""Seconds after which a process that neither ends nor goes on counts as blocked."""
FILES = {"keys", "checksums", "commit.json", "store.json", "lock", "meta/number"} | {
    f"vectors/{name}.ninja" for name in ("data", "dtype", "order", "shape", "type")
}


@dataclass
class Found:
    """What was seen of one kind of run."""

    kills: int = 0
    after_commits: int = 0
    tables: int = 0
    wrong: int = 0
    lost: int = 0
    blocked: int = 0
    incomplete: int = 0

    @property
    def is_sound(self) -> bool:
        return not (self.wrong or self.lost or self.blocked or self.incomplete)


def keys(numbers: range) -> list[bytes]:
    """16 bytes for each number, in no order."""
    return [(number * 0x9E3779B97F4A7C15 % 2**64).to_bytes(16, "little") for number in numbers]


def vectors(numbers: range | list[int], many: bool) -> Embeddings:
    """What an encoder would say: other values in every row; of matrices also another number of vectors."""
    rows = torch.tensor(list(numbers), dtype=torch.float32)
    values = rows[:, None] + torch.arange(WIDTH) / WIDTH
    if not many:
        return Embeddings(values)
    mask = torch.arange(MANY) < torch.tensor([1 + number % MANY for number in numbers])[:, None]
    return Embeddings(values[:, None] + 1000.0 * torch.arange(MANY)[:, None], mask)


def fill(folder: Path, many: bool, backwards: bool, say: Callable[[str], None]) -> None:
    """Fill what is missing, a batch a commit, and say how many rows are committed."""
    starts = list(range(0, COUNT, BATCH))
    with DiskTable(folder, description={"what": "numbers"}) as table:
        for start in reversed(starts) if backwards else starts:
            numbers = range(start, start + BATCH)
            wanted = keys(numbers)
            new = table.missing(wanted)
            if len(new):
                chosen = [numbers[place] for place in new]
                meta = columns([{"number": number} for number in chosen])
                table.append([wanted[place] for place in new], vectors(chosen, many), meta)
                table.flush()
            say(f"{len(table)}\n")


def child(action: Callable[[Callable[[str], None]], None]) -> tuple[int, int]:
    """Run it in a fork, which starts at once; its process, and where it says how far it is."""
    reading, writing = os.pipe()
    process = os.fork()
    if process:
        os.close(writing)
        return process, reading
    code = 1
    try:
        os.close(reading)
        action(lambda text: os.write(writing, text.encode()) and None)
        code = 0
    finally:
        os._exit(code)


def heard(reading: int) -> int:
    """The last number that a dead process said."""
    text = b""
    while piece := os.read(reading, 1 << 16):
        text += piece
    os.close(reading)
    lines = text.decode().split("\n")[:-1]
    return int(lines[-1]) if lines else 0


def ended(process: int, within: float) -> bool:
    """Wait for a process; kill it when it takes too long."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        if os.waitpid(process, os.WNOHANG)[0]:
            return True
        time.sleep(0.002)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return False


def check(folder: Path, many: bool, found: Found) -> int:
    """Look at all that is there; how many rows that is."""
    if not (folder / "commit.json").exists():
        return 0
    try:
        return rows(DiskTable(folder), many, found)
    except LoadError as error:
        print(f"damaged: {error}", file=sys.stderr)
        found.wrong += 1
        return 0


def rows(table: DiskTable, many: bool, found: Found) -> int:
    """How many rows there are, after a look at each."""
    absent = set(table.missing(as_keys(keys(range(COUNT)))).tolist())
    numbers = [number for number in range(COUNT) if number not in absent]
    found.wrong += len(table.verify()) + abs(len(numbers) - len(table))
    if numbers:
        all_keys = keys(range(COUNT))
        taken, meta = table.take(table.rows([all_keys[number] for number in numbers]), "cpu")
        expected = vectors(numbers, many)
        same = torch.as_tensor(meta["number"]) == torch.tensor(numbers)  # type: ignore[arg-type]
        if many:
            taken = taken.pad(MANY)
            values = expected.values * expected.full_mask()[..., None]
            same &= (taken.full_mask() == expected.full_mask()).all(1) & (taken.values == values).flatten(1).all(1)
        else:
            same &= (taken.values == expected.values).all(1)
        found.wrong += int((~same).sum())
    return len(numbers)


def run(root: Path, many: bool, fillers: int, kills: int, seconds: float, chance: random.Random) -> Found:
    """Kill fillers until there were enough kills, table after table."""
    found = Found()
    while found.kills < kills:
        folder, known = root / f"{many}-{fillers}-{found.tables}", 0
        found.tables += 1
        for _ in range(chance.randint(3, 8)):
            started = [child(partial(fill, folder, many, bool(turn))) for turn in range(fillers)]
            moments = sorted(chance.uniform(0, seconds) for _ in started)
            begun = time.monotonic()
            chance.shuffle(started)
            for (process, reading), moment in zip(started, moments, strict=True):
                time.sleep(max(0.0, begun + moment - time.monotonic()))
                writes = bool(select.select([reading], [], [], 0)[0])
                os.kill(process, signal.SIGKILL)
                _, status = os.waitpid(process, 0)
                if os.WIFSIGNALED(status):  # else it had come to its end
                    found.kills += 1
                    found.after_commits += writes
                known = max(known, heard(reading))
            there = check(folder, many, found)
            found.lost += max(0, known - there)
            known = there
        process, reading = child(partial(fill, folder, many, False))
        found.blocked += not ended(process, PATIENCE)
        os.close(reading)
        files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        found.incomplete += COUNT - check(folder, many, found) + len(files ^ (FILES | ({"offsets"} if many else set())))
        shutil.rmtree(folder)
    return found


def duration(root: Path, many: bool) -> float:
    """Seconds to fill a table without any kill."""
    begun = time.monotonic()
    process, reading = child(partial(fill, root / "timed", many, False))
    if not ended(process, PATIENCE) or heard(reading) != COUNT:
        raise RuntimeError("a table cannot be filled even without kills")
    shutil.rmtree(root / "timed")
    return time.monotonic() - begun


def main() -> int:
    """Print a table; 1 when anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tiny", action="store_true", help="a few kills, to see that it runs")
    parser.add_argument("--kills", type=int, default=240, help="at least so many in all")
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    if not hasattr(os, "fork"):
        print("this system has no fork; nothing was killed")
        return 0
    torch.set_num_threads(1)
    pending.COMMIT_BYTES = 1
    seed = arguments.seed if arguments.seed is not None else random.randrange(10**6)
    kinds = [(many, fillers) for many in (False, True) for fillers in (1, 2)]
    kills = -(-(12 if arguments.tiny else arguments.kills) // len(kinds))
    root, all_sound, total = Path(tempfile.mkdtemp()), True, 0
    columns_ = ["kills", "after commits", "tables", "wrong", "lost", "blocked", "incomplete"]
    print(f"seed {seed}, {COUNT} objects a table in {COUNT // BATCH} commits")
    print(f"{'objects':<16}{'fillers':>8}" + "".join(f"{name:>14}" for name in columns_))
    try:
        for many, fillers in kinds:
            chance = random.Random(f"{seed} {many} {fillers}")
            found = run(root, many, fillers, kills, duration(root, many) / 3, chance)
            cells = [getattr(found, name.replace(" ", "_")) for name in columns_]
            print(
                f"{'token matrices' if many else 'single vectors':<16}{fillers:>8}" + "".join(f"{c:>14}" for c in cells)
            )
            all_sound, total = all_sound and found.is_sound, total + found.kills
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(f"{total} kills: " + ("nothing wrong, lost or blocked" if all_sound else "NOT SOUND"))
    return 0 if all_sound else 1


if __name__ == "__main__":
    sys.exit(main())
