"""The table of what was tried, in docs/reliability.md, is that of the suite."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from helpers.shared import SHARED, needs_shared

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
SUITE = ("tests/integration/reliability",)


def written_anew(folder: Path) -> str:
    """The page as the suite of now would have it."""
    page = folder / "reliability.md"
    page.write_text(PAGE.read_text("utf-8"), "utf-8")
    collect = [sys.executable, "-Im", "pytest", *SUITE, "--collect-only", "-q", "-n0"]
    subprocess.run([*collect, "--write-rows", str(page)], cwd=ROOT, check=True, capture_output=True)
    return page.read_text("utf-8")


def test_the_page_has_the_rows_of_the_suite(tmp_path: Path) -> None:
    assert written_anew(tmp_path) == PAGE.read_text("utf-8"), "write it anew, as rows.py says"


def test_no_row_is_told_in_two_ways() -> None:
    ids = re.findall(r"^\| ([A-H]\d+) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert len(ids) == len(set(ids))


def test_a_thousand_cases_are_tried() -> None:
    cases = re.findall(r"^\| [A-HW]\d+ \|.*\| ([\d,]+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert sum(int(number.replace(",", "")) for number in cases) >= 1_000


@needs_shared
def test_every_row_of_the_catalogue_is_tried() -> None:
    catalogue = (SHARED / "reference" / "faults.md").read_text("utf-8")
    wanted = set(re.findall(r"^\| ?([A-H]\d+) \|", catalogue, re.MULTILINE))
    assert wanted
    assert wanted <= set(re.findall(r"^\| ([A-H]\d+) \|", PAGE.read_text("utf-8"), re.MULTILINE))
