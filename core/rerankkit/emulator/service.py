"""What an emulated service is: a call goes in, an answer comes out, and nothing else happens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar, cast

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

Scorer: TypeAlias = Callable[[str, Sequence[str]], Sequence[float]]
"""Scores of texts for a query, in the texts' order; at least 0, higher is more relevant."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it arrived; the path is without the service's prefix, header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply; its body is sent as JSON."""

    body: Mapping[str, object]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


class Refusal(Exception):  # noqa: N818 -- not an error of this program, but the answer it gives
    """An error reply, raised where a check fails."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class EmulatedService(ABC):
    """One service.

    Args:
        scorer: Ranks in the place of the service's models.
        keys: Those that are accepted; None accepts any.
    """

    def __init__(self, scorer: Scorer, keys: Collection[str] | None) -> None:
        self.scorer = scorer
        self._keys = keys

    @abstractmethod
    def answer(self, call: Call) -> Answer:
        """The reply to *call*; an error reply may be raised as a `Refusal`."""

    def accepts(self, key: str) -> bool:
        """Whether *key* is one of those that are accepted."""
        return self._keys is None or key in self._keys


class Form(BaseModel):
    """A request's documented members; strict about their types."""

    model_config = ConfigDict(strict=True, extra="ignore", protected_namespaces=())


F = TypeVar("F", bound=Form)


def json_object(body: bytes) -> dict[str, Any] | None:
    """The members of a JSON object; None if *body* is something else."""
    try:
        found: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None


def fill(form: type[F], members: Mapping[str, Any], refuse: Callable[[str, str], Refusal]) -> F:
    """*members* as *form* describes them; *refuse* is given the name of the first wrong one and what is wrong."""
    try:
        return form.model_validate(members)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise refuse(".".join(map(str, first["loc"])), first["msg"]) from None


def bearer(call: Call) -> str | None:
    """The key in the Authorization header."""
    kind, _, key = call.headers.get("authorization", "").partition(" ")
    return key.strip() if kind.lower() == "bearer" and key.strip() else None


def ranked(scores: Sequence[float], top_n: int | None) -> list[tuple[int, float]]:
    """Positions and scores, best first, equal ones in their order."""
    return sorted(enumerate(scores), key=lambda pair: -pair[1])[:top_n]


def probability(score: float) -> float:
    """A score without an upper limit, put into 0 to 1 without changing the order."""
    return score / (score + 4.0)


def blank(text: str) -> bool:
    return not text.strip()
