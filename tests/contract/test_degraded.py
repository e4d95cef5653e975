"""What LangChain and LlamaIndex users get when the first choice does not rank, and compositions in the place of a reranker."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.event_handlers import BaseEventHandler
from pydantic import ValidationError

import langchain_rerankkit
import llamaindex_rerankkit
from helpers.server import Answer, Reply, recorder
from helpers.services import COHERE, KENDRA, KEY, PLAN_ID, Service
from helpers.ways import run
from llamaindex_rerankkit.events import RerankDegradedEvent
from rerankkit import AuthenticationError, BadRequestError, Client, RateLimitError, RerankResponse, Retry, ServerError
from rerankkit.emulator import Emulator
from rerankkit.resilience import Fallback, Passthrough
from rerankkit.testing import FakeReranker

GENERIC: dict[str, Any] = {
    "langchain": langchain_rerankkit.RerankCompressor,
    "llamaindex": llamaindex_rerankkit.RerankPostprocessor,
}
PACKAGES = tuple(GENERIC)
TEXTS = ["a 0.1", "b 0.3", " ", "c 0.2"]
ONCE = Retry(attempts=1)


def named(package: str, service: Service, url: str, **options: Any) -> Any:
    """The class of a service."""
    keys: dict[str, Any] = {"api_key": KEY}
    if service is KENDRA:
        keys = {"plan_id": PLAN_ID, "region": "us-east-1", "aws_access_key_id": "AKID", "aws_secret_access_key": KEY}
    module = {"langchain": langchain_rerankkit, "llamaindex": llamaindex_rerankkit}[package]
    return getattr(module, f"{service.name.capitalize()}Rerank")(**keys, base_url=url, retry=ONCE, **options)


def generic(package: str, service: Service, url: str, **options: Any) -> Any:
    return GENERIC[package](reranker=Client(service.make(url), retry=ONCE), **options)


MAKERS: dict[str, Callable[..., Any]] = {"the service's class": named, "any reranker": generic}


@pytest.fixture(params=PACKAGES)
def package(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=MAKERS.values(), ids=MAKERS)
def make(request: pytest.FixtureRequest) -> Any:
    return request.param


def answering(service: Service, status: int) -> Answer:
    """That refuses or fails; a proxy's 503 has nothing to say in any service's form."""
    body: Any = service.error("no") if status < 500 else b"down"
    if service is KENDRA and status == 401:
        body = {"__type": "UnrecognizedClientException", "message": "no"}
    return lambda _: Reply(body, status)


def documents(**metadata: Any) -> list[Document]:
    return [Document(text, id=str(index), metadata={"n": index, **metadata}) for index, text in enumerate(TEXTS)]


def nodes() -> list[NodeWithScore]:
    return [NodeWithScore(node=TextNode(text=text, id_=str(index)), score=0.9 - index / 10) for index, text in enumerate(TEXTS)]


def ranked(colour: str, adapter: Any) -> list[tuple[str, float | None]]:
    """Texts and scores, from either framework."""
    if hasattr(adapter, "compress_documents"):
        found = run(colour, adapter, "compress_documents", documents(), "q")
        return [(document.page_content, document.metadata["relevance_score"]) for document in found]
    return [(node.text, node.score) for node in run(colour, adapter, "postprocess_nodes", nodes(), query_str="q")]


def by_number(_: str, text: str) -> float:
    return float(text.rsplit(maxsplit=1)[-1])


@pytest.fixture
def events() -> Iterator[list[RerankDegradedEvent]]:
    """What LlamaIndex's root dispatcher was told of degraded answers."""
    told: list[RerankDegradedEvent] = []

    class Handler(BaseEventHandler):
        def handle(self, event: Any, **kwargs: Any) -> None:
            if isinstance(event, RerankDegradedEvent):
                told.append(event)

    handler = Handler()
    get_dispatcher().add_event_handler(handler)
    yield told
    get_dispatcher().event_handlers.remove(handler)


# An outage


def test_langchains_documents_keep_their_order_and_say_that_nobody_ranked(service: Service, make: Any, colour: str) -> None:
    given = documents()
    with recorder(answering(service, 503)) as server:
        compressor = make("langchain", service, server.url, on_error="passthrough", top_n=3, min_score=0.2)
        found = run(colour, compressor, "compress_documents", given, "q")
        assert len(server.requests) == 1
    assert [(document.page_content, document.id) for document in found] == [("a 0.1", "0"), ("b 0.3", "1"), (" ", "2")]
    assert [document.metadata for document in found] == [
        {"n": index, "relevance_score": None, "rerank_status": "degraded"} for index in range(3)
    ]
    assert [document.metadata for document in given] == [{"n": index} for index in range(4)]


def test_llamaindexs_nodes_keep_their_order_and_their_own_scores(
    service: Service, make: Any, colour: str, events: list[RerankDegradedEvent]
) -> None:
    given = nodes()
    with recorder(answering(service, 503)) as server:
        postprocessor = make("llamaindex", service, server.url, on_error="passthrough", top_n=3, min_score=0.2)
        found = run(colour, postprocessor, "postprocess_nodes", given, query_str="q")
        assert len(server.requests) == 1
    assert [(node.node, node.score) for node in found] == [(node.node, node.score) for node in given[:3]]
    assert all(one is not other for one in found for other in given)
    (event,) = events
    assert (event.status, event.served_by, event.class_name()) == ("degraded", "passthrough", "RerankDegradedEvent")
    turn = event.attempts[0]
    assert (turn.reranker.partition(":")[0], turn.outcome) == (service.name, "failed")
    assert event.model_dump()["attempts"][0]["error"] == turn.error
    assert KEY not in repr(event)


def test_nobody_has_to_listen(colour: str) -> None:
    postprocessor = llamaindex_rerankkit.RerankPostprocessor(reranker="passthrough", top_n=1)
    assert ranked(colour, postprocessor) == [("a 0.1", 0.9)]


def test_an_outage_is_raised_unless_told_otherwise(make: Any, package: str, colour: str) -> None:
    with recorder(answering(COHERE, 503)) as server, pytest.raises(ServerError):
        ranked(colour, make(package, COHERE, server.url))


@pytest.mark.parametrize(("status", "error"), [(401, AuthenticationError), (400, BadRequestError)])
def test_a_wrong_key_and_a_bad_request_are_raised_in_any_case(
    service: Service, make: Any, package: str, colour: str, status: int, error: type[Exception]
) -> None:
    with recorder(answering(service, status)) as server, pytest.raises(error):
        ranked(colour, make(package, service, server.url, on_error="passthrough"))
    assert server.requests


def test_a_closed_port_is_an_outage(service: Service, make: Any, package: str, colour: str) -> None:
    found = ranked(colour, make(package, service, "http://127.0.0.1:1", on_error="passthrough"))
    assert [text for text, _ in found] == TEXTS


def test_a_reranker_of_ones_own_may_fail_as_well(package: str, colour: str) -> None:
    class Own:
        def rerank(self, query: str, documents: Any, *, top_n: int | None = None, timeout: float | None = None) -> Any:
            raise RateLimitError("no", provider="own")

        async def arerank(self, query: str, documents: Any, *, top_n: int | None = None, timeout: float | None = None) -> Any:
            raise RateLimitError("no", provider="own")

    assert [text for text, _ in ranked(colour, GENERIC[package](reranker=Own(), on_error="passthrough"))] == TEXTS
    with pytest.raises(RateLimitError):
        ranked(colour, GENERIC[package](reranker=Own()))


def test_what_is_no_outage_is_never_hidden(package: str, colour: str) -> None:
    fake = FakeReranker()
    fake.fail(ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        ranked(colour, GENERIC[package](reranker=fake, on_error="passthrough"))


def test_on_error_may_be_changed_later(make: Any, package: str, colour: str) -> None:
    with recorder(answering(COHERE, 503)) as server:
        adapter = make(package, COHERE, server.url)
        adapter.on_error = "passthrough"
        assert len(ranked(colour, adapter)) == 4
        with pytest.raises(ServerError):
            ranked(colour, adapter.model_copy(update={"on_error": "raise"}))
    with pytest.raises(ValidationError, match="on_error"):
        make(package, COHERE, "http://127.0.0.1:1", on_error="ignore")


# A substitute


def test_a_substitutes_scores_are_given_and_not_held_against_the_threshold(
    package: str, colour: str, events: list[RerankDegradedEvent]
) -> None:
    down = FakeReranker()
    down.fail(ServerError("no", provider="x"))
    adapter = GENERIC[package](reranker=Fallback(down, FakeReranker({"c 0.2": 0.01})), min_score=0.5, top_n=2)
    assert ranked(colour, adapter) == [("c 0.2", 0.01), ("a 0.1", 0.0)]
    assert [event.served_by for event in events] == ([] if package == "langchain" else ["fake:fake"])


def test_the_first_choices_answer_leaves_no_mark_not_even_a_stale_one(service: Service, make: Any, colour: str) -> None:
    with recorder(service.scored(by_number)) as server:
        compressor = make("langchain", service, server.url, on_error="passthrough", min_score=0.2)
        found = run(colour, compressor, "compress_documents", documents(rerank_status="degraded"), "q")
    assert [document.metadata for document in found] == [{"n": 1, "relevance_score": 0.3}, {"n": 3, "relevance_score": 0.2}]


def test_llamaindex_is_told_nothing_of_the_first_choices_answer(
    service: Service, make: Any, colour: str, events: list[RerankDegradedEvent]
) -> None:
    with recorder(service.scored(by_number)) as server:
        found = ranked(colour, make("llamaindex", service, server.url, on_error="passthrough", min_score=0.2))
    assert found == [("b 0.3", 0.3), ("c 0.2", 0.2)]
    assert events == []


@pytest.mark.parametrize(("key", "expected"), [("how", {"how": "degraded"}), (None, {})])
def test_the_key_of_the_status_may_be_another_or_none(key: str | None, expected: dict[str, str], colour: str) -> None:
    compressor = langchain_rerankkit.RerankCompressor(reranker="passthrough", status_key=key, top_n=1)
    (found,) = run(colour, compressor, "compress_documents", documents(rerank_status="mine"), "q")
    assert found.metadata == {"n": 0, "rerank_status": "mine", "relevance_score": None, **expected}


class Partial(FakeReranker):
    """One of several failed."""

    async def _rerank(self, io: Any, request: Any) -> Any:
        response = await super()._rerank(io, request)
        return RerankResponse(response.results, provider="fake", status="partial")


def test_a_partial_answer_is_marked_and_held_against_the_threshold(
    package: str, colour: str, events: list[RerankDegradedEvent]
) -> None:
    adapter = GENERIC[package](reranker=Partial(by_number), min_score=0.2)
    assert ranked(colour, adapter) == [("b 0.3", 0.3), ("c 0.2", 0.2)]
    if package == "langchain":
        found = run(colour, adapter, "compress_documents", documents(), "q")
        assert [document.metadata["rerank_status"] for document in found] == ["partial", "partial"]
    else:
        assert [event.status for event in events] == ["partial"]


# A description in the place of a reranker


def described(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    for name, value in emulator.environment.items():
        monkeypatch.setenv(name, value)
    primary = {"type": "client", "service": "cohere", "retry": {"attempts": 1}}
    return {"type": "fallback", "rerankers": [primary, "voyage", "passthrough"]}


def test_a_description_will_do(package: str, colour: str, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = GENERIC[package](reranker=described(emulator, monkeypatch), top_n=1)
    assert len(ranked(colour, adapter)) == 1
    assert [request.service for request in emulator.requests()] == ["cohere"]


def test_strings_and_descriptions_are_dumped_and_objects_are_not(
    package: str, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    description = described(emulator, monkeypatch)
    for given in ("local:bm25", description):
        adapter = GENERIC[package](reranker=given, top_n=2, on_error="passthrough")
        assert adapter.model_dump()["reranker"] == adapter.model_dump(mode="json")["reranker"] == given
        dumped = json.loads(adapter.model_dump_json())
        dumped.pop("class_name", None)
        assert type(adapter)(**dumped).reranker == given
    assert GENERIC[package](reranker=Passthrough()).model_dump()["reranker"] is None


@pytest.mark.parametrize("form", ["string", "description"])
def test_llamaindex_restores_what_it_dumped(
    form: str, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, colour: str
) -> None:
    description = described(emulator, monkeypatch)
    given = description if form == "description" else "voyage:rerank-2.5"
    one = llamaindex_rerankkit.RerankPostprocessor(reranker=given, top_n=2)
    twin = llamaindex_rerankkit.RerankPostprocessor.from_dict(one.to_dict())
    other = llamaindex_rerankkit.RerankPostprocessor.from_json(one.to_json())
    assert twin.reranker == other.reranker == given
    assert ranked(colour, twin) == ranked(colour, other) == ranked(colour, one)


def test_copies_and_pickles_of_a_described_adapter_rank_as_well(
    package: str, colour: str, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = GENERIC[package](reranker=described(emulator, monkeypatch), on_error="passthrough")
    expected = ranked(colour, one)
    pickled = pickle.dumps(one)
    assert emulator.environment["CO_API_KEY"].encode() not in pickled
    for twin in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickled), one.model_copy()):
        assert ranked(colour, twin) == expected


def test_a_description_that_is_changed_in_place_counts(package: str, colour: str) -> None:
    adapter = GENERIC[package](reranker={"type": "fallback", "rerankers": ["passthrough"]})
    first = adapter._reranker()
    assert adapter._reranker() is first
    adapter.reranker["rerankers"][0] = "local:bm25"
    assert adapter._reranker() is not first
    assert repr(adapter._reranker()) == "Fallback(BM25())"


def test_a_wrong_description_is_told_at_construction(package: str) -> None:
    for wrong, message in (
        ({"type": "fallback", "rerankers": ["local:bm25", "cohre"]}, r"rerankers\[1\]: 'cohre' names no service"),
        ({"rerankers": []}, "a 'type' is missing"),
        ({"type": "client", "service": "cohere", "api_key": KEY}, "api_key: keys and passwords are not written down"),
    ):
        with pytest.raises(ValidationError, match=message) as caught:
            GENERIC[package](reranker=wrong)
        assert KEY not in str(caught.value)
