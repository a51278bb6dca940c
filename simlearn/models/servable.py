"""The servable on disk.

```
servable.json       format version, towers with their parts, which heads there are
README.md           what was trained on what, and how it scored
encoders/<name>/    component.json and what the encoder saves
heads/<role>/       likewise
scorer/             likewise
```
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from simlearn.components import (
    FORMAT_VERSION,
    ClassResolver,
    Component,
    Loading,
    Saving,
    check_components,
    check_folder,
    component_entries,
    is_known,
)
from simlearn.components.layout import overrides
from simlearn.encoders import Encoder
from simlearn.files import LoadError, check_name, read_versioned_json, replaced_folder, write_json
from simlearn.heads import EncoderHead
from simlearn.models.model_card import ModelCard
from simlearn.scoring import Scorer
from simlearn.towers.plan import ROLES, Part, Plan

SERVABLE_FILE = "servable.json"
_KIND = "SimilarityModel"
_TRIED_BYTES = 2**28
"""Of weights that are written only to see whether they can be."""


def save_model_parts(
    path: str | Path,
    plan: Plan,
    heads: Mapping[str, EncoderHead],
    scorer: Scorer,
    card: ModelCard,
) -> None:
    """Write a servable folder in one step, over an older servable too.

    Raises:
        FileExistsError: when `path` holds something else.
        UntrustedError: when an encoder of yours saved files that loading would refuse; nothing is replaced then.
    """
    with replaced_folder(path, SERVABLE_FILE) as draft:
        _planned(draft, plan, heads, scorer).write()
        towers = {role: [part.to_json() for part in parts] for role, parts in plan.towers.items()}
        write_json(
            draft / SERVABLE_FILE,
            {
                "format_version": FORMAT_VERSION,
                "kind": _KIND,
                "simlearn": _version(),
                "encoders": sorted(plan.encoders),
                "towers": towers,
                "heads": sorted(heads),
                "card": card.to_json(),
            },
        )
        foreign = [entry for entry in component_entries(draft).values() if not is_known(entry)]
        (draft / "README.md").write_text(card.markdown(plan, heads, scorer, foreign), encoding="utf-8")
        check_folder(draft)


def check_savable(plan: Plan, heads: Mapping[str, EncoderHead], scorer: Scorer) -> None:
    """Find out whether the parts of a model could be saved, as far as that shows in moments. Nothing is left behind.

    Raises:
        TypeError: for a part that cannot be saved, naming it and what to do.
        ValueError: for NaN, and for files of a part's own that no servable may hold.
    """
    _planned("", plan, heads, scorer, quickly=True)
    parts: list[Any] = [*plan.encoders.values(), *heads.values(), scorer]
    for part in parts:
        size = sum(tensor.nbytes for tensor in part.parameters())
        if overrides(type(part), "save") and size < _TRIED_BYTES:
            with tempfile.TemporaryDirectory() as folder:
                part.save(folder)
                check_folder(folder)


def _planned(
    root: str | Path, plan: Plan, heads: Mapping[str, EncoderHead], scorer: Scorer, *, quickly: bool = False
) -> Saving:
    named: dict[str, Component] = {f"encoders/{name}": encoder for name, encoder in plan.encoders.items()}
    named |= {f"heads/{role}": head for role, head in heads.items()}
    return Saving(root, {**named, "scorer": scorer}, quickly=quickly)


def _version() -> str:
    try:
        return version("simlearn")
    except PackageNotFoundError:  # run from a source folder that was never installed
        return "unknown"


def load_model_parts(
    path: str | Path, classes: Iterable[type], trusted_modules: Iterable[str]
) -> tuple[Plan, dict[str, EncoderHead], Scorer, ModelCard]:
    """Check a servable folder, then build its parts; see `SimilarityModel.load`."""
    folder = Path(path)
    if not folder.is_dir():
        raise LoadError(f"{path} is {'not a folder' if folder.exists() else 'missing'}; a servable is a folder")
    if not (folder / SERVABLE_FILE).is_file():
        raise LoadError(f"{path} is not a servable: it has no {SERVABLE_FILE}")
    check_folder(folder)
    names, roles, towers, card = _read(folder / SERVABLE_FILE)
    resolver = ClassResolver(classes, trusted_modules)
    bases = {f"encoders/{name}": Encoder for name in names} | {f"heads/{role}": EncoderHead for role in roles}
    check_components(folder, {**bases, "scorer": Scorer}, resolver)
    loading = Loading(folder, resolver)
    encoders = {name: loading.load(f"encoders/{name}", Encoder) for name in names}
    heads = {role: loading.load(f"heads/{role}", EncoderHead) for role in roles}
    scorer = loading.load("scorer", Scorer)
    loading.tie()
    return Plan(encoders, towers), heads, scorer, card


def _read(file: Path) -> tuple[list[str], list[str], dict[str, tuple[Part, ...]], ModelCard]:
    """The names of the encoders, the roles that have a head, the towers by role, and the card."""
    content = read_versioned_json(file, "servable", newest=FORMAT_VERSION)
    if content.get("kind") != _KIND:
        raise LoadError(f"{file} describes a {content.get('kind')!r:.80}, not a {_KIND}")
    try:
        for given in (content["towers"].keys(), content["heads"]):
            if "query" not in given or len(given) > len(ROLES) or set(given) - set(ROLES):
                raise ValueError(f"towers and heads must be for {' and '.join(ROLES)}")
        towers = {role: tuple(Part.from_json(part) for part in parts) for role, parts in content["towers"].items()}
        names = [check_name(name, "encoder name") for name in content["encoders"]]
        roles = [check_name(name, "head name") for name in content["heads"]]
        card = ModelCard.from_json(content["card"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise LoadError(f"{file} is damaged: {type(error).__name__} {error}") from None
    if len(set(names)) < len(names) or len(set(roles)) < len(roles):
        raise LoadError(f"{file} is damaged: it lists an encoder or a head twice")
    used = {part.encoder for parts in towers.values() for part in parts}
    if sorted(used) != sorted(names):
        raise LoadError(f"{file} is damaged: its towers do not use exactly its encoders {names!r:.200}")
    if any(not parts or len({part.name for part in parts}) < len(parts) for parts in towers.values()):
        raise LoadError(f"{file} is damaged: a tower has no parts, or two of one name")
    return names, roles, towers, card
