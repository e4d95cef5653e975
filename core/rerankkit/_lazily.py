"""The names of a package that are imported when they are first asked for."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping


def found(name: str, package: str, places: Mapping[str, str]) -> object:
    """*name* of *package*, from the module below it in which *places* says it stands.

    Raises:
        AttributeError: There is no such name.
    """
    if name not in places:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{package}.{places[name]}"), name)
    return value


def found_beside(name: str, package: str, places: Mapping[str, str], framework: str, modules: Collection[str]) -> object:
    """The same of an adapter, whose *framework* brings *modules*.

    Raises:
        ModuleNotFoundError: The framework is not there; the extra that brings it is named.
    """
    try:
        return found(name, package, places)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in modules:
            raise
        extra = package.removesuffix("_rerankkit")
        raise ModuleNotFoundError(f"{package} needs {framework}: pip install 'rerankkit[{extra}]'", name=error.name) from error
