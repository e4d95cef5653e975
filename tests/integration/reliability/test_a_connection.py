"""Group A: the connection.  What breaks before a whole reply is there is tried again, and never a short result."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from helpers.services import SERVICES, Service
from helpers.ways import Way, one_loop, run
from integration.reliability.echo import ranking
from integration.reliability.fault_server import FaultServer, Stage
from integration.reliability.faults import (
    ClosesAfter,
    EndsReused,
    Fault,
    Later,
    closes_without_a_word,
    resets_after_request,
    resets_at_accept,
    resets_in_body,
    says_nothing,
)
from integration.reliability.rows import row
from integration.reliability.slowness import NAME, SILENT
from integration.reliability.trial import QUERY, SOON, TEXTS, Trial
from rerankkit import APIConnectionError, Client, DeadlineExceededError, Retry

ONCE = Retry(attempts=1)

REFUSED = row(
    "A1",
    "a connection that is refused",
    "is tried again as often as allowed, then an APIConnectionError that names the address",
)


@pytest.fixture
def refused(fault_server: FaultServer, service: Service, way: Way, caplog: pytest.LogCaptureFixture) -> Iterator[Trial]:
    """Before an address at which nobody listens."""
    with fault_server.stage(service.name, "refusing") as stage:
        yield Trial(service, way, stage, caplog)


@REFUSED
def test_a_refused_connection_is_tried_again_and_told(refused: Trial) -> None:
    outcome = refused()
    assert isinstance(outcome.error, APIConnectionError)
    assert outcome.error.attempts == 3
    assert f"cannot connect to 127.0.0.1:{refused.stage.port}" in str(outcome.error)
    assert "[Errno 111]" in str(outcome.error)


UNKNOWN = row(
    "A2", "a name that is not found", "is looked up again with each attempt, then an APIConnectionError without the key"
)


class Names:
    """A name server that fails a number of times, and then finds this machine."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.asked = 0
        self._resolve = socket.getaddrinfo

    def __call__(self, host: Any, *arguments: Any, **further: Any) -> Any:
        if host not in (NAME, NAME.encode()):
            return self._resolve(host, *arguments, **further)
        self.asked += 1
        if self.asked <= self.failures:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self._resolve("127.0.0.1", *arguments, **further)


@UNKNOWN
def test_a_name_that_is_not_found_is_told(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(failures=3)
    monkeypatch.setattr(socket, "getaddrinfo", names)
    trial.name = f"http://{NAME}:{trial.stage.port}"
    outcome = trial(allow_http=True)
    assert isinstance(outcome.error, APIConnectionError)
    assert outcome.error.attempts == 3
    assert f"cannot connect to {NAME}" in str(outcome.error)
    assert "Name or service not known" in str(outcome.error)


@UNKNOWN
def test_a_hiccup_of_the_name_server_heals(core: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(failures=2)
    monkeypatch.setattr(socket, "getaddrinfo", names)
    core.name = f"http://{NAME}:{core.stage.port}"
    assert core(allow_http=True).results == core.expected()
    assert names.asked == 3


@pytest.mark.row(SILENT)
def test_silence_ends_at_the_deadline_and_is_not_tried_again(core: Trial) -> None:
    core.stage.always(says_nothing)
    outcome = core(timeout=0.2)
    assert isinstance(outcome.error, DeadlineExceededError)
    assert outcome.error.attempts == outcome.requests == 1


BREAKS = [
    pytest.param(
        resets_at_accept, 0, id="A6", marks=row("A6", "a connection that is reset when it is opened", "is tried again")
    ),
    pytest.param(resets_after_request, 1, id="A7", marks=row("A7", "a reset after the request was read", "is tried again")),
    pytest.param(
        resets_in_body, 1, id="A8", marks=row("A8", "a reset in the middle of the body", "is tried again; never a short result")
    ),
]


@pytest.mark.parametrize(("fault", "read"), BREAKS)
def test_a_broken_connection_is_tried_again(trial: Trial, fault: Fault, read: int) -> None:
    """*read* requests come through each connection that breaks."""
    trial.stage.play(fault, fault)
    outcome = trial()
    assert outcome.results == trial.expected()
    assert outcome.requests == 1 + 2 * read


@pytest.mark.parametrize(("fault", "read"), BREAKS)
def test_a_connection_that_always_breaks_is_told(core: Trial, fault: Fault, read: int) -> None:
    core.stage.always(fault)
    outcome = core()
    assert isinstance(outcome.error, APIConnectionError)
    assert outcome.error.attempts == 3
    assert outcome.requests == 3 * read
    assert "127.0.0.1" in str(outcome.error)


STALE = row(
    "A9", "a kept connection that the server closes, at the worst moment", "is replaced at once, and no attempt is counted"
)


@pytest.fixture
def client(stage: Stage, service: Service) -> Iterator[Client]:
    """One that never tries again: whatever it survives was no attempt."""
    with Client(service.make(stage.url), retry=ONCE, timeout=5, transport=service.transport) as found:
        yield found


@STALE
def test_a_connection_closed_while_idle_is_replaced(stage: Stage, client: Client, colour: str) -> None:
    """The close comes shortly before, during or shortly after the next request is sent."""
    with one_loop():
        for milliseconds in (0, 0.2, 0.5, 1, 2, 3, 5, 10, 20, 40, 60):
            stage.always(ClosesAfter(milliseconds / 1_000))
            assert_right(run(colour, client, "rerank", QUERY, TEXTS))
            time.sleep(milliseconds / 1_000)
            assert_right(run(colour, client, "rerank", QUERY, TEXTS))
        run(colour, client, "close")


@STALE
@pytest.mark.parametrize("resets", [False, True], ids=["closes", "resets"])
def test_a_connection_that_ends_as_it_is_used_again_is_replaced(
    stage: Stage, client: Client, colour: str, resets: bool
) -> None:
    stage.always(EndsReused(resets))
    with one_loop():
        for _ in range(5):
            assert_right(run(colour, client, "rerank", QUERY, TEXTS))
        run(colour, client, "close")
    assert stage.count == 5 + 4, "each but the first was sent twice"


@STALE
@pytest.mark.parametrize("resets", [False, True], ids=["closes", "resets"])
def test_a_connection_is_replaced_where_all_that_were_kept_have_ended(
    stage: Stage, client: Client, colour: str, resets: bool
) -> None:
    """As when a load balancer has forgotten them over lunch."""
    with one_loop():
        stage.always(Later(0.1))
        at_once(client, colour, 6)
        assert stage.connections == 6
        stage.always(EndsReused(resets))
        assert_right(run(colour, client, "rerank", QUERY, TEXTS))
        run(colour, client, "close")


@STALE
def test_a_new_connection_that_ends_without_a_word_is_an_attempt(stage: Stage, client: Client, colour: str) -> None:
    stage.always(closes_without_a_word)
    with pytest.raises(APIConnectionError):
        run(colour, client, "rerank", QUERY, TEXTS)
    assert stage.count == 1


def at_once(client: Client, colour: str, number: int) -> None:
    """So many calls side by side."""
    run(colour, Crowd(client, number), "call")


@dataclass(frozen=True)
class Crowd:
    """Several callers of one client."""

    client: Client
    number: int

    def call(self) -> None:
        with ThreadPoolExecutor(self.number) as threads:
            for response in threads.map(lambda _: self.client.rerank(QUERY, TEXTS), range(self.number)):
                assert_right(response)

    async def acall(self) -> None:
        for response in await asyncio.gather(*(self.client.arerank(QUERY, TEXTS) for _ in range(self.number))):
            assert_right(response)


def assert_right(response: Any) -> None:
    assert [(result.index, result.relevance_score) for result in response] == ranking(QUERY, TEXTS)
    assert response.usage.requests >= 1


CALLS = 250  # of each of four services: 1,000 in all


@row("A10", "a server that closes every connection after one reply", "1,000 calls, 0 errors")
@pytest.mark.parametrize("told", [True, False], ids=["told", "untold"])
def test_a_server_that_closes_each_connection(fault_server: FaultServer, colour: str, told: bool) -> None:
    results = crowd(fault_server, colour, lambda stage: stage.always(ClosesAfter(told=told)), ONCE)
    assert results == [ranking(QUERY, TEXTS)] * 4 * CALLS


@row(
    "A13",
    "a network where half of all connections are reset when they are opened",
    "at least 99 % of 1,000 calls succeed, the others say why",
)
def test_a_flapping_network(fault_server: FaultServer, colour: str) -> None:
    results = crowd(fault_server, colour, lambda stage: stage.sometimes(0.5, [resets_at_accept]), SOON)
    right = [result for result in results if not isinstance(result, Exception)]
    assert len(results) == 4 * CALLS
    assert len(right) >= 0.99 * len(results)
    assert right == [ranking(QUERY, TEXTS)] * len(right)
    assert {type(result) for result in results if isinstance(result, Exception)} <= {APIConnectionError}


def crowd(server: FaultServer, colour: str, prepare: Any, retry: Retry) -> list[Any]:
    """What became of 250 calls to each service, four at a time."""
    with ThreadPoolExecutor(len(SERVICES)) as threads:
        parts = threads.map(lambda service: _crowd(server, colour, prepare, retry, service), SERVICES)
        return [result for part in parts for result in part]


def _crowd(server: FaultServer, colour: str, prepare: Any, retry: Retry, service: Service) -> list[Any]:
    with (
        server.stage(service.name) as stage,
        Client(service.make(stage.url), retry=retry, timeout=30, transport=service.transport) as client,
    ):
        prepare(stage)
        if colour == "async":
            return asyncio.run(_acalls(client))
        with ThreadPoolExecutor(4) as threads:
            return list(threads.map(lambda _: _call(client), range(CALLS)))


def _call(client: Client) -> Any:
    try:
        return [(result.index, result.relevance_score) for result in client.rerank(QUERY, TEXTS)]
    except APIConnectionError as error:
        return error


async def _acalls(client: Client) -> list[Any]:
    slots = asyncio.Semaphore(4)

    async def call() -> Any:
        async with slots:
            try:
                return [(result.index, result.relevance_score) for result in await client.arerank(QUERY, TEXTS)]
            except APIConnectionError as error:
                return error

    async with client:
        return await asyncio.gather(*(call() for _ in range(CALLS)))
