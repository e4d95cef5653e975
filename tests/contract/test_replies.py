"""A reply is evidence, not truth: what is impossible is an error, never a ranking."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from helpers.server import Reply, recorder
from helpers.services import PINECONE, Service, dumped
from helpers.ways import run
from rerankkit import Client, InvalidResponseError, ProviderError

TEXTS = ["a", "b", "c"]
GOOD = [(0, 0.3), (1, 0.2), (2, 0.1)]


def text(content: str) -> Callable[[Service], bytes]:
    return lambda _: content.encode()


BAD: dict[str, Callable[[Service], bytes]] = {
    "empty body": text(""),
    "HTML": text("<!DOCTYPE html><title>Sign in</title>"),
    "cut JSON": lambda service: dumped(service.answer(GOOD))[:-5],
    "two JSON documents": lambda service: dumped(service.answer(GOOD)) * 2,
    "invalid UTF-8": lambda service: dumped(service.answer(GOOD)).replace(b"0.3", b"\xff\xfe"),
    "UTF-16": lambda service: dumped(service.answer(GOOD)).decode().encode("utf-16"),
    "null": text("null"),
    "a list": text("[]"),
    "an empty object": text("{}"),
    "a text": text('"ok"'),
}


@pytest.mark.parametrize("make", BAD.values(), ids=BAD)
def test_what_is_no_answer_at_all_is_an_error(service: Service, colour: str, make: Callable[[Service], bytes]) -> None:
    assert_refused(service, colour, make(service))


def assert_refused(service: Service, colour: str, content: bytes) -> None:
    with recorder(lambda _: Reply(content)) as server, Client(service.make(server.url)) as client:
        with pytest.raises(InvalidResponseError, match="not what the service documents") as caught:
            run(colour, client, "rerank", "q", TEXTS)
    assert (caught.value.provider, caught.value.status_code) == (service.name, 200)
    assert len(server.requests) == 1, "an answer of the wrong form is not asked for again"
    assert "<title>" not in str(caught.value)


@pytest.mark.parametrize("status", [201, 202, 204, 206])
def test_another_success_than_200_is_an_error(service: Service, colour: str, status: int) -> None:
    with recorder(lambda _: Reply(b"" if status == 204 else service.answer(GOOD), status)) as server:
        with Client(service.make(server.url)) as client, pytest.raises(ProviderError) as caught:
            run(colour, client, "rerank", "q", TEXTS)
    assert caught.value.status_code == status


def test_unknown_members_and_a_byte_order_mark_are_no_error(service: Service, colour: str) -> None:
    body = {**service.answer(GOOD), "new": {"nested": [1]}, "data2": None}
    with recorder(lambda _: Reply(b"\xef\xbb\xbf" + dumped(body))) as server, Client(service.make(server.url)) as client:
        assert [result.index for result in run(colour, client, "rerank", "q", TEXTS)] == [0, 1, 2]


def test_another_model_than_asked_for_is_told(colour: str) -> None:
    body = {**PINECONE.answer(GOOD), "model": "cohere-rerank-4-fast", "usage": {"rerank_units": 1}}
    with recorder(lambda _: Reply(body)) as server, Client(PINECONE.make(server.url, model="cohere-rerank-3.5")) as client:
        response = run(colour, client, "rerank", "q", TEXTS)
    assert response.model == "cohere-rerank-4-fast"
    assert response.warnings == (
        "asked for cohere-rerank-3.5, served by cohere-rerank-4-fast: scores and thresholds may differ",
    )


def test_a_reply_that_does_not_end_is_not_read_to_its_end(service: Service, colour: str, transport: Any) -> None:
    with recorder(lambda _: Reply(b" " * (17 * 1024 * 1024))) as server:
        with Client(service.make(server.url), transport=transport) as client:
            with pytest.raises(InvalidResponseError, match="longer than 16,777,216 bytes"):
                run(colour, client, "rerank", "q", TEXTS)
