"""The servable on disk.

```
servable.json       format version, towers with their parts, which heads there are
README.md           what was trained on what, and how it scored
encoders/<name>/    component.json and what the encoder saves
heads/<role>/       component.json, config.json, model.safetensors
scorer/             likewise
```
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from simlearn.encoders import Encoder
from simlearn.encoders.towers import ROLES, Part, Plan
from simlearn.heads import EncoderHead
from simlearn.persistence import (
    FORMAT_VERSION,
    ClassResolver,
    LoadError,
    check_folder,
    check_name,
    load_component,
    read_versioned_json,
    replaced_folder,
    save_component,
    write_json,
)
from simlearn.scoring import Scorer

SERVABLE_FILE = "servable.json"
_KIND = "SimilarityModel"


@dataclass
class ModelCard:
    """What a servable says about itself.

    Args:
        name: the model's name.
        training: how it was trained, by setting.
        data: what it was trained on, by name.
        scores: how it scored, by metric.
    """

    name: str = "similarity model"
    training: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)

    def markdown(self, plan: Plan, heads: Mapping[str, EncoderHead], scorer: Scorer) -> str:
        """The README of a servable."""
        asymmetric = not plan.is_symmetric
        use = (
            'served.encode_query(["..."]), served.encode_document(["..."])' if asymmetric else 'served.encode(["..."])'
        )
        lines = [
            f"# {self.name}",
            "",
            "An embedding model trained with [simlearn](https://pypi.org/project/simlearn/).",
            "",
            "```python",
            "from simlearn import SimilarityModel",
            "",
            'served = SimilarityModel.load("path/of/this/folder")',
            use,
            "```",
            "",
            "## Parts",
            "",
            *_table(
                "tower", "encoders", {role: _parts_text(getattr(plan, role), plan) for role in ROLES[: 1 + asymmetric]}
            ),
            *_table(
                "head",
                "kind",
                {role: f"{type(head).__name__}, {head.output_size} values" for role, head in heads.items()},
            ),
            f"Embeddings are compared by `{type(scorer).__name__}` {json.dumps(scorer.get_config_dict())}.",
            "",
        ]
        for title, content in (("Training data", self.data), ("Training", self.training), ("Scores", self.scores)):
            if content:
                lines += [f"## {title}", "", *_table("", "", content)]
        return "\n".join(lines)


def _parts_text(parts: tuple[Part, ...], plan: Plan) -> str:
    texts = []
    for part in parts:
        encoder = plan.encoders[part.encoder]
        text = f"{type(encoder).__name__} `{part.encoder}`, {'trained' if encoder.trainable else 'frozen'}"
        text += f", of field `{part.field}`" if part.field else ""
        text += f", after the prompt {json.dumps(part.prompt)}" if part.prompt else ""
        texts.append(text)
    return "; ".join(texts)


def _table(left: str, right: str, content: Mapping[str, Any]) -> list[str]:
    rows = [f"| {key} | {f'{value:.4g}' if isinstance(value, float) else value} |" for key, value in content.items()]
    return [f"| {left} | {right} |", "|---|---|", *rows, ""]


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
        for name, encoder in plan.encoders.items():
            save_component(encoder, draft / "encoders" / name)
        for role, head in heads.items():
            save_component(head, draft / "heads" / role)
        save_component(scorer, draft / "scorer")
        towers = {role: [part.to_json() for part in getattr(plan, role)] for role in ROLES[: 2 - plan.is_symmetric]}
        write_json(
            draft / SERVABLE_FILE,
            {
                "format_version": FORMAT_VERSION,
                "kind": _KIND,
                "simlearn": _version(),
                "encoders": sorted(plan.encoders),
                "towers": towers,
                "heads": sorted(heads),
                "card": asdict(card),
            },
        )
        (draft / "README.md").write_text(card.markdown(plan, heads, scorer), encoding="utf-8")
        check_folder(draft)


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
    resolver = ClassResolver(classes, trusted_modules)
    content = read_versioned_json(folder / SERVABLE_FILE, "servable")
    if content.get("kind") != _KIND:
        raise LoadError(f"{folder / SERVABLE_FILE} describes a {content.get('kind')!r:.80}, not a {_KIND}")
    try:
        towers = {role: tuple(Part.from_json(part) for part in parts) for role, parts in content["towers"].items()}
        names = [check_name(name, "encoder name") for name in content["encoders"]]
        roles = [check_name(name, "head name") for name in content["heads"]]
        card = ModelCard(**content["card"])
        query = towers["query"]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise LoadError(f"{folder / SERVABLE_FILE} is damaged: {type(error).__name__} {error}") from None
    unknown = {part.encoder for parts in towers.values() for part in parts} - set(names)
    if unknown or set(towers) - set(ROLES) or not roles or set(roles) - set(ROLES):
        raise LoadError(f"{folder / SERVABLE_FILE} is damaged: unknown encoders, towers or heads")
    encoders = {name: load_component(folder / "encoders" / name, Encoder, resolver) for name in names}
    heads = {role: load_component(folder / "heads" / role, EncoderHead, resolver) for role in roles}
    scorer = load_component(folder / "scorer", Scorer, resolver)
    plan = Plan(encoders, query, towers.get("document", query), is_symmetric="document" not in towers)
    return plan, heads, scorer, card
