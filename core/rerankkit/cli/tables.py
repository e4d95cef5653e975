"""How the command prints tables: without frames, so that they fit 80 columns and can be pasted."""

from __future__ import annotations

from rich.table import Table


def table(title: str) -> Table:
    """An empty table."""
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="bold underline",
        caption_justify="left",
        box=None,
        padding=(0, 2, 0, 0),
    )


def moved(before: int, now: int) -> str:
    """A rank before, and how far it moved."""
    if before == now:
        return f"{before} ="
    return f"{before} {'↑' if before > now else '↓'}{abs(before - now)}"
