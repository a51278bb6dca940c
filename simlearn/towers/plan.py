"""Who encodes what: from what `configure_encoders` returns to the towers of a model.

A tower turns one object into the embeddings of its parts. A part is an encoder with, perhaps, a field of the object to
read and a prompt to put before it. Encoders are shared: one object in several places is stored and trained once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, TypeAlias

from torch import nn

from simlearn import meta as columns
from simlearn.encoders import CollateFn, Encoder, MetaExtractor, Prompted
from simlearn.files import LoadError, check_name
from simlearn.towers.inputs import CachedRows, Inputs

ROLES: Final = ("query", "document")
DEFAULT_NAME = "default"


@dataclass(frozen=True)
class Field:
    """One field of a structured object: a key of a mapping or an attribute.

    Args:
        name: the key or attribute.
        encoder: what encodes it.
    """

    name: str
    encoder: Encoder | Prompted


class Fields(dict[str, Encoder | Prompted | Field]):
    """Several fields of a structured object, each with its encoder; the embeddings are concatenated.

    `Fields(title=words, category=categories)` reads `obj["title"]` and `obj["category"]` (or the attributes). A field
    whose name is taken reads under another one: `Fields(kind=Field("type", categories))`.
    """


@dataclass(frozen=True)
class TwoTower:
    """Queries and documents encoded differently.

    Args:
        query: what encodes queries: an encoder, a dictionary of encoders, `Field` or `Fields`.
        document: what encodes documents, likewise.
    """

    query: TowerSpec
    document: TowerSpec


TowerSpec: TypeAlias = "Encoder | Prompted | Field | Mapping[str, Encoder | Prompted | Field]"
EncoderSpec: TypeAlias = "TowerSpec | TwoTower"


@dataclass(frozen=True)
class Part:
    """One encoder's place in a tower.

    Args:
        name: the part's name in its tower.
        encoder: the encoder's name in the model.
        field: the field of the object that it reads; None for the whole object.
        prompt: what is put before the object; None for nothing.
    """

    name: str
    encoder: str
    field: str | None = None
    prompt: str | None = None

    def pick(self, objects: list[Any]) -> list[Any]:
        """What this part reads of each object."""
        return objects if self.field is None else [_pick(obj, self.field) for obj in objects]

    def to_json(self) -> dict[str, Any]:
        """The part as JSON holds it."""
        return asdict(self)

    @staticmethod
    def from_json(content: Any) -> Part:
        """Read what `to_json` wrote."""
        try:
            part = Part(**content)
            check_name(part.name, "part name")
            check_name(part.encoder, "encoder name")
            for text in (part.field, part.prompt):
                if not isinstance(text, str | None):
                    raise TypeError(f"field and prompt must be text, got {text!r:.100}")
        except (TypeError, ValueError) as error:
            raise LoadError(f"not a part of a tower: {content!r:.200} ({error})") from None
        return part


def _pick(obj: Any, field: str) -> Any:
    if isinstance(obj, Mapping):
        if field not in obj:
            raise KeyError(f"the object has no field {field!r}, only {sorted(map(str, obj))}")
        return obj[field]
    value = getattr(obj, field, None)
    if not hasattr(obj, field) or inspect.isroutine(value):  # every str has a method "title"
        raise KeyError(f"a {type(obj).__name__} has no field {field!r}; Fields and Field need mappings or attributes")
    return value


@dataclass(frozen=True)
class Plan:
    """The encoders of a model, each once, and the parts of its towers.

    Args:
        encoders: by name.
        towers: the parts of each tower by its role; `"query"` alone where documents go through the same tower.
    """

    encoders: dict[str, Encoder]
    towers: dict[str, tuple[Part, ...]]

    @property
    def roles(self) -> tuple[str, ...]:
        """What a tower can be asked for; two of them may be one tower."""
        return ROLES

    @property
    def is_symmetric(self) -> bool:
        """Whether queries and documents go through one tower."""
        return len(self.towers) == 1

    def __getitem__(self, role: str) -> tuple[Part, ...]:
        """The parts of the tower of a role.

        Raises:
            ValueError: for a role that there is not.
        """
        if role not in ROLES:
            raise ValueError(f"there is no tower for {role!r:.80}; the roles are {' and '.join(ROLES)}")
        return self.towers.get(role, self.towers["query"])

    def input_size(self, role: str) -> int:
        """The sum of the embedding sizes of a tower's encoders: what its head receives."""
        return sum(self.part_sizes(role))

    def part_sizes(self, role: str) -> list[int]:
        """The embedding size of each part of a tower, in the order in which they are joined."""
        return [self.encoders[part.encoder].embedding_size for part in self[role]]


def plan(spec: EncoderSpec) -> Plan:
    """Name the encoders and parts of what `configure_encoders` returned.

    Raises:
        TypeError: for anything that is no encoder, dictionary of encoders, `Field`, `Fields` or `TwoTower`.
        ValueError: for names that cannot be folders, or that collide.
    """
    encoders: dict[str, Encoder] = {}
    if isinstance(spec, TwoTower):
        return Plan(encoders, {role: _parts(getattr(spec, role), role, encoders) for role in ROLES})
    return Plan(encoders, {"query": _parts(spec, None, encoders)})


def _parts(spec: Any, role: str | None, encoders: dict[str, Encoder]) -> tuple[Part, ...]:
    if isinstance(spec, TwoTower):
        raise TypeError("a TwoTower cannot stand inside a TwoTower")
    if not isinstance(spec, Mapping):
        return (_part(DEFAULT_NAME, spec, None, role, encoders),)
    if not spec:
        raise ValueError("a dictionary of encoders must not be empty")
    reads = isinstance(spec, Fields)
    names = sorted(check_name(name, "encoder name") for name in spec)
    return tuple(_part(name, spec[name], name if reads else None, role, encoders) for name in names)


def _part(name: str, leaf: Any, field: str | None, role: str | None, encoders: dict[str, Encoder]) -> Part:
    prompt = None
    if isinstance(leaf, Field):
        field, leaf = leaf.name, leaf.encoder
    if isinstance(leaf, Prompted):
        prompt, leaf = leaf.prompt, leaf.encoder
    if not isinstance(leaf, Encoder):
        raise TypeError(
            f"{name!r} must be an Encoder, got {type(leaf).__name__}; configure_encoders returns an Encoder, a "
            "dictionary of them, Fields(...), Field(...) or TwoTower(query=..., document=...)"
        )
    return Part(name, _register(name, leaf, role, encoders), field, prompt)


def _register(name: str, encoder: Encoder, role: str | None, encoders: dict[str, Encoder]) -> str:
    """The encoder's name in the model; a second one of the same name is told apart by its role."""
    for known_name, known in encoders.items():
        if known is encoder:
            return known_name
    if name == DEFAULT_NAME and role is not None:
        name = role
    taken = {known.lower(): known for known in encoders}
    if name.lower() in taken and role is not None:
        name = f"{role}_{name}"
    if name.lower() in taken:
        raise ValueError(
            f"two encoders are called {taken[name.lower()]!r} and {name!r}, and would share a folder; rename one"
        )
    if hasattr(nn.ModuleDict, name):
        raise ValueError(
            f"an encoder cannot be called {name!r}, which torch.nn.ModuleDict has a method for; rename it, for a field "
            f"with Fields({name}_=Field({name!r}, ...))"
        )
    encoders[name] = encoder
    return name


@dataclass(frozen=True)
class TowerCollator:
    """From objects to a tower's inputs. Picklable where the encoders' collate functions are."""

    parts: tuple[Part, ...]
    collate_fns: tuple[CollateFn, ...]
    meta_extractors: tuple[MetaExtractor | None, ...]

    @staticmethod
    def of(parts: tuple[Part, ...], encoders: Mapping[str, Encoder]) -> TowerCollator:
        """The collator of a tower's parts."""
        return TowerCollator(
            parts,
            tuple(_collate_fn(encoders[part.encoder], part.prompt) for part in parts),
            tuple(encoders[part.encoder].get_meta_extractor() for part in parts),
        )

    def __call__(self, objects: list[Any], known: Mapping[str, Callable[[list[Any]], Any]] | None = None) -> Inputs:
        """Collate N objects; a part that `known` has a function for gets what that returns.

        A function that returns `CachedRows` stands for the whole part: its meta is in the cache too.
        """
        features, meta = {}, {}
        for part, collate, extract in zip(self.parts, self.collate_fns, self.meta_extractors, strict=True):
            picked = part.pick(objects)
            features[part.name] = (known or {}).get(part.name, collate)(picked)
            if extract is not None and not isinstance(features[part.name], CachedRows):
                meta[part.name] = columns.columns(extract(picked))
        return Inputs(features, merge_meta(meta), len(objects))


def _collate_fn(encoder: Encoder, prompt: str | None) -> CollateFn:
    return encoder.get_collate_fn() if prompt is None else encoder.get_prompted_collate_fn(prompt)


def merge_meta(by_part: Mapping[str, columns.Meta]) -> columns.Meta:
    """The columns of all parts together.

    Raises:
        ValueError: when two parts extract a column of one name.
    """
    merged: columns.Meta = {}
    for part, meta in by_part.items():
        for name, column in meta.items():
            if name in merged:
                raise ValueError(f"meta column {name!r} of part {part!r} is extracted by another part too; rename one")
            merged[name] = column
    return merged
