"""What code says depends on neither layout, version nor place, and is what runs."""

from __future__ import annotations

import ast
import importlib
import linecache
import sys
import time
from hashlib import blake2b
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest
from foreign import module_of

from simlearn.components import code
from simlearn.components.code import canonical, code_of, is_library

SAMPLE = '''
"""A module."""
import math
from .other import one as two

class Kept(dict, metaclass=type):
    """What it is."""
    limit: int = 10**6
    ratio = -0.5j

    @property
    def size(self, /, *rest: float, key="ü\\U0001fae8", **more) -> int:
        "Says how much."
        try:
            with open(self["a"]) as file, file:
                return sum(len(line) for line in file if line.strip())
        except (OSError, ValueError) as error:
            raise KeyError(f"no {key!r:>{self.limit}} in a{{b}} {error=}" "and more" f"{1}") from error
        finally:
            del self["a"], rest[1:2, ...]

    async def later(self):
        global COUNT
        COUNT += 0xFFFFFFFFFFFFFFFFFFFF if not True else b"a\\xff"[0]
        async for x in self: yield lambda y=1, *, z: (y or z, *x) and {**x, 1: {2}} | {k: v for k, v in x}
        match self:
            case {"a": [1, *rest], **others} | None if rest: return
            case Kept(limit=3) as kept: assert kept, "text"
            case _: pass
        while (n := await self.next()) < 3 <= n: continue
        else: nonlocal_ = [~n, n @ n, n // 2, not n, n is not None]
'''


def of_module(text: str) -> str:
    """`canonical` of a whole module."""
    return canonical(ast.parse(text))


def test_the_canonical_text_of_a_source_is_the_same_on_every_version_of_python() -> None:
    """The digest is what Python 3.11 gave; one that gives another one would encode everything anew."""
    assert blake2b(of_module(SAMPLE).encode(), digest_size=8).hexdigest() == "4de8a39a33fc7686"
    assert of_module(SAMPLE).isascii()


def test_what_other_versions_write_into_a_tree_does_not_count() -> None:
    tree = ast.parse('def f(a):\n    "doc"\n    return f"{a}xy{a}z", "u", a[1:2]\n\nclass C: pass\n').body
    expected = canonical(tree)
    for node in ast.walk(ast.Module(tree, [])):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            node.type_params = []  # type: ignore[attr-defined]  # since 3.12
            node.type_comment = None  # type: ignore[union-attr]
        if isinstance(node, ast.Constant):
            node.kind = "u"
        if isinstance(node, ast.JoinedStr):  # in more pieces, as in some versions
            text = node.values[1]
            assert isinstance(text, ast.Constant) and text.value == "xy"
            node.values[1:2] = [ast.Constant("x"), ast.Constant(""), ast.Constant("y")]
    assert canonical(tree) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1", "x = 1.0"),
        ("x = 1", "x = True"),
        ("x = 'a'", "x = b'a'"),
        ("x = 0.0", "x = -0.0"),
        ("x = None", "x = ..."),
        ("return", "return None"),
        ("f(a)", "f(*a)"),
        ("f(a=1)", "f(**{'a': 1})"),
        ("x[1:]", "x[:1]"),
        ("{**a}", "{a: None}"),
        ("a < b < c", "(a < b) < c"),
        ("not a in b", "a not in b"),
        ("x = f'{a}b'", "x = f'{a!r}b'"),
        ("from a import b", "from .a import b"),
        ("async with a: pass", "with a: pass"),
    ],
)
def test_what_says_something_else_has_another_text(one: str, other: str) -> None:
    texts = {of_module(f"async def f():\n    {line}") for line in (one, other)}
    assert len(texts) == 2


def test_very_long_numbers_have_a_text() -> None:
    assert of_module(f"x = 0x{'f' * 5000}") != of_module(f"x = 0x{'f' * 5001}")


def functions(source: str, folder: Path) -> list[FunctionType]:
    made: list[FunctionType] = module_of(source, folder).F
    return made


def test_lambdas_of_one_line_are_told_apart_by_their_source(tmp_path: Path) -> None:
    first, second, outer = functions("F = [lambda b: b * 1, lambda b: b * 2, lambda: lambda: 3]", tmp_path)
    texts = [code_of(one) for one in (first, second, outer, outer())]
    assert len(set(texts)) == 4
    assert [text.startswith("Lambda(") for text in texts] == [sys.version_info >= (3, 11)] * 4
    again = functions("# moved\n\nF = [\n    lambda b: b*1,\n    lambda b: b*2,\n    lambda: lambda: 3]", tmp_path)
    if sys.version_info >= (3, 11):
        assert [code_of(one) for one in (*again, again[2]())] == texts


def test_a_file_that_was_changed_after_its_import_is_not_what_runs(tmp_path: Path) -> None:
    module = module_of("def f(b):\n    return b * 1\n", tmp_path)
    Path(str(module.__file__)).write_text("def f(b):\n    return b * 3\n", encoding="utf-8")
    stale = code_of(module.f)
    linecache.clearcache()
    assert "value=0x3" not in stale
    newer = module_of("def f(b):\n    return b * 3\n", tmp_path)
    assert code_of(newer.f) != stale


def test_a_change_of_other_lines_after_the_import_leaves_it(tmp_path: Path) -> None:
    source = "def g(b):\n    return b\n\ndef f(b):\n    return b * 1\n"
    module = module_of(source, tmp_path)
    expected = code_of(module_of(source, tmp_path).f)
    Path(str(module.__file__)).write_text(f"# longer\n\n{source}", encoding="utf-8")
    assert code_of(module.f) == expected


def test_a_module_that_is_loaded_anew_is_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "users_reloaded.py"
    texts = []
    module: ModuleType | None = None
    for number in (1, 3):
        path.write_text(f"def f(b):\n    return b * {number}\n" + "# longer\n" * number, encoding="utf-8")
        time.sleep(0.02)
        module = importlib.import_module("users_reloaded") if module is None else importlib.reload(module)
        texts.append(code_of(module.f))
    assert ["value=0x1" in texts[0], "value=0x3" in texts[1]] == [True, True]


def test_a_cell_of_a_notebook_is_read_where_its_lines_are_kept() -> None:
    source = "from __future__ import annotations\nx = await_ = 1\ndef f(b): return b * 1  # told\n"
    name = "/tmp/ipykernel_1/123.py"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, name, "exec"), space)
    assert code_of(space["f"]).startswith("FunctionDef(")


def test_code_without_source_is_told_by_all_that_it_does() -> None:
    def texts(*sources: str) -> set[str]:
        spaces: list[dict[str, Any]] = [{} for _ in sources]
        for source, space in zip(sources, spaces, strict=True):
            exec(source, space)
        return {code_of(space["f"]) for space in spaces}

    pairs = [
        ("def f(a, b): return a", "def f(b, a): return a"),
        ("def f(a, *, b): return a", "def f(a, b): return a"),
        ("def f(a): return {1, 2} and a in {1, 2}", "def f(a): return {1, 3} and a in {1, 3}"),
        ("def f(a, b): return lambda: a", "def f(a, b): return lambda: b"),
        ("def f(*a): return a", "def f(a): return a"),
    ]
    assert all(len(texts(*pair)) == 2 for pair in pairs)
    assert len(texts("def f(a): return a", "\n\ndef f(a):\n    return a  # moved")) == 1


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("json.decoder", True),
        ("math", True),
        ("sys", True),
        ("sklearn.base", True),
        ("simlearn.encoders", True),
        ("__main__", False),
        ("users_nowhere", False),
        ("nobody_installed_this", False),
    ],
)
def test_libraries_are_what_is_installed(module: str, expected: bool) -> None:
    assert is_library(module) is expected


def test_a_users_module_may_be_called_as_one_of_pythons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = module_of("def f(): return 1", tmp_path, name="users_statistics")
    monkeypatch.setitem(sys.modules, "statistics", made)
    assert not is_library("statistics")
    monkeypatch.undo()
    assert is_library("statistics")


def test_a_source_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = module_of("\n".join(f"def f{n}(b): return b * {n}" for n in range(50)), tmp_path)
    code_of(module.f0)
    monkeypatch.setattr(code.ast, "parse", lambda *_: pytest.fail("parsed again"))
    assert len({code_of(getattr(module, f"f{n}")) for n in range(50)}) == 50
