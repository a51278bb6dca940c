"""One of several encoders for each object."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from simlearn.embeddings import Embeddings
from simlearn.encoders._workers import light_method
from simlearn.encoders.encoder import CollateFn, Encoder, MetaExtractor
from simlearn.encoders.tokens import count_tokens
from simlearn.files import LoadError, check_name


class SwitchEncoder(Encoder):
    """Sends each object to one of several encoders, and extracts the name of the one as meta `encoder`.

    A subclass says which::

        class TextOrImage(SwitchEncoder):
            @staticmethod
            def encoder_selection(record):
                return "text" if isinstance(record, str) else "image"

        TextOrImage({"text": TextEncoder(...), "image": ImageEncoder(...)})

    Args:
        options: encoders by name, all of one embedding size. Frozen ones stay frozen among trainable ones.

    Raises:
        TypeError: when there is no `encoder_selection`, or it is an instance method.
        ValueError: for no options, unequal embedding sizes, or a name that cannot be a folder.
    """

    part_base: ClassVar[type] = Encoder

    def __init__(self, options: Mapping[str, Encoder]) -> None:
        super().__init__()
        if not options:
            raise ValueError("a SwitchEncoder needs at least one option")
        for name, option in options.items():
            check_name(name, "option name")
            if not isinstance(option, Encoder):
                raise TypeError(f"option {name!r} must be an Encoder, got {type(option).__name__}")
        if len({name.lower() for name in options}) < len(options):
            raise ValueError(f"two of the options {list(options)} differ only in case, and would share a folder")
        sizes = {name: option.embedding_size for name, option in options.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"all options must have one embedding size, got {sizes}; one head reads them all")
        self._names = tuple(options)
        # Not a ModuleDict, which takes no option called "type" or "keys".
        self._options = nn.ModuleList(options.values())
        light_method(self, SwitchEncoder, "encoder_selection")
        self.freeze_if_required()
        self.train()

    @staticmethod
    def encoder_selection(record: Any) -> str:
        """The name of the option that encodes a record. Define it in a subclass, as a static or class method."""
        raise NotImplementedError("define encoder_selection(record) as a @staticmethod")

    @property
    def options(self) -> dict[str, Encoder]:
        """The encoders by name."""
        return dict(zip(self._names, self._options, strict=True))  # type: ignore[arg-type]

    @property
    def trainable(self) -> bool:
        """Whether any option is."""
        return any(option.trainable for option in self.options.values())

    @property
    def pretrained(self) -> bool:
        """Whether any option is."""
        return any(option.pretrained for option in self.options.values())

    def pretrained_parameters(self) -> Iterator[nn.Parameter]:
        """Those of the options."""
        return (parameter for option in self.options.values() for parameter in option.pretrained_parameters())

    @property
    def embedding_size(self) -> int:
        """D of all options."""
        return next(iter(self.options.values())).embedding_size

    def get_collate_fn(self) -> CollateFn:
        """From N objects to `batches`, what each option collated of its own, and `ordering` (N,), whose they are."""
        select = _Selection(light_method(self, SwitchEncoder, "encoder_selection"), self._names)
        return SwitchCollate(select, {name: option.get_collate_fn() for name, option in self.options.items()})

    def get_prompted_collate_fn(self, prompt: str) -> CollateFn:
        """With a prompt before each object; all options must know prompts."""
        select = _Selection(light_method(self, SwitchEncoder, "encoder_selection"), self._names)
        collates = {name: option.get_prompted_collate_fn(prompt) for name, option in self.options.items()}
        return SwitchCollate(select, collates)

    def extract_meta(self, objects: list[Any]) -> list[dict[str, Any]]:
        """The name of the option for each object."""
        return self.get_meta_extractor()(objects)

    def get_meta_extractor(self) -> MetaExtractor:
        """`extract_meta` without the weights."""
        return _Selection(light_method(self, SwitchEncoder, "encoder_selection"), self._names).meta

    def forward(self, batch: dict[str, Any]) -> Tensor | Embeddings:
        """Encode what `get_collate_fn` gave for N objects, in their order."""
        ordering: Tensor = batch["ordering"]
        encoded = [self.options[name](part) for name, part in batch["batches"].items()]
        if not encoded:
            return torch.zeros((0, self.embedding_size), device=ordering.device)
        parts = [part if isinstance(part, Embeddings) else Embeddings(part) for part in encoded]
        restored = Embeddings.concatenate(parts).take(ordering.argsort())
        return restored if any(isinstance(part, Embeddings) for part in encoded) else restored.values

    @property
    def many_vectors(self) -> bool:
        """Whether an option gives many."""
        return any(option.many_vectors for option in self.options.values())

    def kept_arguments(self) -> dict[str, Any]:
        """The encoders by name."""
        return {"options": self.options}

    @classmethod
    def from_version_1(cls, settings: dict[str, Any], folder: Path, place: str) -> dict[str, Any]:
        """The settings had the names of the options, which were those of their folders."""
        names = settings.get("options")
        if not isinstance(names, list):
            raise LoadError(f"{folder / 'config.json'} names no options of a SwitchEncoder")
        if len(set(map(str, names))) < len(names):
            raise LoadError(f"{folder / 'config.json'} names an option of a SwitchEncoder twice")
        checked = [check_name(name, "option name") for name in names]
        return {**settings, "options": {name: {"$part": f"{place}/{name}".strip("/")} for name in checked}}


class _Selection:
    """Asks for an option, and checks the answer."""

    def __init__(self, select: Callable[[Any], str], names: tuple[str, ...]) -> None:
        self.select = select
        self.names = names

    def __call__(self, record: Any) -> str:
        name = self.select(record)
        if name not in self.names:
            raise ValueError(f"encoder_selection chose {name!r} for {record!r:.80}; the options are {list(self.names)}")
        return name

    def meta(self, records: list[Any]) -> list[dict[str, Any]]:
        return [{"encoder": self(record)} for record in records]


class SwitchCollate:
    """Groups N objects by option; options without objects are left out.

    Args:
        select: which option an object goes to.
        collates: the collate function of each option.
    """

    def __init__(self, select: Callable[[Any], str], collates: dict[str, CollateFn]) -> None:
        self.select = select
        self.collates = collates

    def __call__(self, objects: list[Any]) -> dict[str, Any]:
        """Collate N objects; `ordering` (N,) gives for each encoded row the place of its object."""
        places = self._places(objects)
        batches = {
            name: self.collates[name]([objects[place] for place in chosen]) for name, chosen in places.items() if chosen
        }
        ordering = torch.tensor([place for chosen in places.values() for place in chosen], dtype=torch.long)
        return {"ordering": ordering, "batches": batches}

    def lengths(self, objects: list[Any]) -> Tensor:
        """The number of tokens (N,) of each object, which its option counts; see `Counting`.

        Raises:
            TypeError: for an option that cannot count.
        """
        counts = torch.zeros(len(objects), dtype=torch.long)
        for name, chosen in self._places(objects).items():
            if chosen:
                counts[chosen] = count_tokens(self.collates[name], [objects[place] for place in chosen], name)
        return counts

    def _places(self, objects: list[Any]) -> dict[str, list[int]]:
        places: dict[str, list[int]] = {name: [] for name in self.collates}
        for place, record in enumerate(objects):
            places[self.select(record)].append(place)
        return places
