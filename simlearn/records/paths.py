"""Files by path and glob, on any file system that fsspec knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        FileNotFoundError: for a path or glob that names no file, and for no path at all.
        ImportError: where the package for a protocol is missing, naming it.
    """
    found: set[str] = set()
    for path in [str(paths)] if isinstance(paths, (str, Path)) else map(str, paths):
        files, root = filesystem(path)
        names = [root] if files.isfile(root) else []  # even where its name looks like a glob
        is_glob = any(sign in root for sign in "*?[")
        if is_glob and not names:
            names = [name for name, told in files.glob(root, detail=True).items() if _is_file(files, name, told)]
        if not names:
            cure = f"a folder is read with {path.rstrip('/')}/*.parquet"
            if is_glob:
                cure = (
                    "in a glob, [[] stands for a [ in a name" if "[" in root else "nothing that is there fits this glob"
                )
            raise FileNotFoundError(f"{path} names no file; {cure}")
        found.update(_named_as(path, root, name) for name in names)
    if not found:
        raise FileNotFoundError("the list of files is empty; give at least one path or glob")
    return sorted(found)


def _is_file(files: Any, name: str, told: Mapping[str, Any]) -> bool:
    """Whether it is a file, or a link to one: a link to nothing counts, so that it is read and found to be missing."""
    return told["type"] == "file" or (bool(told.get("islink")) and not files.isdir(name))


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
