"""LangChain's own tests of retrievers, in a process of their own: they need plugins that this suite does without."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = Path(__file__).with_name("langchain_standard.py")
OPTIONS = [
    "addopts=--import-mode=importlib",
    "asyncio_mode=auto",
    "asyncio_default_fixture_loop_scope=function",
    "filterwarnings=",
]


def test_langchains_own_tests_of_a_retriever_pass() -> None:
    pytest.importorskip("langchain_tests")
    overrides = [part for option in OPTIONS for part in ("-o", option)]
    command = [sys.executable, "-Im", "pytest", "-q", "-p", "no:xdist", "-p", "no:randomly", *overrides, str(SUITE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=SUITE.parents[2])
    assert done.returncode == 0, done.stdout
    assert re.findall(r"(\d+) (\w+)", done.stdout.strip().splitlines()[-1])[0] == ("5", "passed")
