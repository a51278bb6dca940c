"""What code says, the same on every machine: syntax trees without comments and layout, and what they refer to.

Source is read where there is some, so that a file that moved, was reformatted, or runs under another version of Python
says the same. Code without source (typed at a prompt) is told by its bytecode, which other versions compile otherwise.
"""

from __future__ import annotations

import ast
import dis
import functools
import linecache
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

_FRAMEWORKS = frozenset("simlearn torch transformers sentence_transformers tokenizers numpy".split())
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_NO_MEANING = frozenset("ctx type_comment kind type_ignores type_params".split())
_CHANGES = frozenset("append add update extend setdefault pop clear insert remove discard popitem appendleft".split())
"""Methods of the built-in containers that change them."""

MEMORIES = (list, dict, set, bytearray, deque, int, float, str, type(None))
"""What code counts and remembers in."""


class Reference(NamedTuple):
    """A global that code reads.

    Args:
        name: with the attributes that are read of a module, as `settings.SCALE`.
        value: what it is now.
    """

    name: str
    value: Any


def home_of(function: FunctionType) -> str:
    """The module whose code a function is; `functools.wraps` makes `__module__` say something else."""
    return str(function.__globals__.get("__name__", function.__module__))


@functools.lru_cache(maxsize=4096)
def is_library(module: str) -> bool:
    """Whether a module belongs to Python or is installed, so that its name says what it does."""
    top = module.partition(".")[0]
    if top in _FRAMEWORKS or (top in sys.stdlib_module_names and top != "__main__") or top == "builtins":
        return True
    file = getattr(sys.modules.get(module), "__file__", None) or getattr(sys.modules.get(top), "__file__", None)
    return file is not None and not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts)


def is_framework(module: str) -> bool:
    """Whether a module is simlearn's or of what it stands on: also the classes of its encoders need not be read."""
    return module.partition(".")[0] in _FRAMEWORKS | {"builtins"}


def code_of(function: FunctionType) -> str:
    """What a function does, in a form that depends on neither layout, comments, docstrings nor the Python version."""
    definition = _definition(function)
    return _bytecode(function.__code__) if definition is None else canonical(definition)


def canonical(node: Any) -> str:
    """A syntax tree as text. `ast.dump` and `ast.unparse` differ between versions of Python."""
    if isinstance(node, ast.AST):
        fields = []
        for name, value in ast.iter_fields(node):
            if name in _NO_MEANING or value is None or value == []:
                continue
            if name == "body" and isinstance(value, list) and _is_docstring(value[0]):
                value = value[1:]
            fields.append(f"{name}={canonical(value)}")
        return f"{type(node).__name__}({', '.join(sorted(fields))})"
    if isinstance(node, list):
        return f"[{', '.join(map(canonical, node))}]"
    return repr(node)


def canonical_source(text: str) -> str:
    """`canonical` of a whole module."""
    return canonical(ast.parse(text))


def references(function: FunctionType) -> Iterator[Reference]:
    """The globals that a function's code reads, by name; what it counts and remembers there decides nothing."""
    changed = written(function).globals
    seen: dict[str, Any] = {}
    for name, value in _loads(function.__code__, function.__globals__):
        if name not in changed or not isinstance(value, MEMORIES):
            seen.setdefault(name, value)
    yield from (Reference(name, seen[name]) for name in sorted(seen))


class Written(NamedTuple):
    """What code changes while it runs.

    Args:
        attributes: that it assigns, of its first argument (`self`) or of any class by name.
        containers: attributes of which it calls a method that would change a list, dictionary or set.
        globals: names of its module that it changes.
        methods: of its first argument that it calls.
    """

    attributes: frozenset[str] = frozenset()
    containers: frozenset[str] = frozenset()
    globals: frozenset[str] = frozenset()
    methods: frozenset[str] = frozenset()

    def covers(self, name: str, value: Any) -> bool:
        """Whether an attribute is a counter or memory of the code, and no setting."""
        return name in self.attributes or (name in self.containers and isinstance(value, MEMORIES))


def written(function: FunctionType) -> Written:
    """What a function changes: counters and memories, which are no settings. Nothing where there is no source."""
    definition = _definition(function)
    if definition is None:
        return Written()
    arguments = [*definition.args.posonlyargs, *definition.args.args]
    own = arguments[0].arg if arguments else ""
    local = set(_local_names(function.__code__)) - {own}
    attributes, containers, names, methods = set[str](), set[str](), set[str](), set[str]()
    for node in ast.walk(definition):
        if isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, (ast.Store, ast.Del)):
            _note(node, own, local, attributes, names)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if _is_self(node.func.value, own):
                methods.add(node.func.attr)
            if node.func.attr in _CHANGES:
                _note(node.func.value, own, local, containers, names)
        elif isinstance(node, ast.Global):
            names.update(node.names)
    return Written(frozenset(attributes), frozenset(containers), frozenset(names), frozenset(methods))


def _note(target: ast.AST, own: str, local: set[str], attributes: set[str], names: set[str]) -> None:
    """What is changed by a change of `self.a`, `self.a[0].b`, `NAME`, `NAME[0]` or `Class.a`, but not of variables."""
    while isinstance(target, (ast.Attribute, ast.Subscript)):
        inner = target.value
        is_global = isinstance(inner, ast.Name) and inner.id not in local
        if isinstance(target, ast.Attribute) and (_is_self(inner, own) or is_global):
            attributes.add(target.attr)
        target = inner
    if isinstance(target, ast.Name) and target.id not in local:
        names.add(target.id)


def _local_names(code: CodeType) -> Iterator[str]:
    yield from (*code.co_varnames, *code.co_cellvars)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _local_names(constant)


def _is_self(node: ast.AST, own: str) -> bool:
    """`self`, `type(self)` or `self.__class__`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "type" and node.args:
        node = node.args[0]
    if isinstance(node, ast.Attribute) and node.attr == "__class__":
        node = node.value
    return isinstance(node, ast.Name) and bool(own) and node.id == own


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _definition(function: FunctionType) -> _Definition | None:
    """The syntax tree of a function; None without source, or where two lambdas of a line cannot be told apart."""
    code = function.__code__
    lines = linecache.getlines(code.co_filename, function.__globals__)
    found = _definitions("".join(lines)).get((code.co_firstlineno, code.co_name), ())
    return found[0] if found and len({canonical(one) for one in found}) == 1 else None


@functools.lru_cache(maxsize=256)
def _definitions(source: str) -> dict[tuple[int, str], tuple[_Definition, ...]]:
    """The functions of a file by their first line, that of a decorator if there is one, and name."""
    found: dict[tuple[int, str], tuple[_Definition, ...]] = {}
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # no Python any more, as when the file was changed
        return found
    for node in ast.walk(tree):
        if isinstance(node, _Definition):
            first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])
            key = first, getattr(node, "name", "<lambda>")
            found[key] = (*found.get(key, ()), node)
    return found


def _bytecode(code: CodeType) -> str:
    return f"{code.co_code.hex()} {code.co_names} {code.co_varnames} {list(map(_constant, code.co_consts))}"


def _constant(value: Any) -> str:
    if isinstance(value, CodeType):
        return _bytecode(value)
    if isinstance(value, frozenset):  # its order changes from process to process
        return f"{{{sorted(map(_constant, value))}}}"
    return f"({list(map(_constant, value))})" if isinstance(value, tuple) else repr(value)


def _loads(code: CodeType, space: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The globals that code and the functions within it read, with the attributes read of modules among them."""
    instructions = [one for one in dis.get_instructions(code) if one.opname not in ("CACHE", "EXTENDED_ARG")]
    for place, instruction in enumerate(instructions):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME") and instruction.argval in space:
            name, value = str(instruction.argval), space[instruction.argval]
            for after in instructions[place + 1 :]:
                if not isinstance(value, ModuleType) or after.opname not in ("LOAD_ATTR", "LOAD_METHOD"):
                    break
                if not hasattr(value, after.argval):
                    break
                name, value = f"{name}.{after.argval}", getattr(value, after.argval)
            yield name, value
        elif instruction.opname == "IMPORT_NAME" and (module := _imported(instruction.argval, space)) is not None:
            yield f"import {instruction.argval}", module
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _loads(constant, space)


def _imported(name: str, space: dict[str, Any]) -> ModuleType | None:
    """What `import` within a function means, as far as it has been imported."""
    package = space.get("__package__")
    return sys.modules.get(name) or (sys.modules.get(f"{package}.{name}") if package else None)
