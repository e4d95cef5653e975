"""The Python blocks of a Markdown page: run one, and hold what it prints against its ``#>`` comments."""

from __future__ import annotations

import contextlib
import io
import re
from dataclasses import dataclass
from pathlib import Path

FENCED = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block and the line of its page on which it begins."""

    page: Path
    line: int
    source: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def promised(self) -> list[str]:
        """What the block says it prints."""
        return [line.strip().removeprefix("#> ") for line in self.source.splitlines() if line.strip().startswith("#>")]

    def run(self) -> list[str]:
        """What it prints; errors show the page's own line."""
        program = compile("\n" * self.line + self.source, str(self.page), "exec", dont_inherit=True)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(program, {"__name__": "__main__"})  # noqa: S102 -- the pages are this project's own
        return printed.getvalue().splitlines()


def blocks(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    return [Block(page, text.count("\n", 0, found.start()) + 1, found[1]) for found in FENCED.finditer(text)]


def programs(page: Path) -> list[Block]:
    """The blocks below each second heading as one program, each line where it stands on the page."""
    text = page.read_text("utf-8")
    parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    starts = [sum(part.count("\n") for part in parts[:number]) for number in range(len(parts))]
    found = [Block(page, start, _without_prose(part)) for start, part in zip(starts, parts, strict=True)]
    return [program for program in found if program.source.strip()]


def _without_prose(part: str) -> str:
    """What stands in blocks; of all other lines only their ends."""
    pieces = FENCED.split(part)  # prose and blocks in turn; a block's first fence goes with its line's end
    prose = ["\n" * (piece.count("\n") + (number < len(pieces) - 1)) for number, piece in enumerate(pieces)]
    return "".join(piece if number % 2 else prose[number] for number, piece in enumerate(pieces))
