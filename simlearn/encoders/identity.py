"""Who encodes: what tells one encoder's vectors from another's on disk."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Iterator
from hashlib import blake2b
from types import CodeType, FunctionType, MethodType
from typing import Any

import torch

from simlearn.encoders.encoder import Encoder
from simlearn.encoders.towers import Part, TowerCollator

_TRUSTED = ("simlearn", "torch", "builtins", "sentence_transformers", "transformers")
"""Packages whose code is not read: their encoders tell in their fingerprint all that decides."""


def identity(part: Part, encoder: Encoder, autocast: torch.dtype | None = None) -> str:
    """32 hexadecimal digits that change with anything that decides what a part's encoder says of an object.

    That is the encoder's fingerprint (class, settings, weights), the prompt, the precision, and the code of classes and
    collate functions that are not simlearn's: comments and layout do not count. Functions which that code calls are not
    followed; change a setting of the encoder, or prune the cache, when one of them changes.

    Args:
        part: a place in a tower.
        encoder: what encodes there.
        autocast: the dtype of autocast while encoding; None without.
    """
    digest = blake2b(digest_size=16)
    collate = TowerCollator.of((part,), {part.encoder: encoder}).collate_fns[0]
    for text in (encoder.fingerprint(), repr(part.prompt), repr(autocast), *code_of(type(encoder)), *code_of(collate)):
        digest.update(len(text).to_bytes(8, "little") + text.encode())
    return digest.hexdigest()


def code_of(what: Any) -> Iterator[str]:
    """The code of a class and its bases, of a function, or of what an object does when it is called."""
    if isinstance(what, functools.partial):
        yield from code_of(what.func)
    elif isinstance(what, MethodType):
        yield from code_of(what.__func__)
    elif isinstance(what, type):
        for base in what.__mro__:
            if not _is_trusted(base):
                yield _source(base)
    elif isinstance(what, FunctionType):
        if not _is_trusted(what):
            yield _source(what)
    else:
        yield from code_of(type(what))


def _is_trusted(what: Any) -> bool:
    return str(getattr(what, "__module__", "")).partition(".")[0] in _TRUSTED


def _source(what: Any) -> str:
    try:
        return ast.unparse(ast.parse(textwrap.dedent(inspect.getsource(what))))
    except (OSError, TypeError, SyntaxError):  # typed at a prompt, or a lambda within a line
        functions = [what] if isinstance(what, FunctionType) else vars(what).values()
        codes = [f.__code__ for f in map(inspect.unwrap, functions) if isinstance(f, FunctionType)]
        return f"{what.__qualname__} {[_bytecode(code) for code in codes]}"


def _bytecode(code: CodeType) -> Any:
    constants = [_bytecode(one) if isinstance(one, CodeType) else repr(one) for one in code.co_consts]
    return [code.co_code.hex(), code.co_names, constants]
