"""What code changes while it runs: counters, memories, and what is loaded when it is needed. They are no settings.

Whatever a function assigns anew counts as such, and whatever list, dictionary or set it fills. What it makes of its own
old value (`self.scale = float(self.scale)`) does not: there the old value decides.
"""

from __future__ import annotations

import ast
import functools
from collections import deque
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any, Final, NamedTuple

from torch import nn

from simlearn.components.code import definition_of

_CHANGES = frozenset("append add update extend setdefault pop clear insert remove discard popitem appendleft".split())
"""Methods of the built-in containers that change them."""

_CONTAINERS = (list, dict, set, bytearray, deque)
_COUNTERS = (*_CONTAINERS, int, float, str, bytes, tuple, type(None))

GONE: Final[Any] = object()
"""What is left of a value that is a memory wholly."""


class Changes(NamedTuple):
    """What of an object, or of the names around a function, code changes.

    Args:
        assigned: names that get another value.
        counted: names that something is added to.
        filled: names of containers that it fills.
        entries: names with the one key or attribute within that gets another value.
        filled_entries: likewise with the container within that it fills.
    """

    assigned: frozenset[str] = frozenset()
    counted: frozenset[str] = frozenset()
    filled: frozenset[str] = frozenset()
    entries: frozenset[tuple[str, Any]] = frozenset()
    filled_entries: frozenset[tuple[str, Any]] = frozenset()

    def remaining(self, name: str, value: Any) -> Any:
        """What of a value is no memory: all, some entries, or `GONE`."""
        if name in self.assigned or (name in self.counted and isinstance(value, _COUNTERS)):
            return GONE
        if name in self.filled and isinstance(value, _CONTAINERS):
            return GONE
        keys = {key for owner, key in self.entries | self.filled_entries if owner == name}
        if not keys or isinstance(value, (nn.Module, type)):
            return value
        is_map = isinstance(value, dict)
        held = value if is_map else getattr(value, "__dict__", {})
        hidden = {
            key for key in keys & held.keys() if (name, key) in self.entries or isinstance(held[key], _CONTAINERS)
        }
        if not hidden:
            return value
        left = {key: one for key, one in held.items() if key not in hidden}
        return left if is_map else Rest(value, left)

    def joined(self, other: Changes) -> Changes:
        """Both together."""
        return Changes(
            self.assigned | other.assigned,
            self.counted | other.counted,
            self.filled | other.filled,
            self.entries | other.entries,
            self.filled_entries | other.filled_entries,
        )

    def renamed(self, cls: str) -> Changes:
        """With the names that Python gives to a class's private attributes."""

        def mangled(name: str) -> str:
            is_private = name.startswith("__") and not name.endswith("__")
            return f"_{cls.lstrip('_')}{name}" if is_private else name

        def within(pairs: frozenset[tuple[str, Any]]) -> frozenset[tuple[str, Any]]:
            return frozenset((mangled(name), key) for name, key in pairs)

        assigned, counted, filled = (
            frozenset(map(mangled, names)) for names in (self.assigned, self.counted, self.filled)
        )
        return Changes(assigned, counted, filled, within(self.entries), within(self.filled_entries))


class Rest:
    """An object without what code counts and remembers in it."""

    def __init__(self, value: Any, left: dict[str, Any]) -> None:
        self.value = value
        self.left = left

    def fingerprint_parts(self) -> dict[str, Any]:
        """See `Component.fingerprint_parts`."""
        return {"class": type(self.value), **self.left}


class Written(NamedTuple):
    """What a function changes and calls.

    Args:
        attributes: of its first argument (`self`), and of classes by name.
        names: of its module, of functions around it, and of its own defaults.
        reads: attributes of its first argument that it reads, methods among them.
        calls: methods of anything that it calls, by name.
    """

    attributes: Changes = Changes()
    names: Changes = Changes()
    reads: frozenset[str] = frozenset()
    calls: frozenset[str] = frozenset()


@functools.lru_cache(maxsize=4096)
def written(function: FunctionType, *, is_method: bool = False) -> Written:
    """What a function changes, a method also of its first argument. Nothing where there is no source."""
    definition = definition_of(function)
    return Written() if definition is None else _Reader(function, definition, is_method).read()


class _Reader:
    """Reads the syntax tree of one function."""

    def __init__(self, function: FunctionType, definition: Any, is_method: bool) -> None:
        self.definition = definition
        self.space = function.__globals__
        given = definition.args
        arguments = [*given.posonlyargs, *given.args]
        self.own = arguments[0].arg if arguments and is_method else ""
        self.defaults = {one.arg for one in (*arguments, *given.kwonlyargs)} - {self.own}
        self.outer = set[str]()
        self.local = set(_local_names(function.__code__)) - {self.own}
        self.aliases = _aliases(definition)
        self.found: dict[str, dict[str, set[Any]]] = {
            kind: {field: set() for field in Changes._fields} for kind in ("attributes", "names")
        }

    def read(self) -> Written:
        reads, calls = set[str](), set[str]()
        nodes = list(ast.walk(self.definition))
        for node in nodes:
            if isinstance(node, (ast.Global, ast.Nonlocal)):
                self.outer.update(node.names)
        for node in nodes:
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    self._assigned(target, node.value)
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                self._assigned(node.target, node.value)
            elif isinstance(node, ast.AugAssign):
                self._added(node.target, node.op, node.value)
            elif isinstance(node, (ast.For, ast.AsyncFor, ast.comprehension)):
                self._assigned(node.target, node.iter)
            elif isinstance(node, ast.withitem) and node.optional_vars is not None:
                self._assigned(node.optional_vars, node.context_expr)
            elif isinstance(node, ast.Delete):
                for target in node.targets:
                    self._assigned(target, ast.Constant(None))
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                calls.add(node.func.attr)
                if node.func.attr in _CHANGES:
                    self._note(node.func.value, "filled")
            if isinstance(node, ast.Attribute) and _is_self(node.value, self.own):
                reads.add(node.attr)
        attributes, names = (
            Changes(*(frozenset(found[field]) for field in Changes._fields)) for found in self.found.values()
        )
        return Written(attributes, names, frozenset(reads), frozenset(calls))

    def _assigned(self, target: ast.AST, value: ast.AST) -> None:
        if isinstance(target, (ast.Tuple, ast.List)):
            for one in target.elts:
                self._assigned(one, value)
        elif isinstance(value, ast.BinOp) and _is_same(value.left, target):
            self._added(target, value.op, value.right)
        else:
            is_new = isinstance(value, (ast.BoolOp, ast.IfExp)) or not _mentions(value, target)
            self._note(target, "assigned" if is_new else "made of the old one")

    def _added(self, target: ast.AST, operator: ast.operator, value: ast.AST) -> None:
        is_counter = isinstance(operator, (ast.Add, ast.Sub)) and not _mentions(value, target)
        self._note(target, "counted" if is_counter else "made of the old one")

    def _note(self, target: ast.AST, how: str) -> None:
        """A change of `self.a`, `self.a[0]`, `self.a.b`, `NAME`, `NAME[0]` or `Class.a`, but not of variables."""
        root, steps = self._path(target, how)
        changed = self.found["names"]
        if isinstance(root, str):
            if root in self.local - self.outer:
                if root in self.defaults and (steps[:1] == [_ANY] or (how == "filled" and not steps)):
                    changed["filled"].add(root)
                return
            if isinstance(self.space.get(root), type) and steps:
                root = None
        if not isinstance(root, str):
            if not steps:
                return
            changed, (root, *steps) = self.found["attributes"], steps
        if steps[:1] == [_ANY]:
            changed["filled"].add(root)
        elif how == "filled" or steps[1:] == [_ANY]:
            if len(steps) <= 1 + (steps[1:] == [_ANY]):
                changed["filled_entries" if steps else "filled"].add((root, steps[0]) if steps else root)
        elif how in ("assigned", "counted") and len(steps) <= 1:
            changed["entries" if steps else how].add((root, steps[0]) if steps else root)

    def _path(self, node: ast.AST, how: str) -> tuple[str | None, list[Any]]:
        """Whose it is, a name or None for `self`, and which attributes and keys lead there."""
        steps: list[Any] = []
        aliases = dict(self.aliases)
        while True:
            if _is_self(node, self.own):
                return None, steps
            if isinstance(node, (ast.Attribute, ast.Subscript)):
                steps.insert(0, node.attr if isinstance(node, ast.Attribute) else _key(node.slice))
                node = node.value
            elif isinstance(node, ast.Name) and node.id in aliases and (steps or how == "filled"):
                node = aliases.pop(node.id)
            else:
                return (node.id if isinstance(node, ast.Name) else None), steps if isinstance(node, ast.Name) else []


_ANY: Final[Any] = object()


def _key(node: ast.AST) -> Any:
    is_one = isinstance(node, ast.Constant) and isinstance(node.value, (str, int))
    return node.value if is_one else _ANY  # type: ignore[attr-defined]


def _aliases(definition: ast.AST) -> dict[str, ast.AST]:
    """Variables that are another name of an attribute or a global, from beginning to end."""
    targets: dict[str, list[ast.AST]] = {}
    for node in ast.walk(definition):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            targets.setdefault(node.id, [])
    for node in ast.walk(definition):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            targets[node.targets[0].id].append(node.value)
        elif isinstance(node, (ast.AugAssign, ast.For, ast.withitem, ast.comprehension, ast.NamedExpr)):
            target = node.optional_vars if isinstance(node, ast.withitem) else node.target
            for one in ast.walk(target) if target is not None else ():
                if isinstance(one, ast.Name):
                    targets.setdefault(one.id, []).append(node)
    return {
        name: values[0]
        for name, values in targets.items()
        if len(values) == 1 and isinstance(values[0], (ast.Attribute, ast.Subscript, ast.Name))
    }


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


def _is_same(node: ast.AST, target: ast.AST) -> bool:
    return ast.dump(node).replace("Load()", "Store()") == ast.dump(target).replace("Load()", "Store()")


def _mentions(node: ast.AST, target: ast.AST) -> bool:
    return any(_is_same(inner, target) for inner in ast.walk(node) if isinstance(inner, type(target)))
