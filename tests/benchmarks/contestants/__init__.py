"""Who is measured: `floors`, `own`, `sdks`, `langchain_peers`, `llamaindex_peers`.  A new contestant is a class in one of them.

What a contestant needs is imported when it is made, not before: the modules can be listed where nothing is installed.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache

from benchmarks.contestants.contestant import Contestant

MODULES = ("floors", "own", "sdks", "langchain_peers", "llamaindex_peers")


@cache
def contestants() -> Mapping[str, type[Contestant]]:
    """All of them by name, in the order of their modules."""
    return {one.name: one for module in MODULES for one in of(module)}


def of(module: str) -> list[type[Contestant]]:
    found: list[type[Contestant]] = importlib.import_module(f"benchmarks.contestants.{module}").CONTESTANTS
    for one in found:
        one.module = module
    return found


def find(module: str, name: str) -> type[Contestant]:
    return next(one for one in of(module) if one.name == name)
