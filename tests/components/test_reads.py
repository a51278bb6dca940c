"""What code reads from other modules decides, however it gets there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from foreign import HEAD, in_a_process, module_of

HELPER = """
import math
SCALE = 1.0
UNUSED = 1
FILE = open(__file__)
def f(b): return b * inner(b)
def inner(b): return SCALE
"""

BODIES = {
    "import module": "import {name}\nclass E(Base):\n    def forward(self, b): return {name}.f(b)",
    "import as": "import {name} as other\nclass E(Base):\n    def forward(self, b): return other.f(b)",
    "from module": "from {name} import f\nclass E(Base):\n    def forward(self, b): return f(b)",
    "another name": "import {name}\ng = {name}.f\nclass E(Base):\n    def forward(self, b): return g(b)",
    "constant": "import {name}\nclass E(Base):\n    def forward(self, b): return b * {name}.SCALE",
    "import within": "class E(Base):\n    def forward(self, b):\n        import {name}\n        return {name}.f(b)",
    "import as within": "class E(Base):\n    def forward(self, b):\n        import {name} as n\n        return n.f(b)",
    "from within": "class E(Base):\n    def forward(self, b):\n        from {name} import f\n        return f(b)",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize("is_imported", [True, False])
def test_a_module_of_the_users(body: str, is_imported: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may hold what cannot be told (`FILE`), as long as nothing reads it."""

    def told(helper: str) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        (folder / "users_helper.py").write_text(helper, encoding="utf-8")
        monkeypatch.syspath_prepend(str(folder))
        sys.modules.pop("users_helper", None)
        if is_imported:
            __import__("users_helper")
        encoder = module_of(HEAD + body.format(name="users_helper"), folder).E()
        first = encoder.fingerprint()
        __import__("users_helper")
        assert encoder.fingerprint() == first, "encoding would import it"
        return str(first)

    first = told(HELPER)
    assert told(HELPER.replace("UNUSED = 1", "UNUSED = 2")) == first
    assert told(HELPER.replace("SCALE = 1.0", "SCALE = 3.0")) != first
    if "SCALE" not in body:
        assert told(HELPER.replace("b * inner", "b + inner")) != first
    sys.modules.pop("users_helper", None)


def test_a_module_as_a_whole_is_all_that_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = (
        "import users_settings\nclass E(Base):\n    def forward(self, b): return b * getattr(users_settings, 'SCALE')"
    )

    def told(settings: str) -> str:
        monkeypatch.setitem(sys.modules, "users_settings", module_of(settings, tmp_path))
        return str(module_of(HEAD + body, tmp_path).E().fingerprint())

    first = told("'''Settings.'''\nSCALE = 1.0\nN = 0\ndef count():\n    global N\n    N += 1")
    assert told("SCALE = 1.0\nN = 7\ndef count():\n    global N\n    N += 1") == first
    assert told("SCALE = float('1')\nN = 0\ndef count():\n    global N\n    N += 1") == first
    assert told("SCALE = 3.0\nN = 0\ndef count():\n    global N\n    N += 1") != first


def test_a_missing_module_is_what_the_code_is_prepared_for(tmp_path: Path) -> None:
    body = """
class E(Base):
    def forward(self, b):
        try:
            import nobody_has_this
        except ImportError:
            pass
        return b
"""
    module = module_of(HEAD + body, tmp_path)
    assert module.E().fingerprint() == module.E().fingerprint()


def test_only_the_variables_that_code_names_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for how in ("os.environ['USERS_SCALE']", "os.getenv('USERS_SCALE')", "environ.get('USERS_SCALE')"):
        body = f"import os\nfrom os import environ\nclass E(Base):\n    def forward(self, b): return b * float({how})"
        encoder = module_of(HEAD + body, tmp_path).E()
        monkeypatch.setenv("USERS_SCALE", "1")
        first = encoder.fingerprint()
        monkeypatch.setenv("USERS_OTHER", str(first))
        assert encoder.fingerprint() == first
        monkeypatch.setenv("USERS_SCALE", "3")
        assert encoder.fingerprint() != first


def test_a_function_of_a_library_that_somebody_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import colorsys

    body = "import colorsys\nclass E(Base):\n    def forward(self, b): return b * colorsys.rgb_to_hsv(*b)\n"
    module = module_of(HEAD + body + "def mine(*b): return b", tmp_path)
    first = module.E().fingerprint()
    monkeypatch.setattr(colorsys, "rgb_to_hsv", module.mine)
    assert module.E().fingerprint() != first


SCRIPT = f"""{HEAD}
import dataclasses, enum
from users_other import f

class Mode(enum.Enum):
    FAST = 1

@dataclasses.dataclass(frozen=True)
class Settings:
    words: frozenset = frozenset(["a", "b", "c", "d"])
    mode: Mode = Mode.FAST

def even(n): return n == 0 or odd(n - 1)
def odd(n): return n != 0 and even(n - 1)

class E(Base):
    names = {{"x", "y", "z", even, odd}}

    def __init__(self, scale=2.0):
        super().__init__()
        torch.manual_seed(0)
        self.scale, self.settings = scale, Settings()
        self.linear = torch.nn.Linear(1, 1)

    @torch.no_grad()
    def forward(self, batch):
        return f(self.linear(batch)) * self.scale if even(2) else batch
"""
SHOW = """
import os
if MOVES:
    os.chdir("/")
from simlearn.towers.identity import identity
from simlearn.towers.plan import Part
print(identity(Part("a", "a"), E()))
"""


def test_it_is_equal_in_every_process_folder_and_module(tmp_path: Path) -> None:
    found = set()
    for number, seed in enumerate(("0", "1", "2")):
        folder = tmp_path / f"place {number}"
        (folder / "inner").mkdir(parents=True)
        (folder / "users_other.py").write_text("# moved\n" * number + "def f(b):\n    return b + 1\n", encoding="utf-8")
        (folder / f"users_{number}.py").write_text(SCRIPT, encoding="utf-8")
        show = SHOW.replace("MOVES", "True")
        (folder / "script.py").write_text(SCRIPT + show, encoding="utf-8")
        if number == 0:
            found.add(in_a_process("script.py", folder=folder, PYTHONHASHSEED=seed))
            found.add(in_a_process("-m", "script", folder=folder, PYTHONHASHSEED="9"))
        elif number == 1:
            found.add(in_a_process("../script.py", folder=folder / "inner", PYTHONHASHSEED=seed))
        else:
            found.add(in_a_process("-c", f"from users_{number} import E{show}", folder=folder, PYTHONHASHSEED=seed))
    assert len(found) == 1, found


def test_code_that_was_typed_is_equal_in_every_process(tmp_path: Path) -> None:
    (tmp_path / "users_other.py").write_text("def f(b):\n    return b + 1\n", encoding="utf-8")
    show = SHOW.replace("MOVES", "False")
    found = {in_a_process("-c", SCRIPT + show, folder=tmp_path, PYTHONHASHSEED=seed) for seed in "01"}
    other = in_a_process("-c", SCRIPT.replace("n == 0", "n == 2") + show, folder=tmp_path)
    assert len(found) == 1 and other not in found
