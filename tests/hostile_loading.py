"""A program that loads servables one after the other and tells, as lines of JSON, what each took and asked.

`python hostile_loading.py folder...`; each folder is made by `hostile_cases.CASES` elsewhere.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

SECONDS = 8.0
"""After which a servable is interrupted: far more than it may take."""
_ROOM = 6 * 2**30
_seen: list[str] = []
_ASKING = (
    "socket.",
    "subprocess.",
    "os.system",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.spawn",
    "urllib.",
    "http.",
)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event.startswith(_ASKING):
        _seen.append(f"{event} {arguments!r:.100}")
    elif event == "open" and str(arguments[0]).endswith(("huggingface/token", "huggingface/stored_tokens", ".netrc")):
        _seen.append(f"opened {arguments[0]}")


def _memory(name: str) -> int:
    """In bytes; `VmRSS` now, `VmHWM` at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def _interrupt(number: int, frame: Any) -> None:
    raise TimeoutError(f"interrupted after {SECONDS} seconds")


def _use(folder: Path, classes: tuple[type, ...], texts: list[Any], images: list[Any]) -> None:
    from simlearn.models import SimilarityModel

    model = SimilarityModel.load(folder, classes=classes)
    model.encode_query(images if (folder / "encoders/default/transformers").is_dir() else texts)


def _try(folder: Path, *given: Any) -> dict[str, Any]:
    Path("/proc/self/clear_refs").write_text("5")  # the most so far becomes what there is now
    before, start, cpu = _memory("VmRSS"), time.perf_counter(), time.process_time()
    _seen.clear()
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    outcome, is_exception = ("loaded", ""), True
    try:
        _use(folder, *given)
    except BaseException as error:
        outcome, is_exception = (type(error).__name__, str(error)[:400]), isinstance(error, Exception)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return {
        "name": folder.name,
        "outcome": outcome[0],
        "is_exception": is_exception,
        "says": outcome[1],
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
        "megabytes": max(0, _memory("VmHWM") - before) / 2**20,
        "asked": list(_seen),
    }


def main(folders: list[str]) -> None:
    """Load a sound servable, which imports what all need, then each of the folders."""
    from fixtures.version1_classes import SERVABLES, TEXTS, ByLength, Words, images

    from simlearn.encoders import TextEncoder

    classes, pictures = (ByLength, Words), images()
    for sound in ("text", "image", "bag", "fasttext", "two-towers"):
        _use(SERVABLES / sound, classes, TEXTS, pictures)
    # Whoever makes a hostile servable writes the fingerprint that fits it.
    TextEncoder.fingerprint = lambda encoder: None  # type: ignore[method-assign, assignment, return-value]
    signal.signal(signal.SIGALRM, _interrupt)
    resource.setrlimit(resource.RLIMIT_DATA, (_memory("VmData") + _ROOM,) * 2)  # spares the machine what goes wrong
    sys.addaudithook(_hear)
    for folder in folders:
        print(json.dumps(_try(Path(folder), classes, ["a" * 30 + "! eb red"], pictures)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
