"""What is fuzzed: the readers of everything that a service sends, each with what must hold of its result."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from helpers.reply_oracle import assert_agrees
from helpers.services import COHERE, KENDRA, PINECONE, PLAN_ID, SERVICES, VOYAGE, Service
from rerankkit import Document, ProviderError
from rerankkit._checks import as_items
from rerankkit._kendra_service import ERROR_CLASSES, error_type
from rerankkit._wire import HttpResponse
from rerankkit.provider import Batch, Provider
from rerankkit.retry import retry_after

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
LONGEST_ERROR = 1_500  # characters of an error's text, with the service's id of the request

OK, REFUSED = "ok", "ValueError"


@dataclass(frozen=True)
class Target:
    """A reader of bytes.

    Attributes:
        read: What became of the bytes: `OK` or `REFUSED`.  Any exception is a finding.
        seeds: What services send, to begin with.
    """

    name: str
    read: Callable[[bytes], str]
    seeds: tuple[bytes, ...]


def targets() -> list[Target]:
    """All of them, in the order of the services."""
    return [
        *(Target(f"reply {service.name}", _reading(service), tuple(_replies(service))) for service in SERVICES),
        *(Target(f"error {service.name}", _failing(service), tuple(_errors(service))) for service in SERVICES),
        Target("Retry-After", _wait, WISHES),
        Target("AWS error type", _type, tuple(_types())),
    ]


# Replies

TEXTS = ["ferry", Document("car", group_id="a"), Document("bus", group_id="a"), "train"]


def _batch(provider: Provider) -> Batch:
    prepared = provider.prepare(as_items(TEXTS))
    return Batch("query", list(prepared.contents.values()), list(prepared.contents), 3 if provider.takes_top_n else None)


def _reading(service: Service) -> Callable[[bytes], str]:
    provider = service.make("https://gateway.test")
    batch = _batch(provider)

    def read(content: bytes) -> str:
        try:
            reply = provider.parse_response(batch, HttpResponse(200, {}, content))
        except ValueError:
            assert_agrees(service.name, batch, content, None)
            return REFUSED
        assert all(0 <= index < len(batch.documents) and math.isfinite(score) for index, score in reply.scores.items())
        assert len(reply.scores) >= (batch.top_n or 1)
        assert_agrees(service.name, batch, content, reply.scores)
        return OK

    return read


EXTRAS: Mapping[str, dict[str, object]] = {
    "cohere": {"id": "r-1", "meta": {"billed_units": {"search_units": 1}, "warnings": ["w"]}, "warnings": None},
    "voyage": {"object": "list", "model": "rerank-2.5", "usage": {"total_tokens": 26}},
    "pinecone": {"model": "bge-reranker-v2-m3", "usage": {"rerank_units": 1}},
    "kendra": {"RescoreId": "r-1"},
}


def _replies(service: Service) -> Iterator[bytes]:
    results = [(3, 0.9), (0, 1), (1, -8.5e-05), (2, 0.25)]
    for answer in (service.answer(results), {**service.answer(results[::-1]), **EXTRAS[service.name]}):
        yield json.dumps(answer).encode()
    if service is COHERE:
        spans = {"results": [{"index": i, "relevance_score": 0.5, "relevant_spans": _SPANS} for i in range(4)]}
        yield json.dumps(spans, indent=1).encode()
    if service is KENDRA:
        yield json.dumps(service.answer([("g0", 0.5), (0, 0.25)])).encode()


_SPANS = [{"start": 0, "end": 3, "score": 0.5}]


# Errors: a status, header lines, an empty line, a body

HEADERS = b"retry-after: 5\nx-request-id: r-1\ncontent-type: text/html\nlocation: https://user@a.test/x\n"


def _response(content: bytes) -> HttpResponse:
    head, _, body = content.partition(b"\n\n")
    status, *lines = head.decode("latin-1").split("\n")
    pairs = (line.partition(": ") for line in lines)
    number = int(status) if status.isascii() and status.isdigit() and len(status) == 3 else 500
    return HttpResponse(number, {name.lower(): value for name, _, value in pairs}, body)


def _failing(service: Service) -> Callable[[bytes], str]:
    provider = service.make("https://gateway.test")

    def read(content: bytes) -> str:
        error = provider.error(_response(content))
        assert isinstance(error, ProviderError)
        assert 0 < len(str(error)) <= LONGEST_ERROR, "an error's text is bounded"
        assert str(error).isprintable(), "and on one line"
        assert error.retry_after is None or 0 <= error.retry_after < math.inf
        return OK

    return read


def _errors(service: Service) -> Iterator[bytes]:
    for status in (400, 401, 404, 413, 429, 503):
        yield b"%d\n%s\n%s" % (status, HEADERS, json.dumps(service.error("what is wrong")).encode())
    yield b"307\n%s\n" % HEADERS
    yield b"502\n\n<html><h1>Bad Gateway</h1></html>"
    if service is VOYAGE:
        yield b'422\n\n{"detail":[{"loc":["body","query"],"msg":"field required"}]}'
    if service is PINECONE:
        yield b'429\n\n{"error":{"message":"for the current month"}}'


# Headers

WISHES = (b"5", b"1.5", b"-1", b"Fri, 20 Nov 2026 12:00:30 GMT", b"Friday, 20-Nov-26 12:00:30 -0330", b"1, 2", b"1e35", b"nan")


def _wait(content: bytes) -> str:
    text = content.decode("utf-8", "replace")
    found = [retry_after({name: text}, NOW) for name in ("retry-after", "retry-after-ms", "x-amz-retry-after")]
    assert all(seconds is None or (type(seconds) is float and 0 <= seconds < math.inf) for seconds in found)
    return REFUSED if found[0] is None else OK


def _type(content: bytes) -> str:
    """The same in the header and in the body, wherever the body can hold it."""
    text = content.decode("utf-8", "replace")
    found = error_type(HttpResponse(400, {"x-amzn-errortype": text}, b"{}"))
    assert found == error_type(HttpResponse(400, {}, json.dumps({"__type": text}).encode()))
    assert len(found) <= 100
    assert not found or (found.isascii() and found in text)
    return OK if found in ERROR_CLASSES else REFUSED


def _types() -> Iterator[bytes]:
    for form in ("%s", "com.amazonaws.kendraranking#%s", "%s:http://internal.amazon.com/coral/", f"{PLAN_ID}#%s:x#y"):
        yield from ((form % kind).encode() for kind in ("ThrottlingException", "AccessDeniedException", "Unknown"))
