"""docs/why.md compares: each row names tests that exist, and says only what was seen of versions that were looked at."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "why.md").read_text("utf-8")
DEFINED = {
    name
    for file in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text("utf-8"), re.MULTILINE)
}
NAMED = re.findall(r"`(test_\w+)`", PAGE)
PEERS = "".join((ROOT / "tests" / "peers" / f"{name}.py").read_text("utf-8") for name in ("langchain", "llamaindex"))
LOOKED_AT = (ROOT / "tests" / "peers" / "__main__.py").read_text("utf-8")
LINK = re.compile(r"\[[^\]]+\]\(https://[^)]+\)")


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


DEFECTS = [*rows("LangChain"), *rows("LlamaIndex")]
ASKED = rows("What users asked others for")


@pytest.mark.parametrize("name", sorted(set(NAMED)))
def test_a_test_that_the_page_names_exists(name: str) -> None:
    assert name in DEFINED


def test_the_page_has_every_defect_in_its_order() -> None:
    assert [row[0] for row in DEFECTS] == [*map(str, range(1, 19)), *(f"D{number}" for number in range(1, 24))]


@pytest.mark.parametrize("row", DEFECTS, ids=lambda row: row[0])
def test_a_defect_was_seen_or_is_cited_and_is_tested(row: list[str]) -> None:
    number, there, here, tests = row
    assert f'"{number}"' in PEERS or ("not run by us" in there and LINK.search(there))
    assert here
    assert re.fullmatch(r"`test_\w+`(, `test_\w+`)*", tests)


@pytest.mark.parametrize("row", ASKED, ids=lambda row: row[0].partition(":")[0])
def test_what_users_asked_for_is_cited_and_tested(row: list[str]) -> None:
    asked, here, tests = row
    assert LINK.search(asked)
    assert here
    assert re.fullmatch(r"`test_\w+`(, `test_\w+`)*", tests)


def test_every_defect_that_is_tested_is_on_the_page() -> None:
    numbered = re.compile(r"test_(defect_\d+|d\d+)_")
    tested, named = ({found[1] for name in names if (found := numbered.match(name))} for names in (DEFINED, NAMED))
    assert tested == named


def test_versions_are_those_that_are_looked_at() -> None:
    of_page = {
        name.strip()
        for row in rows("What was looked at")
        for cell in row
        for name in re.findall(r"[a-z-]+ \d+\.\d+\.\d+", cell)
    }
    pinned = {one.replace("==", " ") for one in re.findall(r'"([a-z-]+==[\d.]+)"', LOOKED_AT)}
    short = {re.sub(r"^llama-index-postprocessor-(\w+)-rerank ", r"\1 ", one) for one in pinned}
    assert of_page - {"langchain-core 1.7.2", "llama-index-core 0.14.25"} <= pinned | short
    assert len(of_page) == len(pinned) + 2
