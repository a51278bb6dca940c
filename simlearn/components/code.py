"""What code says, the same on every machine: syntax trees without comments and layout.

Source is read where there is some and where it is what runs, so that a file that moved, was reformatted, or runs under
another version of Python says the same. Other code (typed at a prompt, or of a file that was changed since) is told by
its bytecode, which other versions of Python compile otherwise.
"""

from __future__ import annotations
import __future__

import ast
import functools
import importlib.util
import inspect
import linecache
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NamedTuple

_FRAMEWORKS = frozenset("simlearn torch transformers sentence_transformers tokenizers numpy".split())
_NO_MEANING = frozenset("ctx type_comment kind type_ignores type_params".split())
_KINDS = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS | inspect.CO_GENERATOR | inspect.CO_COROUTINE
_KINDS |= inspect.CO_ASYNC_GENERATOR
_FUTURES = functools.reduce(
    lambda flags, name: flags | getattr(__future__, name).compiler_flag, __future__.all_feature_names, 0
)

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def home_of(function: FunctionType) -> str:
    """The module whose code a function is; `functools.wraps` makes `__module__` say something else."""
    return str(function.__globals__.get("__name__", function.__module__))


def is_library(module: str) -> bool:
    """Whether a module belongs to Python or is installed, so that its name says what it does.

    A module of the user's that is called as one of Python's, such as `code.py` beside a script, is the user's.
    """
    top = module.partition(".")[0]
    if top in _FRAMEWORKS or top == "builtins" or top.startswith("_cython_"):
        return True
    if top == "__main__":
        return False
    loaded = sys.modules.get(module) or sys.modules.get(top)
    return _is_installed(top, getattr(loaded, "__file__", None), loaded is not None)


@functools.lru_cache(maxsize=4096)
def _is_installed(top: str, file: str | None, is_loaded: bool) -> bool:
    if not is_loaded:
        try:
            spec = importlib.util.find_spec(top)
        except (ImportError, ValueError):
            spec = None
        file = spec.origin if spec is not None and spec.has_location else None
    if file is None:
        return top in sys.stdlib_module_names
    if not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts):
        return True
    return top in sys.stdlib_module_names and any(Path(file).is_relative_to(folder) for folder in _standard_folders())


@functools.cache
def _standard_folders() -> tuple[str, ...]:
    return tuple(folder for name in ("stdlib", "platstdlib") if (folder := sysconfig.get_path(name)) is not None)


def is_framework(module: str) -> bool:
    """Whether a module is simlearn's or of what it stands on: also the classes of its encoders need not be read."""
    return module.partition(".")[0] in _FRAMEWORKS | {"builtins"}


def code_of(function: FunctionType) -> str:
    """What a function does, in a form that depends on neither layout, comments, docstrings nor the Python version."""
    definition = definition_of(function)
    return bytecode(function.__code__) if definition is None else canonical(definition)


def canonical(node: Any) -> str:
    """A syntax tree as text. `ast.dump` and `ast.unparse` differ between versions of Python, and so does `repr`."""
    if isinstance(node, ast.AST):
        fields = []
        for name, value in ast.iter_fields(node):
            if name in _NO_MEANING or value is None or value == []:
                continue
            if name == "body" and isinstance(value, list) and _is_docstring(value[0]):
                value = value[1:]
            if isinstance(node, ast.JoinedStr):
                value = _joined(value)
            fields.append(f"{name}={canonical(value)}")
        return f"{type(node).__name__}({', '.join(sorted(fields))})"
    if isinstance(node, list):
        return f"[{', '.join(map(canonical, node))}]"
    if type(node) is int:
        return hex(node)  # `repr` refuses very long ones
    return ascii(node)  # which letters `repr` writes out depends on the version's Unicode


def definition_of(function: FunctionType) -> Definition | None:
    """The syntax tree of a function; None where no source is known to be what runs."""
    for is_second in (False, True):
        if is_second:
            linecache.checkcache(function.__code__.co_filename)  # the module may have been loaded anew
        lines = linecache.getlines(function.__code__.co_filename, function.__globals__)
        if (found := _find("".join(lines), function.__code__)) is not None:
            return found
    return None


@functools.lru_cache(maxsize=4096)
def _find(source: str, code: CodeType) -> Definition | None:
    """The definition in a source that compiles to a code; of several alike the one of the same line."""
    text = bytecode(code)
    known = _definitions(source, code.co_flags & _FUTURES).get(code.co_name, ())
    found = [one for one in known if bytecode(one.code) == text]
    found = [one for one in found if one.code.co_firstlineno == code.co_firstlineno] or found
    return found[0].node if len({canonical(one.node) for one in found}) == 1 else None


class _Compiled(NamedTuple):
    code: CodeType
    node: Definition


@functools.lru_cache(maxsize=256)
def _definitions(source: str, futures: int) -> dict[str, list[_Compiled]]:
    """The functions of a source by their names: what they compile to and their syntax trees."""
    nodes: dict[tuple[int, str], list[Definition]] = {}
    found: dict[str, list[_Compiled]] = {}
    try:
        tree = ast.parse(source)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the user's code, and told when it was imported
            # A notebook's cell may await at its top.
            module = compile(source, "", "exec", futures | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):  # no Python any more, as when the file was changed
        return found
    for node in ast.walk(tree):
        if isinstance(node, Definition):
            first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])
            nodes.setdefault((first, getattr(node, "name", "<lambda>")), []).append(node)
    for code in _inner(module):
        here = nodes.get((code.co_firstlineno, code.co_name), [])
        if len(here) > 1:  # lambdas of one line: the innermost one around all that the code says where it stands
            spans = _spans(code)
            here = [node for node in here if spans and all(_holds(node, span) for span in spans)]
            here = sorted(here, key=lambda node: (node.lineno, node.col_offset))[-1:]
        if here:
            found.setdefault(code.co_name, []).append(_Compiled(code, here[0]))
    return found


def _inner(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _inner(constant)


_Span = tuple[tuple[int, int], tuple[int, int]]


def _spans(code: CodeType) -> list[_Span]:
    """Where the instructions of a code stand: line and column of their begins and ends. None before Python 3.11."""
    positions = code.co_positions() if hasattr(code, "co_positions") else ()
    return [
        ((line, column), (last, end))
        for line, last, column, end in positions
        if line is not None and last is not None and column is not None and end is not None and end > 0
    ]


def _holds(node: Definition, span: _Span) -> bool:
    body: Any = node.body  # a lambda's: not its defaults, which other code evaluates
    begin, end = (body.lineno, body.col_offset), (body.end_lineno, body.end_col_offset)
    return begin <= span[0] and span[1] <= end


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _joined(values: list[Any]) -> list[Any]:
    """The parts of an f-string, with its texts in one piece, which versions of Python split otherwise."""
    joined: list[Any] = []
    for part in values:
        if isinstance(part, ast.Constant) and joined and isinstance(joined[-1], ast.Constant):
            joined[-1] = ast.Constant(f"{joined[-1].value}{part.value}")  # type: ignore[str-bytes-safe]
        elif not isinstance(part, ast.Constant) or part.value:
            joined.append(part)
    return joined


@functools.lru_cache(maxsize=16384)
def bytecode(code: CodeType) -> str:
    """What a code does, without where it stands."""
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & _KINDS)
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    guarded = getattr(code, "co_exceptiontable", b"")  # before Python 3.11 a part of the instructions
    return f"{counts} {code.co_code.hex()} {guarded.hex()} {names} {list(map(_constant, code.co_consts))}"


def _constant(value: Any) -> str:
    if isinstance(value, CodeType):
        return bytecode(value)
    if isinstance(value, frozenset):  # its order changes from process to process
        return f"{{{sorted(map(_constant, value))}}}"
    if isinstance(value, tuple):
        return f"({list(map(_constant, value))})"
    return hex(value) if type(value) is int else ascii(value)
