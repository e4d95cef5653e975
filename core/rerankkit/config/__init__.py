"""One description of any composition: as a dictionary, and so as TOML, YAML or JSON, and back.

A text is a target of `connect`, such as ``"cohere:rerank-v3.5"``, or the name of what needs nothing, such as
``"passthrough"``.  A table has a ``type``: ``"client"``, with its ``service`` and the options of both, or the name of a
wrapper as in ``"rate_limited"``, with its arguments under their names.  Keys are not in it: they stay in the environment.
"""

from __future__ import annotations

import importlib
import json
import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, cast

from rerankkit.config._kinds import Place
from rerankkit.config._reading import read_reranker
from rerankkit.config._secrets import refusal
from rerankkit.config._writing import write_reranker
from rerankkit.errors import InvalidRequestError
from rerankkit.reranker import BaseReranker, Reranker

Description: TypeAlias = str | Mapping[str, object]
"""A reranker as data."""


def from_config(description: Description) -> BaseReranker:
    """The reranker that *description* describes: ``{"type": "fallback", "rerankers": ["cohere", "passthrough"]}``.

    Nothing is sent; keys come from the environment.

    Raises:
        InvalidRequestError: It describes none; the message begins with the place, such as ``rerankers[1].timeout``.
    """
    refused = refusal(description)
    if refused is not None:
        del description
        raise refused
    return read_reranker(description, Place())


def to_config(reranker: Reranker) -> dict[str, object]:
    """The description of *reranker*, from which `from_config` makes its like; without keys, and for JSON as for TOML.

    Raises:
        InvalidRequestError: It holds something that cannot be written down, such as a function or a reranker of your own.
    """
    return write_reranker(reranker, Place())


def load_config(path: str | os.PathLike[str]) -> Description:
    """The description in a file: TOML, YAML or JSON, as its name says.

    Raises:
        InvalidRequestError: It cannot be read.
    """
    path = Path(path)
    parse = _PARSERS.get(path.suffix.lower())
    if parse is None:
        raise InvalidRequestError(f"{path} must end in one of {', '.join(_PARSERS)}")
    try:
        found = parse(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        problem = f"{path} cannot be read: {error}"
    else:
        if isinstance(found, str | Mapping):
            return cast("Description", found)
        problem = f"{path} must hold the description of a reranker, it {_holds(found)}"
    raise InvalidRequestError(problem)  # here, without what the parsers' frames hold of the file


def _holds(found: object) -> str:
    return "is empty" if found is None else f"holds a {type(found).__name__}"


def _yaml(text: str) -> object:
    yaml: Any = importlib.import_module("yaml")  # here, because most never need it

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # it is not known here what that is
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002 -- as in PyYAML
            """Keys are texts as they are written: ``on`` is no truth value there."""
            for key, _ in node.value:
                if key.tag in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
                    key.tag = "tag:yaml.org,2002:str"
            return yaml.SafeLoader.construct_mapping(self, node, deep)

    try:
        return Loader(text).get_single_data()
    except yaml.YAMLError as error:
        mark: Any = getattr(error, "problem_mark", None)  # its own text shows the line
        where = "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"
        raise ValueError(f"{getattr(error, 'problem', None) or 'it is no YAML'}{where}") from None


_PARSERS: Mapping[str, Callable[[str], object]] = {
    ".toml": tomllib.loads,
    ".yaml": _yaml,
    ".yml": _yaml,
    ".json": json.loads,
}
