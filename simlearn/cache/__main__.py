"""Look after a folder of caches from a terminal: `python -m simlearn.cache list|verify|size|prune FOLDER`."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from datetime import datetime, timezone

from simlearn.cache.management import CacheEntry, list_entries, prune, size, verify

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns 1 when something is damaged, in use or missing."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m simlearn.cache", description="Look after a folder of caches.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, words in (
        ("list", _list, "what the folder holds"),
        ("verify", _verify, "read every row and compare it with its checksum"),
        ("size", _size, "how much it takes"),
        ("prune", _prune, "remove what nobody needs any more"),
    ):
        command = commands.add_parser(name, help=words, description=words)
        command.set_defaults(run=run)
        command.add_argument("folder")
        if name == "verify":
            command.add_argument("--repair", action="store_true", help="drop what is damaged; it is computed again")
        if name == "prune":
            command.add_argument("--name", action="append", default=[], help="an entry to remove; may be repeated")
            command.add_argument("--unused-days", type=float, help="remove what was last used longer ago")
            command.add_argument("--max-size", type=_bytes, help="remove the least recently used, as 500MB or 20GB")
            command.add_argument("--keep", action="append", default=[], help="an entry to keep; may be repeated")
            command.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    return parser


def _list(options: argparse.Namespace) -> int:
    entries = list_entries(options.folder)
    _table(
        ["name", "holds", "rows", "size", "last used"],
        [
            [entry.name, _holds(entry), "" if entry.rows is None else f"{entry.rows:,}", _text(entry.size), _ago(entry)]
            for entry in entries
        ],
    )
    print(f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'}, {_text(sum(e.size for e in entries))}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    found = verify(options.folder, repair=options.repair)
    rows = []
    for one in found:
        verdict = one.problem or "sound"
        if one.damaged:
            words = "dropped" if one.repaired else "damaged: --repair drops them, and they are computed again"
            verdict = f"{one.damaged:,} of {one.entry.rows or 1:,} rows {words}"
            verdict += f"; {one.problem}" if one.problem else ""
        rows.append([one.entry.name, verdict])
    _table(["name", "verdict"], rows)
    return 0 if all(one.is_sound for one in found) else 1


def _size(options: argparse.Namespace) -> int:
    print(_text(size(options.folder)))
    return 0


def _prune(options: argparse.Namespace) -> int:
    pruned = prune(
        options.folder,
        names=options.name,
        unused_days=options.unused_days,
        max_size=options.max_size,
        keep=options.keep,
        dry_run=options.dry_run,
    )
    for entry in pruned.removed:
        words = "would remove" if options.dry_run else "removed"
        print(f"{words} {entry.name}: {_text(entry.size)}, last used {_ago(entry)}")
    for entry in pruned.in_use:
        print(f"{entry.name} is in use by a process and stays", file=sys.stderr)
    print(f"{_text(sum(entry.size for entry in pruned.removed))} {'to be ' if options.dry_run else ''}freed")
    return 1 if pruned.in_use else 0


def _holds(entry: CacheEntry) -> str:
    if entry.problem is not None:
        return f"cannot be read: {entry.problem}"
    told = entry.description or {}
    parts = [str(told.get("class", told.get("holds", entry.kind)))]
    parts += [f"prompt {told['prompt']!r}"] if told.get("prompt") is not None else []
    parts += [entry.layout] if entry.layout is not None else []
    return ", ".join(parts)


def _table(header: list[str], rows: list[list[str]]) -> None:
    widths = [max(len(row[place]) for row in [header, *rows]) for place in range(len(header))]
    for row in [header, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _ago(entry: CacheEntry) -> str:
    seconds = (datetime.now(timezone.utc) - entry.last_used).total_seconds()
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return "just now"


def _text(count: int) -> str:
    for unit, length in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= length:
            return f"{count / length:.1f} {unit}"
    return f"{count} B"


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    if match is None or match[2].upper() not in _UNITS:
        raise argparse.ArgumentTypeError(f"a size is a number and kB, MB, GB or TB, such as 20GB; got {text!r}")
    return int(float(match[1]) * _UNITS[match[2].upper()])


if __name__ == "__main__":
    sys.exit(main())
