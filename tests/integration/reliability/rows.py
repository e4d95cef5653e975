"""A row of the fault catalogue: an id, a fault, and the promise that holds under it.

Every test here carries the row that it tries; `docs/reliability.md` is made of these, with the cases of each counted:
``python -Im pytest tests/integration/reliability --collect-only -q --write-rows docs/reliability.md``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pytest

FORM = re.compile(r"[A-HW]\d{1,2}")


@dataclass(frozen=True, order=True)
class Row:
    """One row.

    Attributes:
        id: As in the catalogue, such as ``"C13"``.
        fault: What goes wrong.
        promise: What a user gets all the same.
    """

    id: str
    fault: str
    promise: str

    def __post_init__(self) -> None:
        assert FORM.fullmatch(self.id), self.id

    @property
    def place(self) -> tuple[str, int]:
        """Where it stands in the table."""
        return self.id[0], int(self.id[1:])


def row(id: str, fault: str, promise: str) -> pytest.MarkDecorator:  # noqa: A002 -- the catalogue's own word
    """Marks a test, or one of its cases, as trying this row."""
    return pytest.mark.row(Row(id, fault, promise))


def rows_of(item: pytest.Item) -> list[Row]:
    return [marker.args[0] for marker in item.iter_markers("row")]


def counted(items: Iterable[pytest.Item]) -> dict[Row, int]:
    """The cases of each row, in the catalogue's order."""
    count = Counter(found for item in items for found in rows_of(item))
    return {found: count[found] for found in sorted(count, key=lambda found: found.place)}


def table(rows: Mapping[Row, int]) -> str:
    """The rows as a Markdown table."""
    lines = [f"| {found.id} | {found.fault} | {found.promise} | {cases} |\n" for found, cases in rows.items()]
    return f"| | fault | promise | cases |\n|---|---|---|---:|\n{''.join(lines)}"
