"""What LangChain and LlamaIndex users get beyond the ranking."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import subprocess
import sys
import threading
from typing import Any

import pytest
from langchain_core.documents import Document as LangChainDocument
from langchain_core.documents.compressor import BaseDocumentCompressor
from llama_index.core.callbacks import CallbackManager
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import Document as IndexDocument
from llama_index.core.schema import ImageNode, MetadataMode, NodeWithScore, QueryBundle, TextNode
from pydantic import ValidationError

import langchain_rerankkit
import llamaindex_rerankkit
from helpers.server import recorder
from helpers.services import COHERE, KENDRA, KEY, PINECONE, SERVICES, VOYAGE, Service
from helpers.ways import run
from rerankkit import BM25, Client, InvalidRequestError, providers
from rerankkit._wire import HttpRequest
from rerankkit.emulator import Emulator
from rerankkit.settings import CohereSettings, KendraSettings, PineconeSettings, ServiceSettings, VoyageSettings

SETTINGS: dict[str, type[ServiceSettings]] = {
    "cohere": CohereSettings,
    "voyage": VoyageSettings,
    "pinecone": PineconeSettings,
    "kendra": KendraSettings,
}
ADAPTERS = [(package, name) for package in ("langchain_rerankkit", "llamaindex_rerankkit") for name in SETTINGS]


def by_number(query: str, text: str) -> float:
    return float(text.rsplit(maxsplit=1)[-1])


def adapter(package: str, name: str, url: str, **options: Any) -> Any:
    """The named class of a service, pointed at *url*."""
    keys: dict[str, Any] = {"api_key": KEY}
    if name == "kendra":
        keys = {"plan_id": "p" * 36, "region": "us-east-1", "aws_access_key_id": "AKID", "aws_secret_access_key": KEY}
    module = {"langchain_rerankkit": langchain_rerankkit, "llamaindex_rerankkit": llamaindex_rerankkit}[package]
    return getattr(module, f"{name.capitalize()}Rerank")(**{**keys, "base_url": url, **options})


def ranked(colour: str, adapter: Any, texts: list[str], query: str = "q") -> list[tuple[str, float | None]]:
    if isinstance(adapter, BaseDocumentCompressor):
        found = run(colour, adapter, "compress_documents", [LangChainDocument(text) for text in texts], query)
        return [(document.page_content, document.metadata["relevance_score"]) for document in found]
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in texts]
    found = run(colour, adapter, "postprocess_nodes", nodes, query_str=query)
    return [(node.node.get_content(), node.score) for node in found]


@pytest.mark.parametrize(("package", "name"), ADAPTERS, ids="-".join)
def test_a_named_class_ranks_through_its_service(package: str, name: str, colour: str) -> None:
    service = next(service for service in SERVICES if service.name == name)
    with recorder(service.scored(by_number)) as server:
        found = ranked(colour, adapter(package, name, server.url, top_n=2), ["a 0.1", "b 0.3", "c 0.2"])
    assert found == [("b 0.3", 0.3), ("c 0.2", 0.2)]
    assert [request.path for request in server.requests] == [service.path]


@pytest.mark.parametrize(("package", "name"), ADAPTERS, ids="-".join)
def test_min_score_is_inclusive_and_leaves_out_what_has_no_score(package: str, name: str, colour: str) -> None:
    service = next(service for service in SERVICES if service.name == name)
    with recorder(service.scored(by_number)) as server:
        found = ranked(colour, adapter(package, name, server.url, min_score=0.2), ["a 0.1", "b 0.3", " ", "c 0.2"])
    assert [text for text, _ in found] == ["b 0.3", "c 0.2"]


@pytest.mark.parametrize("name", SETTINGS)
def test_fields_are_the_arguments_of_the_provider(name: str) -> None:
    arguments = inspect.signature(providers.load(name)).parameters
    fields = SETTINGS[name].model_fields
    assert set(arguments) == set(fields) - {"concurrency", "on_error", "retry", "transport"}
    defaults = {
        argument: parameter.default
        for argument, parameter in arguments.items()
        if parameter.default is not inspect.Parameter.empty
    }
    assert defaults == {field: fields[field].default for field in defaults}


@pytest.mark.parametrize(("package", "name"), ADAPTERS, ids="-".join)
def test_unknown_fields_and_wrong_values_are_refused_at_construction(package: str, name: str) -> None:
    for wrong in ({"topn": 3}, {"top_n": 0}, {"top_n": -1}, {"min_score": float("inf")}, {"timeout": 0}, {"base_url": "x"}):
        with pytest.raises(ValidationError):
            adapter(package, name, "https://x.test", **wrong)


@pytest.mark.parametrize(("package", "name"), ADAPTERS[:3] + ADAPTERS[4:7], ids="-".join)
def test_a_missing_key_is_told_at_construction(package: str, name: str) -> None:
    with pytest.raises(ValidationError, match="needs a key: set"):
        adapter(package, name, "https://x.test", api_key=None)


@pytest.mark.parametrize(("package", "name"), ADAPTERS, ids="-".join)
def test_changed_options_make_another_client(package: str, name: str, colour: str) -> None:
    service = next(service for service in SERVICES if service.name == name)
    with recorder(service.scored(by_number)) as first, recorder(service.scored(by_number)) as second:
        one = adapter(package, name, first.url)
        ranked(colour, one, ["a 0.1"])
        other = one.model_copy(update={"base_url": second.url})
        ranked(colour, other, ["a 0.1"])
        ranked(colour, one, ["a 0.1"])
        one.base_url = second.url
        ranked(colour, one, ["a 0.1"])
        assert (len(first.requests), len(second.requests)) == (2, 2)
        assert one.client() is one.client()


@pytest.mark.parametrize(("package", "name"), ADAPTERS, ids="-".join)
def test_copies_and_pickles_work(package: str, name: str, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in emulator.environment.items():
        monkeypatch.setenv(variable, value)
    options: dict[str, Any] = {
        "plan_id": emulator.plan_id,
        "region": None,
        "aws_access_key_id": None,
        "aws_secret_access_key": None,
    }
    one = adapter(package, name, "", base_url=None, **(options if name == "kendra" else {"api_key": None}))
    expected = ranked("sync", one, ["car", "ferry"], "ferry")
    for twin in (copy.deepcopy(one), copy.copy(one), pickle.loads(pickle.dumps(one))):
        assert ranked("async", twin, ["car", "ferry"], "ferry") == expected
    if package == "llamaindex_rerankkit":
        twin = type(one).from_dict(one.to_dict())
        assert twin.class_name() == f"Rerankkit{type(one).__name__}"
        assert ranked("sync", twin, ["car", "ferry"], "ferry") == expected


# Any reranker


@pytest.mark.parametrize("make", [langchain_rerankkit.RerankCompressor, llamaindex_rerankkit.RerankPostprocessor])
def test_any_reranker_and_any_connect_string_will_do(make: Any, colour: str) -> None:
    for reranker in ("local:bm25", BM25()):
        assert ranked(colour, make(reranker=reranker, top_n=1), ["a car", "a ferry"], "ferry")[0][0] == "a ferry"
    with pytest.raises(ValidationError, match="names no service"):
        make(reranker="nobody:knows")
    with pytest.raises(ValidationError):
        make(reranker=object())
    with pytest.raises(ValidationError, match=r"such as Client\(Cohere\('rerank-v3.5'"):
        make(reranker=COHERE.make("https://api.cohere.com"))


@pytest.mark.parametrize("make", [langchain_rerankkit.RerankCompressor, llamaindex_rerankkit.RerankPostprocessor])
def test_the_adapters_timeout_is_the_calls(make: Any, colour: str) -> None:
    seen: list[float | None] = []

    class Patient(BM25):
        def rerank(self, query: str, documents: Any, *, top_n: int | None = None, timeout: float | None = None) -> Any:
            seen.append(timeout)
            return super().rerank(query, documents, top_n=top_n, timeout=timeout)

        async def arerank(self, query: str, documents: Any, *, top_n: int | None = None, timeout: float | None = None) -> Any:
            seen.append(timeout)
            return await super().arerank(query, documents, top_n=top_n, timeout=timeout)

    ranked(colour, make(reranker=Patient(), timeout=2.5), ["a"])
    ranked(colour, make(reranker=Patient()), ["a"])
    assert seen == [2.5, None], "without one of its own, the reranker's holds"


# LangChain


class Special(LangChainDocument):
    extra: int = 0


def test_langchain_documents_keep_class_id_and_metadata_and_are_not_touched(service: Service, colour: str) -> None:
    lock = threading.Lock()
    given = [
        Special(page_content="a 0.1", id="one", metadata={"lock": lock, "relevance_score": 99}, extra=7),
        LangChainDocument("b 0.3", id="two", metadata={"n": {"nested": [1]}}),
    ]
    before = [dict(document.metadata) for document in given]
    with recorder(service.scored(by_number)) as server, Client(service.make(server.url)) as client:
        found = run(colour, langchain_rerankkit.RerankCompressor(reranker=client), "compress_documents", given, "q")
    assert [(type(document), document.id) for document in found] == [(LangChainDocument, "two"), (Special, "one")]
    assert found[1].extra == 7
    assert found[1].metadata == {"lock": lock, "relevance_score": 0.1}, "a stale score is replaced"
    assert [document.metadata for document in given] == before
    assert b"nested" not in server.requests[0].body


def test_langchains_score_key_may_be_another(colour: str) -> None:
    compressor = langchain_rerankkit.RerankCompressor(reranker="local:bm25", score_key="bm25")
    (found,) = run(colour, compressor, "compress_documents", [LangChainDocument("a ferry")], "ferry")
    assert set(found.metadata) == {"bm25"}


def test_a_first_stage_score_that_is_none_is_refused(colour: str) -> None:
    with recorder(KENDRA.scored(by_number)) as server:
        compressor = adapter("langchain_rerankkit", "kendra", server.url, first_stage_score_key="score")
        documents = [LangChainDocument("a 0.1", metadata={"score": "0.5"}), LangChainDocument("b", metadata={"score": "high"})]
        with pytest.raises(InvalidRequestError, match=r"documents\[1\].metadata\['score'\] must be a number, got 'high'"):
            run(colour, compressor, "compress_documents", documents, "q")
    assert server.requests == []


def test_langchain_metadata_goes_out_only_on_request(colour: str) -> None:
    documents = [LangChainDocument("text 0.5", metadata={"title": "Title", "year": 1790, "acl": "private"})]

    def body(service: Service, **options: Any) -> str:
        with recorder(service.scored(lambda *_: 0.5)) as server:
            compressor = adapter("langchain_rerankkit", service.name, server.url, **options)
            run(colour, compressor, "compress_documents", documents, "q")
        return server.requests[0].body.decode()

    for service in SERVICES:
        assert "Title" not in body(service)
    assert '"Title":"Title"' in body(KENDRA, title_key="title")
    assert "title: Title\\ntext: text 0.5\\n" in body(COHERE, rank_fields=["title", "text"])
    several = {"model": "cohere-rerank-4-fast", "rank_fields": ["title", "text"]}
    assert '{"title":"Title","text":"text 0.5"}' in body(PINECONE, **several)
    assert "1790" in body(PINECONE, metadata_fields=["year"], return_documents=True)
    assert "private" not in body(PINECONE, metadata_fields=["title"], return_documents=True)


@pytest.mark.parametrize(
    ("service", "options"),
    [
        (COHERE, {"metadata_fields": ["title"]}),
        (COHERE, {"title_key": "title"}),
        (VOYAGE, {"metadata_fields": ["title"]}),
        (VOYAGE, {"title_key": "title"}),
        (PINECONE, {"metadata_fields": ["title"]}),
        (KENDRA, {"metadata_fields": ["title"]}),
    ],
    ids=lambda value: value.name if isinstance(value, Service) else None,
)
def test_metadata_that_would_go_nowhere_is_refused(service: Service, options: dict[str, Any]) -> None:
    for module in ("langchain_rerankkit", "llamaindex_rerankkit"):
        with pytest.raises(ValidationError, match=f"{next(iter(options))} has no effect: {service.name} ranks"):
            adapter(module, service.name, "https://x.test", **options)


def test_langchains_page_content_is_called_text_here() -> None:
    for options in ({"rank_fields": ["title", "page_content"]}, {"rank_fields": ["text"], "metadata_fields": ["page_content"]}):
        with pytest.raises(ValidationError, match="page_content is the field 'text' here"):
            adapter("langchain_rerankkit", "cohere", "https://x.test", **options)


@pytest.mark.parametrize("adapt", [langchain_rerankkit.RerankCompressor, llamaindex_rerankkit.RerankPostprocessor])
def test_a_class_is_no_reranker(adapt: Any) -> None:
    with pytest.raises(ValidationError, match="reranker must be a reranker, got the class BM25: write it with its parentheses"):
        adapt(reranker=BM25)


@pytest.mark.parametrize("wrong", ["text", TextNode(text="a"), None])
def test_what_is_no_document_is_told(wrong: Any, colour: str) -> None:
    compressor = langchain_rerankkit.RerankCompressor(reranker="local:bm25")
    with pytest.raises(InvalidRequestError, match=r"documents\[1\] must be a LangChain Document, got .*: wrap it in one"):
        run(colour, compressor, "compress_documents", [LangChainDocument("a"), wrong], "q")
    postprocessor = llamaindex_rerankkit.RerankPostprocessor(reranker="local:bm25")
    with pytest.raises(InvalidRequestError, match=r"nodes\[0\] must be a NodeWithScore, got .*: wrap it in one"):
        run(colour, postprocessor, "postprocess_nodes", [wrong], query_str="q")


def test_langchains_compressor_stands_where_langchain_wants_one() -> None:
    compressor = langchain_rerankkit.RerankCompressor(reranker="local:bm25")
    assert isinstance(compressor, BaseDocumentCompressor)
    assert "callbacks" in inspect.signature(compressor.compress_documents).parameters


# LlamaIndex


def test_llamaindex_nodes_are_the_same_in_new_wrappers_and_are_not_touched(service: Service, colour: str) -> None:
    given = [
        NodeWithScore(node=TextNode(text="a 0.1", id_="one", metadata={"n": 1}), score=0.7),
        NodeWithScore(node=IndexDocument(text="b 0.3", id_="two"), score=0.6),
    ]
    hashes = [node.node.hash for node in given]
    with recorder(service.scored(by_number)) as server, Client(service.make(server.url)) as client:
        found = run(
            colour, llamaindex_rerankkit.RerankPostprocessor(reranker=client), "postprocess_nodes", given, query_str="q"
        )
    assert [node.node for node in found] == [given[1].node, given[0].node]
    assert all(one is not other for one in found for other in given)
    assert [node.score for node in given] == [0.7, 0.6]
    assert [node.node.hash for node in given] == hashes


def test_nodes_without_text_come_last_without_a_score(service: Service, colour: str) -> None:
    given = [
        NodeWithScore(node=ImageNode(image_path="x.png"), score=0.9),
        NodeWithScore(node=TextNode(text="a 0.1"), score=None),
        NodeWithScore(node=TextNode(text=" "), score=0.8),
    ]
    with recorder(service.scored(by_number)) as server, Client(service.make(server.url)) as client:
        found = run(
            colour, llamaindex_rerankkit.RerankPostprocessor(reranker=client), "postprocess_nodes", given, query_str="q"
        )
    assert [(node.node, node.score) for node in found] == [(given[1].node, 0.1), (given[0].node, None), (given[2].node, None)]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (MetadataMode.NONE, "text"),
        (MetadataMode.EMBED, "kept: yes\n\ntext"),
        (MetadataMode.LLM, "kept: yes\nhidden: no\n\ntext"),
    ],
)
def test_the_metadata_mode_says_what_is_ranked(mode: MetadataMode, expected: str, colour: str) -> None:
    node = TextNode(text="text", metadata={"kept": "yes", "hidden": "no"}, excluded_embed_metadata_keys=["hidden"])
    with recorder(COHERE.scored(lambda *_: 0.5)) as server:
        postprocessor = adapter("llamaindex_rerankkit", "cohere", server.url, metadata_mode=mode)
        run(colour, postprocessor, "postprocess_nodes", [NodeWithScore(node=node)], query_str="q")
    assert COHERE.texts(server.requests[0].json) == [expected]


def test_the_first_stages_scores_reach_kendra(colour: str) -> None:
    nodes = [NodeWithScore(node=TextNode(text=f"text {n}"), score=score) for n, score in enumerate([0.5, 0.25])]
    with recorder(KENDRA.scored(lambda *_: 0.5)) as server:
        run(colour, adapter("llamaindex_rerankkit", "kendra", server.url), "postprocess_nodes", nodes, query_str="q")
    assert [entry["OriginalScore"] for entry in server.requests[0].json["Documents"]] == [0.5, 0.25]


@pytest.mark.parametrize(
    ("bundle", "message"),
    [
        (None, "there is no query to rank by: call postprocess_nodes"),
        ("ferry", "query_bundle is a str: call postprocess_nodes"),
        (QueryBundle(""), "query is blank"),
        (QueryBundle(" "), "query is blank"),
    ],
)
def test_a_missing_query_is_told(bundle: Any, message: str, colour: str) -> None:
    postprocessor = llamaindex_rerankkit.RerankPostprocessor(reranker="local:bm25")
    with pytest.raises(InvalidRequestError, match=message):
        run(colour, postprocessor, "postprocess_nodes", [NodeWithScore(node=TextNode(text="a"))], bundle)


def test_llamaindex_may_set_what_its_engines_set() -> None:
    postprocessor = llamaindex_rerankkit.RerankPostprocessor(reranker="local:bm25", callback_manager=CallbackManager())
    postprocessor.callback_manager = CallbackManager()
    assert isinstance(postprocessor, BaseNodePostprocessor)


# Without the extras


def test_another_missing_module_is_not_blamed_on_the_extra() -> None:
    program = "import sys; sys.modules['orjson'] = None; from langchain_rerankkit import CohereRerank"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "orjson" in done.stderr.splitlines()[-1]
    assert "pip install" not in done.stderr.splitlines()[-1]


def test_documents_may_come_from_a_generator(colour: str) -> None:
    compressor = langchain_rerankkit.RerankCompressor(reranker="local:bm25")
    found = run(colour, compressor, "compress_documents", (LangChainDocument(text) for text in ("ferry", "car")), "ferry")
    assert [document.page_content for document in found] == ["ferry", "car"]


@pytest.mark.parametrize("module", ["langchain_rerankkit", "llamaindex_rerankkit"])
def test_another_reranker_can_be_set(module: str) -> None:
    name = "RerankCompressor" if module == "langchain_rerankkit" else "RerankPostprocessor"
    adapted = getattr(importlib.import_module(module), name)(reranker="local:bm25")
    other = Client(COHERE.make("https://x.test"))
    adapted.reranker = other
    assert adapted._reranker() is other
    assert adapted.model_copy(update={"reranker": "local:bm25"})._reranker() is not other


@pytest.mark.parametrize("module", ["langchain_rerankkit", "llamaindex_rerankkit"])
def test_a_list_that_is_changed_in_place_counts(module: str) -> None:
    adapted = adapter(module, "cohere", "https://x.test", rank_fields=["title"])
    adapted.rank_fields.append("abstract")
    assert adapted.client().provider.rank_fields == ("title", "abstract")


@pytest.mark.parametrize("module", ["langchain_rerankkit", "llamaindex_rerankkit"])
def test_a_pickle_of_kendras_adapter_asks_the_credential_chain(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = pickle.loads(pickle.dumps(adapter(module, "kendra", "https://x.test")))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDOTHER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-secret")
    assert loaded.client().provider.authenticate(HttpRequest("https://x.test/", {}, b""))


@pytest.mark.parametrize("top_n", [True, "3", 2.0])
def test_top_n_is_a_whole_number_or_nothing(top_n: Any) -> None:
    for module in ("langchain_rerankkit", "llamaindex_rerankkit"):
        with pytest.raises(ValidationError, match="top_n"):
            adapter(module, "cohere", "https://x.test", top_n=top_n)
