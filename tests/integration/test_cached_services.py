"""`Cached` before each service: what goes over the wire, and that its answers are those of an uncached client."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from helpers.caches import by_text, shape
from helpers.server import Received, Reply, recorder
from helpers.services import COHERE, KENDRA, PINECONE, POINTWISE, Service
from helpers.ways import WAYS, Way, one_loop, run
from rerankkit import Client, Document, ServerError, Span
from rerankkit.emulator import Emulator
from rerankkit.resilience.cached import Cached
from rerankkit.resilience.stores import MemoryStore
from rerankkit.types import CacheUse

pointwise = pytest.mark.parametrize("service", POINTWISE, ids=lambda service: service.name)


@pointwise
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_of_a_query_that_is_repeated_with_half_new_documents_the_new_half_is_sent(service: Service, way: Way) -> None:
    old, new = [f"old {number}" for number in range(10)], [f"new {number}" for number in range(10)]
    mixed = [text for pair in zip(new, old, strict=True) for text in pair]
    with recorder(service.scored(by_text)) as server, Client(service.make(server.url)) as client, one_loop():
        cached = Cached(client)
        way(cached, "ferry", old)
        found = way(cached, "ferry", mixed, 7)
        sent = [request.json for request in server.requests]
        assert [service.texts(body) for body in sent] == [old, new]
        assert not any(body.get("top_n") or body.get("top_k") for body in sent)
        assert found == way(client, "ferry", mixed, 7)
        assert way(cached, "ferry", mixed) == way(client, "ferry", mixed)
        assert len(server.requests) == 4


@pointwise
def test_two_hundred_equal_calls_of_threads_and_tasks_make_one_request(service: Service) -> None:
    texts = [f"text {number}" for number in range(20)]

    def answer(request: Received) -> Reply:
        assert begun.wait(30)
        time.sleep(0.1)
        return service.scored(by_text)(request)

    begun = threading.Event()
    with recorder(answer) as server, Client(service.make(server.url)) as client:
        cached = Cached(client)

        async def tasks() -> list[Any]:
            return await asyncio.gather(*(cached.arerank("q", texts) for _ in range(100)))

        with ThreadPoolExecutor(101) as threads:
            of_loop = threads.submit(asyncio.run, tasks())
            of_threads = [threads.submit(cached.rerank, "q", texts) for _ in range(100)]
            begun.set()
            answers = [*of_loop.result(), *(call.result() for call in of_threads)]
        assert len(server.requests) == 1
        assert {shape(found) for found in answers} == {shape(client.rerank("q", texts))}


@pointwise
def test_any_sequence_of_calls_is_answered_as_without_a_cache(service: Service, colour: str, emulator: Emulator) -> None:
    """By an emulator that scores each document on its own."""
    emulator.configure(scorer="overlap")
    chosen = random.Random(11)
    words = ["ferry", "bus", "nine", "leaves", "the", "dock", ""]
    texts = [" ".join(chosen.choices(words, k=3)) for _ in range(12)]
    with Client(service.make(emulator.urls[service.name])) as client, one_loop():
        cached = Cached(client, MemoryStore(entries=15))
        for _ in range(15):
            query, some = chosen.choice(["ferry at nine", "the bus"]), chosen.choices(texts, k=chosen.randint(0, 8))
            top_n = chosen.choice([None, 1, 3])
            found = run(colour, cached, "rerank", query, some, top_n=top_n)
            assert shape(found) == shape(run(colour, client, "rerank", query, some, top_n=top_n))


RANKED = {  # options; a document; a twin with equal ranked fields; another
    "cohere": ({"rank_fields": ["title", "text"]}, ("a", "t", 1), ("a", "t", 2), ("a", "u", 1)),
    "voyage": ({}, ("a", "t", 1), ("a", "u", 2), ("b", "t", 1)),
    "pinecone": ({"rank_fields": ["title"]}, ("a", "t", 1), ("b", "t", 2), ("a", "u", 1)),
}


@pointwise
@pytest.mark.parametrize("form", ["mapping", "document"])
def test_of_a_structured_document_what_is_ranked_makes_the_key(service: Service, form: str, colour: str) -> None:
    options, one, twin, other = RANKED[service.name]

    def document(parts: tuple[str, str, int]) -> Any:
        text, title, page = parts
        if form == "mapping":
            return {"text": text, "title": title, "page": page}
        return Document(text, title=title, id=str(page), score=float(page))

    answers = service.answer([(0, 0.5)])
    with recorder(lambda _: Reply(answers)) as server, Client(service.make(server.url, **options)) as client, one_loop():
        cached = Cached(client)
        hits = [run(colour, cached, "rerank", "q", [document(parts)]).cache.hits for parts in (one, twin, other, other)]
        assert hits == [0, 1, 0, 1]
        assert len(server.requests) == 2
        given = document(twin)
        assert run(colour, cached, "rerank", "q", [given]).results[0].document is given


def test_what_is_wrong_with_the_documents_is_told_with_kept_scores_as_well(colour: str) -> None:
    documents = [{"title": "a", "text": "x"}, {"text": "y"}]
    with recorder(COHERE.scored(by_text)) as server, one_loop():
        with Client(COHERE.make(server.url, rank_fields=["title", "text", "tilte"])) as client:
            cached = Cached(client)
            absent = ("no document has the rank field 'tilte'",)
            assert run(colour, cached, "rerank", "q", documents).warnings == absent
            assert run(colour, cached, "rerank", "q", documents).warnings == absent
            more = [*documents, {"text": "z"}]  # sent alone, it has no title either
            assert run(colour, cached, "rerank", "q", more).warnings == absent
            assert run(colour, client, "rerank", "q", more).warnings == absent


def test_a_model_that_the_service_put_in_the_place_of_another_is_told_and_not_mixed(colour: str) -> None:
    served = ["cohere-rerank-3.5"]

    def answer(request: Received) -> Reply:
        reply = PINECONE.scored(lambda query, text: len(text) if served[0].endswith("3.5") else -len(text))(request)
        return Reply({**reply.body, "model": served[0]})

    with recorder(answer) as server, Client(PINECONE.make(server.url, model="cohere-rerank-3.5")) as client, one_loop():
        cached = Cached(client)
        assert run(colour, cached, "rerank", "q", ["a", "bb"]).warnings == ()
        served[0] = "cohere-rerank-4-fast"
        for hits in (0, 3):
            response = run(colour, cached, "rerank", "q", ["a", "bb", "ccc"])
            assert [result.relevance_score for result in response] == [-1, -2, -3]
            assert response.model == "cohere-rerank-4-fast"
            assert response.warnings == (
                "asked for cohere-rerank-3.5, served by cohere-rerank-4-fast: scores and thresholds may differ",
            )
            assert response.cache.hits == hits
        assert [PINECONE.texts(request.json) for request in server.requests[1:]] == [["ccc"], ["a", "bb"]]


def test_relevant_spans_are_kept(colour: str) -> None:
    span = {"start": 2, "end": 4, "score": 0.75}
    body = {"id": "r", "results": [{"index": 0, "relevance_score": 0.5, "relevant_spans": [span]}]}
    with recorder(lambda _: Reply(body)) as server, one_loop():
        provider = COHERE.make(server.url, model="rerank-v5.0-fast", relevant_spans=True)
        with Client(provider) as client:
            cached = Cached(client)
            found = [run(colour, cached, "rerank", "q", ["a ferry"]).results[0].spans for _ in range(2)]
    assert found == [(Span(2, 4, 0.75),)] * 2
    assert len(server.requests) == 1


def test_a_long_list_of_which_a_part_is_new_goes_out_in_batches_of_that_part(colour: str) -> None:
    texts = [f"text {number}" for number in range(400)]
    with recorder(PINECONE.scored(by_text)) as server, Client(PINECONE.make(server.url)) as client, one_loop():
        cached = Cached(client)
        run(colour, cached, "rerank", "q", texts[:250])
        response = run(colour, cached, "rerank", "q", texts)
        sizes = [len(PINECONE.texts(request.json)) for request in server.requests]
        assert (sorted(sizes[:3]), sorted(sizes[3:])) == ([50, 100, 100], [50, 100])
        assert response.cache == CacheUse(250, 150, response.cache.saved)
        assert response.usage.requests == 2
        assert shape(response) == shape(run(colour, client, "rerank", "q", texts))


def test_of_kendra_whole_lists_are_kept(colour: str) -> None:
    texts = [f"text {number}" for number in range(30)]
    with recorder(KENDRA.scored(by_text)) as server, Client(KENDRA.make(server.url)) as client, one_loop():
        cached = Cached(client)
        expected = shape(run(colour, client, "rerank", "q", texts))
        found = [run(colour, cached, "rerank", "q", texts) for _ in range(2)]
        assert [shape(response) for response in found] == [expected, expected]
        assert [response.cache.hits for response in found] == [0, 25]
        assert found[1].results[-1].skipped == "over_limit"
        assert len(run(colour, cached, "rerank", "q", texts, top_n=3)) == 3
        assert len(server.requests) == 2
        run(colour, cached, "rerank", "q", [*texts[1:], texts[0]])
        run(colour, cached, "rerank", "q", [Document(text, score=1.0) for text in texts])
        assert len(server.requests) == 4


@pointwise
def test_an_outage_with_kept_scores_is_not_hidden(service: Service, colour: str) -> None:
    down = [False]
    answer = service.scored(by_text)
    with recorder(lambda request: Reply(service.error("down"), 503) if down[0] else answer(request)) as server, one_loop():
        with Client(service.make(server.url), timeout=5.0) as client:
            cached = Cached(client)
            run(colour, cached, "rerank", "q", ["a", "b"])
            down[0] = True
            assert run(colour, cached, "rerank", "q", ["b", "a"]).status == "ok"
            with pytest.raises(ServerError):
                run(colour, cached, "rerank", "q", ["b", "a", "c"])
        with Client(service.make(server.url), timeout=5.0, on_error="passthrough") as client:
            response = run(colour, Cached(client), "rerank", "q", ["b", "a", "c"])
            assert (response.status, response.documents) == ("degraded", ["b", "a", "c"])


OTHER_PROCESS = """
import sys
from rerankkit import Client, Cohere
from rerankkit.resilience.cached import Cached
from rerankkit.resilience.stores import SQLiteStore
with Cached(Client(Cohere()), SQLiteStore(sys.argv[1])) as cached:
    response = cached.rerank("ferry", ["a ferry", "a bus", "a car"])
    print(response.cache.hits, [result.relevance_score for result in response])
"""


def test_another_process_finds_what_this_one_kept(emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in emulator.environment.items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-c", OTHER_PROCESS, str(tmp_path / "scores.sqlite")]
    said = [subprocess.run(command, env=os.environ, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert said[0][:2] == "0 "
    assert said[1] == "3" + said[0][1:]
    assert len(emulator.requests("cohere")) == 1
