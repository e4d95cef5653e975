"""``python -m rerankkit``, where the command is not on the path."""

from __future__ import annotations

from rerankkit.cli import main

if __name__ == "__main__":
    main()
