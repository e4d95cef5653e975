"""What a description can name: the kinds of things there are, what each is made of, and where in it one stands."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from rerankkit import resilience
from rerankkit._described import Described
from rerankkit.client import Client
from rerankkit.errors import InvalidRequestError, RerankError
from rerankkit.local import BM25
from rerankkit.reranker import BaseReranker, Reranker

CLIENT = "client"
TYPE = "type"
NONE = "none"
"""Stands for None where that is not the default: TOML has no word for it."""

DEEPEST = 32
"""Levels of a description; no composition needs so many, and one that holds itself has no end."""

PLAIN: tuple[object, ...] = (str, bool, int, float, NoneType)

WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a description something stands, such as ``rerankers[1].timeout``."""

    path: str = ""
    depth: int = 0

    def at(self, key: str | int) -> Place:
        """The place of *key* within this one.

        Raises:
            InvalidRequestError: It is too deep.
        """
        if self.depth == DEEPEST:
            raise self.error(f"a description has at most {DEEPEST} levels")
        if isinstance(key, int):
            return Place(f"{self.path}[{key}]", self.depth + 1)
        return Place(f"{self.path}.{key}" if self.path else key, self.depth + 1)

    def error(self, problem: str) -> InvalidRequestError:
        """*problem*, and that it is here."""
        return InvalidRequestError(f"{self.path}: {problem}" if self.path else problem)

    def told(self, error: Exception, keys: Iterable[str]) -> InvalidRequestError:
        """What *error* says, at the key that it speaks of, if that is one of *keys*."""
        words = str(error) or type(error).__name__
        key = next((key for key in keys if words.startswith(f"{key} ")), None)
        return self.error(words) if key is None else self.at(key).error(words.removeprefix(f"{key} "))


def kinds() -> Mapping[str, type[Any]]:
    """All that a ``type`` can name: the client, and what `rerankkit.resilience` exports."""
    exported: list[object] = [getattr(resilience, name) for name in resilience.__all__]
    made = {name_of(kind): kind for kind in map(_class, exported) if kind is not None}
    return {CLIENT: Client, name_of(BM25): BM25, **made}


def _class(found: object) -> type[Any] | None:
    """*found*, if it is a class whose objects are made of arguments that can be written down."""
    if not isinstance(found, type):
        return None
    kind = cast("type[Any]", found)
    return kind if (issubclass(kind, Described) or is_dataclass(kind)) and not inspect.isabstract(kind) else None


def name_of(kind: type) -> str:
    """The name of a class in a description: ``RateLimited`` is ``"rate_limited"``."""
    return WORD.sub("_", kind.__name__.replace("SQLite", "Sqlite")).lower()


def is_ranking(kind: object) -> bool:
    """Whether *kind* is a class of rerankers, or what stands for any."""
    return kind is Reranker or (isinstance(kind, type) and issubclass(kind, BaseReranker))


def hints(of: type[Any]) -> Mapping[str, object]:
    """The types of what *of* is made of, by name."""
    return _hints(of)  # type: ignore[arg-type]  # classes are hashable


@cache
def _hints(of: type[Any]) -> Mapping[str, object]:
    return get_type_hints(of if is_dataclass(of) else inspect.getattr_static(of, "__init__"))


def choices(hint: object) -> tuple[object, ...]:
    """The types that *hint* allows, one by one."""
    if get_origin(hint) in (Union, UnionType):
        return tuple(choice for each in get_args(hint) for choice in choices(each))
    return (hint,)


def elements(hint: object) -> tuple[object, ...] | None:
    """The types of a list's elements, ``...`` after one that holds for all; None if *hint* allows no list."""
    for choice in choices(hint):
        origin = get_origin(choice)
        if origin is tuple:
            return get_args(choice)
        if isinstance(origin, type) and issubclass(origin, Collection) and not issubclass(origin, Mapping):
            return (*get_args(choice), ...)
    return None


def element(hint: object, index: int) -> object:
    """The type of a list's element at *index*; `object` where that is not told."""
    known = elements(hint) or ()
    if len(known) == 2 and known[1] is ...:  # noqa: PLR2004 -- as typing writes it
        return known[0]
    return known[index] if index < len(known) else object


def values(hint: object) -> object | None:
    """The type of a table's values; None if *hint* allows no table of the caller's own keys."""
    for choice in choices(hint):
        origin = get_origin(choice)
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return cast("tuple[object, object]", get_args(choice))[1]
    return None


def is_error_class(choice: object) -> bool:
    """Whether *choice* is the type of the classes of this package's errors."""
    kind = get_args(choice)[0] if get_origin(choice) is type else None
    return isinstance(kind, type) and issubclass(kind, RerankError)


def takes_errors(hint: object) -> bool:
    """Whether *hint* allows error classes, alone or in a list."""
    return any(is_error_class(choice) for choice in (*choices(hint), *(elements(hint) or ())))


def takes_rerankers(hint: object) -> bool:
    return any(map(is_ranking, choices(hint)))


def takes_none(hint: object) -> bool:
    return NoneType in choices(hint)


def classes(hint: object) -> list[type[Any]]:
    """The classes that *hint* allows, whose objects can be written down."""
    return [kind for kind in map(_class, choices(hint)) if kind is not None]


def is_plain(hint: object) -> bool:
    """Whether *hint* allows only texts, numbers, truth values and None."""
    return all(choice in PLAIN or get_origin(choice) is Literal for choice in choices(hint))


def guess(name: str, known: Iterable[str]) -> str:
    """What *name* may have been meant to be, for an error's text."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]!r}? " if close else ""
