"""Pictures as SVG, drawn with nothing but strings.

Whatever comes from outside goes through `escape`. Colours are variables that follow the reader's light or dark scheme,
in a page (`COLOURS` once) and in a file of its own (`standalone`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape as _escape

import torch
from torch import Tensor

LIGHT = (
    "--ink:#1d2129;--soft:#667085;--line:#e1e4ea;--paper:#ffffff;--c0:#2563eb;--c1:#ea6a2f;--c2:#0e9f8e;--c3:#b4489a;"
    "--c4:#b58a00;--c5:#6d5bd0;--c6:#4d9221;--c7:#c2364b;--c8:#0d8fb8;--c9:#8a6d5b;--rest:#a3a9b5"
)
DARK = (
    "--ink:#e6e8ec;--soft:#98a1b2;--line:#30353f;--paper:#15181e;--c0:#6ea1ff;--c1:#ff9464;--c2:#3fd0bf;--c3:#e589cf;"
    "--c4:#e0bb3f;--c5:#a598ff;--c6:#8ed061;--c7:#ff7f90;--c8:#4cc6ee;--c9:#c4a592;--rest:#666d7a"
)
COLOURS = f":root{{{LIGHT}}}@media(prefers-color-scheme:dark){{:root{{{DARK}}}}}"
SERIES = 10
"""How many series have a colour of their own."""
WIDTH, HEIGHT = 560, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 544, 40, 262


def escape(text: object) -> str:
    """Text that is nothing but text in HTML and SVG, within elements and within quoted attributes."""
    printable = (one if one.isprintable() else " " for one in str(text))
    return _escape("".join(printable), quote=True)


def standalone(picture: str) -> str:
    """A picture as a file of its own, which brings its colours."""
    style = f"<style>svg{{{LIGHT}}}@media(prefers-color-scheme:dark){{svg{{{DARK}}}}}</style>"
    head, _, rest = picture.partition(">")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}>{style}{rest}\n'


def colour(series: int) -> str:
    """The colour of a series; all beyond the tenth share one."""
    return f"var(--c{series})" if series < SERIES else "var(--rest)"


def histogram(series: Sequence[tuple[str, Tensor]], title: str, label: str, bins: int = 44) -> str:
    """How values are spread, one outline each, as shares of their own number.

    Args:
        series: names and values (n,).
        title: what the picture shows, for those who cannot see it.
        label: what the values are.
        bins: how many.
    """
    filled = [(name, values.double().flatten()) for name, values in series if values.numel()]
    if not filled:
        return frame([text(WIDTH / 2, HEIGHT / 2, "nothing to show", "middle")], title)
    everything = torch.cat([values for _, values in filled])
    low, high = float(everything.min()), float(everything.max())
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    counts = [torch.histc(values, bins, low, high) / len(values) for _, values in filled]
    highest = max(float(count.max()) for count in counts)
    parts = _horizontal_axis(ticks(low, high), low, high, label)
    for number, ((name, _), count) in enumerate(zip(filled, counts, strict=True)):
        width = (_RIGHT - _LEFT) / bins
        steps = [f"M{_LEFT} {_BOTTOM}"]
        for place, share in enumerate(count.tolist()):
            y = _BOTTOM - (_BOTTOM - _TOP) * share / highest
            steps.append(f"V{y:.1f}H{_LEFT + width * (place + 1):.1f}")
        path = "".join([*steps, f"V{_BOTTOM}Z"])
        parts.append(
            f'<path d="{path}" fill="{colour(number)}" fill-opacity=".22" stroke="{colour(number)}" stroke-width="1.6" '
            'stroke-linejoin="round"/>'
        )
        parts += _legend(number, len(filled), name)
    return frame(parts, title)


def curve(points: Sequence[tuple[float, float]], title: str, label: str, bottom: float = 0.0, top: float = 1.0) -> str:
    """A rising curve over a logarithmic axis, such as recall over k.

    Args:
        points: (k, value), k ascending and at least 1.
        title: what the picture shows.
        label: what k is.
        bottom: the lowest value.
        top: the highest.
    """
    if not points:
        return frame([text(WIDTH / 2, HEIGHT / 2, "nothing to show", "middle")], title)
    last = max(math.log(points[-1][0]), 1e-9)

    def x(k: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * math.log(k) / last

    def y(value: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * (value - bottom) / (top - bottom)

    parts = []
    for tick in (0, 0.25, 0.5, 0.75, 1.0):
        value = bottom + tick * (top - bottom)
        parts.append(f'<path d="M{_LEFT} {y(value):.1f}H{_RIGHT}" stroke="var(--line)"/>')
        parts.append(text(_LEFT - 8, y(value) + 4, f"{value:.2g}", "end"))
    marks = [k for k, _ in points if k in (1, 3, 10, 30, 100, 300, 1000, 3000, 10000) or k == points[-1][0]]
    for k, after in zip(marks, [*marks[1:], None], strict=True):
        if after is None or x(after) - x(k) > 26:
            parts.append(text(x(k), _BOTTOM + 20, f"{k:g}", "end" if after is None and k > 1 else "middle"))
    parts.append(text(_LEFT, _BOTTOM + 36, label, "start"))
    line = " ".join(f"{x(k):.1f},{y(value):.1f}" for k, value in points)
    area = f"{x(points[0][0]):.1f},{_BOTTOM} {line} {x(points[-1][0]):.1f},{_BOTTOM}"
    parts.append(f'<polygon points="{area}" fill="var(--c0)" fill-opacity=".1"/>')
    stroke = 'stroke="var(--c0)" stroke-width="2.2" stroke-linejoin="round"'
    parts.append(f'<polyline points="{line}" fill="none" {stroke}/>')
    for k, value in points:
        if k in marks:
            dot = f'<circle cx="{x(k):.1f}" cy="{y(value):.1f}" r="3.4" fill="var(--c0)" stroke="var(--paper)"'
            parts.append(f'{dot} stroke-width="1.5"><title>{k:g}: {value:.4f}</title></circle>')
    return frame(parts, title)


def scatter(
    points: Tensor, series: Sequence[int], names: Sequence[str], hints: Sequence[str] | None, title: str
) -> str:
    """Points of a plane, one colour a series.

    Args:
        points: (N, 2).
        series: the number of each point's series, 0 the first.
        names: of the series; those beyond the tenth share a colour.
        hints: what a pointer over each point shows.
        title: what the picture shows.
    """
    height, margin, foot = 500, 22, 34 if len(names) > 1 else 0
    low, high = points.min(dim=0).values, points.max(dim=0).values
    wide, tall = (max(float(one), 1e-12) for one in high - low)
    # One scale for both axes: distances are what the picture is for. Points that coincide stay one point.
    scale = min((WIDTH - 2 * margin) / wide, (height - 2 * margin) / tall) if max(wide, tall) > 1e-9 else 0.0
    middle = (low + high) / 2
    radius = 4.0 if len(points) <= 300 else 3.0 if len(points) <= 1200 else 2.2
    parts = []
    for number in sorted(set(series), reverse=True):
        dots = []
        for row, own in enumerate(series):
            if own != number:
                continue
            x = WIDTH / 2 + scale * float(points[row, 0] - middle[0])
            y = height / 2 - scale * float(points[row, 1] - middle[1])
            hint = f"<title>{escape(hints[row])}</title>" if hints is not None else ""
            dots.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}">{hint}</circle>')
        parts.append(f'<g fill="{colour(number)}" fill-opacity=".72">{"".join(dots)}</g>')
    if len(names) > 1:
        parts += _names(names, height + 20)
    return frame(parts, title, height + foot)


def interval(value: float, low: float, high: float, width: int = 150) -> str:
    """A value in [0, 1] with its interval, as a small bar."""
    place = [max(0.0, min(1.0, one)) * (width - 8) + 4 for one in (low, value, high)]
    return (
        f'<svg viewBox="0 0 {width} 14" width="{width}" height="14" aria-hidden="true">'
        f'<path d="M4 7H{width - 4}" stroke="var(--line)" stroke-width="4" stroke-linecap="round"/>'
        f'<path d="M{place[0]:.1f} 7H{place[2]:.1f}" stroke="var(--c0)" stroke-opacity=".45" stroke-width="4" '
        'stroke-linecap="round"/>'
        f'<circle cx="{place[1]:.1f}" cy="7" r="4" fill="var(--c0)"/></svg>'
    )


def frame(parts: Sequence[str], title: str, height: int = HEIGHT) -> str:
    """Parts as one picture."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}" font-family="system-ui,sans-serif" font-size="12">{"".join(parts)}</svg>'
    )


def text(x: float, y: float, words: str, anchor: str = "start") -> str:
    """A few words."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="var(--soft)">{escape(words)}</text>'


def ticks(low: float, high: float) -> list[float]:
    """About five round numbers within a range."""
    raw = (high - low) / 5
    size = 10 ** math.floor(math.log10(raw))
    step = next(factor * size for factor in (1, 2, 2.5, 5, 10) if factor * size >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    found: list[float] = []
    while (first + len(found)) * step <= high + 1e-9 * step:
        found.append((first + len(found)) * step)
    return found


def _horizontal_axis(marks: Sequence[float], low: float, high: float, label: str) -> list[str]:
    parts = [f'<path d="M{_LEFT} {_BOTTOM}H{_RIGHT}" stroke="var(--line)"/>']
    for mark in marks:
        x = _LEFT + (_RIGHT - _LEFT) * (mark - low) / (high - low)
        parts.append(f'<path d="M{x:.1f} {_TOP}V{_BOTTOM}" stroke="var(--line)" stroke-dasharray="2 4"/>')
        parts.append(text(x, _BOTTOM + 20, f"{0.0 if abs(mark) < 1e-12 else mark:.4g}".replace("-", "−"), "middle"))
    return [*parts, text(_LEFT, _BOTTOM + 36, label, "start")]


def _legend(number: int, count: int, name: str) -> list[str]:
    x = _LEFT + number * (_RIGHT - _LEFT) / max(count, 3)
    return [
        f'<path d="M{x:.1f} 18h14" stroke="{colour(number)}" stroke-width="4" stroke-linecap="round"/>',
        text(x + 21, 22, name),
    ]


def _names(names: Sequence[str], y: float) -> list[str]:
    """The names of the series in one line, as many as fit."""
    parts, x = [], 14.0
    shown = list(names[:SERIES]) + (["others"] if len(names) > SERIES else [])
    widths = [26 + 6.6 * min(len(name), 16) for name in shown]
    for number, (name, width) in enumerate(zip(shown, widths, strict=True)):
        if x + width > WIDTH:
            break
        parts.append(f'<circle cx="{x:.1f}" cy="{y - 4:.1f}" r="4.5" fill="{colour(number)}"/>')
        parts.append(text(x + 9, y, name if len(name) <= 16 else f"{name[:15]}…"))
        x += width
    return parts


__all__ = ["COLOURS", "curve", "escape", "histogram", "interval", "scatter", "standalone", "ticks"]
