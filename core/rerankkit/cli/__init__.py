"""The `rerankkit` command.  (Extra: cli.)"""

from __future__ import annotations

import io
import sys
from typing import cast

NEEDED = {"bm25s", "click", "rich", "starlette", "uvicorn"}


def main() -> None:
    """Run the command; without its libraries, say which extra brings them."""
    try:
        from rerankkit.cli.commands import cli  # noqa: PLC0415 -- the libraries are optional
    except ModuleNotFoundError as error:
        if error.name not in NEEDED:
            raise
        sys.exit(f"the rerankkit command needs {error.name}: pip install 'rerankkit[cli]'")
    cast("io.TextIOWrapper", sys.stdout).reconfigure(errors="replace")  # texts may hold what a terminal cannot show
    cli()


__all__ = ["main"]
