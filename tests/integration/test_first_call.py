"""What a first call does, beside asking: nothing that would hold up an event loop."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import sys
import threading
from typing import Any

import pytest

from helpers.server import recorder
from helpers.services import COHERE, KEY
from helpers.ways import run
from rerankkit import APIConnectionError, Client, Cohere, Retry, _library

CORE = """
from rerankkit import Client, Cohere
reranker = Client(Cohere(api_key=KEY, base_url=URL))
def ask(): return reranker.rerank("q", ["a", "b"])
async def aask(): return await reranker.arerank("q", ["a", "b"])
"""
LANGCHAIN = """
from langchain_core.documents import Document
from langchain_rerankkit import CohereRerank
reranker = CohereRerank(api_key=KEY, base_url=URL)
def ask(): return reranker.compress_documents([Document("a"), Document("b")], "q")
async def aask(): return await reranker.acompress_documents([Document("a"), Document("b")], "q")
"""
LLAMAINDEX = """
from llama_index.core.schema import NodeWithScore, TextNode
from llamaindex_rerankkit import CohereRerank
reranker = CohereRerank(api_key=KEY, base_url=URL)
nodes = [NodeWithScore(node=TextNode(text=text)) for text in "ab"]
def ask(): return reranker.postprocess_nodes(nodes, query_str="q")
async def aask(): return await reranker.apostprocess_nodes(nodes, query_str="q")
"""
WATCHED = """
import asyncio, sys
async def main():
    before = set(sys.modules)
    assert len(await aask()) == 2
    print(*sorted(set(sys.modules) - before))
    await reranker.aclose()
before = set(sys.modules)
assert len(ask()) == 2
print(*sorted(set(sys.modules) - before))
asyncio.run(main())
"""
SCORES = COHERE.scored(lambda _, text: 0.9 if text == "a" else 0.1)


@pytest.mark.parametrize("program", [CORE, LANGCHAIN, LLAMAINDEX], ids=["core", "langchain", "llamaindex"])
def test_imports_nothing_once_there_is_a_reranker_in_neither_colour(program: str) -> None:
    with recorder(SCORES) as server:
        code = f"KEY, URL = {KEY!r}, {server.url!r}\n{program}{WATCHED}"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("\n\n", "")
    assert len(server.requests) == 2


@pytest.fixture
def contexts(monkeypatch: pytest.MonkeyPatch) -> None:
    """No TLS context was built yet."""
    monkeypatch.setattr(_library, "CONTEXTS", {})


def build_by(monkeypatch: pytest.MonkeyPatch, build: Any) -> None:
    monkeypatch.setattr(_library.load(_library.default_transport()).httpx, "create_ssl_context", build)


@pytest.mark.usefixtures("contexts")
def test_reads_no_certificates_where_there_is_no_tls(monkeypatch: pytest.MonkeyPatch, colour: str) -> None:
    build_by(monkeypatch, lambda: pytest.fail("it reads certificates"))
    with recorder(SCORES) as server, Client(COHERE.make(server.url)) as client:
        response = run(colour, client, "rerank", "q", ["b", "a"])
    assert [result.index for result in response] == [1, 0]


def test_nobody_is_trusted_where_there_is_no_tls() -> None:
    context = _library._context_for(_library.default_transport(), "http://127.0.0.1:9")
    assert (context.verify_mode, context.check_hostname, context.get_ca_certs()) == (ssl.CERT_REQUIRED, True, [])


async def certificates_read_meanwhile(monkeypatch: pytest.MonkeyPatch, url: str) -> list[threading.Thread]:
    """The threads that built a TLS context for several first calls; each waits until the event loop has turned."""
    threads: list[threading.Thread] = []
    begun, turned = threading.Event(), threading.Event()

    def build() -> ssl.SSLContext:
        threads.append(threading.current_thread())
        begun.set()
        assert turned.wait(20), "the event loop stands still"
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    build_by(monkeypatch, build)
    async with Client(Cohere(api_key=KEY, base_url=url), retry=Retry(attempts=1)) as client:
        calls = [asyncio.create_task(client.arerank("q", ["a"])) for _ in range(8)]
        while not begun.is_set():  # noqa: ASYNC110 -- a thread sets it
            await asyncio.sleep(0.001)
        turned.set()
        found = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(failure) for failure in found} == {APIConnectionError}
    return threads


@pytest.mark.usefixtures("contexts")
def test_certificates_are_read_once_in_a_thread_while_the_event_loop_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        url = f"https://127.0.0.1:{nobody.getsockname()[1]}"
        (thread,) = asyncio.run(certificates_read_meanwhile(monkeypatch, url))
    assert thread is not threading.main_thread()


HELD = """
import asyncio, gc, socket
from rerankkit import Client, Cohere

CALLS = 64

async def held(client):
    gc.collect()
    gc.disable()
    before = len(gc.get_objects())
    calls = [asyncio.create_task(client.arerank("q", ["a", "b"])) for _ in range(CALLS)]
    counts = []
    while len(counts) < 5 or len(set(counts[-5:])) > 1:
        await asyncio.sleep(0.02)
        counts.append(len(gc.get_objects()) - before)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    return counts[-1] / CALLS

async def main():
    with socket.create_server(("127.0.0.1", 0), backlog=999) as server:  # which never answers
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        async with Client(Cohere(api_key="k" * 20, base_url=url)) as client:
            await held(client)
            print(await held(client))

asyncio.run(main())
"""

MOST_HELD = 160  # 122 with httpx 0.28 and httpx2 2.16 on Python 3.11


def test_a_call_under_way_holds_few_objects_that_the_garbage_collector_looks_at() -> None:
    """A full collection, which stops all for as long as the program is large, comes the sooner the more there are."""
    done = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, check=True)
    assert 5 < float(done.stdout) < MOST_HELD
