"""The kinds of samples. A new kind is a file in this folder, and one line below."""

from typing import Final

from simlearn.data.kinds.groups import GroupKind
from simlearn.data.kinds.labels import LabelKind
from simlearn.data.kinds.pairs import PairKind
from simlearn.data.kinds.rankings import RankingKind
from simlearn.data.kinds.sample_kind import Key, Lacks, SampleKind

__all__ = ["KINDS", "GroupKind", "Key", "LabelKind", "Lacks", "PairKind", "RankingKind", "SampleKind"]

KINDS: Final[tuple[type[SampleKind], ...]] = (PairKind, GroupKind, LabelKind, RankingKind)
