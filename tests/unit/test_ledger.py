"""Every call of a client is in its ledger once, and under each tag that it was made under."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from helpers.patience import until
from helpers.processes import fork
from helpers.server import Received, Reply, recorder
from helpers.services import COHERE, PINECONE, VOYAGE
from helpers.ways import run
from rerankkit import Client, InvalidRequestError, Retry, ServerError, Usage
from rerankkit._io import BLOCKING
from rerankkit._io import run as finish
from rerankkit.ledger import Account, Ledger, tagged
from rerankkit.resilience import Fallback, Passthrough

BILL = {"meta": {"billed_units": {"search_units": 2}}}
ONCE = Account(1, usage=Usage(1, search_units=2.0), cost=0.004)


def billed(_: Received) -> Reply:
    return Reply(COHERE.answer([(0, 0.5)]) | BILL)


def test_a_call_is_counted_in_total_and_under_each_of_its_tags(colour: str) -> None:
    with recorder(billed) as server, Client(COHERE.make(server.url)) as client:
        assert (client.ledger.total, client.ledger.by_tag) == (Account(), {})
        run(colour, client, "rerank", "q", ["a"])
        with tagged("tenant-a"):
            run(colour, client, "rerank", "q", ["a"])
            with tagged("chat", "search", "tenant-a"):
                run(colour, client, "rerank", "q", ["a"])
        with tagged("tenant-b"):
            run(colour, client, "rerank", "q", ["a"])
    twice = Account(2, usage=Usage(2, search_units=4.0), cost=0.008)
    assert client.ledger.total == Account(4, usage=Usage(4, search_units=8.0), cost=0.016)
    assert client.ledger.by_tag == {"tenant-a": twice, "chat": ONCE, "search": ONCE, "tenant-b": ONCE}


def test_an_unknown_cost_is_counted_and_adds_nothing(colour: str) -> None:
    bills = [BILL, {}]
    with (
        recorder(lambda _: Reply(COHERE.answer([(0, 0.5)]) | bills.pop())) as server,
        Client(COHERE.make(server.url)) as client,
    ):
        for _ in range(2):
            run(colour, client, "rerank", "q", ["a"])
    assert client.ledger.total == Account(2, unpriced=1, usage=Usage(2, search_units=2.0), cost=0.004)


def test_a_failure_is_counted_with_the_requests_it_sent(colour: str) -> None:
    with recorder(lambda _: Reply(status=503)) as server:
        with Client(COHERE.make(server.url), retry=Retry(attempts=2, base_delay=0)) as client:
            with tagged("t"), pytest.raises(ServerError):
                run(colour, client, "rerank", "q", ["a"])
            with pytest.raises(InvalidRequestError):
                run(colour, client, "rerank", "q" * 99_999, ["a"])
    assert client.ledger.total == Account(2, failures=2, usage=Usage(2))
    assert client.ledger.by_tag == {"t": Account(1, failures=1, usage=Usage(2))}


def test_an_outage_that_is_answered_in_the_given_order_is_a_failure_all_the_same(colour: str) -> None:
    with recorder(lambda _: Reply(status=503)) as server:
        with Client(COHERE.make(server.url), retry=Retry(attempts=1), on_error="passthrough") as client:
            assert run(colour, client, "rerank", "q", ["a"]).status == "degraded"
        with Client(COHERE.make(server.url), retry=Retry(attempts=1)) as other:
            assert run(colour, Fallback(other, Passthrough()), "rerank", "q", ["a"]).status == "degraded"
    assert client.ledger.total == other.ledger.total == Account(1, failures=1, usage=Usage(1))


def test_a_call_that_nobody_waits_for_any_more_is_counted_as_cancelled() -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def hang(request: Received) -> Reply:
        arrived.set()
        go_on.wait(30)
        return billed(request)

    async def cancelled(client: Client) -> None:
        task = asyncio.create_task(client.arerank("q", ["a"]))
        await asyncio.to_thread(arrived.wait, 30)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    with recorder(hang) as server, Client(COHERE.make(server.url)) as client, tagged("t"):
        asyncio.run(cancelled(client))
        go_on.set()
        assert client.ledger.total == client.ledger.by_tag["t"] == Account(1, cancelled=1)


def test_the_loser_of_a_race_is_counted_in_both_colours(colour: str) -> None:
    slow_arrived, go_on = threading.Event(), threading.Event()

    def slow(request: Received) -> Reply:
        slow_arrived.set()
        go_on.wait(30)
        return billed(request)

    def quick(request: Received) -> Reply:
        slow_arrived.wait(30)
        return billed(request)

    with recorder(slow) as slow_server, recorder(quick) as quick_server:
        loser, winner = Client(COHERE.make(slow_server.url)), Client(COHERE.make(quick_server.url))
        with tagged("t"):
            run(colour, Racing(loser, winner), "rerank", "q", ["a"])
        go_on.set()
        until(lambda: loser.ledger.total.calls == 1)
    assert loser.ledger.by_tag == {"t": Account(1, cancelled=1)}
    assert winner.ledger.by_tag == {"t": ONCE}


class Racing:
    """Two clients at once, as a hedge asks them."""

    def __init__(self, *clients: Client) -> None:
        self.clients = clients

    def rerank(self, query: str, documents: list[str]) -> Any:
        return finish(self._race(BLOCKING, query, documents))

    async def arerank(self, query: str, documents: list[str]) -> Any:
        from rerankkit._io import ASYNC

        return await self._race(ASYNC, query, documents)

    async def _race(self, io: Any, query: str, documents: list[str]) -> Any:
        jobs = [self._job(io, client, query, documents) for client in self.clients]
        return await io.race(jobs, lambda _: False)

    def _job(self, io: Any, client: Client, query: str, documents: list[str]) -> Callable[[], Any]:
        return lambda: client._rerank(io, client._checked(query, documents, None, None))


def test_tags_hold_for_tasks_that_are_started_within_them_and_not_for_others() -> None:
    async def main(client: Client) -> None:
        async def tagged_call(tag: str) -> None:
            with tagged(tag):
                await asyncio.sleep(0)
                await asyncio.gather(client.arerank("q", ["a"]), asyncio.create_task(client.arerank("q", ["a"])))

        await asyncio.gather(tagged_call("one"), tagged_call("other"), client.arerank("q", ["a"]))

    with recorder(billed) as server, Client(COHERE.make(server.url)) as client:
        asyncio.run(main(client))
    assert {tag: account.calls for tag, account in client.ledger.by_tag.items()} == {"one": 2, "other": 2}
    assert client.ledger.total.calls == 5


def test_a_call_of_several_requests_is_one_call_of_its_tag(colour: str) -> None:
    answer = {"data": [{"index": index, "score": 0.5} for index in range(100)], "usage": {"rerank_units": 1}}
    with recorder(lambda _: Reply(answer)) as server, Client(PINECONE.make(server.url)) as client, tagged("t"):
        run(colour, client, "rerank", "q", ["a"] * 300)
    assert client.ledger.by_tag == {"t": Account(1, usage=Usage(3, rerank_units=3), cost=0.006)}


def test_no_call_is_lost_among_threads() -> None:
    ledger = Ledger()

    def work(number: int) -> None:
        with tagged(f"tag {number % 3}"):
            for _ in range(500):
                ledger.answered(Usage(1, total_tokens=2), 0.25)

    with ThreadPoolExecutor(6) as executor:
        list(executor.map(work, range(6)))
    assert ledger.total == Account(3_000, usage=Usage(3_000, total_tokens=6_000), cost=750.0)
    assert set(ledger.by_tag.values()) == {Account(1_000, usage=Usage(1_000, total_tokens=2_000), cost=250.0)}


@pytest.mark.parametrize("tag", ["", " ", None, 3])
def test_a_tag_is_a_text(tag: Any) -> None:
    with pytest.raises(InvalidRequestError, match="a tag must be a text such as 'tenant-a'"), tagged("fine", tag):
        pytest.fail("it went on")
    ledger = Ledger()
    ledger.answered(Usage(), 0.0)
    assert ledger.by_tag == {}


def test_a_ledger_can_begin_anew() -> None:
    ledger = Ledger()
    with tagged("t"):
        ledger.answered(Usage(1), None)
    assert repr(ledger) == f"Ledger({Account(1, unpriced=1, usage=Usage(1))})"
    ledger.reset()
    assert (ledger.total, ledger.by_tag) == (Account(), {})


@pytest.mark.parametrize("made", [copy.copy, copy.deepcopy, lambda ledger: pickle.loads(pickle.dumps(ledger))])
def test_a_copy_is_empty(made: Callable[[Ledger], Ledger]) -> None:
    ledger = Ledger()
    ledger.answered(Usage(1), 1.0)
    copied = made(ledger)
    assert copied.total == Account()
    copied.answered(Usage(1), 2.0)
    assert (ledger.total.cost, copied.total.cost) == (1.0, 2.0)


def test_a_client_that_travels_begins_a_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOYAGE_API_KEY", "k" * 9)
    client = Client(VOYAGE.make(None, api_key=None))
    client.ledger.answered(Usage(1), 1.0)
    assert pickle.loads(pickle.dumps(client)).ledger.total == Account()


def test_a_forked_child_begins_a_ledger_even_if_a_thread_was_writing() -> None:
    ledger = Ledger()
    with tagged("t"):
        ledger.answered(Usage(1), 1.0)

    def in_the_child() -> None:
        assert (ledger.total, ledger.by_tag) == (Account(), {})
        ledger.answered(Usage(1), 2.0)
        assert ledger.total.cost == 2.0

    with ledger._lock:
        child = fork(in_the_child)
    assert child.failure() == ""
    assert ledger.total.cost == 1.0
