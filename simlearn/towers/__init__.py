"""Who encodes what: plans of towers and their parts, what they read, and a tower at work."""

from simlearn.towers.inputs import CachedRows, InputChunks, Inputs
from simlearn.towers.plan import Field, Fields, Part, Plan, TowerCollator, TwoTower, plan
from simlearn.towers.tower import KnownVectors, Tower

__all__ = [
    "CachedRows",
    "Field",
    "Fields",
    "InputChunks",
    "Inputs",
    "KnownVectors",
    "Part",
    "Plan",
    "Tower",
    "TowerCollator",
    "TwoTower",
    "plan",
]
