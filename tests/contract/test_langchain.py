"""LangChain's compressors as Runnables, where LangChain wants compressors, written down and loaded, and cut to spans."""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import pickle
from typing import Any

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_classic.retrievers.document_compressors import DocumentCompressorPipeline
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.load import dumps, loads
from langchain_core.runnables import ConfigurableField, Runnable, RunnableLambda, RunnablePassthrough
from pydantic import SecretStr, ValidationError

import langchain_rerankkit
from helpers.server import Reply, recorder
from helpers.services import COHERE, KEY, SERVICES, Service
from helpers.ways import one_loop, run
from langchain_rerankkit import CohereRerank, PineconeRerank, RerankCompressor, RerankRetriever, VoyageRerank
from rerankkit import BM25, Client, InvalidRequestError, Retry, ServerError, Span
from rerankkit.resilience import Fallback
from rerankkit.testing import FakeReranker

NAMES = ("CohereRerank", "VoyageRerank", "PineconeRerank", "KendraRerank")
SECRETS = {
    "CohereRerank": {"COHERE_API_KEY": KEY},
    "VoyageRerank": {"VOYAGE_API_KEY": KEY},
    "PineconeRerank": {"PINECONE_API_KEY": KEY},
    "KendraRerank": {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": KEY, "AWS_SESSION_TOKEN": "session-0123456789"},
}


def documents(*texts: str) -> list[Document]:
    return [Document(text) for text in texts]


def texts(found: Any) -> list[str]:
    return [document.page_content for document in found]


def by_number(query: str, text: str) -> float:
    return float(text.rsplit(maxsplit=1)[-1])


def made(name: str, url: str = "https://x.test", **options: Any) -> Any:
    keys: dict[str, Any] = {"api_key": KEY}
    if name == "KendraRerank":
        keys = {
            "plan_id": "p" * 36,
            "region": "us-east-1",
            "aws_access_key_id": "AKID",
            "aws_secret_access_key": KEY,
            "aws_session_token": "session-0123456789",
        }
    return getattr(langchain_rerankkit, name)(**{**keys, "base_url": url, **options})


def service_of(name: str) -> Service:
    return next(service for service in SERVICES if name.lower().startswith(service.name))


def given(*texts: str, query: str = "q") -> dict[str, Any]:
    return {"query": query, "documents": documents(*texts)}


# A Runnable


@pytest.mark.parametrize("name", NAMES)
def test_invoke_ranks_as_compress_documents_does(name: str, colour: str) -> None:
    with recorder(service_of(name).scored(by_number)) as server:
        compressor = made(name, server.url, top_n=2)
        found = run(colour, compressor, "invoke", given("a 0.1", "b 0.3", "c 0.2"))
        assert found == run(colour, compressor, "compress_documents", documents("a 0.1", "b 0.3", "c 0.2"), "q")
    assert texts(found) == ["b 0.3", "c 0.2"]
    assert len(server.requests) == 2


def test_it_stands_in_a_chain(colour: str) -> None:
    found = RunnableLambda(lambda _: documents("a bus", "a ferry"))
    chain = {"documents": found, "query": RunnablePassthrough()} | RerankCompressor(reranker="local:bm25") | texts
    assert run(colour, chain, "invoke", "ferry") == ["a ferry", "a bus"]
    assert run(colour, chain, "batch", ["ferry", "bus"]) == [["a ferry", "a bus"], ["a bus", "a ferry"]]


def test_what_else_a_chain_hands_over_is_left_alone(colour: str) -> None:
    compressor = RerankCompressor(reranker="local:bm25")
    assert texts(run(colour, compressor, "invoke", {**given("a bus", "a ferry", query="ferry"), "user": 7}))[0] == "a ferry"


@pytest.mark.parametrize("wrong", [{"question": "q", "documents": []}, "q", None, {"query": "q"}])
def test_an_input_of_another_form_is_told(wrong: Any, colour: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"invoked with \{'query': ..., 'documents': ...\}, got"):
        run(colour, RerankCompressor(reranker="local:bm25"), "invoke", wrong)


def test_top_n_may_belong_to_a_call(colour: str) -> None:
    fake = FakeReranker()
    compressor = RerankCompressor(reranker=fake, top_n=2)
    assert len(run(colour, compressor, "invoke", given("a", "b", "c"), top_n=1)) == 1
    assert len(run(colour, compressor, "invoke", given("a", "b", "c"), top_n=None)) == 3
    assert len(run(colour, compressor.bind(top_n=3), "invoke", given("a", "b", "c"))) == 3
    assert [call.top_n for call in fake.calls] == [1, None, 3]
    for wrong in (0, -1, True, "3"):
        with pytest.raises(InvalidRequestError, match="top_n"):
            run(colour, compressor, "invoke", given("a"), top_n=wrong)
    with pytest.raises(InvalidRequestError, match="no option 'k': it takes top_n"):
        run(colour, compressor, "invoke", given("a"), k=1)


def test_langchains_own_retries_and_fallbacks_go_around_it(colour: str) -> None:
    failing, spare = FakeReranker(), FakeReranker()
    compressor = RerankCompressor(reranker=failing)
    failing.fail(ServerError("no"), times=1)
    retrying = compressor.with_retry(
        retry_if_exception_type=(ServerError,), wait_exponential_jitter=False, stop_after_attempt=2
    )
    assert texts(run(colour, retrying, "invoke", given("a"))) == ["a"]
    assert len(failing.calls) == 2
    failing.fail(ServerError("no"), times=1)
    falling = compressor.with_fallbacks([RerankCompressor(reranker=spare)])
    assert texts(run(colour, falling, "invoke", given("a"))) == ["a"]
    assert (len(failing.calls), len(spare.calls)) == (3, 1)


@pytest.mark.parametrize("name", NAMES)
def test_a_configured_field_holds_for_a_call_and_keeps_the_connection(name: str, colour: str) -> None:
    with recorder(service_of(name).scored(by_number)) as server, one_loop():
        configurable = made(name, server.url).configurable_fields(top_n=ConfigurableField(id="n"))
        for n in (1, 2, 3):
            config = {"configurable": {"n": n}}
            assert len(run(colour, configurable, "invoke", given("a 0.1", "b 0.3", "c 0.2"), config)) == n
        assert len(run(colour, configurable, "invoke", given("a 0.1", "b 0.3", "c 0.2"))) == 3
    assert server.connections == 1


def test_a_configured_service_option_is_obeyed(colour: str) -> None:
    with recorder(COHERE.scored(by_number)) as server:
        configurable = made("CohereRerank", server.url).configurable_fields(model=ConfigurableField(id="model"))
        run(colour, configurable.with_config(configurable={"model": "rerank-v4.0-fast"}), "invoke", given("a 0.1"))
    assert server.requests[0].json["model"] == "rerank-v4.0-fast"
    with pytest.raises(ValueError, match="nothing"):
        made("CohereRerank").configurable_fields(nothing=ConfigurableField(id="n"))


def test_its_input_and_output_are_described() -> None:
    compressor = RerankCompressor(reranker="local:bm25")
    assert set(compressor.get_input_jsonschema()["$defs"]["RerankInput"]["properties"]) == {"query", "documents"}
    assert compressor.get_output_jsonschema()["type"] == "array"
    assert isinstance(compressor, Runnable)


# Where LangChain wants a compressor


def test_it_stands_in_langchains_compression_retriever_and_pipeline(colour: str) -> None:
    base = RunnableLambda(lambda _: documents("a bus", "a ferry", "the ferry port"))
    compressor = RerankCompressor(reranker="local:bm25", top_n=2)
    pipeline = DocumentCompressorPipeline(transformers=[compressor])
    for inner in (compressor, pipeline):
        retriever = ContextualCompressionRetriever(base_compressor=inner, base_retriever=base)
        assert texts(run(colour, retriever, "invoke", "ferry")) == ["a ferry", "the ferry port"]
    assert "callbacks" in inspect.signature(compressor.compress_documents).parameters
    assert isinstance(compressor, BaseDocumentCompressor)


def test_a_fallback_is_a_compressor_where_langchains_is_none(colour: str) -> None:
    failing = FakeReranker()
    failing.fail(ServerError("no"))
    compressor = RerankCompressor(reranker=Fallback(failing, BM25()))
    base = RunnableLambda(lambda _: documents("a bus", "a ferry"))
    retriever = ContextualCompressionRetriever(base_compressor=compressor, base_retriever=base)
    assert texts(run(colour, retriever, "invoke", "ferry")) == ["a ferry", "a bus"]
    with pytest.raises(ValidationError):
        ContextualCompressionRetriever(base_compressor=compressor.with_fallbacks([compressor]), base_retriever=base)


# Written down, copied, pickled


def loaded(written: str, name: str, secrets: dict[str, str]) -> Any:
    options: dict[str, Any] = {"valid_namespaces": ["langchain_rerankkit"], "secrets_map": secrets}
    if "allowed_objects" in inspect.signature(loads).parameters:  # from langchain-core 1.2 on
        options["allowed_objects"] = [getattr(langchain_rerankkit, name)]
    return loads(written, **options)


@pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
@pytest.mark.parametrize("name", NAMES)
def test_dumps_holds_the_names_of_keys_and_loads_puts_them_in(name: str, colour: str) -> None:
    with recorder(service_of(name).scored(by_number)) as server:
        compressor = made(name, server.url, top_n=2, min_score=0.15, retry=Retry(attempts=2), timeout=5.0)
        written = dumps(compressor)
        again = loaded(written, name, SECRETS[name])
        found = run(colour, again, "compress_documents", documents("a 0.1", "b 0.3", "c 0.2"), "q")
    assert not any(secret in written for secret in SECRETS[name].values())
    assert all(f'["{secret}"]' in written for secret in SECRETS[name])
    assert json.loads(written)["id"] == ["langchain_rerankkit", name.removesuffix("Rerank").lower(), name]
    assert again.model_dump() == compressor.model_dump()
    assert again.retry == Retry(attempts=2)
    assert texts(found) == ["b 0.3", "c 0.2"]


@pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
@pytest.mark.parametrize("attempts", [None, 3])
def test_loads_has_the_attempts_that_were_dumped(attempts: int | None) -> None:
    retry = Retry(attempts=attempts, max_delay=2.0)
    written = dumps(made("CohereRerank", "http://127.0.0.1:9", retry=retry))
    assert loaded(written, "CohereRerank", SECRETS["CohereRerank"]).retry == retry


@pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
@pytest.mark.parametrize(
    "reranker",
    [
        "local:bm25",
        {"type": "fallback", "rerankers": ["local:bm25", "passthrough"]},
        BM25(),
        Fallback(BM25(), BM25(timeout=2.0)),
    ],
    ids=["text", "description", "object", "composition"],
)
def test_what_can_be_described_is_written_down(reranker: Any) -> None:
    written = dumps(RerankCompressor(reranker=reranker, top_n=1))
    again = loaded(written, "RerankCompressor", {})
    assert texts(again.invoke(given("a bus", "a ferry", query="ferry"))) == ["a ferry"]


def test_what_cannot_be_described_says_so() -> None:
    class Own(BM25):
        """A reranker of somebody's own."""

    assert json.loads(dumps(RerankCompressor(reranker=Own())))["type"] == "not_implemented"


@pytest.mark.parametrize("name", NAMES)
def test_no_form_of_it_shows_a_key(name: str) -> None:
    compressor = made(name)
    configurable = compressor.configurable_fields(top_n=ConfigurableField(id="n"))
    forms = [repr(compressor), str(compressor), dumps(compressor), compressor.model_dump_json(), str(compressor.model_dump())]
    forms += [dumps(configurable), repr(configurable), str(compressor.to_json()), repr(pickle.dumps(compressor))]
    for secret in SECRETS[name].values():
        assert not [form for form in forms if secret in form and secret != "AKID"]


@pytest.mark.parametrize("name", NAMES)
def test_copies_have_the_key_and_their_own_options(name: str, colour: str) -> None:
    with recorder(service_of(name).scored(by_number)) as server:
        compressor = made(name, server.url)
        for copied in (copy.copy(compressor), copy.deepcopy(compressor), compressor.model_copy(update={"top_n": 1})):
            found = run(colour, copied, "compress_documents", documents("a 0.1", "b 0.3"), "q")
            assert texts(found)[0] == "b 0.3"
        assert (len(found), compressor.top_n) == (1, None)


# The names that other rerankers' users know


@pytest.mark.parametrize(
    ("make", "options", "expected"),
    [
        (CohereRerank, {"cohere_api_key": KEY, "user_agent": "my-app"}, {"client_name": "my-app"}),
        (CohereRerank, {"cohere_api_key": SecretStr(KEY)}, {}),
        (VoyageRerank, {"voyage_api_key": KEY, "top_k": 2}, {"top_n": 2}),
        (PineconeRerank, {"pinecone_api_key": KEY}, {}),
    ],
)
def test_the_names_of_other_packages_mean_the_same(make: Any, options: dict[str, Any], expected: dict[str, Any]) -> None:
    compressor = make(**options)
    assert compressor.api_key.get_secret_value() == KEY
    assert {name: getattr(compressor, name) for name in expected} == expected
    for name in options:
        assert getattr(compressor, name) == getattr(compressor, make.further_names[name])
    assert not set(options) & set(type(compressor).model_fields)


def test_two_names_for_one_option_are_refused() -> None:
    with pytest.raises(ValidationError, match="top_k is another name of top_n: pass one of them"):
        VoyageRerank(api_key=KEY, top_n=1, top_k=2)
    with pytest.raises(ValidationError, match="cohere_api_key is another name of api_key") as caught:
        CohereRerank(api_key=KEY, cohere_api_key=KEY)
    assert KEY not in str(caught.value)


def test_a_further_name_can_be_set_and_copied_by() -> None:
    compressor = VoyageRerank(api_key=KEY, top_k=2)
    compressor.top_k = 3
    assert (compressor.top_n, compressor.model_copy(update={"top_k": 4}).top_n, compressor.top_k) == (3, 4, 3)
    retriever = RerankRetriever(base_retriever=RunnableLambda(documents), reranker="local:bm25")
    retriever.top_n = 5
    assert (retriever.k, retriever.model_copy(update={"top_n": 6}).k) == (5, 6)
    for made, name in ((compressor, "top_k"), (retriever, "top_n")):
        with pytest.raises(ValidationError):
            setattr(made, name, 0)


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_right_is_refused_when_it_is_set(name: str) -> None:
    compressor = made(name)
    for field, value in {"top_n": 0, "timeout": -1, "min_score": float("nan"), "score_key": None, "topn": 3}.items():
        with pytest.raises(ValidationError, match=field):
            setattr(compressor, field, value)
    assert (compressor.top_n, compressor.timeout, compressor.min_score) == (None, None, None)


@pytest.mark.parametrize(
    "keys", [{"score_key": "rerank_status"}, {"spans_key": "relevance_score"}, {"status_key": "relevant_spans"}]
)
def test_one_key_for_two_things_is_refused(keys: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="must be three keys"):
        RerankCompressor(reranker="local:bm25", **keys)
    assert RerankCompressor(reranker="local:bm25", status_key=None, spans_key="rerank_status").spans_key == "rerank_status"


@pytest.mark.parametrize("wrong", [{"top_k": 0}, {"top_k": "2"}, {"topk": 2}, {"client": object()}])
def test_a_further_name_is_checked_and_others_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        VoyageRerank(api_key=KEY, **wrong)
    with pytest.raises(AttributeError):
        VoyageRerank(api_key=KEY).nothing  # noqa: B018 -- looking is the test


# Spans

TEXT = "Fares are low. The ferry 🚢 leaves at nine. Dogs travel free."
SPANS = [{"start": 15, "end": 42, "score": 0.9}, {"start": 0, "end": 14, "score": 0.4}]


def spanning(*spans: dict[str, Any]) -> Any:
    results = [{"index": 0, "relevance_score": 0.7, "relevant_spans": list(spans)}, {"index": 1, "relevance_score": 0.1}]
    return lambda _: Reply({"id": "r", "results": results, "meta": {}})


def cohere(url: str, **options: Any) -> CohereRerank:
    return CohereRerank(api_key=KEY, model="rerank-v5.0-fast", relevant_spans=True, base_url=url, **options)


def test_spans_are_told_and_the_text_is_left_whole(colour: str) -> None:
    with recorder(spanning(*SPANS)) as server:
        found = run(colour, cohere(server.url), "compress_documents", documents(TEXT, "else"), "q")
    assert texts(found) == [TEXT, "else"]
    assert found[0].metadata["relevant_spans"] == SPANS
    assert "relevant_spans" not in found[1].metadata


def test_on_request_the_text_is_cut_to_its_spans_in_its_own_order(colour: str) -> None:
    given = [Document(TEXT, id="one", metadata={"page": 7}), Document("else")]
    with recorder(spanning(*SPANS)) as server:
        found = run(colour, cohere(server.url, cut_to_spans=True, spans_key="spans"), "compress_documents", given, "q")
    assert texts(found) == ["Fares are low.\nThe ferry 🚢 leaves at nine.", "else"]
    assert (found[0].id, found[0].metadata) == ("one", {"page": 7, "relevance_score": 0.7, "spans": SPANS})
    assert [TEXT[span["start"] : span["end"]] for span in found[0].metadata["spans"]] == [
        "The ferry 🚢 leaves at nine.",
        "Fares are low.",
    ]
    assert (given[0].page_content, given[0].metadata) == (TEXT, {"page": 7})
    assert server.requests[0].json["relevant_spans"] == {"mode": "enabled"}


def test_spans_of_an_earlier_call_go_where_the_answer_has_its_own(colour: str) -> None:
    before = {"relevant_spans": "of an earlier call", "page": 7}
    given = [Document(TEXT, metadata=before), Document("else", metadata=before)]
    with recorder(spanning(*SPANS)) as server:
        found = run(colour, cohere(server.url), "compress_documents", given, "q")
    assert [document.metadata.get("relevant_spans") for document in found] == [SPANS, None]
    with recorder(spanning()) as server:
        found = run(colour, cohere(server.url), "compress_documents", given, "q")
    assert [document.metadata.get("relevant_spans") for document in found] == [None, None]
    found = run(colour, RerankCompressor(reranker=FakeReranker()), "compress_documents", given, "q")
    assert [document.metadata["relevant_spans"] for document in found] == ["of an earlier call"] * 2, "it knows of none"
    assert given[0].metadata == before


def test_spans_that_touch_are_one() -> None:
    from langchain_rerankkit._spans import cut

    assert cut("abcdef", [Span(2, 4, 0.9), Span(0, 2, 0.5)]) == "abcd"
    assert cut("abcdef", [Span(0, 4, 0.9), Span(1, 3, 0.5), Span(5, 6, 0.1)]) == "abcd\nf"
    assert cut("abcdef", []) == "abcdef"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("CohereRerank", {}, "cut_to_spans needs spans to be asked for"),
        ("VoyageRerank", {}, "cut_to_spans needs spans to be asked for"),
        ("CohereRerank", {"model": "rerank-v5.0-fast", "relevant_spans": True, "rank_fields": ["title", "text"]}, "text alone"),
    ],
)
def test_cutting_that_could_not_be_right_is_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        made(name, cut_to_spans=True, **options)


# Closing


@pytest.mark.parametrize("name", NAMES)
def test_leaving_a_block_closes_the_connections(name: str, colour: str) -> None:
    with recorder(service_of(name).scored(by_number)) as server:
        if colour == "sync":
            with made(name, server.url) as compressor:
                compressor.compress_documents(documents("a 0.1"), "q")
            with pytest.raises(Exception, match="closed"):
                compressor.compress_documents(documents("a 0.1"), "q")
        else:
            asyncio.run(_closed_after_a_block(made(name, server.url)))
    assert len(server.requests) == 1


async def _closed_after_a_block(compressor: Any) -> None:
    async with compressor:
        await compressor.acompress_documents(documents("a 0.1"), "q")
    with pytest.raises(Exception, match="closed"):
        await compressor.acompress_documents(documents("a 0.1"), "q")


def test_a_compressor_closes_the_reranker_it_was_given(colour: str) -> None:
    with recorder(COHERE.scored(by_number)) as server:
        client = Client(COHERE.make(server.url))
        compressor = RerankCompressor(reranker=client)
        run(colour, compressor, "close")
        with pytest.raises(Exception, match="closed"):
            client.rerank("q", ["a 0.1"])
