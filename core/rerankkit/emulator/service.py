"""What an emulated service is: from the request that arrived to the reply in its own form."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from rerankkit.emulator.limits import Exceeded
from rerankkit.emulator.settings import ServiceName

if TYPE_CHECKING:
    from rerankkit.emulator.world import World

NESTING = 128  # levels of a body that are read: serde_json's limit; orjson would read 1,024 and write back only 254


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it arrived.

    Attributes:
        path: Without the service's prefix and the query string.
        target: The whole of what the request line named, as it was sent.
        headers: Names in lower case.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    target: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply.

    Attributes:
        body: Sent as JSON; None: nothing is sent.
    """

    body: Mapping[str, object] | None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


class Refusal(Exception):  # noqa: N818 -- not an error of this program, but the answer it gives
    """An error reply, raised where a check fails."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class EmulatedService(ABC):
    """One service.

    Attributes:
        name: Its prefix in the emulator's addresses.
        content_type: Of its replies.
        results: The member of an answer that lists the results.
        place: The member of a result that says which document it is about.
        score: The member of a result that holds its score.
    """

    name: ClassVar[ServiceName]
    content_type: ClassVar[str] = "application/json"
    results: ClassVar[str]
    place: ClassVar[str] = "index"
    score: ClassVar[str]

    def __init__(self, world: World) -> None:
        self.world = world

    @abstractmethod
    def answer(self, call: Call) -> Answer:
        """The reply to *call*; an error reply may be raised as a `Refusal`."""

    @abstractmethod
    def failure(self, status: int, message: str | None = None) -> Answer:
        """The service's error reply with *status*; None: with the text it has for that."""

    def refusal(self, status: int, message: str) -> Refusal:
        """The same reply, to be raised."""
        return Refusal(self.failure(status, message))

    def reset(self) -> None:
        """Forget what calls have left behind."""
        return

    def accepts(self, key: str) -> bool:
        """Whether *key* is one of those that are accepted."""
        keys = self.world.settings.keys
        return keys is None or key in keys

    def admit(self, tokens: int, exceeded: Callable[[Exceeded, int], Answer]) -> None:
        """Count a good request; *exceeded* words the refusal from the limit's kind and value."""
        over = self.world.take(self.name, tokens)
        if over is not None:
            raise Refusal(exceeded(over, getattr(self.world.settings.rate_limits[self.name], over)))


class Form(BaseModel):
    """A request's documented members; strict about their types."""

    model_config = ConfigDict(strict=True, extra="ignore", protected_namespaces=())


F = TypeVar("F", bound=Form)


def json_object(body: bytes) -> dict[str, Any] | None:
    """The members of a JSON object; None if *body* is something else, or nested beyond all use."""
    try:
        found: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(found, dict) or is_deep(cast("object", found)):
        return None
    return cast("dict[str, Any]", found)


def is_deep(value: object) -> bool:
    """Whether a JSON value is nested more than `NESTING` levels."""
    level = [value]
    for _ in range(NESTING):
        level = [inner for outer in level for inner in _members(outer) if isinstance(inner, dict | list)]
        if not level:
            return False
    return True


def _members(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return cast("dict[str, object]", value).values()
    return cast("list[object]", value) if isinstance(value, list) else ()


def fill(form: type[F], members: Mapping[str, Any], refuse: Callable[[str, str], Refusal]) -> F:
    """*members* as *form* describes them; *refuse* is given the name of the first wrong one and what is wrong."""
    try:
        return form.model_validate(members)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise refuse(".".join(map(str, first["loc"])), first["msg"]) from None


def unknown_member(form: type[Form], members: Mapping[str, Any]) -> str | None:
    """The first of *members* that *form* does not document."""
    return next((name for name in members if name not in form.model_fields), None)


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


def new_id() -> str:
    """An id as the services make them."""
    return str(uuid.uuid4())
