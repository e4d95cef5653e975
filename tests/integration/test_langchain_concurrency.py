"""Many calls at once through LangChain's classes, without threads, and cancelled for good.

Servers wait for what is to be shown, so that no figure depends on the machine: tests/benchmarks/langchain_concurrency.py
has the figures.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda

from helpers.server import Received, Reply, raw_server, recorder
from helpers.services import COHERE, KEY
from langchain_rerankkit import CohereRerank, RerankRetriever

AT_ONCE = 64
LONG = 30.0  # seconds that nothing here takes, unless it is wrong
DOCUMENTS = [Document("a bus"), Document("a ferry")]


def compressing(compressor: CohereRerank) -> Awaitable[Any]:
    return compressor.acompress_documents(DOCUMENTS, "q")


def invoking(compressor: CohereRerank) -> Awaitable[Any]:
    return compressor.ainvoke({"query": "q", "documents": DOCUMENTS})


def retrieving(compressor: CohereRerank) -> Awaitable[Any]:
    return RerankRetriever(base_retriever=RunnableLambda(_find, _afind), reranker=compressor).ainvoke("q")


def _find(_: str) -> list[Document]:
    raise AssertionError("the blocking twin is not asked")


async def _afind(_: str) -> list[Document]:
    return DOCUMENTS


Call = Callable[[CohereRerank], Awaitable[Any]]
CALLS = pytest.mark.parametrize("call", [compressing, invoking, retrieving])
ANSWER = Reply(COHERE.answer([(1, 0.9), (0, 0.1)]))


@CALLS
def test_64_calls_are_under_way_at_once_while_the_loop_runs_on(call: Call) -> None:
    let_go = threading.Event()

    def answer(request: Received) -> Reply:
        assert let_go.wait(LONG)
        return ANSWER

    async def main() -> None:
        async with CohereRerank(api_key=KEY, base_url=server.url, timeout=LONG) as compressor:
            calls = [asyncio.ensure_future(call(compressor)) for _ in range(AT_ONCE)]
            async with asyncio.timeout(LONG):
                while len(server.requests) < AT_ONCE:  # which only a loop that runs can see  # noqa: ASYNC110 -- a thread's
                    await asyncio.sleep(0.01)
            let_go.set()
            found = await asyncio.gather(*calls)
        assert [documents[0].page_content for documents in found] == ["a ferry"] * AT_ONCE

    with recorder(answer) as server:
        asyncio.run(main())
    assert len(server.requests) == AT_ONCE


def test_a_batch_is_under_way_at_once() -> None:
    arrived = threading.Barrier(8)

    def answer(request: Received) -> Reply:
        arrived.wait(LONG)  # breaks, and no reply is sent, unless eight are here
        return ANSWER

    async def main() -> None:
        async with CohereRerank(api_key=KEY, base_url=server.url, timeout=LONG) as compressor:
            assert len(await compressor.abatch([{"query": "q", "documents": DOCUMENTS}] * 8)) == 8

    with recorder(answer) as server:
        asyncio.run(main())


@CALLS
def test_calls_that_were_given_up_do_not_delay_the_next(call: Call) -> None:
    let_go = threading.Event()
    given_up = 12  # LangChain's own way to be async has 6 threads on a machine of two cores

    def answer(request: Received) -> Reply:
        if len(server.requests) <= given_up:
            let_go.wait(LONG)
        return ANSWER

    async def main() -> None:
        compressor = CohereRerank(api_key=KEY, base_url=server.url, timeout=LONG)
        calls = [asyncio.ensure_future(call(compressor)) for _ in range(given_up)]
        async with asyncio.timeout(LONG):
            while len(server.requests) < given_up:  # noqa: ASYNC110 -- a thread counts them
                await asyncio.sleep(0.01)
        done, pending = await asyncio.wait(calls, timeout=0.01)
        assert not done
        for task in pending:
            task.cancel()
        assert all(isinstance(each, asyncio.CancelledError) for each in await asyncio.gather(*calls, return_exceptions=True))
        found: Any = await call(compressor)
        assert found[0].page_content == "a ferry"

    with recorder(answer) as server:
        asyncio.run(main())  # returns while the server still holds all those replies back
        assert not let_go.is_set()
        let_go.set()
    assert len(server.requests) == given_up + 1


@CALLS
def test_cancelling_a_call_ends_its_request(call: Call) -> None:
    arrived, gone = threading.Event(), threading.Event()

    def hold(connection: Any) -> None:
        arrived.set()
        connection.settimeout(LONG)
        try:
            closed = connection.recv(1) == b""
        except ConnectionError:
            closed = True
        if closed:
            gone.set()

    async def main(url: str) -> None:
        compressor = CohereRerank(api_key=KEY, base_url=url, timeout=LONG)
        task = asyncio.ensure_future(call(compressor))
        async with asyncio.timeout(LONG):
            while not arrived.is_set():  # noqa: ASYNC110 -- a thread sets it
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            while not gone.is_set():  # noqa: ASYNC110 -- a thread sets it
                await asyncio.sleep(0.01)

    with raw_server(hold) as url:
        asyncio.run(main(url))


def test_one_compressor_serves_one_event_loop_after_another() -> None:
    with recorder(lambda _: ANSWER) as server:
        compressor = CohereRerank(api_key=KEY, base_url=server.url)
        for _ in range(3):
            assert len(asyncio.run(compressor.acompress_documents(DOCUMENTS, "q"))) == 2


def test_calls_in_a_row_share_a_connection() -> None:
    async def main() -> None:
        async with CohereRerank(api_key=KEY, base_url=server.url) as compressor:
            for _ in range(20):
                await compressor.acompress_documents(DOCUMENTS, "q")

    with recorder(lambda _: ANSWER) as server:
        asyncio.run(main())
    assert (len(server.requests), server.connections) == (20, 1)
