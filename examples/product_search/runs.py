"""What is in the folder of a run: how it was made, how it went, and what it can go on from."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from settings import Config

FREE = {"run", "num_epochs", "data.workers"}
"""Keys that may change when a run goes on."""


class Run:
    """The folder of a run.

    Args:
        folder: where; None takes a new one under `runs/`, named after the time.
    """

    def __init__(self, folder: str | None) -> None:
        self.folder = Path(folder) if folder is not None else _unused()
        self.config = self.folder / "config.yaml"
        self.metrics = self.folder / "metrics.json"
        self.checkpoints = self.folder / "checkpoints"
        self.best = self.checkpoints / "best.ckpt"
        self.last = self.checkpoints / "last.ckpt"
        self.servable = self.folder / "servable"

    def check(self, config: Config) -> None:
        """Refuse a folder that holds a run of another config.

        Raises:
            ValueError: naming the keys that differ.
        """
        if not self.config.exists():
            return
        before, now = flat(OmegaConf.load(self.config)), flat(config)
        others = [key for key in sorted({*before, *now} - FREE) if before.get(key) != now.get(key)]
        if others:
            told = "; ".join(f"{key}: {before.get(key)!r} there, {now.get(key)!r} here" for key in others)
            raise ValueError(f"{self.folder} is a run of another config ({told}); give it the same, or another run=")

    def begin(self, config: Config, default: Config) -> None:
        """Write the config, what it changes of the default one, and which code runs."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(OmegaConf.to_yaml(OmegaConf.structured(config)))
        own, usual = flat(config), flat(default)
        changes = {key: value for key, value in own.items() if key not in usual or usual[key] != value}
        (self.folder / "changes.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(changes)))
        (self.folder / "commit").write_text(f"{config.commit_hash or commit()}\n")

    @property
    def done(self) -> int:
        """How many epochs are finished: those of the last checkpoint."""
        return int(torch.load(self.last, weights_only=True, mmap=True)["epoch"]) + 1 if self.last.exists() else 0

    def epochs(self) -> list[dict[str, float]]:
        """The figures of the epochs so far."""
        found: list[dict[str, float]] = json.loads(self.metrics.read_text()) if self.metrics.exists() else []
        return found


@contextmanager
def errors_told() -> Iterator[None]:
    """End with one line, instead of a traceback, for what the user can mend."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from None


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """A config as values by dotted keys."""
    if not isinstance(config, dict):
        read = config if OmegaConf.is_config(config) else OmegaConf.structured(config)
        return flat(OmegaConf.to_container(read, enum_to_str=True))
    found: dict[str, Any] = {}
    for key, value in config.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def commit() -> str:
    """The commit of the code that runs, `-dirty` where it was changed since."""
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
    )
    return told.stdout.strip() or "unknown"


def _unused() -> Path:
    stem = Path("runs") / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    names = (stem.with_name(f"{stem.name}{end}") for end in ("", *(f"-{n}" for n in range(2, 1000))))
    return next(name for name in names if not name.exists())
