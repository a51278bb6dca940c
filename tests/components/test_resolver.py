"""A class that a file names is simlearn's, or given, or of a trusted module; nothing else is imported."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_servables import Letters, Scaled

from simlearn.components import ClassResolver, class_entry
from simlearn.encoders import Encoder, SwitchEncoder
from simlearn.files import LoadError, UntrustedError
from simlearn.heads import EncoderHead, MLPHead
from simlearn.scoring import CosineScorer

FILE = Path("servable/component.json")


def resolve(module: Any, name: Any, base: type = object, **trust: Any) -> type:
    return ClassResolver(**trust).resolve({"module": module, "class": name}, base, FILE)


class Outer:
    class Inner(Letters):
        pass


def local_class() -> type[Letters]:
    class Local(Letters):
        pass

    return Local


@pytest.mark.parametrize("cls", [MLPHead, SwitchEncoder, CosineScorer])
def test_own_classes_are_named_by_their_room(cls: type) -> None:
    entry = class_entry(cls)
    assert entry == {"module": ".".join(cls.__module__.split(".")[:2]), "class": cls.__name__}
    assert ClassResolver().resolve(entry, object, FILE) is cls


@pytest.mark.parametrize("cls", [Letters, Outer.Inner, local_class()])
def test_given_classes(cls: type[Encoder]) -> None:
    entry = class_entry(cls)
    with pytest.raises(UntrustedError, match=r"servable/component\.json: .*classes="):
        ClassResolver().resolve(entry, Encoder, FILE)
    assert ClassResolver(classes=[cls]).resolve(entry, Encoder, FILE) is cls


def test_a_notebooks_class_comes_back_from_another_module() -> None:
    assert resolve("__main__", "Letters", classes=(Scaled, Letters)) is Letters
    assert resolve("notebook", "make.<locals>.Letters", classes=(Letters,)) is Letters


def test_the_right_one_of_two_with_one_name() -> None:
    other = type("Letters", (Letters,), {"__module__": "elsewhere"})
    assert resolve("elsewhere", "Letters", classes=(Letters, other)) is other
    assert resolve(Letters.__module__, "Letters", classes=(other, Letters)) is Letters
    with pytest.raises(LoadError, match="several of the given classes are called Letters"):
        resolve("__main__", "Letters", classes=(Letters, other))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "makedirs"),
        ("subprocess", "Popen"),
        ("builtins", "eval"),
        ("torch.nn", "Linear"),
        ("simlearn.encoders.text_encoder", "TextEncoder"),
        ("simlearn.encoders", "CollateFn"),
        ("simlearn.encoders", "towers"),
        ("simlearn.encoders", "__builtins__"),
        ("simlearn.encoders", "Encoder.__init__"),
        ("simlearn.encoders.", "Encoder"),
        ("simlearn.heads", "_layers"),
        ("simlearn.heads", "activations.nn.Linear"),
        ("simlearn.components", "save_module"),
        ("simlearn.scoring", "load_module"),
        ("simlearn", "SimilarityModel"),
        ("", ""),
        ("simlearn.encoders", ""),
    ],
)
def test_everything_else_is_refused(module: str, name: str) -> None:
    with pytest.raises(UntrustedError, match=r"servable/component\.json: .* is not a class"):
        resolve(module, name)


def test_a_class_of_another_kind() -> None:
    with pytest.raises(UntrustedError, match=r"simlearn\.heads\.MLPHead is no Encoder, which stands at this place"):
        resolve("simlearn.heads", "MLPHead", base=Encoder)
    with pytest.raises(UntrustedError, match="is no EncoderHead,"):
        resolve(Letters.__module__, "Letters", base=EncoderHead, classes=(Letters,))


@pytest.mark.parametrize(("module", "name"), [(None, "a"), ("a", None), (1, 2), (["os"], "system"), ("a", {"b": 1})])
def test_an_entry_names_two_texts(module: Any, name: Any) -> None:
    with pytest.raises(LoadError, match=r"servable/component\.json must name a module and a class"):
        resolve(module, name)


def test_arguments_that_are_no_tuples() -> None:
    with pytest.raises(TypeError, match=r"trusted_modules must be a tuple of names, write \('package',\)"):
        ClassResolver(trusted_modules="package")
    with pytest.raises(TypeError, match=r"classes must be a tuple of classes, write \(Letters,\)"):
        ClassResolver(classes=Letters)  # type: ignore[arg-type]


ENCODER = "from simlearn.encoders import Encoder\nclass Own(Encoder):\n    class Inner(Encoder):\n        pass\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`trusted_package` with modules that would all leave themselves in `sys.modules`."""
    folder = tmp_path / "trusted_package"
    folder.mkdir()
    for name in ("__init__", "encoders", "__main__"):
        (folder / f"{name}.py").write_text(ENCODER + "import subprocess\ndef function(): pass\n")
    (folder / "broken.py").write_text("import a_package_that_nobody_has\n")
    (tmp_path / "trusted_package_2.py").write_text(ENCODER)
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [name for name in sys.modules if name.startswith("trusted_package")]:
        del sys.modules[name]


@pytest.mark.usefixtures("package")
class TestTrustedModules:
    @pytest.mark.parametrize("module", ["trusted_package", "trusted_package.encoders"])
    @pytest.mark.parametrize("name", ["Own", "Own.Inner"])
    def test_with_their_submodules(self, module: str, name: str) -> None:
        cls = resolve(module, name, Encoder, trusted_modules=("trusted_package",))
        assert (cls.__module__, cls.__qualname__) == (module, name)

    @pytest.mark.parametrize("module", ["trusted_package", "trusted_package_2", "trusted_package.__main__"])
    def test_others_are_not_imported(self, module: str) -> None:
        trusted = ("trusted_package.encoders", "trusted") if module == "trusted_package" else ("trusted_package",)
        with pytest.raises(UntrustedError, match=rf"trusted_modules=\('{module}',\)"):
            resolve(module, "Own", trusted_modules=trusted)
        assert module not in sys.modules

    @pytest.mark.parametrize("name", ["function", "subprocess", "Missing", "Own.missing", "Own.__init__", ""])
    def test_what_is_no_class(self, name: str) -> None:
        with pytest.raises(UntrustedError, match="is not a class of simlearn"):
            resolve("trusted_package", name, trusted_modules=("trusted_package",))

    def test_a_class_that_a_trusted_module_only_imports(self) -> None:
        with pytest.raises(UntrustedError, match="is no Encoder,"):
            resolve("trusted_package", "subprocess.Popen", Encoder, trusted_modules=("trusted_package",))

    @pytest.mark.parametrize("module", ["trusted_package.missing", "trusted_package.broken", "trusted_package."])
    def test_what_cannot_be_imported(self, module: str) -> None:
        with pytest.raises(
            LoadError, match=r"component\.json needs .*which cannot be imported: .*; install its package"
        ):
            resolve(module, "Own", trusted_modules=("trusted_package",))
