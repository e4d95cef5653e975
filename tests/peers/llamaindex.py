"""LlamaIndex's: the numbers are those of docs/why.md."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import pickle
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import requires as requires_of
from typing import Any
from unittest import mock

import httpx
import requests
from llama_index.core.objects import ObjectRetriever
from llama_index.core.postprocessor import LLMRerank
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import Document, NodeWithScore, QueryBundle, TextNode
from llama_index.postprocessor.bedrock_rerank import BedrockRerank
from llama_index.postprocessor.cohere_rerank import CohereRerank
from llama_index.postprocessor.jinaai_rerank import JinaRerank
from llama_index.postprocessor.mixedbreadai_rerank import MixedbreadAIRerank
from llama_index.postprocessor.nvidia_rerank import NVIDIARerank
from llama_index.postprocessor.pinecone_native_rerank import PineconeNativeRerank
from llama_index.postprocessor.siliconflow_rerank import SiliconFlowRerank
from llama_index.postprocessor.tei_rerank import TextEmbeddingInference
from llama_index.postprocessor.voyageai_rerank import VoyageAIRerank
from llama_index.postprocessor.xinference_rerank import XinferenceRerank
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.event_handlers import BaseEventHandler

from helpers.server import Reply, recorder
from tests.peers.sightings import at, attempt, failing, scored, seen, sent, slowly

CORE = "llama-index-core"
PACKAGES = {
    name: f"llama-index-postprocessor-{name}-rerank"
    for name in ("cohere", "voyageai", "jinaai", "tei", "nvidia", "mixedbreadai", "bedrock", "xinference", "siliconflow")
}
COHERE, VOYAGE, JINA, TEI, NVIDIA, MIXEDBREAD, BEDROCK, XINFERENCE, SILICONFLOW = PACKAGES.values()
PINECONE = "llama-index-postprocessor-pinecone-native-rerank"
QUERY = QueryBundle("q")


def by_cohere(url: str, **options: Any) -> CohereRerank:
    return CohereRerank(base_url=url, **{"top_n": 3, **options})


def by_voyage(url: str) -> VoyageAIRerank:
    reranker = VoyageAIRerank(model="m")
    reranker._client._params["base_url"] = f"{url}/v1"  # it has no option for that
    return reranker


def by_pinecone(url: str) -> PineconeNativeRerank:
    with mock.patch.dict(os.environ, {"PINECONE_CONTROLLER_HOST": url}):
        return PineconeNativeRerank(top_n=3)


def by_jina(url: str) -> JinaRerank:
    return JinaRerank(base_url=url, top_n=3, api_key="a-key")


def by_tei(url: str) -> TextEmbeddingInference:
    return TextEmbeddingInference(base_url=url, top_n=3)


def by_nvidia(url: str, **options: Any) -> NVIDIARerank:
    return NVIDIARerank(model="m", base_url=url, **options)


def by_mixedbread(url: str, **options: Any) -> MixedbreadAIRerank:
    with mock.patch.dict(os.environ, {"MIXEDBREAD_BASE_URL": url}):
        return MixedbreadAIRerank(top_n=3, **options)


def nodes(*names: str) -> list[NodeWithScore]:
    return [NodeWithScore(node=TextNode(text=name, id_=name), score=0.1) for name in names or ("a", "b", "c")]


def ranked(reranker: BaseNodePostprocessor, given: list[NodeWithScore] | None = None) -> list[tuple[str, float | None]]:
    found = reranker.postprocess_nodes(nodes() if given is None else given, QUERY)
    return [(node.node.get_content(), None if node.score is None else round(node.score, 2)) for node in found]


def brief(look: Any) -> str:
    """The class of an error alone."""
    found = str(attempt(look))
    return found.partition(":")[0] if "Error:" in found else found


@contextmanager
def events() -> Iterator[list[str]]:
    class Names(BaseEventHandler):
        def handle(self, event: Any, **options: Any) -> None:
            found.append(event.class_name())

    found: list[str] = []
    handler = Names()
    get_dispatcher().add_event_handler(handler)
    yield found
    get_dispatcher().event_handlers.remove(handler)


async def longest_gap(work: Any) -> float:
    """How long the loop stood still, at the longest."""
    gaps = [0.0]

    async def beat() -> None:
        while True:
            started = time.perf_counter()
            await asyncio.sleep(0.005)
            gaps.append(time.perf_counter() - started)

    heart = asyncio.create_task(beat())
    await asyncio.sleep(0.02)
    await work
    await asyncio.sleep(0.02)
    heart.cancel()
    return max(gaps)


def at_once(make: Any) -> str:
    with recorder(slowly(0.2)) as server:
        reranker = make(server.url)

        async def many() -> float:
            started = time.perf_counter()
            await asyncio.gather(*(reranker.apostprocess_nodes(nodes(), QUERY) for _ in range(24)))
            return time.perf_counter() - started

        return f"24 async calls of 0.2 s take {asyncio.run(many()):.1f} s"


seen("D1", COHERE)(lambda: at_once(by_cohere))
seen("D1", JINA)(lambda: at_once(by_jina))


@seen("D3", COHERE)
def retries_upon_retries() -> str:
    with recorder(failing(503)) as server, mock.patch("time.sleep"):
        error = brief(lambda: ranked(by_cohere(server.url)))
        return f"always 503: {len(server.requests)} requests, then {error} (waiting was skipped)"


@seen("D4", VOYAGE)
def no_retries() -> str:
    found = []
    for status in (429, 502):
        with recorder(failing(status, times=1)) as server:
            error = brief(lambda server=server: ranked(by_voyage(server.url)))
            found.append(f"one {status}: {error} after {len(server.requests)} request")
    return "; ".join(found)


def timeout_of_requests(make: Any) -> str:
    """What `requests` is told of a timeout."""
    with recorder(scored) as server, mock.patch.object(requests.Session, "send", autospec=True) as send:
        attempt(lambda: ranked(make(server.url)))
        return f"the timeout of its request is {send.call_args.kwargs['timeout']}"


seen("D5", JINA)(lambda: timeout_of_requests(by_jina))
seen("D5", SILICONFLOW)(lambda: timeout_of_requests(lambda url: SiliconFlowRerank(base_url=url, api_key="k")))
seen("D5", XINFERENCE)(lambda: timeout_of_requests(lambda url: XinferenceRerank(model="m", base_url=url)))
seen("D5", MIXEDBREAD)(lambda: f"the client's timeout is {by_mixedbread('http://127.0.0.1:9')._client.timeout}")


def told(reranker: BaseNodePostprocessor, secret: str) -> str:
    return f"the key is in to_json(): {secret in reranker.to_json()}, in repr(): {secret in repr(reranker)}"


seen("D6", JINA)(lambda: told(by_jina("http://127.0.0.1:9"), "a-key"))
seen("D6", SILICONFLOW)(lambda: told(SiliconFlowRerank(api_key="a-key"), "a-key"))
seen("D6", TEI)(lambda: told(TextEmbeddingInference(auth_token="a-key"), "a-key"))
seen("D6", BEDROCK)(lambda: told(BedrockRerank(aws_access_key_id="AKID", aws_secret_access_key="a-key"), "a-key"))


def loaded(reranker: BaseNodePostprocessor) -> str:
    again = attempt(lambda: type(reranker).from_dict(reranker.to_dict()))
    return f"from_dict(to_dict()): {again if isinstance(again, str) else type(again).__name__}"


seen("D7", JINA)(lambda: loaded(by_jina("http://127.0.0.1:9")))
seen("D7", TEI)(lambda: loaded(by_tei("http://127.0.0.1:9")))
seen("D7", COHERE)(lambda: f"base_url in to_dict(): {by_cohere('http://127.0.0.1:9').to_dict()['base_url']}")


def pickled(make: Any) -> str:
    with recorder(scored) as server:
        reranker = make(server.url)
        again = attempt(lambda: ranked(pickle.loads(pickle.dumps(reranker))))
        copied = brief(lambda: "works" if copy.deepcopy(reranker) else "")
        return f"a pickle: {again if isinstance(again, str) else 'ranks'}; deepcopy: {copied}"


seen("D8", COHERE)(lambda: pickled(by_cohere))
seen("D8", PINECONE)(lambda: pickled(by_pinecone))
seen("D8", MIXEDBREAD)(lambda: pickled(by_mixedbread))


def without_key(variable: str, make: Any) -> str:
    with mock.patch.dict(os.environ):
        os.environ.pop(variable, None)
        found = attempt(make)
        return f"without {variable}: {found if isinstance(found, str) else 'is made'}"


seen("D9", COHERE)(lambda: without_key("COHERE_API_KEY", CohereRerank))
seen("D9", PINECONE)(lambda: without_key("PINECONE_API_KEY", PineconeNativeRerank))
seen("D9", JINA)(lambda: without_key("JINAAI_API_KEY", JinaRerank))


@seen("D10", TEI)
def mutated() -> str:
    given = nodes()
    with recorder(scored) as server:
        by_tei(server.url).postprocess_nodes(given, QUERY)
    return f"the scores of the caller's own nodes, 0.1 before: {[round(node.score or 0, 2) for node in given]}"


@seen("D11", TEI)
def polluted() -> str:
    given = nodes("a")
    before = given[0].node.hash
    with recorder(scored) as server:
        reranker = by_tei(server.url)
        reranker.keep_retrieval_score = True
        reranker.postprocess_nodes(given, QUERY)
    node = given[0].node
    return f"metadata {node.metadata}, the prompt {node.get_content('llm')!r}, the same hash: {node.hash == before}"


@seen("D12", COHERE)
def unbalanced() -> str:
    with events() as heard:
        ranked(by_cohere("http://127.0.0.1:9"), [])
    return f"events of a call without nodes: {heard}"


@seen("D13", NVIDIA)
def no_top_n() -> str:
    with recorder(scored) as server:
        return f"top_n=None: {attempt(lambda: ranked(by_nvidia(server.url, top_n=None)))}"


@seen("D14", COHERE)
def long_list() -> str:
    with recorder(scored) as server:
        ranked(by_cohere(server.url), nodes(*map(str, range(3000))))
        return f"3,000 nodes: requests of {[len(one['documents']) for one in sent(server.requests)]} documents"


@seen("D14", TEI)
def long_list_of_tei() -> str:
    reply = Reply({"error": "batch size 33 > maximum allowed batch size 32", "error_type": "Validation"}, 413)
    with recorder(lambda _: reply) as server:
        return f"33 nodes to a server of 32: {attempt(lambda: ranked(by_tei(server.url), nodes(*map(str, range(33)))))}"


@seen("D15", BEDROCK)
def blank() -> str:
    return f"one blank node of two: {attempt(lambda: ranked(BedrockRerank(), nodes('a', '')))}"


def impossible(make: Any) -> str:
    found: dict[str, object] = {}
    for places in ([-1], [99], [0, 0], [2, 0]):
        with recorder(at(*places)) as server:
            found[str(places)] = attempt(lambda server=server: ranked(make(server.url)))
    return f"indices of the reply, and what comes of them: {found}"


seen("D16", COHERE)(lambda: impossible(by_cohere))
seen("D16", JINA)(lambda: impossible(by_jina))


def failed(make: Any, replies: Mapping[str, Reply]) -> str:
    found: dict[str, object] = {}
    for name, reply in replies.items():
        with recorder(lambda _, reply=reply: reply) as server:
            found[name] = attempt(lambda server=server: ranked(make(server.url), nodes("a", "b")))
    return json.dumps(found)


BAD_GATEWAY = Reply(b"<html>", 502)
seen("D17", JINA)(lambda: failed(by_jina, {"400": Reply({"message": "no"}, 400), "502 of HTML": BAD_GATEWAY}))
seen("D17", TEI)(lambda: failed(by_tei, {"401": Reply({"error": "no", "type": "auth"}, 401), "502 of HTML": BAD_GATEWAY}))


@seen("D18", MIXEDBREAD)
def unused_client() -> str:
    through: list[str] = []

    async def noted(request: httpx.Request) -> None:
        through.append(request.url.path)

    with recorder(scored) as server:
        reranker = by_mixedbread(server.url, httpx_async_client=httpx.AsyncClient(event_hooks={"request": [noted]}))
        asyncio.run(reranker.apostprocess_nodes(nodes(), QUERY))
        return f"an async call: {len(server.requests)} request, {len(through)} of it through httpx_async_client"


def connections(make: Any) -> str:
    with recorder(scored) as server:
        reranker = make(server.url)
        for _ in range(5):
            ranked(reranker)
        return f"5 calls in a row: {server.connections} connections"


seen("D19", TEI)(lambda: connections(by_tei))


@seen("D20", TEI)
def of_documents() -> str:
    with recorder(scored) as server:
        return f"a Document: {attempt(lambda: ranked(by_tei(server.url), [NodeWithScore(node=Document(text='a'))]))}"


class Slow(BaseNodePostprocessor):
    def _postprocess_nodes(self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None) -> list[NodeWithScore]:
        time.sleep(0.5)
        return nodes

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        await asyncio.sleep(0.5)
        return nodes


class Fixed(BaseRetriever):
    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return nodes()


@seen("D21", CORE)
def of_core() -> str:
    class Mapping:
        def from_node(self, node: Any) -> Any:
            return node

    retriever = ObjectRetriever(Fixed(), Mapping(), [Slow()])
    gap = asyncio.run(longest_gap(retriever.aretrieve("q")))
    spanned = hasattr(LLMRerank._apostprocess_nodes, "__wrapped__")
    return f"ObjectRetriever.aretrieve holds up the loop for {1000 * gap:.0f} ms of 500; LLMRerank's span: {spanned}"


@seen("D22", VOYAGE)
def without_sdk() -> str:
    return f"requires {[one for one in requires_of(VOYAGE) or () if one.startswith('voyageai')]}"


def unknown(make: Any) -> str:
    found = attempt(make)
    return f"topn=7: {found if isinstance(found, str) else 'is made'}"


seen("D23", NVIDIA)(lambda: unknown(lambda: NVIDIARerank(model="m", api_key="k", topn=7)))
seen("D23", XINFERENCE)(lambda: unknown(lambda: XinferenceRerank(model="m", base_url="http://127.0.0.1:9", topn=7)))
seen("D23", BEDROCK)(lambda: unknown(lambda: BedrockRerank(topn=7)))
