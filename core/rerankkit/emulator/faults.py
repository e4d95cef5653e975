"""What can be made to go wrong: each fault says when it strikes, and what it does.

```
Fault
├── Status          an error reply in the service's own form, or any other text
├── Latency         the reply comes late, now and then very late; joins any other fault
├── WrongReply      a success that contradicts the request
├── Substitution    a success from another model
├── NotJson         a success that is no JSON
├── Drip            the reply arrives in crumbs
├── Cut             the reply ends in the middle
├── Close, Reset    there is no reply, only the end of the connection
└── Hang            there is no reply, and no end
```
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator

from rerankkit.emulator.settings import ServiceName
from rerankkit.errors import InvalidRequestError

PATHS: Mapping[ServiceName, Sequence[str]] = {
    "cohere": ("/v2/rerank", "/v1/rerank"),
    "voyage": ("/v1/rerank",),
    "pinecone": ("/rerank", "/models"),
    "kendra": (
        "Rescore",
        "CreateRescoreExecutionPlan",
        "DescribeRescoreExecutionPlan",
        "ListRescoreExecutionPlans",
        "UpdateRescoreExecutionPlan",
        "DeleteRescoreExecutionPlan",
        "TagResource",
        "UntagResource",
        "ListTagsForResource",
    ),
}

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
OWN_HEADERS = frozenset({"content-length", "transfer-encoding"})  # those that say where a reply ends

HTML = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


class Fault(BaseModel):
    """When a fault strikes: it counts the requests that fit, lets some pass, strikes some, and is over.

    Attributes:
        service: None: any of the four.
        path: Requests whose path ends so: ``"/v2/rerank"`` and ``"/v1/rerank"`` of Cohere, ``"/v1/rerank"`` of Voyage,
            ``"/rerank"`` and ``"/models"`` of Pinecone; for Kendra an operation, such as ``"Rescore"``. None: any.
        contains: Requests with this text anywhere in their body. None: any.
        after: How many of the fitting requests pass first.
        times: How many it may strike; None: all that follow.
        rate: The share of the fitting requests that it strikes, at random; see `FaultPlan` for the seed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    below_http: ClassVar[bool] = False
    """Whether it needs the server's socket: it cannot be had from an application without a server."""

    ranking_only: ClassVar[bool] = False
    """Whether it strikes only requests that rank: what it spoils is a ranking."""

    @property
    def silent(self) -> bool:
        """Whether not even a status line goes out."""
        return isinstance(self, Close | Reset) or (isinstance(self, Hang) and not self.headers)

    service: ServiceName | None = None
    path: str | None = None
    contains: str | None = None
    after: int = Field(default=0, ge=0)
    times: int | None = Field(default=None, ge=1)
    rate: float = Field(default=1.0, gt=0, le=1)

    @model_validator(mode="after")
    def _know_the_path(self) -> Self:
        services = PATHS if self.service is None else {self.service: PATHS[self.service]}
        known = [path for paths in services.values() for path in paths]
        if self.path is not None and not any(path.endswith(self.path) for path in known):
            raise ValueError(f"path {self.path!r} ends none of {', '.join(known)}")
        return self


class Status(Fault):
    """An error reply.

    Attributes:
        status: 100 and 1xx are no replies: at least 200.
        message: Its text; None: the service's own for this status.
        body: Sent instead of the service's own form of an error: any text, or JSON.
        content_type: Of `body`.
        headers: Beside the service's own.
        retry_after: Seconds the client is asked to wait, or any text for its header, such as ``"soon"``.
        retry_after_form: How it is asked: ``"seconds"``, an HTTP ``"date"``, ``"milliseconds"`` (Retry-After-Ms), or
            ``"aws"`` (x-amz-retry-after, in milliseconds).
    """

    kind: Literal["status"] = "status"
    status: int = Field(ge=200, le=599)
    message: str | None = None
    body: str | dict[str, Any] | list[Any] | None = None
    content_type: str | None = None
    headers: dict[str, str] = Field(default_factory=dict[str, str])
    retry_after: float | str | None = None
    retry_after_form: Literal["seconds", "date", "milliseconds", "aws"] = "seconds"

    @field_validator("headers")
    @classmethod
    def _sendable(cls, headers: dict[str, str]) -> dict[str, str]:
        """Names in lower case."""
        lower = {name.lower(): value for name, value in headers.items()}
        wrong = next((name for name, value in lower.items() if not HEADER_NAME.fullmatch(name) or not _is_value(value)), None)
        if wrong is not None or lower.keys() & OWN_HEADERS:
            raise ValueError(f"{wrong or ', '.join(OWN_HEADERS)} cannot be a header here")
        return lower

    @field_validator("retry_after")
    @classmethod
    def _sendable_wait(cls, wait: float | str | None) -> float | str | None:
        if isinstance(wait, str) and not _is_value(wait):
            raise ValueError("a header's value is printable ASCII")
        return wait


class Latency(Fault):
    """A late reply.

    Attributes:
        seconds: Waited before every reply that it strikes.
        tail_seconds: Waited in addition by the unlucky ones.
        tail_rate: The share of those.
    """

    kind: Literal["latency"] = "latency"
    seconds: float = Field(default=0.0, ge=0)
    tail_seconds: float = Field(default=0.0, ge=0)
    tail_rate: float = Field(default=0.01, ge=0, le=1)


class WrongReply(Fault):
    """A success with something in it that cannot be.

    Attributes:
        what: ``"index"``: one beyond the documents. ``"duplicate"``: one result twice. ``"missing"``: one result less than
            there should be. ``"extra"``: one more. ``"score"``: one that is `value`. ``"order"``: the worst first.
        value: The score: a text, null, true, or ``"NaN"``, which is sent as JSON does not allow it.
    """

    ranking_only = True

    kind: Literal["wrong-reply"] = "wrong-reply"
    what: Literal["index", "duplicate", "missing", "extra", "score", "order"]
    value: bool | str | float | None = "NaN"

    @field_validator("value", mode="before")
    @classmethod
    def _name(cls, value: object) -> object:
        """Numbers that JSON has not are told by name."""
        if not isinstance(value, float) or math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


class Substitution(Fault):
    """A success from another model; Cohere and Kendra name none in their replies, so that nothing shows.

    Attributes:
        model: The one that is said to have served.
    """

    ranking_only = True

    kind: Literal["substitution"] = "substitution"
    model: str


class NotJson(Fault):
    """A success with a body that is no JSON.

    Attributes:
        text: The body; by default a proxy's page.
        content_type: Its type.
    """

    ranking_only = True

    kind: Literal["not-json"] = "not-json"
    text: str = HTML
    content_type: str = "text/html"


class Drip(Fault):
    """A reply in crumbs, each in time, and the whole too late.

    Attributes:
        of: What comes so: the ``"headers"``, or the ``"body"`` after them.
        crumb: Bytes at a time.
        seconds: Between one and the next.
    """

    below_http = True

    kind: Literal["drip"] = "drip"
    of: Literal["headers", "body"] = "body"
    crumb: int = Field(default=1, ge=1)
    seconds: float = Field(default=0.05, ge=0)


class Cut(Fault):
    """A reply that announces more than it sends.

    Attributes:
        share: Of the body, that is sent.
        reset: Whether the connection is then reset, not closed.
    """

    below_http = True

    kind: Literal["cut"] = "cut"
    share: float = Field(default=0.5, ge=0, lt=1)
    reset: bool = False


class Close(Fault):
    """The connection is closed, in order, without a reply."""

    below_http = True

    kind: Literal["close"] = "close"


class Reset(Fault):
    """The connection is reset without a reply."""

    below_http = True

    kind: Literal["reset"] = "reset"


class Hang(Fault):
    """Nothing comes until the client gives up.

    Attributes:
        headers: Whether a status line and headers come first.
    """

    below_http = True

    kind: Literal["hang"] = "hang"
    headers: bool = False


AnyFault: TypeAlias = Annotated[
    Status | Latency | WrongReply | Substitution | NotJson | Drip | Cut | Close | Reset | Hang, Field(discriminator="kind")
]

KINDS = ("status", "latency", "wrong-reply", "substitution", "not-json", "drip", "cut", "close", "reset", "hang")

_FAULTS: TypeAdapter[list[AnyFault]] = TypeAdapter(list[AnyFault])


def parse(text: str | bytes) -> list[AnyFault]:
    """The faults in a JSON list, or the one in a JSON object.

    Raises:
        InvalidRequestError: One of them is unknown, or has a member that is.
    """
    try:
        content = text.decode() if isinstance(text, bytes) else text
        return _FAULTS.validate_json(content if content.lstrip().startswith("[") else f"[{content}]")
    except (ValidationError, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"these faults cannot be read: {_first_problem(error)}") from error


def dump(faults: Sequence[AnyFault]) -> bytes:
    """What `parse` reads.

    Raises:
        InvalidRequestError: One of them is no fault.
    """
    for fault in faults:
        if not isinstance(fault, Fault):
            raise InvalidRequestError(f"a fault is made with its class, such as faults.Status(status=503), got {fault!r}")
    return _FAULTS.dump_json(list(faults))


def _is_value(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _first_problem(error: ValidationError | UnicodeDecodeError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    first = error.errors(include_url=False)[0]
    number, *inner = first["loc"] or (None,)
    if number is None:
        return str(first["msg"])
    place = ".".join(str(part) for part in inner if part not in KINDS)
    if first["type"].startswith("union_tag"):
        return f"number {number}: its kind must be one of {', '.join(KINDS)}"
    return f"number {number}: {place}{': ' if place else ''}{first['msg']}"
