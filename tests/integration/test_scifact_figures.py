"""The benchmark of docs/applications.md, for a few queries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from helpers.shared import needs_shared

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "scifact.py"


@needs_shared
def test_both_adapters_deliver_the_order_that_a_scorer_asks_for() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--queries", "4"], capture_output=True, text=True, check=True)
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()[2:]]
    assert [row[0] for row in rows] == ["counted words", "BM25", "both, fused"]
    for alone, langchain, llamaindex, *known in (map(float, row[1:]) for row in rows):
        assert langchain == llamaindex
        assert known[0] == known[1] >= max(alone, langchain)
