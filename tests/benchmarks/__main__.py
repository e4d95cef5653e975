"""``python -m tests.benchmarks --help``, from the root of the checkout."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.command import main

if __name__ == "__main__":
    main()
