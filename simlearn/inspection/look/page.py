"""Sections as HTML and as Markdown. Whatever a user's objects hold is escaped here, and nowhere trusted."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from simlearn.inspection.look import svg
from simlearn.inspection.look.svg import escape

_LONGEST = 280
_THUMBNAIL = 96


@dataclass(frozen=True)
class FigureRow:
    """A line of a table of figures; the interval and the count may be unknown."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    count: int | None = None
    meaning: str = ""


@dataclass(frozen=True)
class Found:
    """An object with its score, and what is known of it; or a query with what it found."""

    obj: Any
    score: float | None = None
    relevant: bool | None = None
    note: str = ""
    found: tuple[Found, ...] = ()


@dataclass(frozen=True)
class Section:
    """A title with a sentence, and one thing to look at."""

    title: str
    note: str = ""
    figures: tuple[FigureRow, ...] = ()
    picture: str = ""
    neighbours: tuple[Found, ...] = ()


_STYLE = (
    svg.COLOURS
    + """
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1080px;margin:0 auto;padding:56px 28px 80px}
h1{font-size:28px;line-height:1.2;font-weight:650;letter-spacing:-.015em;margin:0 0 6px}
h2{font-size:16px;font-weight:650;margin:0 0 2px}
p{margin:0;color:var(--soft)}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,460px),1fr));gap:44px 52px;margin-top:44px}
section{min-width:0}
.wide{grid-column:1/-1}
svg{display:block;max-width:100%;height:auto}
.picture{margin-top:14px}
table{border-collapse:collapse;width:100%;margin-top:14px;font-variant-numeric:tabular-nums}
td,th{padding:6px 14px 6px 0;text-align:left;border-bottom:1px solid var(--line);vertical-align:middle}
th{font-size:12px;font-weight:500;color:var(--soft)}
td.n,th.n{text-align:right}
td:first-child{white-space:nowrap}
.wide table{width:auto;min-width:min(100%,640px)}
.wide td,.wide th{padding-right:28px}
.query .note{font-weight:400}
td.s,.note{color:var(--soft);font-size:13px}
.lists{columns:2 420px;column-gap:52px;margin-top:14px}
.list{break-inside:avoid;margin-bottom:26px}
.query{font-weight:600;padding-bottom:4px;border-bottom:1px solid var(--line);overflow-wrap:anywhere}
ol{list-style:none;margin:0;padding:0}
li{display:grid;grid-template-columns:18px 1fr auto;gap:8px;padding:4px 0;font-size:14px;align-items:start}
li div{overflow-wrap:anywhere}
li .k{font-variant-numeric:tabular-nums;color:var(--soft);font-size:13px}
.yes{color:var(--c2);font-weight:700}.no{color:var(--c1)}
img{display:block;max-height:96px;border-radius:4px}
"""
)


def html(title: str, note: str, sections: Sequence[Section]) -> str:
    """One page that loads nothing from anywhere, and in which no script runs."""
    body = "".join(_section(section) for section in sections)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        'img-src data:">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="color-scheme" '
        f'content="light dark"><title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>'
        f"<h1>{escape(title)}</h1><p>{escape(note)}</p>"
        f'<div class="grid">{body}</div></main></body></html>\n'
    )


def _section(section: Section) -> str:
    note = f"<p>{escape(section.note)}</p>" if section.note else ""
    parts = [f"<h2>{escape(section.title)}</h2>{note}"]
    if section.figures:
        parts.append(_figures(section.figures))
    if section.picture:
        parts.append(f'<div class="picture">{section.picture}</div>')
    if section.neighbours:
        parts.append(f'<div class="lists">{"".join(map(_list, section.neighbours))}</div>')
    wide = ' class="wide"' if section.neighbours or any(row.low is not None for row in section.figures) else ""
    return f"<section{wide}>{''.join(parts)}</section>"


def _figures(rows: Sequence[FigureRow]) -> str:
    has_interval = any(row.low is not None for row in rows)
    has_count, has_meaning = any(row.count is not None for row in rows), any(row.meaning for row in rows)
    head = "<th></th><th class=n>value</th>"
    head += "<th class=n>95 % interval</th><th></th>" if has_interval else ""
    head += "<th class=n>of</th>" if has_count else ""
    head += "<th></th>" if has_meaning else ""
    lines = []
    for row in rows:
        cells = f"<td>{escape(row.name)}</td><td class=n><b>{_value(row.value, row.meaning)}</b></td>"
        if has_interval:
            known = row.low is not None and row.high is not None
            bar = svg.interval(row.value, row.low, row.high) if _is_share(row) else ""  # type: ignore[arg-type]
            cells += f'<td class="n s">{_between(row) if known else ""}</td><td>{bar}</td>'
        if has_count:
            cells += f'<td class="n s">{"" if row.count is None else f"{row.count:,}"}</td>'
        if has_meaning:
            cells += f"<td class=s>{escape(row.meaning)}</td>"
        lines.append(f"<tr>{cells}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _list(query: Found) -> str:
    items = []
    for one in query.found:
        sign = {True: '<span class="yes">✓</span>', False: '<span class="no">·</span>', None: "<span></span>"}
        score = "" if one.score is None else _value(one.score)
        items.append(f'<li>{sign[one.relevant]}<div>{_object(one.obj)}</div><span class="k">{score}</span></li>')
    note = f' <span class="note">{escape(query.note)}</span>' if query.note else ""
    return f'<div class="list"><div class="query">{_object(query.obj)}{note}</div><ol>{"".join(items)}</ol></div>'


def markdown(title: str, note: str, sections: Sequence[Section], folder: str) -> tuple[str, dict[str, str]]:
    """The text, and the pictures by file name."""
    parts, pictures = [f"# {_plain(title)}", _plain(note)], {}
    for number, section in enumerate(sections, 1):
        parts += [f"## {_plain(section.title)}", _plain(section.note)]
        if section.figures:
            parts.append(_markdown_figures(section.figures))
        if section.picture:
            name = f"{number:02d}-{re.sub('[^a-z0-9]+', '-', section.title.lower()).strip('-') or 'picture'}.svg"
            pictures[name] = svg.standalone(section.picture)
            parts.append(f"![{_plain(section.title)}](<{re.sub('[<>]', '', folder)}/{name}>)")
        for query in section.neighbours:
            head = f"**{_plain(as_text(query.obj))}** {_plain(query.note)}".rstrip()
            items = []
            for place, one in enumerate(query.found, 1):
                sign = {True: " ✓", False: "", None: ""}[one.relevant]
                score = "" if one.score is None else f" ({_value(one.score)})"
                items.append(f"{place}. {_plain(as_text(one.obj))}{score}{sign}")
            parts.append("\n".join([head, "", *items]))
    return "\n\n".join(part for part in parts if part) + "\n", pictures


def _markdown_figures(rows: Sequence[FigureRow]) -> str:
    has_meaning = any(row.meaning for row in rows)
    lines = ["| | value | 95 % interval | of |", "|---|---:|---:|---:|"]
    if has_meaning:
        lines = ["| | value | |", "|---|---:|---|"]
    for row in rows:
        if has_meaning:
            lines.append(f"| {_plain(row.name)} | {_value(row.value)} | {_plain(row.meaning)} |")
        else:
            between = _between(row) if row.low is not None else ""
            count = "" if row.count is None else f"{row.count:,}"
            lines.append(f"| {_plain(row.name)} | {_value(row.value)} | {between} | {count} |")
    return "\n".join(lines)


def as_text(obj: Any) -> str:
    """An object in words."""
    if isinstance(obj, str):
        return obj
    if _is_image(obj):
        return f"image of {obj.width} × {obj.height}"
    return repr(obj)


def shortened(text: str, length: int = _LONGEST) -> str:
    """A text of limited length."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _object(obj: Any) -> str:
    if _is_image(obj):
        return f'<img alt="{escape(as_text(obj))}" src="data:image/png;base64,{_thumbnail(obj)}">'
    return escape(shortened(as_text(obj))) or "<i>empty</i>"


def _is_image(obj: Any) -> bool:
    """Without loading PIL, which is an extra."""
    return type(obj).__module__.partition(".")[0] == "PIL" and hasattr(obj, "thumbnail")


def _thumbnail(image: Any) -> str:
    small = image.convert("RGB")
    small.thumbnail((2 * _THUMBNAIL, _THUMBNAIL))
    out = io.BytesIO()
    small.save(out, format="PNG")
    return base64.b64encode(out.getvalue()).decode()


def _plain(text: str) -> str:
    """Text that Markdown takes for nothing but text, in one line."""
    line = " ".join(shortened(text).split())
    line = "".join(one if one.isprintable() else " " for one in line)
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # Colons too: many readers make links of bare addresses.
    return re.sub(r"([\\`*_{}\[\]()#+!|~$^=-])", r"\\\1", line).replace("://", ":&#47;&#47;").replace("@", "&#64;")


def _value(value: float, meaning: str = "") -> str:
    if not math.isfinite(value):
        return "none" if math.isnan(value) else "∞" if value > 0 else "−∞"
    whole = abs(value) >= 1000 or "dimensions that" in meaning
    text = f"{value:,.0f}" if whole else f"{value:.1f}" if abs(value) >= 100 else f"{value:.3f}"
    return text.replace("-", "−")


def _between(row: FigureRow) -> str:
    return "" if row.low is None or row.high is None else f"{_value(row.low)} – {_value(row.high)}"


def _is_share(row: FigureRow) -> bool:
    values = (row.low, row.value, row.high)
    return all(one is not None and 0 <= one <= 1 for one in values)
