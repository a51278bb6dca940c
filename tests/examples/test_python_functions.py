"""The example data set of Python functions: the same in every process, clean, and split without leaks."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

PATH = Path(__file__).parents[2] / "examples" / "python_functions.py"


def load() -> ModuleType:
    """Loads the example, which is in no package."""
    spec = importlib.util.spec_from_file_location("python_functions", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["python_functions"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


data = load()


@pytest.fixture(scope="module")
def functions() -> list:
    return data.collect(("stdlib",))


def words(text: str) -> list[str]:
    return re.findall(r"[a-z]+|\d+", text.lower())


def unit(function) -> str:
    return ".".join(function.module.split(".")[:2])


def call(function) -> tuple:
    names = [part.partition("=")[0].strip(" *()[]") for part in function.signature.split(",")]
    return function.name.rpartition(".")[2].lower().replace("_", ""), tuple(filter(None, names))


def test_enough_of_the_standard_library(functions):
    assert len(functions) > 3000
    assert len({function.module for function in functions}) > 100
    names = {function.name for function in functions}
    assert {"os.path.join", "json.dumps", "str.join", "shutil.copytree", "collections.OrderedDict"} <= names


def test_fields_are_sane(functions):
    for function in functions:
        assert function.module == "builtins" or function.name.startswith(function.module + "."), function
        assert not any(part.startswith("_") for part in function.name.split(".")), function
        assert not {"test", "tests"} & set(function.module.split(".")), function
        assert function.signature.startswith("(") and function.signature.endswith(")"), function
        assert " at 0x" not in function.signature and "\n" not in function.signature, function
        assert len(words(function.description)) >= 3 and len(function.description) <= 300, function
        assert not re.search(r"\s\s|\n|`|>>>|->|deprecated", function.description, re.IGNORECASE), function
        assert function.text.startswith(function.name + "(") and function.text.endswith(")"), function
        assert len(function.text) <= len(function.name) + 110, function


def test_nothing_counts_twice(functions):
    assert len({function.name for function in functions}) == len(functions)
    assert max(Counter(" ".join(words(function.description)) for function in functions).values()) == 1


def test_known_functions(functions):
    by_name = {function.name: function for function in functions}
    assert by_name["json.dumps"].description == "Serialize obj to a JSON formatted str."
    assert by_name["textwrap.dedent"].text == "textwrap.dedent(text)"
    assert by_name["heapq.nlargest"].signature == "(n, iterable, key=None)"
    long = by_name["argparse.ArgumentParser"]
    assert long.text.endswith(", ...)") and long.signature.startswith(long.text[len(long.name) : -len("...)")])


def test_limit_keeps_that_many_of_all_modules(functions):
    small = data.collect(("stdlib",), limit=800)
    assert len(small) == 800
    assert set(small) <= set(functions)
    assert [function for function in functions if function in set(small)] == small
    assert len({function.module for function in small}) > 60


def test_unknown_package_is_refused():
    with pytest.raises(ValueError, match="unknown packages"):
        data.collect(("stdlib", "nothing"))


@pytest.mark.parametrize(("limit", "held_out"), [(800, 200), (None, 600)])
@pytest.mark.parametrize("seed", [0, 1])
def test_no_function_module_or_near_duplicate_in_both_parts(functions, limit, held_out, seed):
    pool = data.collect(("stdlib",), limit=limit) if limit else functions
    train, test = data.split(pool, held_out=held_out, seed=seed)
    assert held_out <= len(test) <= held_out * 1.2
    assert len(train) > 0.9 * (len(pool) - len(test))
    assert len(set(train)) + len(set(test)) == len(set(train) | set(test)) == len(train) + len(test)
    assert not {unit(function) for function in train} & {unit(function) for function in test}
    assert not {call(function) for function in train} & {call(function) for function in test}
    bags = [set(words(function.description)) for function in test]
    for function in train:
        bag = set(words(function.description))
        # Bags of very different sizes cannot overlap by four fifths.
        near = [other for other in bags if 4 * len(bag) <= 5 * len(other) and 4 * len(other) <= 5 * len(bag)]
        assert not any(5 * len(bag & other) >= 4 * len(bag | other) for other in near), function


def test_a_near_duplicate_leaves_the_training_part():
    def function(module: str, name: str, description: str, signature: str = "(x)"):
        return data.Function(f"{module}.{name}", signature, description, module)

    held = [
        function("a", "one", "Return the sum of all the numbers in x over an axis"),
        function("a", "two", "Open a file for reading", "(path, *, mode='r')"),
    ]
    near = [
        function("b", "three", "Return the sum of all numbers in x over one axis"),
        function("b", "Two", "Something else altogether here", "(path, mode='w')"),
        function("b", "four", "open a file, for reading."),
    ]
    kept = [function("b", "two", "Close what was open", "(path)"), function("b", "five", "Return the product of x")]
    for seed in range(20):
        train, test = data.split([*held, *near, *kept], held_out=2, seed=seed)
        if test == held:
            assert train == kept
            break
    else:
        pytest.fail("no seed held out module a")


@pytest.mark.parametrize("held_out", [0, 20, 21])
def test_impossible_split_is_refused(functions, held_out):
    with pytest.raises(ValueError, match="held_out"):
        data.split(functions[:20], held_out=held_out)


def test_seeds_hold_out_different_modules(functions):
    parts = [data.split(functions, held_out=300, seed=seed)[1] for seed in range(3)]
    assert len({tuple(part) for part in parts}) == 3


def test_every_process_collects_and_splits_alike():
    code = (
        f"import sys; sys.path.insert(0, {str(PATH.parent)!r}); import python_functions as p;"
        "f = p.collect(('stdlib',), limit=800); print(p.split(f, held_out=200, seed=3) + (f,))"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        for seed in ("1", "2")
    ]
    assert outputs[0].stdout == outputs[1].stdout
    assert outputs[0].stdout.count("Function(") == outputs[1].stdout.count("Function(") > 1500
    assert outputs[0].stderr == ""
