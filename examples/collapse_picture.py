"""The picture of the collapse tutorial: an SVG that takes its text colour from the page around it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

RED, GREEN, BLUE = "#dc4a3d", "#10a37f", "#3b82f6"
DIGITS = ("#4e79a7", "#f28e2b", "#e15759", "#76b7b2", "#59a14f", "#edc948", "#b07aa1", "#ff9da7", "#9c755f", "#8b8fa3")
WIDTH, CURVES, VIEWS = 800, (52, 240), (376, 584)  # tops and bottoms of the two rows
SIDES = ((48, 384), (456, 792))
RADIUS = 104


def smooth(values: Sequence[float], steps: int = 8) -> np.ndarray:
    """The mean of so many steps, the length of an epoch here."""
    weights = np.ones(min(steps, len(values)))
    return np.convolve(values, weights / weights.sum(), mode="valid")


def text(x: float, y: float, words: str, **style: Any) -> str:
    styles = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in style.items())
    return f'<text x="{x:g}" y="{y:g}"{styles}>{words}</text>'


def panel(left: int, right: int, title: str, ticks: Sequence[float], steps: int) -> list[str]:
    """Frame, title, and lines at the ticks of the left axis, the first of which is the bottom."""
    top, bottom = CURVES
    parts = [text(left, top - 16, title, font_weight=600)]
    for tick in ticks:
        y = bottom - (bottom - top) * (tick - ticks[0]) / (ticks[-1] - ticks[0])
        parts.append(f'<path d="M{left} {y:.1f}H{right}" stroke="currentColor" opacity=".15"/>')
        parts.append(text(left - 8, y + 4, f"{tick:g}".replace("-", "−"), text_anchor="end", font_size=12, opacity=0.7))
    every = max(1, 200 * round(steps / 600))
    for step in range(0, steps - every // 4, every):
        x = left + (right - left) * step / steps
        parts.append(text(x, bottom + 20, str(step), text_anchor="middle", font_size=12, opacity=0.7))
    parts.append(text(right, bottom + 20, "steps", text_anchor="end", font_size=12, opacity=0.7))
    return parts


def curve(values: Sequence[float], left: int, right: int, ticks: Sequence[float], colour: str) -> str:
    top, bottom = CURVES
    means = smooth(values)
    x = np.linspace(left, right, len(means))
    y = bottom - (bottom - top) * (means - ticks[0]) / (ticks[-1] - ticks[0])
    keep = y >= top - 1  # what lies above the frame is not drawn
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x[keep], y[keep], strict=True))
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.2" stroke-linejoin="round"/>'


def plane(vectors: np.ndarray) -> np.ndarray:
    """The two directions that the vectors fill most, seen from the origin."""
    _, _, axes = np.linalg.svd(vectors, full_matrices=False)
    return np.asarray(vectors @ axes[:2].T)


def view(
    points: np.ndarray, labels: np.ndarray, middle: int, title: str, note: str, colour: str, size: float = 3.6
) -> list[str]:
    """Points of the unit disc, one colour a digit."""
    top, bottom = VIEWS
    y = (top + bottom) / 2
    parts = [
        text(middle, top - 34, title, text_anchor="middle", font_weight=600, fill=colour),
        text(middle, top - 15, note, text_anchor="middle", font_size=12, opacity=0.7),
        f'<circle cx="{middle}" cy="{y:g}" r="{RADIUS}" fill="none" stroke="currentColor" opacity=".3"/>',
    ]
    for digit, dots in enumerate(DIGITS):
        marks = "".join(f"M{middle + RADIUS * a:.1f} {y - RADIUS * b:.1f}h0" for a, b in points[labels == digit])
        parts.append(f'<path d="{marks}" stroke="{dots}" stroke-width="{size:g}" stroke-linecap="round" opacity=".8"/>')
    return parts


def draw(path: str, collapsed: Any, cured: Sequence[Any], labels: np.ndarray, margin: float) -> None:
    """Draw the curves of a collapsed run and of two cured ones, and what the first and the second make of pictures."""
    steps = len(collapsed.losses)
    colours = (RED, GREEN, BLUE)
    (left, right), (second, end) = SIDES
    losses, cosines = (0.0, 0.3, 0.6, 0.9), (-0.25, 0.0, 0.25, 0.5, 0.75, 1.0)
    title = "Loss", "Mean cosine between different groups"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} 622" role="img" fill="currentColor"',
        '     aria-labelledby="collapse-title" font-family="system-ui, sans-serif" font-size="14">',
        '<title id="collapse-title">Batch-hard: the loss stays at the margin, all cosines go to 1, all pictures are',
        "one point. Semi-hard: the loss falls, the cosines go to 0, each digit has a place of its own.</title>",
        *panel(left, right, title[0], losses, steps),
        *panel(second, end, title[1], cosines, steps),
    ]
    for run, colour in zip((collapsed, *cured), colours, strict=True):
        parts.append(curve(run.losses, left, right, losses, colour))
        parts.append(curve(run.cosines, second, end, cosines, colour))
    parts.append(text(right, 166, f"= margin {margin:g}", text_anchor="end", font_size=12, fill=RED))
    for run, colour, x in zip((collapsed, *cured), colours, (48, 214, 478), strict=True):
        name = run.name.replace("&", "&amp;").replace("<", "&lt;")
        parts.append(f'<path d="M{x} 289h18" stroke="{colour}" stroke-width="3"/>')
        parts.append(text(x + 26, 293, name, font_size=13))
    first, best = plane(collapsed.vectors), plane(cured[0].vectors)
    spread = collapsed.vectors - collapsed.vectors.mean(0)
    near = plane(spread)
    times = 0.9 / np.quantile(np.linalg.norm(near, axis=1), 0.98)
    near = near[inside := np.linalg.norm(times * near, axis=1) <= 1] * times
    first *= np.sign(first[:, :1].mean())  # an axis has no direction
    parts += view(first, labels, 136, "batch-hard", "all held-out pictures", RED, size=8)
    parts += view(near, labels[inside], 400, "batch-hard", f"the same, {times:.0f} times larger", RED)
    parts += view(best, labels, 664, "semi-hard", "all held-out pictures", GREEN)
    for digit, colour in enumerate(DIGITS):
        parts.append(text(310 + 20 * digit, VIEWS[1] + 30, str(digit), fill=colour, font_weight=700, font_size=15))
    Path(path).write_text("\n".join([*parts, "</svg>"]) + "\n", encoding="utf-8")
