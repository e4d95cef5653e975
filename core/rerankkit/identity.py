"""What the scores of a reranker depend on, beside the query and the documents: under which name they can be kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import orjson

from rerankkit._described import Described
from rerankkit._rendering import is_empty
from rerankkit.provider import Content, Prepared
from rerankkit.types import Document

RANKED_MEMBERS = ("text", "title", "score", "fields", "group_id", "tokenized_title", "tokenized_body")


def whole(items: Sequence[str | Document]) -> Prepared:
    """All of the documents that a reranker could look at; the caller's ids are never ranked."""
    contents: dict[int, Content] = {
        index: item if isinstance(item, str) else {name: getattr(item, name) for name in RANKED_MEMBERS}
        for index, item in enumerate(items)
        if not is_empty(item)
    }
    return Prepared(contents, {index: "blank" for index in range(len(items)) if index not in contents})


@dataclass(frozen=True, slots=True)
class CacheIdentity:
    """Rerankers of equal identities give equal scores for equal queries and documents.

    Attributes:
        facts: All that changes scores: the service, the model, the options; JSON, without secrets.
        model: The model asked for; None where there is no choice.
        pointwise: Whether each document is scored on its own, so that the scores of single documents can be kept.
        prepare: What is ranked of the documents of a call.
    """

    facts: bytes
    model: str | None = None
    pointwise: bool = False
    prepare: Callable[[Sequence[str | Document]], Prepared] = field(default=whole, compare=False)


@runtime_checkable
class Cacheable(Protocol):
    """What can say what its scores depend on."""

    def cache_identity(self) -> CacheIdentity | None:
        """That; None if it cannot."""
        ...


def facts_of(kind: type, *facts: object) -> bytes | None:
    """*facts* about an object of a class as JSON, always the same for the same; None for what cannot be written down."""
    try:
        return orjson.dumps([f"{kind.__module__}.{kind.__qualname__}", facts], _plain, orjson.OPT_SORT_KEYS)
    except TypeError:
        return None


def _plain(value: object) -> object:
    """What JSON has no form for, by what it is made of."""
    if isinstance(value, Cacheable):
        identity = value.cache_identity()
        if identity is not None:
            return identity.facts.decode()
    elif isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    elif isinstance(value, Described):
        return [type(value), dict(value.arguments())]
    elif isinstance(value, set | frozenset):
        return sorted(orjson.dumps(each, _plain, orjson.OPT_SORT_KEYS).decode() for each in value)  # pyright: ignore[reportUnknownVariableType] -- of anything
    raise TypeError
