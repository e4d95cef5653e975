"""`python -m tests.matrix`, without its environments: what it would make, what they need, and how it reads their reports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

REPORT = """<testsuites><testsuite>
<testcase classname="tests.contract.test_langchain" name="test_a[sync]"/>
<testcase classname="tests.contract.test_langchain_defects" name="test_b"><failure message="no"/></testcase>
<testcase classname="" name="tests.integration.test_llamaindex_engines"><error message="cannot import"/></testcase>
<testcase classname="tests.contract.test_adapters" name="test_c"/>
<testcase classname="tests.contract.test_adapters" name="test_d"><skipped/></testcase>
</testsuite></testsuites>"""

ROWS = """
import sys
from pathlib import Path
from tests.matrix.environments import FILES, Pins
from tests.matrix.outcomes import Row, read, table

row = Row(Pins("3.11", "1.0.0", "newest"), tests=read(Path(sys.argv[1]), FILES), types={"mypy": "", "pyright": "error"})
absent = Row(Pins("3.99", "newest", "newest"), problem="there is no Python 3.99 here")
print(table([row, absent]), row.passed, absent.passed, *row.tests.names, sep="\\n")
"""


def python(*arguments: str) -> str:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_the_plan_is_the_oldest_and_the_newest_on_each_python() -> None:
    assert python("-m", "tests.matrix", "--plan").splitlines() == [
        f"Python {version}, langchain-core {langchain}, llama-index-core {llamaindex}"
        for version in ("3.11", "3.12", "3.13")
        for langchain, llamaindex in (("1.0.0", "0.13.0"), ("newest", "newest"))
    ]


def test_a_part_of_it_may_be_chosen() -> None:
    given = ("--python", "3.13", "--langchain", "newest", "--llamaindex", "0.13.0", "0.14.0")
    assert python("-m", "tests.matrix", "--plan", *given).splitlines() == [
        f"Python 3.13, langchain-core newest, llama-index-core {version}" for version in ("0.13.0", "0.14.0")
    ]
    assert len(python("-m", "tests.matrix", "--plan", "--all-pairs").splitlines()) == 12


def test_its_corner_is_the_oldest_on_this_python() -> None:
    this = f"{sys.version_info.major}.{sys.version_info.minor}"
    expected = f"Python {this}, langchain-core 1.0.0, llama-index-core 0.13.0\n"
    assert python("-m", "tests.matrix", "--plan", "--corner") == expected


def test_what_the_tests_need_is_what_the_extra_has() -> None:
    source = "from tests.matrix.environments import NEEDED, needed; print(len(NEEDED), len(needed()))"
    names, found = python("-c", source).split()
    assert names == found


def test_a_report_becomes_a_row(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(REPORT, "utf-8")
    assert python("-c", ROWS, str(report)).splitlines()[2:] == [
        "| 3.11 | 1.0.0 | newest | **1 of 2 fail** | **1 of 1 fail** | 1 pass | mypy, **pyright complains** |",
        "| 3.99 | newest | newest | **there is no Python 3.99 here** |  |  |  |",
        "False",
        "False",
        "tests/contract/test_langchain_defects.py::test_b",
        "tests/integration/test_llamaindex_engines.py::tests.integration.test_llamaindex_engines",
    ]
