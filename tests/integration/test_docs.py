"""Every block of README.md and docs/ runs, and prints what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.blocks import Block, blocks, programs
from rerankkit.emulator import Emulator

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
APPLICATIONS = ROOT / "docs" / "applications.md"  # whose blocks go on where the last one ended
EVERY = [block for page in PAGES for block in (programs(page) if page == APPLICATIONS else blocks(page))]
TESTS = [block for block in EVERY if "\ndef test_" in block.source]
BLOCKS = [block for block in EVERY if block not in TESTS]


@pytest.fixture
def _pointed_at_the_emulator(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in emulator.environment.items():
        monkeypatch.setenv(name, value)


@pytest.mark.filterwarnings("ignore:ServiceManager is deprecated")  # workflows before llama-index-core 0.14 use it
@pytest.mark.usefixtures("_pointed_at_the_emulator")
@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_runs_and_prints_what_it_says(block: Block) -> None:
    assert block.promised, "a block shows what comes of it"
    assert block.run() == block.promised


@pytest.mark.parametrize("block", TESTS, ids=str)
def test_a_block_of_tests_passes(block: Block, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_block=block.source, my_app="def answer(question): return 'at nine'")
    outcomes = pytester.runpytest_subprocess("-p", "no:xdist").parseoutcomes()
    assert outcomes.keys() == {"passed"}


def test_the_pages_have_blocks() -> None:
    pages = {
        "README.md",
        "applications.md",
        "guide.md",
        "langchain.md",
        "llamaindex.md",
        "observability.md",
        "recipes.md",
        "reliability.md",
        "resilience.md",
        "testing.md",
    }
    assert {block.page.name for block in (*BLOCKS, *TESTS)} == pages
    assert len(TESTS) == 6


def test_the_demo_prints_what_the_readme_shows() -> None:
    shown = re.search(r"```text\n(One question.*?)```", PAGES[0].read_text("utf-8"), re.DOTALL)
    assert shown
    done = subprocess.run([sys.executable, "-m", "rerankkit", "demo"], capture_output=True, text=True, check=True)
    printed = [line.rstrip() for line in done.stdout.splitlines()]
    assert [line.rstrip() for line in shown[1].strip().splitlines() if line.rstrip() not in printed] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), target
    anchors = {
        re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


def test_the_readmes_commands_are_the_ones_that_are_tried() -> None:
    """Newcomers run both; CI runs the second, and the demo."""
    commands = re.findall(r"```bash\n(.*?)```", PAGES[0].read_text("utf-8"), re.DOTALL)
    assert commands == [
        "python3 -m venv .venv && .venv/bin/pip install -e '.[all]' && .venv/bin/rerankkit demo\n",
        "python3 -m venv .venv && .venv/bin/pip install -e '.[all,test]' && .venv/bin/python -Im pytest\n",
    ]
