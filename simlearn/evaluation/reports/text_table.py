"""Tables for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence


def render(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows under a header: the first column to the left, the others to the right.

    >>> print(render(["", "value"], [["mrr", "0.5"], ["recall@10", "0.75"]]))
               value
    mrr          0.5
    recall@10   0.75
    """
    everything = [list(header), *map(list, rows)]
    widths = [max(len(row[column]) for row in everything) for column in range(len(header))]
    lines = []
    for row in everything:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def number(value: float, sign: bool = False, digits: int = 3) -> str:
    """A figure; a dash for NaN."""
    return "-" if math.isnan(value) else f"{value:{'+' if sign else ''}.{digits}f}"


def bounds(low: float, high: float, sign: bool = False) -> str:
    """An interval."""
    return "-" if math.isnan(low) else f"[{number(low, sign)}, {number(high, sign)}]"


def chance(value: float) -> str:
    """A p-value."""
    if math.isnan(value):
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
