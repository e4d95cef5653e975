"""What can heal is tried again, as the service asks, and only while there is time."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
import weakref
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from helpers.server import Received, Reply, recorder
from helpers.services import COHERE, KENDRA, PINECONE, SERVICES, VOYAGE, Service
from helpers.ways import run
from rerankkit import (
    BadRequestError,
    Client,
    DeadlineExceededError,
    KendraPlans,
    ProviderError,
    Retry,
    ServerError,
)

SOON = Retry(base_delay=0.01, rate_limit_delay=0.01)


def failing_first(service: Service, failures: int, reply: Reply) -> Callable[[Received], Reply]:
    """*reply* for the first *failures* requests, then success."""
    left = [reply] * failures
    return lambda _: left.pop() if left else Reply(service.answer([(0, 0.5)]))


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_can_heal_is_tried_again(service: Service, colour: str, transport: Any, status: int) -> None:
    with recorder(failing_first(service, 2, Reply(b"<html>", status))) as server:
        with Client(service.make(server.url), retry=SOON, transport=transport) as client:
            response = run(colour, client, "rerank", "q", ["a"])
    assert len(server.requests) == response.usage.requests == 3
    assert len({request.body for request in server.requests}) == 1, "every attempt asks the same"


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 413, 422, 501])
def test_what_cannot_heal_is_tried_once(service: Service, colour: str, status: int) -> None:
    with recorder(lambda _: Reply(b"{}", status)) as server, Client(service.make(server.url), retry=SOON) as client:
        with pytest.raises(Exception, match=f"status {status}"):
            run(colour, client, "rerank", "q", ["a"])
    assert len(server.requests) == 1


@pytest.mark.parametrize("attempts", [1, 2, 3, 5])
def test_an_outage_takes_exactly_the_attempts_allowed(service: Service, colour: str, attempts: int) -> None:
    with recorder(lambda _: Reply(b"{}", 500)) as server:
        with Client(service.make(server.url), retry=Retry(attempts=attempts, base_delay=0.001)) as client:
            with pytest.raises(ServerError) as caught:
                run(colour, client, "rerank", "q", ["a"])
    assert len(server.requests) == caught.value.attempts == attempts


def refused_or_scored(service: Service, left: list[int]) -> Callable[[Received], Reply]:
    """A 503 as often as *left* says at the time, then success."""

    def answer(_: Received) -> Reply:
        left[0] -= 1
        return Reply(b"{}", 503) if left[0] >= 0 else Reply(service.answer([(0, 0.5)]))

    return answer


@pytest.mark.parametrize(
    ("options", "failures", "expected"),
    [
        ({}, 4, 5),
        ({}, 7, 8),
        ({}, 1_000, 8),
        ({"budget": None}, 4, 5),
        ({"budget": None}, 1_000, 8),
        *(({"attempts": attempts}, 1_000, attempts) for attempts in (1, 2, 3, 5)),
    ],
    ids=str,
)
def test_after_successes_a_request_is_tried_more_often(
    service: Service, colour: str, options: dict[str, Any], failures: int, expected: int
) -> None:
    """Unless a number of attempts was asked for."""
    left = [0]
    retry = Retry(base_delay=0.001, **options)
    with recorder(refused_or_scored(service, left)) as server, Client(service.make(server.url), retry=retry) as client:
        for _ in range(10):
            run(colour, client, "rerank", "q", ["a"])
        left[0] = failures
        if failures < expected:
            assert run(colour, client, "rerank", "q", ["a"]).usage.requests == expected
        else:
            with pytest.raises(ServerError) as caught:
                run(colour, client, "rerank", "q", ["a"])
            assert caught.value.attempts == expected
    assert len(server.requests) == 10 + expected


def test_a_client_that_has_reached_nobody_yet_tries_three_times(service: Service, colour: str) -> None:
    retry = Retry(base_delay=0.001)
    with recorder(lambda _: Reply(b"{}", 503)) as server, Client(service.make(server.url), retry=retry) as client:
        for calls in range(1, 4):
            with pytest.raises(ServerError) as caught:
                run(colour, client, "rerank", "q", ["a"])
            assert caught.value.attempts == 3
            assert len(server.requests) == 3 * calls


RETRY_AFTER = {
    "seconds": lambda: {"Retry-After": "1"},
    "a fraction": lambda: {"Retry-After": "0.5"},
    "milliseconds": lambda: {"Retry-After-Ms": "500", "Retry-After": "60"},
    "AWS milliseconds": lambda: {"x-amz-retry-after": "500"},
    "a date": lambda: {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)},
}


@pytest.mark.parametrize("headers", RETRY_AFTER.values(), ids=RETRY_AFTER)
def test_waits_as_long_as_the_server_asks_then_succeeds(colour: str, headers: Callable[[], dict[str, str]]) -> None:
    with recorder(failing_first(COHERE, 1, Reply(b"{}", 429, headers()))) as server:
        with Client(COHERE.make(server.url), retry=SOON) as client:
            started = time.monotonic()
            run(colour, client, "rerank", "q", ["a"])
            assert time.monotonic() - started >= 0.5
    assert len(server.requests) == 2


def test_missing_aws_credentials_are_named(colour: str) -> None:
    provider = KENDRA.make("http://127.0.0.1:1", aws_access_key_id=None, aws_secret_access_key=None)
    with Client(provider) as client, pytest.raises(Exception, match="no AWS credentials: set AWS_ACCESS_KEY_ID"):
        run(colour, client, "rerank", "q", ["a"])


def test_one_call_that_creates_a_plan_sends_one_token_however_often(colour: str) -> None:
    left = [Reply(b"{}", 500), Reply(b"{}", 503)]
    created = Reply({"Id": "i" * 36, "Arn": "arn"})
    with recorder(lambda _: left.pop() if left else created) as server:
        plans = KendraPlans(
            base_url=server.url,
            region="us-east-1",
            aws_access_key_id="AKID",
            aws_secret_access_key="secret-0123456789",
            retry=SOON,
        )
        run(colour, plans, "create", "name")
        run(colour, plans, "create", "name")
    tokens = [request.json["ClientToken"] for request in server.requests]
    assert len(tokens) == 4
    assert len(set(tokens[:3])) == 1
    assert tokens[3] != tokens[0], "another call is another plan"


def test_the_deadline_error_tells_what_failed_before(colour: str) -> None:
    def answer(_: Received, seen: list[int] = []) -> Reply:  # noqa: B006 -- a counter
        seen.append(1)
        if len(seen) > 1:
            time.sleep(1)
        return Reply(b'{"message": "overloaded"}', 503)

    with recorder(answer) as server, Client(COHERE.make(server.url), retry=SOON) as client:
        with pytest.raises(
            DeadlineExceededError, match=r"within 0.4 s \(attempt 2\); .*overloaded.*; allow more with timeout="
        ) as caught:
            run(colour, client, "rerank", "q", ["a"], timeout=0.4)
    assert isinstance(caught.value.__cause__, ServerError)
    assert (caught.value.provider, caught.value.model, caught.value.attempts) == ("cohere", "rerank-v3.5", 2)


def test_a_batch_the_service_finds_too_large_is_halved_until_it_fits(colour: str) -> None:
    """Token counts here are estimates; the service's are not."""
    texts = [f"text {number}" for number in range(10)]

    def answer(request: Received) -> Reply:
        sent = VOYAGE.texts(request.json)
        if len(sent) > 3:
            detail = "The max allowed tokens per submitted batch is 600000. Your batch has 700000 tokens after truncation."
            return Reply({"detail": detail}, 400)
        return Reply(VOYAGE.answer([(index, texts.index(text) / 10) for index, text in enumerate(sent)]))

    with recorder(answer) as server, Client(VOYAGE.make(server.url)) as client:
        response = run(colour, client, "rerank", "q", texts, top_n=4)
    assert [result.index for result in response] == [9, 8, 7, 6]
    sizes = sorted(len(VOYAGE.texts(request.json)) for request in server.requests)
    assert sizes == [2, 2, 3, 3, 5, 5, 10]
    assert response.usage.requests == 7


def test_one_document_that_is_too_large_is_an_error(colour: str) -> None:
    for service in (COHERE, PINECONE):
        with recorder(lambda _, service=service: Reply(service.error("too large"), 413)) as server:
            with Client(service.make(server.url)) as client, pytest.raises(Exception, match="too large"):
                run(colour, client, "rerank", "q", ["a"])
        assert len(server.requests) == 1


def test_a_listwise_request_is_never_halved(colour: str) -> None:
    with recorder(lambda _: Reply(b"", 413)) as server, Client(KENDRA.make(server.url)) as client:
        with pytest.raises(Exception, match="status 413"):
            run(colour, client, "rerank", "q", ["a", "b", "c"])
    assert len(server.requests) == 1
    assert len(SERVICES) == 4


@pytest.mark.parametrize("concurrency", [1, 2, 3, 8])
def test_halving_does_not_exceed_the_concurrency(colour: str, concurrency: int) -> None:
    working, most, lock = 0, 0, threading.Lock()

    def answer(request: Received) -> Reply:
        nonlocal working, most
        with lock:
            working += 1
            most = max(most, working)
        time.sleep(0.02)
        with lock:
            working -= 1
        texts = request.json["documents"]
        return Reply({}, 413) if len(texts) > 250 else Reply(VOYAGE.answer([(index, 0.5) for index in range(len(texts))]))

    with recorder(answer) as server, Client(VOYAGE.make(server.url), concurrency=concurrency) as client:
        assert len(run(colour, client, "rerank", "q", ["text"] * 3_000)) == 3_000
    assert most <= concurrency
    assert len(server.requests) == 3 * (1 + 2 + 4)


def test_a_failed_call_in_batches_sends_nothing_more(colour: str) -> None:
    def answer(request: Received) -> Reply:
        refused = "text 0" in request.json["documents"]
        return Reply({"detail": "no"}, 400) if refused else Reply({}, 503, {"Retry-After": "0.1"})

    with recorder(answer) as server, Client(VOYAGE.make(server.url), retry=Retry(attempts=9)) as client:
        with pytest.raises(BadRequestError):
            run(colour, client, "rerank", "q", [f"text {index}" for index in range(3_000)])
        time.sleep(0.05)  # what was under way arrives
        sent = len(server.requests)
        time.sleep(0.4)
        assert len(server.requests) == sent


class Text(str):
    """A text of which one can tell whether it is still there."""

    __slots__ = ("__weakref__",)


@pytest.mark.parametrize("reply", [Reply(b"{}", 400), Reply(b"{}", 503)], ids=["refused", "failed"])
def test_a_failed_call_keeps_nothing_of_what_it_was_given(service: Service, colour: str, reply: Reply) -> None:
    """Documents are large; they must not wait for the garbage collector because an error knew of them."""
    gc.collect()
    gc.disable()
    try:
        with recorder(lambda _: reply) as server, Client(service.make(server.url), retry=SOON) as client:
            text = _failed(client) if colour == "sync" else asyncio.run(_afailed(client))
            assert text() is None
    finally:
        gc.enable()


def _failed(client: Client) -> weakref.ref[Text]:
    text = Text("a text")
    with contextlib.suppress(ProviderError):
        client.rerank("q", [text])
    return weakref.ref(text)


async def _afailed(client: Client) -> weakref.ref[Text]:
    text = Text("a text")
    with contextlib.suppress(ProviderError):
        await client.arerank("q", [text])
    return weakref.ref(text)


def test_very_many_attempts_are_possible() -> None:
    retry = Retry(attempts=2_000, base_delay=0, rate_limit_delay=0)
    assert retry.delay(ServerError("x"), 1_999) == 0
