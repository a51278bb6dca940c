from __future__ import annotations

import html.parser
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

from simlearn.evaluation import Figure, Qrels
from simlearn.evaluation.health import Health
from simlearn.inspection.look import Look, NeighbourList, look_at
from simlearn.inspection.look.page import as_text

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'/><svg onload=alert(1)>",
    "</title><script>alert(1)</script>",
    "</style><script>1</script>",
    "javascript:alert(1)",
    "![x](http://evil.example/a.png) [y](javascript:alert(1)) <b>bold</b>",
    "| a | b |\n# heading\n```code```",
    "http://evil.example/ and mail@evil.example",
    "nul \x00 escape \x1b[31m right-to-left \u202e",
    "&lt;already escaped&gt;",
]


class Elements(html.parser.HTMLParser):
    """The elements of a page and their attributes, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def encode(objects: list[Any], role: str) -> torch.Tensor:
    random = torch.Generator()
    rows = []
    for one in objects:
        random.manual_seed(hash(str(one)) % 2**31)
        rows.append(torch.randn(8, generator=random))
    return torch.stack(rows)


def hostile_look() -> Look:
    look = Look(HOSTILE[3], HOSTILE[1])
    look.figures(dict.fromkeys(HOSTILE, (0.5, 0.4, 0.6, 10)), title=HOSTILE[0], note=HOSTILE[1])
    vectors = torch.randn(len(HOSTILE), 4, generator=torch.Generator().manual_seed(0))
    look.scores(title=HOSTILE[2], label=HOSTILE[0], **{HOSTILE[1]: vectors[:, 0], HOSTILE[4]: vectors[:, 1]})
    look.map(vectors, labels=HOSTILE, objects=HOSTILE, title=HOSTILE[5])
    lists = [NeighbourList(one, HOSTILE, [0.5] * len(HOSTILE), [True] * len(HOSTILE), HOSTILE[0]) for one in HOSTILE]
    return look.neighbours(lists, title=HOSTILE[6])


def test_nothing_that_objects_hold_becomes_html(tmp_path: Path) -> None:
    text = hostile_look().save(tmp_path / "report.html").read_text(encoding="utf-8")
    page = Elements(text)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "img", "iframe", "a", "link", "object", "b2"}
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") or name in ("href", "src") for name in attributes), (tag, attributes)
    assert page.text.count("<script>alert(1)</script>") > 5, "objects are shown as what they are"
    assert "&lt;already escaped&gt;" in page.text
    assert "\x00" not in text and "\x1b" not in text and "\u202e" not in text
    assert "default-src 'none'" in text
    for picture in re.findall(r"<svg.*?</svg>", text, flags=re.S):
        ElementTree.fromstring(picture)


def test_nothing_that_objects_hold_becomes_markdown(tmp_path: Path) -> None:
    text = hostile_look().save(tmp_path / "report.md").read_text(encoding="utf-8")
    assert "<script" not in text and "<b>" not in text and "<img" not in text
    own_links = re.findall(r"(?<!\\)\]\(", text)
    assert len(own_links) == 2, "the two pictures"
    assert "http://" not in text and "mail@" not in text
    assert len(re.findall(r"^# ", text, flags=re.M)) == 1
    for line in text.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 5
    for picture in (tmp_path / "report_pictures").iterdir():
        root = ElementTree.fromstring(picture.read_text(encoding="utf-8"))
        assert all("script" not in element.tag for element in root.iter())


def test_the_page_loads_nothing(tmp_path: Path) -> None:
    text = whole_look().save(tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r"(?:src|href)=\"?(?!data:)", text)
    assert "prefers-color-scheme:dark" in text
    assert "url(" not in text and "@import" not in text


def whole_look(**options: Any) -> Look:
    queries, corpus = [f"query {n}" for n in range(12)], [f"document {n}" for n in range(40)]
    qrels = Qrels.from_lists([[n, n + 12] for n in range(11)] + [[]])
    return look_at(encode, queries, corpus, qrels, **options)


def test_a_whole_report() -> None:
    look = whole_look(figures={"recall@10": (0.5, 0.4, 0.6, 11), "mrr": 0.3}, labels=[n % 12 for n in range(40)])
    titles = [section.title for section in look.sections]
    assert titles == ["Figures", "Scores", "Recall", "Map", "Health of the space", "Nearest"]
    lists = look.sections[-1].neighbours
    assert "nothing relevant is known" in [one.note for one in look_at_all().sections[-1].neighbours]
    assert all(len(one.found) == 5 for one in lists)
    assert "similar" in look.sections[1].note and "at 10" in look.sections[2].note
    again = whole_look(figures={"recall@10": (0.5, 0.4, 0.6, 11), "mrr": 0.3}, labels=[n % 12 for n in range(40)])
    assert again.sections == look.sections


def look_at_all() -> Look:
    return whole_look(chosen=list(range(12)))


def test_figures_are_taken_in_every_form() -> None:
    @dataclass(frozen=True)
    class Estimate(Figure):
        low: float = 0.1
        high: float = 0.3

    look = Look().figures({"a": 1.0, "b": (0.5, None, None, 7), "c": Figure(0.2, 9, 1), "d": Estimate(0.2, 9, 1)})
    rows = {row.name: (row.value, row.low, row.high, row.count) for row in look.sections[0].figures}
    assert rows == {
        "a": (1.0, None, None, None),
        "b": (0.5, None, None, 7),
        "c": (0.2, None, None, 9),
        "d": (0.2, 0.1, 0.3, 9),
    }


def test_numbers_that_are_none_are_written(tmp_path: Path) -> None:
    look = Look().figures({"nan": (float("nan"), None, None, 0), "big": (12345.6, -1.0, float("inf"), None)})
    text = look.save(tmp_path / "a.html").read_text(encoding="utf-8")
    assert ">none<" in text and "12,346" in text and "−1.000 – ∞" in text


def test_images_become_small_pictures(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image").new("RGB", (640, 480), "red")
    look = Look().neighbours([NeighbourList(image, [image, {"title": "a dictionary"}], [0.9, 0.1])])
    text = look.save(tmp_path / "a.html").read_text(encoding="utf-8")
    images = [attributes for tag, attributes in Elements(text).elements if tag == "img"]
    assert len(images) == 2 and all(str(one["src"]).startswith("data:image/png;base64,") for one in images)
    assert as_text(image) == "image of 640 × 480"
    assert "image of 640" in look.save(tmp_path / "a.md").read_text(encoding="utf-8")


def test_objects_may_be_shown_otherwise(tmp_path: Path) -> None:
    look = Look(show=lambda obj: obj["title"]).neighbours([NeighbourList({"title": "<one>"}, [], [])])
    assert "&lt;one&gt;" in look.save(tmp_path / "a.html").read_text(encoding="utf-8")


def test_odd_spaces_are_drawn(tmp_path: Path) -> None:
    look = Look().map(torch.ones(5, 3)).map(torch.randn(4, 1)).scores(empty=torch.empty(0)).scores(one=torch.ones(3))
    look.health(Health.of(torch.ones(5, 3)))
    text = look.save(tmp_path / "a.html").read_text(encoding="utf-8")
    assert "nothing to show" in text and "nan" not in text.lower().replace("nanmean", "")


def test_bad_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.html or \.md"):
        Look().save(tmp_path / "report.pdf")
    with pytest.raises(ValueError, match="as many labels"):
        Look().map(torch.randn(4, 2), labels=["a"])
    with pytest.raises(ValueError, match="hold NaN"):
        Look().scores(similar=torch.tensor([torch.nan]))
    with pytest.raises(ValueError, match="3 scores|2 documents|1 documents"):
        NeighbourList("a", ["b"], [0.1, 0.2])
    with pytest.raises(ValueError, match="judgements of 1"):
        look_at(encode, ["a", "b"], ["c", "d", "e"], Qrels.from_lists([[0]]))
    with pytest.raises(ValueError, match="at least 3 documents"):
        look_at(encode, ["a"], ["c", "d"], Qrels.from_lists([[0]]))
    with pytest.raises(ValueError, match="none with the number 12"):
        whole_look(chosen=[12])
