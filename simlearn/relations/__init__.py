"""What is similar to what: one type for pairs, groups, rankings and label sets."""

from simlearn.relations.kind import RelationKind
from simlearn.relations.relation import Relation, RelationCheck
from simlearn.relations.remembered import Remembered

__all__ = ["Relation", "RelationCheck", "RelationKind", "Remembered"]
