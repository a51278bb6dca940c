"""What the data doctor says."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
_SIGNS: Mapping[str, str] = {"error": "✗", "warning": "!", "note": "·"}
_WIDTH = 100


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Args:
        name: what it is, in a word or two joined by underscores; the same in every version.
        severity: `"error"` where figures or training will be wrong, `"warning"` where they may be, `"note"` otherwise.
        count: how many samples, objects or groups it concerns.
        total: of how many.
        text: a sentence.
        cure: what to do about it; empty for notes.
        examples: a few of them, shortened.
    """

    name: str
    severity: Severity
    count: int
    total: int
    text: str
    cure: str = ""
    examples: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """The count as a share of the total."""
        return self.count / self.total if self.total else 0.0

    def __str__(self) -> str:
        share = f", {self.share:.1%}" if self.total else ""
        first = f"{_SIGNS[self.severity]} {self.name.replace('_', ' ')} ({self.count:,} of {self.total:,}{share})"
        lines = [first, *_wrapped(self.text)]
        lines += [f"      {example}" for example in self.examples]
        if self.cure:
            lines += _wrapped(f"→ {self.cure}")
        return "\n".join(lines)


@dataclass(frozen=True)
class DataReport:
    """All findings, errors first.

    Args:
        findings: what was found.
        sizes: how many samples and different objects each split has.
        looked_for: the names of all that was looked for; what has no finding is in order.
    """

    findings: tuple[Finding, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    looked_for: tuple[str, ...] = ()

    @property
    def is_clean(self) -> bool:
        """Whether there is neither an error nor a warning."""
        return all(finding.severity == "note" for finding in self.findings)

    def __getitem__(self, name: str) -> Finding:
        """The finding of a name.

        Raises:
            KeyError: where there is none.
        """
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(f"nothing was found of {name!r}; there is {[finding.name for finding in self.findings]}")

    def __contains__(self, name: object) -> bool:
        return any(finding.name == name for finding in self.findings)

    def __str__(self) -> str:
        sizes = ", ".join(f"{count:,} {name}" for name, count in self.sizes.items())
        order = {"error": 0, "warning": 1, "note": 2}
        parts = [str(finding) for finding in sorted(self.findings, key=lambda one: order[one.severity])]
        found = {finding.name for finding in self.findings}
        fine = [name.replace("_", " ") for name in self.looked_for if name not in found]
        if fine:
            parts.append("\n".join(_wrapped("✓ nothing found of: " + ", ".join(fine), "", "  ")))
        return "\n\n".join([sizes, *parts])


def shown(value: Any, length: int = 76) -> str:
    """An object in one line of limited length, without characters that a terminal would obey."""
    text = value if isinstance(value, str) else repr(value)
    text = "".join(one if one.isprintable() else " " for one in text[: 2 * length])
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _wrapped(text: str, first: str = "    ", later: str = "    ") -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=first, subsequent_indent=later, break_long_words=False)
