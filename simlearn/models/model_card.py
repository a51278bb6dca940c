"""What a servable says about itself: the card in its JSON, and the README that a person reads."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from simlearn.encoders import TextEncoder
from simlearn.files import LoadError
from simlearn.heads import EmptyHead, EncoderHead
from simlearn.scoring import DistanceScorer, Scorer
from simlearn.towers.plan import Part, Plan


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

    def to_json(self) -> dict[str, Any]:
        """The card as JSON holds it: figures of numpy or torch become numbers, NaN and other objects text."""
        return {"name": str(self.name), **{key: _plain(getattr(self, key)) for key in ("training", "data", "scores")}}

    @staticmethod
    def from_json(content: Any) -> ModelCard:
        """Read what `to_json` wrote.

        Raises:
            LoadError: for anything else.
        """
        kinds = {"name": str, "training": dict, "data": dict, "scores": dict}
        if not isinstance(content, dict) or {key: type(value) for key, value in content.items()} != kinds:
            raise LoadError(f"not a model card: {content!r:.200}")
        return ModelCard(**content)

    def markdown(
        self, plan: Plan, heads: Mapping[str, EncoderHead], scorer: Scorer, foreign: Iterable[Mapping[str, Any]] = ()
    ) -> str:
        """The README of a servable.

        Args:
            plan: the encoders and towers.
            heads: by role; one for both towers stands under "query".
            scorer: how embeddings compare.
            foreign: module and class of the parts that are not simlearn's, which loading must be given.
        """
        towers = "one tower for queries and documents alike" if plan.is_symmetric else "a tower each for the two"
        rows = {
            "tower" if plan.is_symmetric else f"{role} tower": _tower(parts, plan, heads.get(role, heads["query"]))
            for role, parts in plan.towers.items()
        }
        rows |= {"similarity": _similarity(scorer), "parameters": _parameters(plan, heads)}
        lines = [
            f"# {_line(self.name)}",
            "",
            "A similarity model: it turns objects into vectors, and finds the documents that are most similar to a "
            f"query. It has {towers}.",
            "",
            "## Usage",
            "",
            "```python",
            *_usage(plan, foreign),
            "```",
            "",
            "Loading runs no code from this folder: it holds weights (safetensors), settings (JSON) and text.",
            "",
            "## Model",
            "",
            *_table("part", "what it is", rows.items()),
        ]
        for title, left, right, content in (
            ("Training data", "data", "source", self.data),
            ("Training", "setting", "value", self.training),
            ("Scores", "metric", "value", self.scores),
        ):
            if content:
                cells = ((_line(key).replace("|", "\\|"), _cell(value)) for key, value in content.items())
                lines += [f"## {title}", "", *_table(left, right, cells)]
        return "\n".join(lines)


def _usage(plan: Plan, foreign: Iterable[Mapping[str, Any]]) -> list[str]:
    imports, classes = ["from simlearn import SimilarityModel"], []
    for module, name in sorted({(entry["module"], entry["class"]) for entry in foreign}):
        if module == "__main__" or "<locals>" in name:  # nobody can import those
            classes.append(name.rpartition(".")[2])
            imports.append(f"# define {classes[-1]} here, as where the model was trained")
        else:
            classes.append(name)
            imports.append(f"from {module} import {name.partition('.')[0]}")
    given = f", classes=[{', '.join(classes)}]" if classes else ""
    query, document = (_example(plan[role], plan) for role in plan.roles)
    lines = [*imports, "", f'served = SimilarityModel.load("path/of/this/folder"{given})']
    if plan.is_symmetric:
        lines.append(f"vectors = served.encode([{query}])  # numpy, one row an object")
    else:
        lines.append(f"queries = served.encode_query([{query}])  # numpy, one row an object")
        lines.append(f"documents = served.encode_document([{document}])")
    lines.append(f"best = served.rank({query}, [{document}], top_k=10)  # (place in the list, score), best first")
    return lines


def _example(parts: Sequence[Part], plan: Plan) -> str:
    """An object that the tower could read, as Python writes it; `...` stands for what only the user knows."""
    values = {part.field: '"..."' if isinstance(plan.encoders[part.encoder], TextEncoder) else "..." for part in parts}
    if set(values) == {None}:
        return values[None]
    if None in values:
        return "..."
    return "{" + ", ".join(f"{json.dumps(name)}: {value}" for name, value in values.items()) + "}"


def _tower(parts: Sequence[Part], plan: Plan, head: EncoderHead) -> str:
    texts = []
    for part in parts:
        encoder = plan.encoders[part.encoder]
        text = f"{type(encoder).__name__} `{part.encoder}` ({'trained' if encoder.trainable else 'frozen'})"
        text += f" of field {_cell(part.field)}" if part.field is not None else ""
        text += f" after the prompt {_cell(part.prompt)}" if part.prompt is not None else ""
        texts.append(text)
    through = "" if isinstance(head, EmptyHead) else f", then {type(head).__name__}"
    return f"{' and '.join(texts)}{through}: {head.output_size} values"


def _similarity(scorer: Scorer) -> str:
    return scorer.distance.value.replace("_", " ") if isinstance(scorer, DistanceScorer) else type(scorer).__name__


def _parameters(plan: Plan, heads: Mapping[str, EncoderHead]) -> str:
    trained = [*heads.values(), *(encoder for encoder in plan.encoders.values() if encoder.trainable)]
    count = sum(
        weight.numel() for module in (*heads.values(), *plan.encoders.values()) for weight in module.parameters()
    )
    return (
        f"{count:,}, of which {sum(weight.numel() for module in trained for weight in module.parameters()):,} trained"
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (str, bool)):
        return value
    if hasattr(value, "item"):
        with suppress(ValueError, RuntimeError):  # more than one number
            value = value.item()
    if isinstance(value, (int, float)):
        return value if math.isfinite(value) else str(value)
    return str(value)


def _cell(value: Any) -> str:
    """A value in a table; text as code, which Markdown leaves as it is."""
    value = _plain(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}" if not isinstance(value, bool) else str(value)
    return f"`{_line(value)}`".replace("|", "\\|")


def _line(value: Any) -> str:
    """Text on one line, without what would end code or is no text at all."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(value))
    return " ".join(text.replace("`", "'").split())


def _table(left: str, right: str, rows: Iterable[tuple[str, str]]) -> list[str]:
    return [f"| {left} | {right} |", "|---|---|", *(f"| {key} | {text} |" for key, text in rows), ""]
