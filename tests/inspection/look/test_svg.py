from __future__ import annotations

import pytest

from simlearn.inspection.look.svg import escape, standalone, ticks


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-1.0, 1.0, [-1, -0.5, 0, 0.5, 1]),
        (0.31, 0.34, [0.31, 0.32, 0.33, 0.34]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_what_is_escaped_is_text_in_elements_and_attributes() -> None:
    assert escape("<a href=\"x\" b='y'>&\x00") == "&lt;a href=&quot;x&quot; b=&#x27;y&#x27;&gt;&amp; "


def test_a_file_of_its_own_brings_its_colours() -> None:
    assert standalone('<svg a="b"><g/></svg>').startswith('<?xml version="1.0" encoding="UTF-8"?>\n<svg a="b"><style>')
