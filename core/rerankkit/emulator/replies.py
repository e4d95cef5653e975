"""A service's answer as HTTP, and what a fault makes of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from http.client import responses
from typing import Any, cast

import orjson

from rerankkit.emulator.faults import AnyFault, NotJson, Status, Substitution, WrongReply
from rerankkit.emulator.service import Answer, EmulatedService

NO_SUCH_DOCUMENT = 1_000_000
NUMBERS: Mapping[object, float] = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(frozen=True, slots=True)
class Reply:
    """What is sent."""

    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)

    def head(self) -> bytes:
        """The status line and the headers, for a connection that ends with this reply."""
        phrase = responses.get(self.status, "")
        headers = {**self.headers, "content-length": str(len(self.content)), "connection": "close"}
        lines = [f"HTTP/1.1 {self.status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


def reply(service: EmulatedService, answer: Answer) -> Reply:
    """*answer* as the service sends it."""
    content = b"" if answer.body is None else orjson.dumps(answer.body)
    return Reply(answer.status, {"content-type": service.content_type, **answer.headers}, content)


def spoiled(service: EmulatedService, answer: Answer, fault: AnyFault | None, now: float) -> Reply:
    """*answer*, or what *fault* has the service send instead; *now* dates a Retry-After."""
    match fault:
        case Status():
            return _error(service, fault, now)
        case NotJson() if answer.status == HTTPStatus.OK:
            return Reply(200, {"content-type": fault.content_type}, fault.text.encode())
        case WrongReply() if answer.status == HTTPStatus.OK:
            return _wrong(service, answer, fault)
        case Substitution() if answer.body is not None and "model" in answer.body:
            return reply(service, Answer({**answer.body, "model": fault.model}, answer.status, answer.headers))
        case _:
            return reply(service, answer)


def _error(service: EmulatedService, fault: Status, now: float) -> Reply:
    own = reply(service, service.failure(fault.status, fault.message))
    headers = {**own.headers, **_retry_after(fault, now), **fault.headers}
    if fault.body is None:
        return Reply(fault.status, headers, own.content)
    text = isinstance(fault.body, str)
    content = fault.body.encode() if isinstance(fault.body, str) else orjson.dumps(fault.body)
    kind = fault.content_type or ("text/plain" if text else own.headers["content-type"])
    return Reply(fault.status, {**headers, "content-type": kind}, content)


def _retry_after(fault: Status, now: float) -> dict[str, str]:
    wait = fault.retry_after
    if wait is None or isinstance(wait, str):
        return {} if wait is None else {"retry-after": wait}
    match fault.retry_after_form:
        case "seconds":
            return {"retry-after": f"{wait:g}"}
        case "date":
            return {"retry-after": formatdate(now + wait, usegmt=True)}
        case "milliseconds":
            return {"retry-after-ms": f"{wait * 1000:.0f}"}
        case "aws":
            return {"x-amz-retry-after": f"{wait * 1000:.0f}"}


def _wrong(service: EmulatedService, answer: Answer, fault: WrongReply) -> Reply:
    body = dict(answer.body or {})
    results = cast("list[dict[str, Any]]", body.get(service.results) or [])
    if not results:
        return reply(service, answer)
    body[service.results] = _wrong_results(service, [dict(result) for result in results], fault)
    content = json.dumps(body).encode()  # it writes NaN, which is what such a service would do
    return Reply(answer.status, {"content-type": service.content_type, **answer.headers}, content)


def _wrong_results(service: EmulatedService, results: list[dict[str, Any]], fault: WrongReply) -> list[dict[str, Any]]:
    nowhere = str(NO_SUCH_DOCUMENT) if service.place == "DocumentId" else NO_SUCH_DOCUMENT
    match fault.what:
        case "index":
            return [*results[:-1], {**results[-1], service.place: nowhere}]
        case "duplicate":
            return [*results, results[0]]
        case "missing":
            return results[:-1]
        case "extra":
            return [*results, {**results[-1], service.place: nowhere}]
        case "score":
            value = NUMBERS.get(fault.value, fault.value)
            return [{**results[0], service.score: value}, *results[1:]]
        case "order":
            return results[::-1]
