"""Threads whose result nobody wants any more end: asleep they wake, at a socket they lose it."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from helpers.server import Received, Recorder, Reply, recorder
from helpers.services import COHERE
from rerankkit import Client, RateLimitError, Retry, ServerError
from rerankkit._halting import HALT, Halt, interruptible
from rerankkit._io import BLOCKING, run
from rerankkit._turns import call
from rerankkit.deadline import Deadline
from rerankkit.types import RerankRequest, RerankResponse


def obeying(halt: Halt, work: Callable[[], Any]) -> Any:
    """What *work* gives in this thread while it obeys *halt*."""
    context = contextvars.copy_context()
    context.run(HALT.set, halt)
    return context.run(work)


def test_a_wait_that_nobody_halts_gives_what_it_gives() -> None:
    woken: list[int] = []

    def work() -> str:
        with interruptible(lambda: woken.append(1)):
            return "done"

    assert work() == "done"
    assert obeying(Halt(Halt()), work) == "done"
    assert woken == []


@pytest.mark.parametrize("which", ["own", "outer", "outermost"])
def test_a_wait_is_woken_once_by_any_halt_around_it(which: str) -> None:
    outermost = Halt()
    outer = Halt(outermost)
    halts = {"own": Halt(outer), "outer": outer, "outermost": outermost}
    woken = threading.Event()
    calls: list[int] = []

    def wake() -> None:
        calls.append(1)
        woken.set()

    def work() -> None:
        with interruptible(wake):
            threading.Timer(0.02, halts[which].set).start()
            assert woken.wait(10)

    with pytest.raises(CancelledError):
        obeying(halts["own"], work)
    assert calls == [1]


@pytest.mark.parametrize("which", ["own", "outer"])
def test_no_wait_begins_after_the_halt(which: str) -> None:
    outer = Halt()
    own = Halt(outer)
    {"own": own, "outer": outer}[which].set()
    begun: list[int] = []

    def work() -> None:
        with interruptible(lambda: None):
            begun.append(1)

    with pytest.raises(CancelledError):
        obeying(own, work)
    assert begun == []


def test_what_a_woken_wait_stumbles_over_is_a_cancellation() -> None:
    halt = Halt()

    def work() -> None:
        with interruptible(lambda: None):
            halt.set()
            raise ConnectionResetError("the socket was shut down under it")

    with pytest.raises(CancelledError):
        obeying(halt, work)


def test_a_failure_that_no_halt_caused_stays_what_it_is() -> None:
    def work() -> None:
        with interruptible(lambda: None):
            raise ConnectionResetError("by the peer")

    with pytest.raises(ConnectionResetError, match="by the peer"):
        obeying(Halt(Halt()), work)


def test_an_inner_halt_leaves_those_around_it_alone() -> None:
    outer = Halt()
    Halt(outer).set()
    assert not outer.is_set()
    assert obeying(outer, lambda: run(BLOCKING.sleep(0.001))) is None


def test_waits_that_are_over_are_not_woken() -> None:
    halt = Halt()
    woken: list[str] = []

    def work() -> None:
        with interruptible(lambda: woken.append("over")):
            pass
        with suppress(CancelledError), interruptible(lambda: woken.append("running")):
            halt.set()

    obeying(halt, work)
    assert woken == ["running"]


def test_a_wait_that_begins_while_the_halt_is_set_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looked just before, and is listed just after."""
    halt = Halt()
    halt.set()
    seen = iter([False, True])
    monkeypatch.setattr(halt, "is_set", lambda: next(seen))
    woken = threading.Event()

    def work() -> None:
        with interruptible(woken.set):
            assert woken.is_set()

    with pytest.raises(CancelledError):
        obeying(halt, work)


def test_all_waits_of_all_threads_are_woken() -> None:
    halt = Halt()
    begun = threading.Barrier(9)
    ended = threading.Semaphore(0)

    def work() -> None:
        begun.wait(10)
        with suppress(CancelledError):
            run(BLOCKING.sleep(60))
        ended.release()

    for _ in range(8):
        threading.Thread(target=obeying, args=(Halt(halt), work), daemon=True).start()
    begun.wait(10)
    halt.set()
    for _ in range(8):
        assert ended.acquire(timeout=10)


def test_no_foreign_reranker_is_called_after_the_halt() -> None:
    called: list[str] = []

    class Foreign:
        def rerank(self, query: str, documents: Any, **_: Any) -> Any:
            called.append(query)

        arerank = rerank

    halt = Halt()
    request = RerankRequest("q", ("a",), ("a",), None, Deadline(30))
    obeying(halt, lambda: run(BLOCKING.call(Foreign(), request)))
    halt.set()
    with pytest.raises(CancelledError):
        obeying(halt, lambda: run(BLOCKING.call(Foreign(), request)))
    assert called == ["q"]


# Sockets


class Held:
    """A service of whose requests those with the query "held" get no reply before it is released."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.released = threading.Event()

    def __call__(self, request: Received) -> Reply:
        if request.json["query"] == "held":
            self.arrived.set()
            self.released.wait(30)
        return COHERE.scored(lambda query, text: float(len(text)))(request)


@contextmanager
def held_client(**options: Any) -> Iterator[tuple[Client, Held, Recorder]]:
    held = Held()
    with recorder(held) as server, Client(COHERE.make(server.url), **options) as client:
        try:
            yield client, held, server
        finally:
            held.released.set()


def ranked(client: Client, query: str, timeout: float = 60) -> RerankResponse[str]:
    request = RerankRequest(query, ("a", "bb"), ("a", "bb"), None, Deadline(timeout))
    return run(call(BLOCKING, client, request))


def lose(client: Client, held: Held, seconds: float = 60) -> float:
    """Lose a race with a request that gets no reply; how long its thread then goes on."""
    ended: list[float] = []
    gone = threading.Event()

    async def loser() -> RerankResponse[str]:
        try:
            return ranked(client, "held", seconds)
        finally:
            ended.append(time.monotonic())
            gone.set()

    async def winner() -> str:
        assert held.arrived.wait(10)
        return "won"

    assert run(BLOCKING.race([loser, winner], lambda _: True)) == "won"
    won = time.monotonic()
    assert gone.wait(10)
    return ended[0] - won


def test_a_loser_that_waits_for_a_reply_is_woken_at_once(blocking_transport: str) -> None:
    with held_client(transport=blocking_transport) as (client, held, _):
        assert lose(client, held) < 5


def test_the_connection_of_a_loser_is_used_by_nobody_again(blocking_transport: str) -> None:
    """The reply that it waited for would be taken for that of the next request."""
    with held_client(transport=blocking_transport) as (client, held, server):
        ranked(client, "before")
        assert server.connections == 1
        lose(client, held)
        held.released.set()
        assert [result.document for result in ranked(client, "after")] == ["bb", "a"]
        assert server.connections == 2
        assert [request.json["query"] for request in server.requests] == ["before", "held", "after"]
        ranked(client, "after")
        assert server.connections == 2


def test_a_loser_gives_its_place_in_the_pool_back() -> None:
    with held_client() as (client, held, _):
        slots = client._http._open_pools().slots
        before = slots.qsize()
        lose(client, held)
        assert slots.qsize() == before


def test_a_lost_race_is_no_failure_of_the_service() -> None:
    """Nothing is sent again, and the budget of retries is not touched."""
    with held_client(retry=Retry(attempts=3, base_delay=0.0, budget=4)) as (client, held, server):
        for _ in range(6):
            held.arrived.clear()
            held.released.clear()
            lose(client, held)
        assert len(server.requests) == 6
        assert client._policy.budget._left == 4


def test_a_loser_does_not_wait_to_try_again() -> None:
    failing = threading.Event()

    def refuse(_: Received) -> Reply:
        failing.set()
        return Reply(COHERE.error("later"), 429, {"Retry-After": "30"})

    with recorder(refuse) as server, Client(COHERE.make(server.url)) as client:
        gone = threading.Event()

        async def loser() -> None:
            try:
                ranked(client, "any")
            finally:
                gone.set()

        async def winner() -> None:
            assert failing.wait(10)

        run(BLOCKING.race([loser, winner], lambda error: not isinstance(error, RateLimitError)))
        assert gone.wait(10)
        assert len(server.requests) == 1


def test_a_batch_that_fails_ends_the_others_at_once() -> None:
    """All batches of one call: the reply of the first of them is the end of the second, which waits for its own."""
    arrived = threading.Barrier(2)
    release = threading.Event()

    def answer(request: Received) -> Reply:
        arrived.wait(10)
        if len(request.json["documents"]) == 1:
            return Reply(COHERE.error("no"), 400)
        release.wait(30)
        raise AssertionError("nobody waits for this")

    with recorder(answer) as server, Client(COHERE.make(server.url)) as client:
        before = threading.active_count()
        try:
            with pytest.raises(Exception, match="no"):
                client.rerank("q", ["text"] * 1_001)
            ends = time.monotonic() + 10
            while any(thread.name.startswith("rerankkit") for thread in threading.enumerate()):
                assert time.monotonic() < ends, (threading.active_count(), before)
                time.sleep(0.01)
        finally:
            release.set()


def test_a_server_that_fails_in_a_race_is_still_a_failure() -> None:
    with recorder(lambda _: Reply(COHERE.error("down"), 503)) as server:
        client = Client(COHERE.make(server.url), retry=Retry(attempts=1, budget=4))

        async def one() -> RerankResponse[str]:
            return ranked(client, "any")

        with client, pytest.raises(ServerError):
            run(BLOCKING.race([one, one], lambda _: False))
        assert len(server.requests) == 2
        assert client._policy.budget._left == 2
