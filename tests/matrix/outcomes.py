"""What came of an environment, as a row of a table."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.matrix.environments import Pins

GROUPS = ("LangChain", "LlamaIndex", "both")


@dataclass(frozen=True)
class Tests:
    """How many passed and did not, by group, and the names of those that did not."""

    passed: Mapping[str, int]
    failed: Mapping[str, int]
    names: Sequence[str] = ()

    def cell(self, group: str) -> str:
        passed, failed = self.passed.get(group, 0), self.failed.get(group, 0)
        return f"**{failed} of {passed + failed} fail**" if failed else f"{passed} pass" if passed else "**none ran**"


def read(report: Path, files: Mapping[str, Sequence[str]]) -> Tests:
    """A report of pytest's; skipped tests count for nothing."""
    passed, failed = Counter[str](), Counter[str]()
    names: list[str] = []
    for case in ET.parse(report).getroot().iter("testcase"):  # noqa: S314 -- pytest wrote it, a moment ago
        module = case.get("classname") or case.get("name") or ""  # a module that cannot be imported is a name
        path = module.replace(".", "/") + ".py"
        group = next((name for name, patterns in files.items() if any(fnmatchcase(path, one) for one in patterns)), "both")
        if case.find("failure") is not None or case.find("error") is not None:
            failed[group] += 1
            names.append(f"{path}::{case.get('name')}")
        elif case.find("skipped") is None:
            passed[group] += 1
    return Tests(passed, failed, names)


@dataclass
class Row:
    """One environment's."""

    pins: Pins
    installed: Mapping[str, str] = field(default_factory=dict[str, str])
    tests: Tests = field(default_factory=lambda: Tests({}, {}))
    types: Mapping[str, str] | None = None
    problem: str = ""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """All groups ran, and nothing in them failed."""
        complete = all(self.tests.passed.get(group) for group in GROUPS)
        return not self.problem and complete and not self.tests.names and not any((self.types or {}).values())

    def __str__(self) -> str:
        said = self.problem or ", ".join(f"{group}: {self.tests.cell(group)}" for group in GROUPS)
        return f"{said}; types: {self._typed()}; {self.seconds:.0f} s"

    def cells(self) -> list[str]:
        known = [self.installed.get(name, getattr(self.pins, name)) for name in ("python", "langchain", "llamaindex")]
        if self.problem:
            return [*known, f"**{self.problem}**", "", "", ""]
        return [*known, *(self.tests.cell(group) for group in GROUPS), self._typed()]

    def _typed(self) -> str:
        if self.types is None:
            return "not run"
        return ", ".join(f"**{name} complains**" if said else name for name, said in self.types.items())

    def complaints(self) -> Iterator[str]:
        for name in self.tests.names:
            yield f"{self.pins}: {name}"
        for name, said in (self.types or {}).items():
            if said:
                yield f"{self.pins}: {name}:\n{said}"


def table(rows: Sequence[Row]) -> str:
    """All of them, in Markdown."""
    heads = ("Python", "langchain-core", "llama-index-core", *GROUPS[:2], "both adapters", "type checkers content")
    lines = [heads, ["---"] * len(heads), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
