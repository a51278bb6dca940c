"""Files by path and glob, on any file system that fsspec knows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

_PACKAGES = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs"), "adlfs"),
    **dict.fromkeys(("http", "https"), "aiohttp"),
}
"""The package that reads a protocol, for those that fsspec does not bring along."""


def expand(paths: str | Path | Sequence[str | Path]) -> list[str]:
    """The files that paths and globs name, sorted, each once.

    Args:
        paths: one or several, as `"s3://bucket/part-*.parquet"`; any URL of fsspec, chained ones included.

    Raises:
        FileNotFoundError: for a path or glob that names no file.
        ImportError: where the package for a protocol is missing, naming it.
    """
    found: set[str] = set()
    for path in [str(paths)] if isinstance(paths, (str, Path)) else map(str, paths):
        files, root = filesystem(path)
        if any(sign in root for sign in "*?["):
            names = [name for name, told in files.glob(root, detail=True).items() if told["type"] == "file"]
        else:
            names = [root] if files.isfile(root) else []
        if not names:
            raise FileNotFoundError(f"{path} names no file; a folder is read with {path.rstrip('/')}/*.parquet")
        found.update(_named_as(path, root, name) for name in names)
    return sorted(found)


def _named_as(path: str, root: str, name: str) -> str:
    """A file as a path named it: its file system, and others that this one reads through, stay in front of it."""
    if "://" not in path and "::" not in path:
        return name
    before, found, behind = path.partition(root)
    return before + name + behind if found else path.partition("://")[0] + "://" + name


def filesystem(path: str) -> tuple[Any, str]:
    """What reads a path, and the path as that calls it.

    Raises:
        ImportError: where fsspec, or its package for a protocol, is missing.
        ValueError: for a path of no known protocol.
    """
    try:
        import fsspec
    except ImportError:
        raise ImportError("reading files needs fsspec: pip install simlearn[data]") from None
    try:
        files, root = fsspec.core.url_to_fs(path)
    except ImportError:
        protocol = path.rpartition("::")[2].partition("://")[0]
        needed = _PACKAGES.get(protocol, "a package of its own")
        raise ImportError(f"{path}: reading {protocol}:// needs {needed}: pip install {needed}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return files, root
