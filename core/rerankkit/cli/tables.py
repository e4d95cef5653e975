"""How the command prints: tables without frames, for 80 columns or more, in signs the terminal can show."""

from __future__ import annotations

import shutil
import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

NARROWEST = 80  # columns; a narrower terminal wraps lines, which is better than cutting figures


def console(narrowest: int = NARROWEST) -> Console:
    """Where tables are printed."""
    return Console(width=max(narrowest, shutil.get_terminal_size().columns), highlight=False)


def table() -> Table:
    """An empty table."""
    return Table(header_style="bold underline", box=None, padding=(0, 2, 0, 0))


def show(screen: Console, title: str, shown: Table, caption: str = "") -> None:
    """Print a table under its title; both may be wider than the table."""
    screen.print(Text(title, style="bold"))
    screen.print(shown)
    if caption:
        screen.print(Text(caption, style="italic"))


def moved(before: int, now: int) -> str:
    """A rank before, and how far it moved."""
    if before == now:
        return f"{before} ="
    return f"{before} {_sign('↑', '^') if before > now else _sign('↓', 'v')}{abs(before - now)}"


def stars(count: int) -> str:
    """A grade."""
    return _sign("★", "*") * count


def _sign(wanted: str, plain: str) -> str:
    """*wanted*, where standard output can show it."""
    try:
        wanted.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return plain
    return wanted
