"""Each rerank is one run of LangChain's, below its caller's: for handlers, in event streams, and at LangSmith's endpoint."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler, CallbackManager
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers import BaseTracer

from helpers.server import Received, Recorder, Reply, recorder
from helpers.services import COHERE, KEY
from helpers.ways import run
from langchain_rerankkit import CohereRerank, RerankCompressor, RerankRetriever
from rerankkit import BM25, AuthenticationError, InvalidRequestError, ServerError
from rerankkit.resilience import Fallback
from rerankkit.testing import FakeReranker

DOCUMENTS = [Document("a bus"), Document("a ferry"), Document("a car")]


class Runs(BaseTracer):
    """Keeps runs as they are in the end, those of callers with those below them."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Any] = []

    def _persist_run(self, run: Any) -> None:
        self.kept.append(run)

    @property
    def all(self) -> list[Any]:
        found = list(self.kept)
        for each in found:
            found.extend(each.child_runs)
        return found

    @property
    def reranks(self) -> list[Any]:
        return [run for run in self.all if "rerank_documents" in run.metadata]


class Told(BaseCallbackHandler):
    """Keeps what a handler of one's own is told."""

    def __init__(self) -> None:
        self.started: list[dict[str, Any]] = []
        self.ended: list[dict[str, Any]] = []
        self.failed: list[dict[str, Any]] = []

    def on_retriever_start(self, serialized: Any, query: str, **kwargs: Any) -> None:
        self.started.append({"query": query, **kwargs, "metadata": dict(kwargs["metadata"])})

    def on_retriever_end(self, documents: Any, **kwargs: Any) -> None:
        self.ended.append({"documents": documents, **kwargs})

    def on_retriever_error(self, error: BaseException, **kwargs: Any) -> None:
        self.failed.append({"error": error, **kwargs})


class AsyncTold(AsyncCallbackHandler):
    """The same, of which each step takes its time."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.begun = asyncio.Event()

    async def on_retriever_start(self, *args: Any, **kwargs: Any) -> None:
        await asyncio.sleep(0)
        self.steps.append("start")
        self.begun.set()

    async def on_retriever_end(self, *args: Any, **kwargs: Any) -> None:
        await asyncio.sleep(0)
        self.steps.append("end")

    async def on_retriever_error(self, error: BaseException, **kwargs: Any) -> None:
        await asyncio.sleep(0)
        self.steps.append(type(error).__name__)


def compressor(**options: Any) -> RerankCompressor:
    return RerankCompressor(**{"reranker": FakeReranker({"a ferry": 0.9}), **options})


def test_compressing_with_callbacks_is_one_run(colour: str) -> None:
    for callbacks in (Runs(), Told()):
        run(colour, compressor(top_n=2), "compress_documents", DOCUMENTS, "ferry", callbacks=[callbacks])
        (seen,) = callbacks.kept if isinstance(callbacks, Runs) else callbacks.ended
        outputs = seen.outputs if isinstance(callbacks, Runs) else seen
        assert [document.page_content for document in outputs["documents"]] == ["a ferry", "a bus"]


def test_invoking_is_one_run_of_the_name_tags_and_metadata_it_was_given(colour: str) -> None:
    runs = Runs()
    config = {"callbacks": [runs], "run_name": "second stage", "tags": ["t"], "metadata": {"tenant": "x"}}
    run(colour, compressor(), "invoke", {"query": "ferry", "documents": DOCUMENTS}, config)
    (seen,) = runs.all
    assert (seen.name, seen.run_type, seen.tags, seen.inputs) == ("second stage", "retriever", ["t"], {"query": "ferry"})
    assert seen.metadata["tenant"] == "x"


def test_a_run_says_who_ranked_how_many_and_what_it_used(colour: str) -> None:
    told, runs = Told(), Runs()
    run(colour, compressor(top_n=2), "compress_documents", DOCUMENTS, "ferry", callbacks=[told, runs])
    before = {"ls_provider": "fake", "ls_model_name": "fake", "rerank_documents": 3, "rerank_top_n": 2}
    after = {"rerank_returned": 2, "rerank_status": "ok", "rerank_served_by": "fake:fake", "rerank_requests": 1}
    assert told.started[0]["metadata"] == before
    assert told.ended[0]["metadata"] == before | after
    (seen,) = runs.reranks
    assert {name: seen.metadata[name] for name in before | after} == before | after


def test_usage_and_request_ids_of_a_service_are_told(colour: str) -> None:
    answer = COHERE.answer([(1, 0.9), (0, 0.1), (2, 0.0)]) | {"id": "id-7", "meta": {"billed_units": {"search_units": 1}}}
    runs = Runs()
    with recorder(lambda _: Reply(answer)) as server:
        reranker = CohereRerank(api_key=KEY, base_url=server.url)
        run(colour, reranker, "compress_documents", DOCUMENTS, "ferry", callbacks=[runs])
    (seen,) = runs.reranks
    assert (seen.name, seen.metadata["ls_provider"], seen.metadata["ls_model_name"]) == (
        "CohereRerank",
        "cohere",
        "rerank-v3.5",
    )
    assert (seen.metadata["rerank_search_units"], seen.metadata["rerank_request_ids"]) == (1, ["id-7"])


def test_a_degraded_run_says_who_failed_and_who_served(colour: str) -> None:
    failing, runs = FakeReranker(), Runs()
    failing.fail(ServerError("no", provider="fake", status_code=503))
    reranker = RerankCompressor(reranker=Fallback(failing, BM25()))
    run(colour, reranker, "compress_documents", DOCUMENTS, "ferry", callbacks=[runs])
    (seen,) = runs.reranks
    assert (seen.metadata["rerank_status"], seen.metadata["rerank_served_by"]) == ("degraded", "local:bm25")
    first, second = seen.metadata["rerank_attempts"]
    assert (first["reranker"], first["outcome"], first["error"]) == (
        "fake:fake",
        "failed",
        "ServerError: fake: no (status 503)",
    )
    assert (second["reranker"], second["outcome"]) == ("local:bm25", "served")


def test_an_error_ends_its_run_with_what_is_known_of_it(colour: str) -> None:
    told, runs = Told(), Runs()
    with recorder(lambda _: Reply({"message": "bad key"}, 401)) as server:
        reranker = CohereRerank(api_key=KEY, base_url=server.url)
        with pytest.raises(AuthenticationError):
            run(colour, reranker, "compress_documents", DOCUMENTS, "ferry", callbacks=[told, runs])
    (seen,) = runs.reranks
    expected = {"rerank_status": "error", "rerank_error": "AuthenticationError", "rerank_status_code": 401}
    assert expected.items() <= seen.metadata.items()
    assert expected.items() <= told.failed[0]["metadata"].items()
    assert seen.metadata["rerank_retryable"] is False
    assert "AuthenticationError" in seen.error
    assert KEY not in json.dumps([seen.metadata, seen.error], default=str)


def test_what_cannot_be_ranked_is_a_run_that_failed(colour: str) -> None:
    runs = Runs()
    with pytest.raises(InvalidRequestError):
        run(colour, compressor(), "compress_documents", DOCUMENTS, " ", callbacks=[runs])
    assert [seen.metadata["rerank_error"] for seen in runs.reranks] == ["InvalidRequestError"]


def test_no_metadata_holds_a_text(colour: str) -> None:
    runs = Runs()
    secret = [Document("secret one"), Document("secret two \ud800")]
    with recorder(COHERE.scored(lambda *_: 0.5)) as server:
        reranker = CohereRerank(api_key=KEY, base_url=server.url)
        run(colour, reranker, "compress_documents", secret, "secret query", callbacks=[runs])
    assert runs.reranks[0].metadata["rerank_warnings"]
    assert "secret" not in json.dumps(runs.reranks[0].metadata)


def test_runs_nest_below_a_compression_retriever(colour: str) -> None:
    runs = Runs()
    retriever = ContextualCompressionRetriever(base_compressor=compressor(), base_retriever=Fixed())
    run(colour, retriever, "invoke", "ferry", {"callbacks": [runs]})
    (top,) = runs.kept
    assert [below.name for below in top.child_runs] == ["Fixed", "RerankCompressor"]


class Fixed(BaseRetriever):
    """A base retriever."""

    def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
        return DOCUMENTS


def test_a_rerank_retriever_is_a_run_of_two(colour: str) -> None:
    runs = Runs()
    retriever = RerankRetriever(base_retriever=Fixed(), reranker=compressor(), k=1)
    run(colour, retriever, "invoke", "ferry", {"callbacks": [runs]})
    (top,) = runs.kept
    assert (top.name, [below.name for below in top.child_runs]) == ("RerankRetriever", ["Fixed", "RerankCompressor"])


def test_a_call_inside_anothers_run_nests_without_being_handed_callbacks(colour: str) -> None:
    runs = Runs()

    def step(query: str) -> Any:
        return compressor().compress_documents(DOCUMENTS, query)

    async def astep(query: str) -> Any:
        return await compressor().acompress_documents(DOCUMENTS, query)

    run(colour, RunnableLambda(step, astep), "invoke", "ferry", {"callbacks": [runs], "metadata": {"tenant": "x"}})
    (top,) = runs.kept
    (below,) = top.child_runs
    assert (below.name, below.parent_run_id, below.metadata["tenant"]) == ("RerankCompressor", top.id, "x")


def test_a_handler_that_a_manager_holds_is_told_once(colour: str) -> None:
    told = Told()
    run(colour, compressor(), "compress_documents", DOCUMENTS, "ferry", callbacks=CallbackManager([told]))
    assert (len(told.started), len(told.ended)) == (1, 1)


def test_the_metadata_of_one_run_is_not_that_of_the_next(colour: str) -> None:
    runs = Runs()
    config: dict[str, Any] = {"callbacks": [runs], "metadata": {"tenant": "x"}}
    failing = FakeReranker()
    failing.fail(ServerError("no"))
    with pytest.raises(ServerError):
        run(colour, compressor(reranker=failing), "invoke", {"query": "ferry", "documents": DOCUMENTS}, config)
    run(colour, compressor(reranker=failing), "invoke", {"query": "ferry", "documents": DOCUMENTS}, config)
    assert config["metadata"] == {"tenant": "x"}
    assert [seen.metadata.get("rerank_error") for seen in runs.reranks] == ["ServerError", None]


def test_a_cancelled_call_ends_its_run() -> None:
    told = AsyncTold()

    async def cancelled() -> None:
        slow = compressor(reranker=FakeReranker(latency=30))
        task = asyncio.create_task(slow.acompress_documents(DOCUMENTS, "ferry", callbacks=[told]))
        await told.begun.wait()
        await asyncio.sleep(0.05)  # it is waiting for its answer
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert told.steps == ["start", "CancelledError"]


def test_event_streams_show_a_rerank_and_what_became_of_it() -> None:
    async def events() -> list[Any]:
        chain = RunnableLambda(lambda query: {"query": query, "documents": DOCUMENTS}) | compressor(top_n=1)
        return [event async for event in chain.astream_events("ferry", version="v2")]

    seen = [event for event in asyncio.run(events()) if event["name"] == "RerankCompressor"]
    assert [event["event"] for event in seen] == ["on_retriever_start", "on_retriever_end"]
    assert seen[0]["data"] == {"input": {"query": "ferry"}}
    assert [document.page_content for document in seen[1]["data"]["output"]] == ["a ferry"]
    assert {"ls_provider": "fake", "rerank_status": "ok", "rerank_requests": 1}.items() <= seen[1]["metadata"].items()


# LangSmith

PROGRAM = """
import asyncio, sys
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers.langchain import wait_for_all_tracers
from langchain_rerankkit import CohereRerank
from rerankkit import Retry

documents = [Document("secret one"), Document("secret two")]
with CohereRerank(base_url=sys.argv[1], api_key="test-key-0123456789", retry=Retry(attempts=1)) as reranker:
    reranker.compress_documents(documents, "secret query")
    asyncio.run(reranker.acompress_documents(documents, "secret query"))
    chain = RunnableLambda(lambda query: {"query": query, "documents": documents}) | reranker
    try:
        chain.invoke("fail")
    except Exception as error:
        assert type(error).__name__ == "ServerError", error
wait_for_all_tracers()
"""


@contextmanager
def langsmith() -> Iterator[Recorder]:
    """What the client of LangSmith talks to; it is told to send JSON."""

    limits = {"size_limit": 100, "size_limit_bytes": 20_971_520}
    threads = {"scale_up_nthreads_limit": 1, "scale_up_qsize_trigger": 1000, "scale_down_nempty_trigger": 4}
    info = {"batch_ingest_config": {"use_multipart_endpoint": False, **limits, **threads}}
    with recorder(lambda _: Reply(info)) as server:
        yield server


def traced(**environment: str) -> list[dict[str, Any]]:
    """The runs that LangSmith has received of PROGRAM, oldest first."""

    def cohere(request: Received) -> Reply:
        if request.json["query"] == "fail":
            return Reply({"message": "no"}, 500)
        return COHERE.scored(lambda _, text: float("two" in text))(request)

    with recorder(cohere) as service, langsmith() as server:
        settings = {"LANGSMITH_TRACING": "true", "LANGSMITH_ENDPOINT": server.url, "LANGSMITH_API_KEY": "ls-key"}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LANGSMITH", "LANGCHAIN"))}
        command = [sys.executable, "-c", PROGRAM, service.url]
        subprocess.run(command, env=inherited | settings | environment, check=True, timeout=60)
        return _runs(server)


def _runs(server: Recorder) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for request in list(server.requests):
        body = request.json if request.path.endswith("/batch") else {}
        for sent in (*body.get("post", ()), *body.get("patch", ())):
            found[sent["id"]] = found.get(sent["id"], {}) | {name: value for name, value in sent.items() if value is not None}
    return list(found.values())


def test_langsmith_receives_each_rerank_with_its_metadata_and_errors() -> None:
    reranks = [run for run in traced() if run["name"] == "CohereRerank"]
    assert [run["run_type"] for run in reranks] == ["retriever"] * 3
    *served, failed = (run["extra"]["metadata"] for run in reranks)
    expected = {"ls_provider": "cohere", "rerank_documents": 2, "rerank_returned": 2, "rerank_requests": 1}
    assert all(expected.items() <= each.items() for each in served), "the blocking call and the async one"
    assert {"rerank_status": "error", "rerank_error": "ServerError", "rerank_status_code": 500}.items() <= failed.items()
    assert ["parent_run_id" in run for run in reranks] == [False, False, True]
    assert "ServerError" in reranks[2]["error"]
    assert [run["inputs"] for run in reranks] == [{"query": "secret query"}, {"query": "secret query"}, {"query": "fail"}]
    assert all("secret two" in json.dumps(run["outputs"]) for run in reranks[:2])


def test_texts_do_not_reach_langsmith_where_its_settings_hide_them() -> None:
    runs = traced(LANGSMITH_HIDE_INPUTS="true", LANGSMITH_HIDE_OUTPUTS="true")
    assert [run["extra"]["metadata"]["rerank_status"] for run in runs if run["name"] == "CohereRerank"] == ["ok", "ok", "error"]
    assert "secret" not in json.dumps(runs)


def test_langsmith_is_not_told_by_metadata_or_errors_what_one_setting_alone_hides() -> None:
    runs = [run for run in traced(LANGSMITH_HIDE_OUTPUTS="true") if run["name"] == "CohereRerank"]
    assert runs[0]["inputs"] == {"query": "secret query"}
    assert "secret two" not in json.dumps(runs)


def test_without_tracing_langsmith_is_told_nothing() -> None:
    assert traced(LANGSMITH_TRACING="false") == []
