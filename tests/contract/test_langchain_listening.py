"""A rerank is a run of LangChain's where LangChain knows of somebody who listens, and costs none where it does not."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackManager, BaseCallbackHandler, CallbackManager
from langchain_core.documents import Document
from langchain_core.globals import set_debug
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers.context import collect_runs, register_configure_hook, tracing_v2_enabled
from pydantic import ConfigDict, PrivateAttr

from helpers.ways import run
from langchain_rerankkit import RerankCompressor
from langchain_rerankkit.compressor import _copied
from rerankkit import ServerError
from rerankkit.testing import FakeReranker

DOCUMENTS = [Document("a bus"), Document("a ferry"), Document("a car")]
BEFORE = {"ls_provider": "fake", "ls_model_name": "fake", "rerank_documents": 3, "rerank_top_n": 2}
AFTER = {"rerank_returned": 2, "rerank_status": "ok", "rerank_served_by": "fake:fake", "rerank_requests": 1}
HOOKED: ContextVar[Any] = ContextVar("hooked", default=None)
register_configure_hook(HOOKED, inheritable=True)


class Told(BaseCallbackHandler):
    """Keeps what it is told of the metadata of runs."""

    def __init__(self) -> None:
        self.started: list[dict[str, Any]] = []
        self.ended: list[dict[str, Any]] = []
        self.failed: list[dict[str, Any]] = []

    def on_retriever_start(self, serialized: Any, query: str, **kwargs: Any) -> None:
        self.started.append(dict(kwargs["metadata"]))

    def on_retriever_end(self, documents: Any, **kwargs: Any) -> None:
        self.ended.append(dict(kwargs["metadata"]))

    def on_retriever_error(self, error: BaseException, **kwargs: Any) -> None:
        self.failed.append(dict(kwargs["metadata"]))


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The name of each run that is begun, heard or not."""
    names: list[str] = []

    def noting(begin: Callable[..., Any]) -> Callable[..., Any]:
        def noted(self: Any, *args: Any, **kwargs: Any) -> Any:
            names.append(kwargs["name"])
            return begin(self, *args, **kwargs)

        return noted

    for manager in (CallbackManager, AsyncCallbackManager):
        monkeypatch.setattr(manager, "on_retriever_start", noting(manager.on_retriever_start))
    return names


def compressor(**options: Any) -> RerankCompressor:
    return RerankCompressor(**{"reranker": FakeReranker({"a ferry": 0.9}), "top_n": 2, **options})


def compressed(colour: str, **options: Any) -> list[str]:
    found = run(colour, compressor(), "compress_documents", DOCUMENTS, "ferry", **options)
    return [document.page_content for document in found]


@pytest.mark.parametrize("callbacks", [None, [], CallbackManager([])], ids=["none", "an empty list", "an empty manager"])
def test_where_nobody_listens_no_run_is_begun(callbacks: Any, begun: list[str], colour: str) -> None:
    assert compressed(colour, callbacks=callbacks) == ["a ferry", "a bus"]
    given = {"query": "ferry", "documents": DOCUMENTS}
    assert len(run(colour, compressor(), "invoke", given, {"callbacks": callbacks, "tags": ["t"], "metadata": {"x": 1}})) == 2
    assert begun == []


def test_where_nobody_listens_an_error_is_raised_as_it_is(begun: list[str], colour: str) -> None:
    failing = FakeReranker()
    failing.fail(error := ServerError("down"))
    with pytest.raises(ServerError) as raised:
        run(colour, compressor(reranker=failing), "compress_documents", DOCUMENTS, "ferry")
    assert raised.value is error
    assert begun == []


def test_where_nobody_listens_a_cancelled_call_ends_at_once(begun: list[str]) -> None:
    slow = compressor(reranker=FakeReranker(latency=30))
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(slow.acompress_documents(DOCUMENTS, "ferry"), 0.05))
    assert begun == []


@contextmanager
def hooked(handler: Told) -> Iterator[None]:
    token = HOOKED.set(handler)
    try:
        yield
    finally:
        HOOKED.reset(token)


@pytest.mark.parametrize(
    ("callbacks", "around"),
    [
        (lambda told: [told], nullcontext),
        (lambda told: CallbackManager([told]), nullcontext),
        (lambda told: CallbackManager([], inheritable_handlers=[]), hooked),
        (lambda told: None, hooked),
    ],
    ids=["a list", "a manager", "an empty manager, and a hook", "a hook"],
)
def test_whoever_listens_is_told_everything(
    callbacks: Callable[[Told], Any],
    around: Callable[[Told], AbstractContextManager[None]],
    begun: list[str],
    colour: str,
) -> None:
    told = Told()
    with around(told):
        compressed(colour, callbacks=callbacks(told))
    assert begun == ["RerankCompressor"]
    assert (told.started, told.ended, told.failed) == ([BEFORE], [BEFORE | AFTER], [])


def test_whoever_listens_is_told_everything_of_an_error(colour: str) -> None:
    told, failing = Told(), FakeReranker()
    failing.fail(ServerError("down", provider="fake", status_code=503))
    with pytest.raises(ServerError):
        run(colour, compressor(reranker=failing), "compress_documents", DOCUMENTS, "ferry", callbacks=[told])
    expected = BEFORE | {"rerank_status": "error", "rerank_error": "ServerError", "rerank_status_code": 503}
    assert expected.items() <= told.failed[0].items()
    assert (told.started, told.ended) == ([BEFORE], [])


def test_a_handler_of_the_caller_listens_though_nobody_hands_it_on(begun: list[str], colour: str) -> None:
    async def step(_: str) -> Any:
        return await compressor().acompress_documents(DOCUMENTS, "ferry")

    told = Told()
    chain = RunnableLambda(lambda _: compressor().compress_documents(DOCUMENTS, "ferry"), step)
    run(colour, chain, "invoke", "ferry", {"callbacks": [told]})
    assert (begun, told.started, told.ended) == (["RerankCompressor"], [BEFORE], [BEFORE | AFTER])


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")  # langchain-core 1.0's own
def test_collected_runs_and_traces_of_a_context_have_everything(begun: list[str], colour: str) -> None:
    with collect_runs() as collected:
        compressed(colour)
    with tracing_v2_enabled(client=_Deaf()) as tracer:
        compressed(colour)
    assert begun == ["RerankCompressor"] * 2
    for seen in (collected.traced_runs[0], tracer.latest_run):
        assert (BEFORE | AFTER).items() <= seen.metadata.items()


class _Deaf:
    """A client of LangSmith's that sends nothing."""

    tracing_queue = None

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


def test_tracing_that_the_environment_asks_for_is_a_run(begun: list[str], colour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from langsmith import utils

    monkeypatch.setenv("LANGSMITH_TRACING", "true")
    monkeypatch.setattr("langchain_core.tracers.langchain.get_client", _Deaf)
    utils.get_env_var.cache_clear()
    try:
        compressed(colour)
    finally:
        monkeypatch.delenv("LANGSMITH_TRACING")
        utils.get_env_var.cache_clear()
    compressed(colour)
    assert begun == ["RerankCompressor"], "the second call is no run"


def test_debugging_is_listening(begun: list[str], colour: str) -> None:
    set_debug(value=True)
    try:
        compressed(colour)
    finally:
        set_debug(value=False)
    assert begun == ["RerankCompressor"]


# Copies


class Own(Document):
    """Somebody's own, with what pydantic keeps beside fields."""

    model_config = ConfigDict(extra="allow")

    page: int = 0
    _secret: str = PrivateAttr(default="before")


def own() -> Own:
    document = Own("a ferry", metadata={"m": 1}, page=7, more="extra")
    document._secret = "after"
    return document


GIVEN: dict[str, Callable[[], Document]] = {
    "plain": lambda: Document("a ferry"),
    "with an id": lambda: Document("a ferry", id="7", metadata={"m": [1]}),
    "unchecked": lambda: Document.model_construct(page_content=7, metadata={"m": 1}, other="x"),
    "unpickled": lambda: pickle.loads(pickle.dumps(Document("a ferry", id="7"))),
    "copied": lambda: Document("a ferry").model_copy(update={"id": "8"}),
    "of a subclass": own,
}


@pytest.mark.parametrize("name", GIVEN)
def test_a_copy_is_that_of_pydantic(name: str) -> None:
    for changed in ({"metadata": {"score": 1}}, {"page_content": "a", "metadata": {}}):
        given, before = GIVEN[name](), GIVEN[name]()
        copied, expected = _copied(given, dict(changed)), given.model_copy(update=dict(changed))
        assert (type(copied), vars(copied)) == (type(expected), vars(expected))
        assert copied.model_fields_set == expected.model_fields_set
        assert copied.model_extra == expected.model_extra
        assert copied.__pydantic_private__ == expected.__pydantic_private__
        assert pickle.loads(pickle.dumps(copied)) == expected
        assert (copied.model_dump(warnings=False), given) == (expected.model_dump(warnings=False), before)


def test_a_copy_shares_no_state_with_the_document_it_is_of() -> None:
    given = Document("a ferry", metadata={"m": 1})
    copied = _copied(given, {"metadata": {"score": 1}})
    copied.page_content, copied.id = "changed", "new"
    assert (given.page_content, given.id, given.metadata) == ("a ferry", None, {"m": 1})
    assert given.model_fields_set == {"page_content", "metadata"}


def test_documents_of_a_subclass_keep_all_that_is_theirs(colour: str) -> None:
    (found,) = run(colour, compressor(), "compress_documents", [own()], "ferry")
    assert (type(found), found.page, found._secret, found.model_extra) == (Own, 7, "after", {"more": "extra"})
    assert found.metadata == {"m": 1, "relevance_score": 0.9}


def test_what_an_earlier_call_said_goes_and_what_it_scored_stays_in_its_place(colour: str) -> None:
    given = Document("a ferry", metadata={"relevance_score": 0.1, "rerank_status": "degraded", "source": "x"})
    (found,) = run(colour, compressor(), "compress_documents", [given], "ferry")
    assert list(found.metadata.items()) == [("relevance_score", 0.9), ("source", "x")]
    assert given.metadata == {"relevance_score": 0.1, "rerank_status": "degraded", "source": "x"}
