"""Findings: what a check has found about a line, and how much it matters."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from components.errors import InputError

Level = Literal["error", "warning", "note"]
"""`error`: a run would fail; `warning`: its result may not be what is expected; `note`: worth knowing."""
LEVELS: tuple[Level, ...] = ("error", "warning", "note")

_EXAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that a check has found."""

    level: Level
    name: str
    """What it is about, such as `data.masks`: the check, and its subject."""
    message: str

    def to_content(self) -> dict[str, str]:
        """The finding as JSON."""
        return {"level": self.level, "name": self.name, "message": self.message}


@dataclass(kw_only=True)
class Findings:
    """Findings in the making, and the facts that they rest on."""

    found: list[Finding] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    """What was read or counted, by name, as JSON can hold it."""

    def add(self, level: Level, name: str, message: str) -> None:
        """Add a finding, unless it is there."""
        finding = Finding(level=level, name=name, message=" ".join(message.split()))
        if finding not in self.found:
            self.found.append(finding)

    @contextmanager
    def errors_as(self, name: str) -> Iterator[None]:
        """Turn the bad input that the block meets into a finding: what fails here fails in a run."""
        try:
            yield
        except InputError as error:
            for message in error.args:
                self.add("error", name, str(message))

    @property
    def failed(self) -> bool:
        """Whether a run would fail."""
        return any(finding.level == "error" for finding in self.found)

    def of(self, level: Level) -> list[Finding]:
        """Findings of a level, in their order."""
        return [finding for finding in self.found if finding.level == level]

    def to_content(self) -> dict[str, Any]:
        """Facts and findings as JSON, the worst first."""
        findings = [finding.to_content() for level in LEVELS for finding in self.of(level)]
        return {"fails": self.failed, "findings": findings, **self.facts}


Check = Callable[[Any, Findings], None]
"""Looks at a line (`pipelines.lines.line.Line`), and adds facts and findings."""


def some(names: Sequence[str]) -> str:
    """The first of many names, and how many more there are."""
    more = f" and {len(names) - _EXAMPLES} more" if len(names) > _EXAMPLES else ""
    return f"{', '.join(names[:_EXAMPLES])}{more}"


def counted(number: int, singular: str, plural: str = "") -> str:
    """A number with its noun."""
    return f"{number} {singular if number == 1 else plural or f'{singular}s'}"


def grouped(pairs: Iterable[tuple[str, str]]) -> Mapping[str, list[str]]:
    """Names by what they have in common, in the order of their appearance."""
    found: dict[str, list[str]] = {}
    for key, name in pairs:
        found.setdefault(key, []).append(name)
    return found
