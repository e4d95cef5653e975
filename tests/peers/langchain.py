"""LangChain's: the numbers are those of docs/why.md."""

from __future__ import annotations

import asyncio
import copy
import datetime as dt
import os
import pickle
import threading
import time
from importlib.metadata import requires
from typing import Any

import cohere
import httpx
import voyageai
from cohere.core.http_client import _parse_retry_after
from langchain_aws import BedrockRerank
from langchain_cohere import CohereRerank
from langchain_core.documents import Document
from langchain_pinecone import PineconeRerank
from langchain_voyageai import VoyageAIRerank
from pinecone import Pinecone

from helpers.server import Reply, recorder
from tests.peers.sightings import at, attempt, failing, scored, seen, sent, slowly

COHERE, VOYAGE, PINECONE, AWS = "langchain-cohere", "langchain-voyageai", "langchain-pinecone", "langchain-aws"
DOCUMENTS = [Document("a", id="1"), Document("b", id="2"), Document("c", id="3")]
ARN = "arn:aws:bedrock:us-west-2::foundation-model/cohere.rerank-v3-5:0"


def by_cohere(url: str, **options: Any) -> CohereRerank:
    return CohereRerank(model="m", base_url=url, **options)


def by_voyage(url: str, **options: Any) -> VoyageAIRerank:
    return VoyageAIRerank(model="m", base_url=f"{url}/v1", **options)


def by_pinecone(url: str, **options: Any) -> PineconeRerank:
    os.environ["PINECONE_CONTROLLER_HOST"] = url
    return PineconeRerank(**{"model": "bge-reranker-v2-m3", "client": Pinecone(api_key="k", host=url), **options})


def texts(reranker: Any, documents: Any = DOCUMENTS) -> list[str]:
    return [document.page_content for document in reranker.compress_documents(documents, "q")]


@seen("1", PINECONE)
def errors() -> str:
    found = {}
    for name, answer in (*((str(status), failing(status)) for status in (400, 401, 429)), ("HTML", lambda _: Reply(b"<html>"))):
        with recorder(lambda request, answer=answer: scored(request) if request.method == "GET" else answer(request)) as server:
            found[name] = attempt(lambda server=server: texts(by_pinecone(server.url)))
    return f"compress_documents returns {found}"


@seen("2", PINECONE)
def metadata_that_is_no_json() -> str:
    with recorder(scored) as server:
        found = attempt(lambda: texts(by_pinecone(server.url), [Document("a", metadata={"when": dt.datetime.now(dt.UTC)})]))
        return f"a datetime in the metadata: {len(sent(server.requests))} requests, returns {found}"


@seen("3", PINECONE)
def shadowed() -> str:
    with recorder(scored) as server:
        texts(by_pinecone(server.url), [Document("the text", metadata={"text": "of the metadata"})])
        return f"sends {sent(server.requests)[0]['documents']}"


@seen("4", PINECONE)
def uploads() -> str:
    with recorder(scored) as server:
        texts(by_pinecone(server.url), [Document("a", metadata={"vector": [0.25] * 1536}) for _ in range(20)])
        return f"20 documents of one letter, with vectors in the metadata: {len(server.requests[-1].body):,} bytes"


@seen("5", PINECONE)
def without_documents() -> str:
    with recorder(scored) as server:
        return f"return_documents=False returns {texts(by_pinecone(server.url, return_documents=False))}"


@seen("6", PINECONE)
def constructor() -> str:
    with recorder(slowly(0.5)) as server:
        started = time.perf_counter()
        by_pinecone(server.url)
        asked = [request.path for request in server.requests]
        return f"the constructor asks {asked}: {time.perf_counter() - started:.1f} s where that takes 0.5 s"


@seen("7", PINECONE)
def two_loops() -> str:
    with recorder(scored) as server:
        reranker = by_pinecone(server.url)
        return (
            str([len(asyncio.run(reranker.acompress_documents(DOCUMENTS, "q"))) for _ in range(2)]) + " documents in two loops"
        )


@seen("8", PINECONE)
def mutated() -> str:
    given = [{"text": "a"}]
    with recorder(scored) as server:
        by_pinecone(server.url).rerank(given, "q")
    return f"rerank() of [{{'text': 'a'}}] leaves {given}"


@seen("9", COHERE)
def threads() -> str:
    with recorder(slowly(0.2)) as server:
        reranker = by_cohere(server.url)

        async def many() -> float:
            started = time.perf_counter()
            await asyncio.gather(*(reranker.acompress_documents(DOCUMENTS, "q") for _ in range(24)))
            return time.perf_counter() - started

        return f"24 async calls of 0.2 s take {asyncio.run(many()):.1f} s"


def kept(make: Any) -> str:
    with recorder(scored) as server:
        reranker = make(server.url)
        ids = [document.id for document in reranker.compress_documents(DOCUMENTS, "q")]
        locked = attempt(lambda: texts(reranker, [Document("a", metadata={"lock": threading.Lock()})]))
        return f"ids {ids}; a lock in the metadata: {locked}"


seen("10", COHERE)(lambda: kept(by_cohere))
seen("10", VOYAGE)(lambda: kept(by_voyage))
seen("10", PINECONE)(lambda: kept(by_pinecone))


@seen("11", COHERE)
def nulls() -> str:
    with recorder(scored) as server:
        reranker = by_cohere(server.url, top_n=0)
        texts(reranker)
        options = {name: value for name, value in sent(server.requests)[0].items() if name in {"top_n", "max_tokens_per_doc"}}
    copies = (reranker.model_dump_json, lambda: pickle.dumps(reranker), lambda: copy.deepcopy(reranker))
    return f"sends {options}; dump, pickle, deepcopy: {[str(attempt(one)).partition(':')[0] for one in copies]}"


def impossible(make: Any) -> str:
    found = {}
    for places in ([-1], [9], [0, 0]):
        with recorder(at(*places)) as server:
            found[str(places)] = attempt(lambda server=server: texts(make(server.url)))
    return f"indices of the reply, and what comes of them: {found}"


seen("12", COHERE)(lambda: impossible(by_cohere))
seen("12", VOYAGE)(lambda: impossible(by_voyage))


@seen("13", COHERE)
def milliseconds() -> str:
    headers = httpx.Headers({"retry-after-ms": "500"})
    return f"cohere {cohere.__version__} reads retry-after-ms: 500 as {_parse_retry_after(headers)}"


@seen("14", COHERE)
def old_sdk() -> str:
    knows = "relevant_spans" in cohere.ClientV2.rerank.__code__.co_varnames
    needs = [one for one in requires(COHERE) or () if one.startswith("cohere")]
    return f"requires {needs}; relevant_spans is an option of its rerank: {knows}"


@seen("15", VOYAGE)
def own_client() -> str:
    mine = voyageai.Client(api_key="k", max_retries=5, timeout=3)
    found = []
    for status in (429, 503):
        with recorder(failing(status, times=1)) as server:
            error = str(attempt(lambda server=server: texts(by_voyage(server.url)))).partition(":")[0]
            found.append(f"one {status}: {error} after {len(server.requests)} request")
    with recorder(scored) as server:
        kept = by_voyage(server.url, client=mine).client is mine
        return f"client= is kept: {kept}; {'; '.join(found)}; top_n=1 returns {len(texts(by_voyage(server.url, top_n=1)))} of 3"


@seen("16", VOYAGE)
def connections() -> str:
    with recorder(scored) as server:
        reranker = by_voyage(server.url)

        async def in_a_row() -> None:
            for _ in range(5):
                await reranker.acompress_documents(DOCUMENTS, "q")

        asyncio.run(in_a_row())
        return f"5 async calls in a row: {server.connections} connections"


@seen("17", AWS)
def address() -> str:
    def made(**options: Any) -> str:
        return BedrockRerank(model_arn=ARN, region_name="us-west-2", **options).client.meta.endpoint_url

    ignored, refused = (
        attempt(lambda name=name: made(**{name: "http://127.0.0.1:9"})) for name in ("base_url", "endpoint_url")
    )
    return f"base_url=: still {ignored}; endpoint_url=: {refused}"


@seen("18", AWS)
def blank() -> str:
    def called(text: str, query: str, **options: Any) -> str:
        reranker = BedrockRerank(model_arn=ARN, region_name="us-west-2", **options)
        return str(attempt(lambda: reranker.compress_documents([Document(text)], query))).partition(":")[0]

    return f"top_n=None: {called('a', 'q', top_n=None)}; a blank text: {called('', 'q')}; a blank query: {called('a', '')}"
