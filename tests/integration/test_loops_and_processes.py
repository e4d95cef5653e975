"""What one object keeps open, and what goes with its pickle; loops and processes under fault are group F of the matrix."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import pickle
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from helpers.server import Received, Reply, recorder
from helpers.services import COHERE, KEY, PINECONE, POINTWISE, Service
from helpers.ways import run
from rerankkit import Client, InvalidRequestError, PermissionDeniedError, _pools
from rerankkit.emulator import Emulator
from rerankkit.reranker import BaseReranker


def echo(service: Service) -> Callable[[Received], Reply]:
    """A score that says which query it belongs to."""
    return service.scored(lambda query, text: float(query.split()[-1]) + float(text.split()[-1]) / 1_000)


def check(client: BaseReranker, number: int) -> None:
    response = client.rerank(f"query {number}", ["text 1", "text 2"])
    assert [result.relevance_score for result in response] == [number + 0.002, number + 0.001]


async def check_async(client: BaseReranker, number: int) -> None:
    response = await client.arerank(f"query {number}", ["text 1", "text 2"])
    assert [result.relevance_score for result in response] == [number + 0.002, number + 0.001]


async def check_all_async(client: BaseReranker, numbers: range) -> None:
    await asyncio.gather(*(check_async(client, number) for number in numbers))


RANK_ELSEWHERE = """
import pickle, sys
with pickle.load(sys.stdin.buffer) as client:
    print([result.index for result in client.rerank("ferry", ["car", "ferry"])])
"""


def test_another_process_loads_a_pickled_client_and_reads_its_own_environment(service: Service, emulator: Emulator) -> None:
    keys = {"aws_access_key_id": None, "aws_secret_access_key": None} if service.name == "kendra" else {}
    with Client(service.make(emulator.urls[service.name], **keys)) as client:
        pickled = pickle.dumps(client)
    environment = {**os.environ, **emulator.environment}
    done = subprocess.run(
        [sys.executable, "-c", RANK_ELSEWHERE], input=pickled, env=environment, capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == "[1, 0]"
    assert KEY.encode() not in pickled


def test_a_pickled_client_without_a_key_says_what_it_needs(service: Service, colour: str) -> None:
    kendra = {"aws_access_key_id": "AKID", "aws_secret_access_key": KEY, "plan_id": "p" * 36, "region": "us-east-1"}
    client = Client(type(service.make("https://x.test"))(**(kendra if service.name == "kendra" else {"api_key": KEY})))
    with pickle.loads(pickle.dumps(client)) as twin:
        with pytest.raises(InvalidRequestError, match="needs a key: set|found no AWS credentials"):
            run(colour, twin, "rerank", "q", ["a"])


@pytest.mark.parametrize("service", POINTWISE, ids=lambda service: service.name)
def test_a_pickled_client_does_not_take_the_environments_key_to_a_foreign_host(
    service: Service, colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with recorder(echo(service)) as server, Client(service.make(server.url)) as client:
        access = type(client.provider).access
        monkeypatch.setenv(access.key_names[0], "the-environments-key")
        with pickle.loads(pickle.dumps(client)) as twin:
            with pytest.raises(InvalidRequestError, match=f"goes to 127.0.0.1 only if {access.url_name} names it"):
                run(colour, twin, "rerank", "query 1", ["text 1"])
            assert server.requests == []
            monkeypatch.setenv(access.url_name, server.url)
            assert len(run(colour, twin, "rerank", "query 1", ["text 1"])) == 1


def test_connections_are_reused(service: Service, transport: Any) -> None:
    async def several(client: Client) -> None:
        for number in range(10):
            await check_async(client, number)

    with recorder(echo(service)) as server, Client(service.make(server.url), transport=transport) as client:
        for number in range(10):
            check(client, number)
        assert server.connections == 1
        asyncio.run(several(client))
        assert server.connections == 2


def test_a_failed_call_in_batches_leaves_nothing_open(colour: str, transport: Any) -> None:
    """What was under way when one batch failed ends by itself, and its sockets without a warning."""

    def answer(request: Received) -> Reply:
        texts = PINECONE.texts(request.json)
        if "text 0" in texts:
            return Reply(b"{}", 403)
        time.sleep(0.05)
        return Reply(PINECONE.answer([(index, 0.5) for index in range(len(texts))]))

    with recorder(answer) as server:
        for _ in range(10):
            with Client(PINECONE.make(server.url), transport=transport) as client, pytest.raises(PermissionDeniedError):
                run(colour, client, "rerank", "q", [f"text {number}" for number in range(1_000)])
        del client
        time.sleep(0.2)
        gc.collect()


def test_loops_that_have_ended_are_not_kept(transport: Any) -> None:
    with recorder(echo(COHERE)) as server, Client(COHERE.make(server.url), transport=transport) as client:
        for number in range(20):
            asyncio.run(check_async(client, number))
        gc.collect()
        assert client._http._pools._of_loops == {}


def test_a_loop_in_which_many_calls_were_the_first_is_not_kept(transport: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def build(*_: object) -> None:
        await asyncio.sleep(0.01)

    async def scenario() -> weakref.ref[asyncio.AbstractEventLoop]:
        await check_all_async(client, range(5))
        return weakref.ref(asyncio.get_running_loop())

    monkeypatch.setattr(_pools, "build_ssl_context", build)
    with recorder(echo(COHERE)) as server, Client(COHERE.make(server.url), transport=transport) as client:
        loop = asyncio.run(scenario())
        gc.collect()
        assert loop() is None


class LoopAmongOthers(asyncio.SelectorEventLoop):
    """While somebody asks whether it is closed, another thread's loop comes to use the client."""

    meanwhile: Callable[[], object] = staticmethod(lambda: None)

    def is_closed(self) -> bool:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return super().is_closed()


def test_loops_come_while_others_look_for_closed_ones(transport: Any) -> None:
    with (
        recorder(echo(COHERE)) as server,
        Client(COHERE.make(server.url), transport=transport) as client,
        ThreadPoolExecutor(1) as threads,
        contextlib.closing(LoopAmongOthers()) as first,
        contextlib.closing(asyncio.new_event_loop()) as second,
    ):
        first.run_until_complete(check_async(client, 1))
        first.meanwhile = lambda: threads.submit(second.run_until_complete, check_async(client, 2)).result()
        asyncio.run(check_async(client, 3))
        for loop in (first, second):
            loop.run_until_complete(client.aclose())
        assert server.connections == 3


def test_aclose_ends_what_the_loop_opened(service: Service, transport: Any) -> None:
    async def scenario(url: str) -> int:
        async with Client(service.make(url), transport=transport) as client:
            await check_async(client, 1)
        return sum(not task.done() for task in asyncio.all_tasks())

    with recorder(echo(service)) as server:
        assert asyncio.run(scenario(server.url)) == 1, "nothing but the scenario itself is still running"


def test_fifty_calls_of_one_loop_are_with_the_service_at_the_same_time(service: Service, transport: Any) -> None:
    """Each is answered once all have arrived: one after the other, none ever would be."""
    answer, all_there = echo(service), threading.Barrier(50, timeout=30)

    def together(request: Received) -> Reply:
        all_there.wait()
        return answer(request)

    with recorder(together) as server, Client(service.make(server.url), transport=transport) as client:
        asyncio.run(check_all_async(client, range(50)))
    assert len(server.requests) == 50
