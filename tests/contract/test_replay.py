"""Every request that was recorded of the official SDKs, byte for byte: what the emulator makes of it.

The replies in the recordings are a stub's, so what is right is decided from the request: good ones get their results, and
those that the service refuses get its refusal.
"""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator, Mapping
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urlsplit

import pytest

from helpers.shared import SHARED, needs_shared, recording
from rerankkit.emulator import Emulator

pytestmark = needs_shared

CASES = sorted(path.stem for path in (SHARED / "wire").glob("*.json"))

EXCEPTIONS: Mapping[str, tuple[int, str]] = {
    "cohere-base-url-with-v1-suffix": (404, "/v1/v2/rerank is no address"),
    "cohere-v2-dict-documents": (400, "v2 ranks strings only"),
    "cohere-v2-empty-documents": (400, "an empty list"),
    "cohere-v2-empty-query": (400, "an empty query"),
    "cohere-v2-request-options": (422, "return_documents and rank_fields are not v2's any more"),
    "cohere-v2-top-n-zero": (400, "top_n is at least 1"),
    "voyage-base-url-trailing-slash": (404, "/v1//rerank is no address; what the service makes of it is not known"),
    "voyage-dict-documents": (400, "strings only"),
    "voyage-empty-documents": (400, "an empty list"),
    "voyage-empty-query": (400, "an empty query; what the service makes of it is not known"),
    "voyage-top-k-zero": (400, "none of the results; what the service makes of it is not known"),
    "pinecone-host-with-path": (404, "/prefix/rerank is no address of the service, but of a gateway before it"),
}
UNSENT = frozenset(
    {
        "cohere-fault-connection-refused",
        "voyage-fault-connection-refused",
        "pinecone-fault-connection-refused",
        "pinecone-empty-documents",
        "pinecone-empty-query",
        "pinecone-mixed-documents",
        "pinecone-top-n-zero",
    }
)
"""Cases in which no request arrived: nobody listened, or the SDK refused."""

MEMBERS = {"cohere": "results", "voyage": "data", "pinecone": "data"}
ERRORS = {"cohere": {"id", "message"}, "voyage": {"detail"}, "pinecone": {"error", "status"}}


def test_all_recordings_are_replayed() -> None:
    assert len(CASES) == 233
    assert EXCEPTIONS.keys() <= set(CASES)
    assert {case for case in CASES if not recording(case)["exchanges"]} == UNSENT


@pytest.mark.parametrize("case", [case for case in CASES if case not in UNSENT])
def test_a_recorded_request_gets_the_answer_it_deserves(emulator: Emulator, case: str) -> None:
    service = recording(case)["service"]
    with _connection(emulator) as connection:
        for request in _requests(case):
            status, body = _exchange(connection, emulator, service, request)
            assert status == _expected(case, request)
            _check_form(service, status, body, request)


def _requests(case: str) -> Iterator[Mapping[str, Any]]:
    """The requests of a case, without those that the SDK only repeated."""
    seen: set[tuple[str, str]] = set()
    for exchange in recording(case)["exchanges"]:
        request = exchange["request"]
        key = (request["target"], request["body_text"])
        if key not in seen:
            seen.add(key)
            yield request


def _expected(case: str, request: Mapping[str, Any]) -> int:
    if request["target"].startswith("/moved/"):  # where the stub's redirects led
        return 404
    return EXCEPTIONS[case][0] if case in EXCEPTIONS else 200


def _connection(emulator: Emulator) -> socket.socket:
    host, port = urlsplit(emulator.url).netloc.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=10)


def _exchange(
    connection: socket.socket, emulator: Emulator, service: str, request: Mapping[str, Any]
) -> tuple[int, dict[str, Any]]:
    """Status and body of the reply; the request goes out as recorded, but for its host, its key and its prefix."""
    body = (request["body_text"] or "").encode()
    assert hashlib.sha256(body).hexdigest() == request["body_sha256"]
    host = urlsplit(emulator.url).netloc
    values = [(name, value.replace("<host>", host).replace("<redacted>", "any-key")) for name, value in request["headers"]]
    lines = [f"{request['method']} /{service}{request['target']} {request['version']}", *(": ".join(pair) for pair in values)]
    connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
    with HTTPResponse(connection, method=request["method"]) as response:
        response.begin()
        assert response.headers["content-type"] == "application/json"
        return response.status, json.loads(response.read())


def _check_form(service: str, status: int, body: Mapping[str, Any], request: Mapping[str, Any]) -> None:
    if status != 200:
        assert body.keys() == ERRORS[service]
    elif request["method"] == "GET":
        assert body["models"]
    else:
        asked = request["body_json"]
        wanted = asked.get("top_n") or asked.get("top_k") or len(asked["documents"])
        assert len(body[MEMBERS[service]]) == min(wanted, len(asked["documents"]))
