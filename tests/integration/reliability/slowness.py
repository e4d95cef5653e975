"""Every way to be slow, and how late a call returns under it: no call may outlast its deadline, however time is lost."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from helpers.canaries import key_options
from helpers.services import SERVICES, Service
from helpers.stopwatch import Stopwatch
from integration.reliability import faults
from integration.reliability.fault_server import FaultServer, Kind, Stage
from integration.reliability.faults import CHUNKED, Drip, DripsBody, Fault, Status
from integration.reliability.rows import Row
from integration.reliability.trial import QUERY, SOON, TEXTS, warm
from rerankkit import Client, Retry, _pools

NAME = "rerank.test"  # what no name server knows
BIG = ("x" * 1_000_000,) * 6  # more than the buffers of two sockets hold

SLOW_NAME = Row("A3", "a name server that does not answer", "the deadline holds")
DEAF = Row("A4", "a host that never accepts the connection", "the deadline holds")
SILENT = Row("A5", "a server that takes the request and says nothing", "a DeadlineExceededError at the deadline")
DRIPPED_BODY = Row("B1", "a body that comes a byte at a time", "a DeadlineExceededError at the deadline")
DRIPPED_HEADERS = Row("B2", "a status line, headers or interim replies that come drop by drop", "the deadline holds")
DRIPPED_GZIP = Row("B3", "a compressed body that comes a byte at a time", "the deadline holds")
SLOW_UPLOAD = Row("B5", "a server that hardly reads the request", "the time to send counts against the deadline")
FULL_POOL = Row("B6", "more callers than connections", "who waits in vain fails at its own deadline, all others are served")
WAITING = Row("B7", "Retry-After: 1", "is waited for, and not at the deadline's expense")
TOO_LONG = Row("B8", "Retry-After: 86400", "fails within a second with a RateLimitError that tells the time")
NO_TIME = Row("B14", "a deadline nearer than the next back-off", "fails at once instead of sleeping first")


@dataclass(frozen=True)
class Slowness:
    """One way to be slow.

    Attributes:
        fault: What each request meets.
        kind: How the address takes connections.
        texts: What is ranked.
        retry: When the client tries again.
        connections: As many as the client may have; None: its own number.
        once: What the first request meets before that.
        is_named: Whether the service is called by a name that is never found.
        lasts: Whether only the deadline ends it.
    """

    row: Row
    what: str
    fault: Fault = faults.good
    kind: Kind = "usual"
    texts: Sequence[str] = TEXTS
    retry: Retry = SOON
    connections: int | None = None
    once: Fault | None = None
    is_named: bool = False
    lasts: bool = True

    def __str__(self) -> str:
        return f"{self.row.id} {self.what}"


FLOOD = Drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 400, pause=0)  # as fast as it can
UNENDING = Retry(attempts=100_000, base_delay=0.02, rate_limit_delay=0.02, budget=None)

SLOWNESSES = (
    Slowness(SLOW_NAME, "name server", is_named=True),
    Slowness(DEAF, "no accept", kind="deaf"),
    Slowness(SILENT, "silence", faults.says_nothing),
    Slowness(DRIPPED_BODY, "body", DripsBody()),
    Slowness(DRIPPED_BODY, "error body", DripsBody(status=500)),
    Slowness(DRIPPED_BODY, "chunks", Drip(CHUNKED, b"1\r\n \r\n")),
    Slowness(DRIPPED_BODY, "half a body", faults.stops_in_body),
    Slowness(DRIPPED_HEADERS, "status line", Drip(b"HTTP/1.1 200 ", b"O")),
    Slowness(DRIPPED_HEADERS, "headers", Drip(b"HTTP/1.1 200 OK\r\n", b"X-Drip: 1\r\n")),
    Slowness(DRIPPED_HEADERS, "trailers", Drip(CHUNKED + b"0\r\n", b"X-Drip: 1\r\n")),
    Slowness(DRIPPED_HEADERS, "interim replies", Drip(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n")),
    Slowness(DRIPPED_HEADERS, "a flood of interim replies", FLOOD, lasts=False),
    Slowness(DRIPPED_GZIP, "gzip", DripsBody("gzip")),
    Slowness(DRIPPED_GZIP, "deflate", DripsBody("deflate")),
    Slowness(SLOW_UPLOAD, "upload", faults.hardly_reads, texts=BIG),
    Slowness(FULL_POOL, "pool", faults.says_nothing, connections=1),
    Slowness(WAITING, "retries", Status(503, {"Retry-After": "0.05"}), retry=UNENDING, lasts=False),
    Slowness(TOO_LONG, "Retry-After", Status(429, {"Retry-After": "86400"}), lasts=False),
    Slowness(NO_TIME, "back-off", Status(503), retry=Retry(attempts=9, base_delay=1e9, max_delay=1e9), lasts=False),
)


@dataclass(frozen=True)
class Ended:
    """How one call of several ended.

    Attributes:
        seconds: How long it took.
        own_seconds: Those of them for which the machine was not busy with others.
        error: None if it succeeded.
    """

    service: str
    deadline: float
    seconds: float
    own_seconds: float
    error: Exception | None

    @property
    def late(self) -> float:
        """Seconds after its deadline that were its own; negative before."""
        return self.own_seconds - self.deadline


@dataclass(frozen=True)
class Caller:
    """A client of one service, and what it asks."""

    service: Service
    stage: Stage
    client: Client
    texts: Sequence[str]

    def ended(self, deadline: float) -> Ended:
        stopwatch, error = Stopwatch(of_thread=True), None
        try:
            self.client.rerank(QUERY, self.texts, timeout=deadline)
        except Exception as raised:  # noqa: BLE001 -- whatever it is, it is looked at
            error = raised
        return Ended(self.service.name, deadline, stopwatch.seconds(), stopwatch.own_seconds(), error)

    async def aended(self, deadline: float) -> Ended:
        stopwatch, error = Stopwatch(of_thread=True), None
        try:
            await self.client.arerank(QUERY, self.texts, timeout=deadline)
        except Exception as raised:  # noqa: BLE001 -- as above
            error = raised
        return Ended(self.service.name, deadline, stopwatch.seconds(), stopwatch.own_seconds(), error)


def side_by_side(
    server: FaultServer, slowness: Slowness, colour: str, deadlines: Sequence[float], calls: int = 1
) -> list[Ended]:
    """How calls to each service ended, as many for each of *deadlines*, all begun at once.

    Raises:
        AssertionError: A client could not be used once the fault was over.
    """
    with ExitStack() as stack:
        forget_name = stack.enter_context(unknown_name())
        stack.enter_context(fewer_connections(slowness.connections))
        callers = [stack.enter_context(_caller(server, slowness, service)) for service in SERVICES]
        jobs = [(caller, deadline) for caller in callers for deadline in deadlines for _ in range(calls)]
        if colour == "async":
            return asyncio.run(_at_once_in_a_loop(jobs, callers, forget_name))
        return _at_once_in_threads(jobs, callers, forget_name)


Jobs = Sequence[tuple[Caller, float]]


def _at_once_in_threads(jobs: Jobs, callers: Sequence[Caller], heal: Callable[[], None]) -> list[Ended]:
    with ThreadPoolExecutor(len(jobs)) as threads:
        ended = [thread.result() for thread in [threads.submit(caller.ended, deadline) for caller, deadline in jobs]]
        heal()
        for caller in callers:
            caller.stage.heal()
            assert caller.ended(5.0).error is None, "I5"
    return ended


async def _at_once_in_a_loop(jobs: Jobs, callers: Sequence[Caller], heal: Callable[[], None]) -> list[Ended]:
    ended = await asyncio.gather(*(caller.aended(deadline) for caller, deadline in jobs))
    heal()
    for caller in callers:
        caller.stage.heal()
        assert (await caller.aended(5.0)).error is None, "I5"
        await caller.client.aclose()
    assert asyncio.all_tasks() == {asyncio.current_task()}, "I4"
    return ended


@contextmanager
def _caller(server: FaultServer, slowness: Slowness, service: Service) -> Iterator[Caller]:
    with server.stage(service.name, slowness.kind) as stage:
        stage.always(slowness.fault)
        stage.play(*filter(None, [slowness.once]))
        url = f"http://{NAME}:{stage.port}" if slowness.is_named else stage.url
        provider = service.make(url, allow_http=True, **key_options(service))
        with Client(provider, retry=slowness.retry, transport=service.transport) as client:
            warm(client)
            yield Caller(service, stage, client, slowness.texts)


@contextmanager
def unknown_name() -> Iterator[Callable[[], None]]:
    """No name server answers for `NAME` until what is given is called: then it is this machine."""
    known = threading.Event()
    resolve = socket.getaddrinfo

    def resolved(host: Any, *arguments: Any, **further: Any) -> Any:
        if host not in (NAME, NAME.encode()):
            return resolve(host, *arguments, **further)
        known.wait(15)  # longer than any deadline here
        return resolve("127.0.0.1", *arguments, **further)

    with patch.object(socket, "getaddrinfo", resolved):
        try:
            yield known.set
        finally:
            known.set()


@contextmanager
def fewer_connections(number: int | None) -> Iterator[None]:
    """Clients that open their pools meanwhile have so many connections at most."""
    most = dict.fromkeys(_pools.MAX_CONNECTIONS, number) if number else {}
    with patch.dict(_pools.MAX_CONNECTIONS, most), patch.object(_pools, "MAX_BLOCKING", number or _pools.MAX_BLOCKING):
        yield


def summary(ended: Sequence[Ended]) -> dict[str, float]:
    """Milliseconds after the deadline, by the clock: the latest, and percentiles; and the latest of its own."""
    late = sorted(1_000 * (one.seconds - one.deadline) for one in ended)
    own = max(1_000 * one.late for one in ended)
    return {"max": late[-1], "p99": late[int(0.99 * (len(late) - 1))], "p50": late[len(late) // 2], "own": own}
