"""An offline data set: Python functions and the sentence that describes each of them.

They come from the docstrings of what is installed (standard library, numpy, torch, scikit-learn): nothing is
downloaded. A pair is a function's qualified name and signature, and the first sentence of its docstring::

    functions = collect()
    train, held_out = split(functions)
    print(held_out[0].description, "->", held_out[0].text)
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
import io
import pkgutil
import random
import re
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

PACKAGES = ("stdlib", "numpy", "torch", "sklearn")

# Modules that act when imported, that repeat others under another name, or that newer Pythons no longer have.
_SKIPPED = re.compile(
    "_.*|antigravity|asynchat|asyncore|compat|conftest|core|distutils|encodings|ensurepip|experimental|externals|f2py|"
    "genericpath|hipify|idlelib|imp|lib2to3|matlib|msilib|nt|ntpath|nturl2path|posix|posixpath|pydoc_data|"
    "readline|rlcompleter|setup|site|smtpd|sre_(compile|constants|parse)|tests?|this|tkinter|turtle|turtledemo|venv"
)
_TORCH = re.compile("autograd|cuda|distributions|fft|func|hub|linalg|nn|optim|signal|sparse|special|utils")
_BOILERPLATE = re.compile(
    r"(?i)^(see |refer to |please |alias (for|of|to) |same as |wrapper for |in-?place version|out-of-place version|"
    r"scalar method |implement(s|ation of)? [\w.]+$|todo\b|internal\b|note\b|performs the same operation as )|"
    r"deprecated|scheduled for removal|full documentation|>>>|->|\\|^[^\"'\w]|^\w+ = |^\w+(\.\w+)*\(.*\)$"
)
# The call that docstrings written in C start with, and its result: "D.clear() -> None.  Remove all items from D."
_CALL = re.compile(
    r"(?P<name>[A-Za-z_][\w.]*)\s*\((?P<names>(?:[^()]|\((?:[^()]|\([^()]*\))*\))*)\)"
    r"(?P<result>\s*-+>.*?(?:\.\s+|\n|$))?[\s:]*"
)
_MARKUP = re.compile(r":[\w:+-]+:`[~!]?([^`<]*?)\s*(<[^`]*>)?`| ?<http[^>]*>`?_*|`")  # roles and links of Sphinx
_SENTENCE_END = re.compile(r"(?<!e\.g\.)(?<!i\.e\.)(?<!etc\.)(?<!vs\.)(?<!cf\.)(?<=[.!?])\s+(?=[^a-z\s])")
_TENSOR_TYPE = re.compile(r"[A-Z]\w+(Tensor|Storage)$")  # one class per element type, such as torch.ByteTensor
_WORD = re.compile(r"[a-z]+|\d+")
_REPLACED = ("inspect.getfile", "warnings.formatwarning", "warnings.showwarning")  # by torch, Lightning or logging
_SIMPLE = (bool, int, float, str, type(None))  # defaults that print alike in every process


@dataclass(frozen=True)
class Function:
    """A public function, class or method and the sentence that describes it."""

    name: str  # qualified, such as numpy.linalg.norm
    signature: str  # parameters and their simple defaults, such as (x, ord=None, axis=None)
    description: str  # the first sentence of the docstring
    module: str  # the public module it belongs to, such as numpy.linalg

    @property
    def text(self) -> str:
        """Name and signature as code; a long signature is cut between two parameters."""
        if len(self.signature) <= 100:
            return self.name + self.signature
        return self.name + self.signature[:100].rpartition(", ")[0] + ", ...)"


def collect(packages: Sequence[str] = PACKAGES, limit: int | None = None) -> list[Function]:
    """Collects the documented public functions, classes and methods of installed packages.

    An object reachable by several names counts once, under the shortest of them; a description counts once; what
    inherits its docstring is left out. The same packages give the same list in every process.

    Args:
        packages: Names out of ``PACKAGES``; ``"stdlib"`` stands for the standard library.
        limit: Keep at most this many, spread evenly over all modules.

    Raises:
        ValueError: If a package is not one of ``PACKAGES``.
    """
    if unknown := [package for package in packages if package not in PACKAGES]:
        raise ValueError(f"unknown packages {unknown}: choose from {list(PACKAGES)}")
    found: list[Function] = []
    seen: dict[int, Any] = {}  # holds the objects, so that no two of them get the same id
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for package in packages:
            for name in sorted(_module_names(package), key=lambda name: (name.count("."), name)):
                if (module := _import(name)) is not None:
                    found.extend(_module_functions(module, name, package, seen))
    shared = Counter(_normalise(function.description) for function in found)
    kept: dict[str, Function] = {}
    for function in found:
        if shared[key := _normalise(function.description)] <= 4:  # what describes five functions describes none
            kept.setdefault(key, function)
    functions = list(kept.values())
    names = sorted((function.name for function in functions), key=lambda name: hashlib.sha256(name.encode()).digest())
    chosen = set(names[:limit])
    return [function for function in functions if function.name in chosen]


def split(functions: Sequence[Function], held_out: int = 1000, seed: int = 0) -> tuple[list[Function], list[Function]]:
    """Splits into training and held-out functions, which come from modules that training never sees.

    All below a module's second level (``torch.nn.*``) goes to one side. A training function is dropped if a held-out
    one has almost the same description (they share four fifths of the words that either has), or the same last name
    with the same parameters.

    Args:
        functions: What ``collect`` returned.
        held_out: Hold out at least this many, and not many more.
        seed: Another seed holds out other modules.

    Raises:
        ValueError: If there are not more functions than are to be held out.
    """
    if not 0 < held_out < len(functions):
        raise ValueError(f"held_out must lie between 1 and {len(functions) - 1}, got {held_out}")
    sizes = Counter(_unit(function) for function in functions)
    order = sorted(sizes)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda unit: sizes[unit] > held_out // 8)  # large modules last, to hold out many different ones
    chosen: set[str] = set()
    total = 0
    for unit in order:
        if total >= held_out:
            break
        chosen.add(unit)
        total += sizes[unit]
    test = [function for function in functions if _unit(function) in chosen]
    return _unlike(test, [function for function in functions if _unit(function) not in chosen]), test


def _unlike(test: list[Function], train: list[Function]) -> list[Function]:
    """Returns the training functions that nearly repeat no held-out one."""
    calls = {_call(function) for function in test}
    bags = [frozenset(_normalise(function.description).split()) for function in test]
    index: dict[str, list[int]] = defaultdict(list)
    for row, bag in enumerate(bags):
        for word in bag:
            index[word].append(row)
    kept = []
    for function in train:
        bag = frozenset(_normalise(function.description).split())
        # A bag that overlaps by four fifths lacks at most one in five of these words: the rarest ones find it.
        probes = sorted(bag, key=lambda word: len(index.get(word, ())))[: len(bag) // 5 + 1]
        rows = {row for word in probes for row in index.get(word, ())}
        if _call(function) not in calls and not any(5 * len(bag & bags[i]) >= 4 * len(bag | bags[i]) for i in rows):
            kept.append(function)
    return kept


def _unit(function: Function) -> str:
    return ".".join(function.module.split(".")[:2])


def _call(function: Function) -> tuple[str, ...]:
    names = [part.partition("=")[0].strip(" *()[]") for part in function.signature.split(",")]
    return function.name.rpartition(".")[2].lower().replace("_", ""), *filter(None, names)


def _normalise(text: str) -> str:
    return " ".join(_WORD.findall(text.lower()))


def _import(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit):  # made for another platform, or needs a package that is not installed
        return None


def _module_names(package: str) -> list[str]:
    if package == "stdlib":
        roots = [name for name in sys.stdlib_module_names if not _SKIPPED.fullmatch(name)]
        return ["os.path", *(name for root in roots for name in _walk(root))]
    return list(_walk(package))


def _walk(name: str) -> Iterator[str]:
    """Yields a module and the public modules below it."""
    yield name
    for child in pkgutil.iter_modules(getattr(_import(name), "__path__", ())):
        if not _SKIPPED.fullmatch(child.name) and (name != "torch" or _TORCH.fullmatch(child.name)):
            yield from _walk(f"{name}.{child.name}")


def _module_functions(module: ModuleType, module_name: str, package: str, seen: dict[int, Any]) -> Iterator[Function]:
    exported = getattr(module, "__all__", None)
    for name in sorted(set(vars(module) if exported is None else exported)):
        target = vars(module).get(name)
        documentable = inspect.isclass(target) or inspect.isroutine(target) or type(target).__name__ == "ufunc"
        if not documentable or id(target) in seen or name.startswith("_") or _TENSOR_TYPE.match(name):
            continue
        origin = getattr(target, "__module__", None) or module_name
        imported = origin.removeprefix("_") != module_name and not origin.startswith(f"{module_name}.")
        if (exported is None and imported) or (package != "stdlib" and origin.partition(".")[0] != package):
            continue
        seen[id(target)] = target
        full_name = name if module_name == "builtins" else f"{module_name}.{name}"
        yield from _describe(target, full_name, module_name)
        for attribute, member in sorted(vars(target).items()) if inspect.isclass(target) else ():
            member = getattr(member, "__func__", member)  # of a static method or a class method
            if not attribute.startswith("_") and inspect.isroutine(member) and id(member) not in seen:
                seen[id(member)] = member
                yield from _describe(member, f"{full_name}.{attribute}", module_name)


def _describe(target: Any, name: str, module_name: str) -> Iterator[Function]:
    """Yields the function, unless its docstring says nothing of its own or another package put it there."""
    doc, root = getattr(target, "__doc__", None), (getattr(target, "__module__", None) or module_name).partition(".")[0]
    foreign = root not in sys.stdlib_module_names and root != module_name.partition(".")[0]
    if not isinstance(doc, str) or foreign or name in _REPLACED or ".. deprecated::" in doc[:400]:
        return
    doc = text = inspect.cleandoc(doc)
    while (call := _CALL.match(text)) and (call["result"] or call["name"].endswith(name.rpartition(".")[2])):
        text = text[call.end() :]
    paragraph = _MARKUP.sub(r"\1", " ".join(text.strip().split("\n\n")[0].split()))
    description = _SENTENCE_END.split(paragraph, maxsplit=1)[0].strip().rstrip(":")[:300]
    if len(_WORD.findall(description.lower())) >= 3 and not _BOILERPLATE.search(description):
        yield Function(name, _signature(target, doc), description, module_name)


def _signature(target: Any, doc: str) -> str:
    """Returns the parameters without annotations, as the object or else its docstring's first line tells them."""
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except (ValueError, TypeError, NameError, AttributeError):
        call = _CALL.match(doc)
        names = [part.partition(":")[0].strip() for part in call["names"].split(",")] if call else ["..."]
        return f"({', '.join(filter(None, names))})"
    parts: list[str] = []
    for parameter in parameters[parameters[:1] != [] and parameters[0].name in ("self", "cls") :]:
        starred = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if parameter.kind is parameter.KEYWORD_ONLY and not any(part.startswith("*") for part in parts):
            parts.append("*")
        if starred or parameter.default is parameter.empty:
            parts.append(str(parameter.replace(annotation=parameter.empty)))
        else:
            value = repr(parameter.default) if isinstance(parameter.default, _SIMPLE) else "..."
            parts.append(f"{parameter.name}={value if len(value) <= 20 else '...'}")
    return f"({', '.join(parts)})"
