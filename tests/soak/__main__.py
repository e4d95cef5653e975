"""``python -m tests.soak --help``, from the root of the checkout."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from soak.command import main  # noqa: E402 -- found by the line above

if __name__ == "__main__":
    main()
