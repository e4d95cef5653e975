"""What newcomers to the adapters write: each error tells the way out, before any request."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from pydantic import ConfigDict, Field, ValidationError

import langchain_rerankkit
import llamaindex_rerankkit
from helpers.services import KEY
from helpers.ways import run
from rerankkit import BM25, InvalidRequestError
from rerankkit.testing import FakeReranker

MODULES = pytest.mark.parametrize("module", [langchain_rerankkit, llamaindex_rerankkit], ids=lambda module: module.__name__)
SECRET = "a-value-that-is-shown-nowhere"
DOCUMENTS = [Document("a bus"), Document("a ferry")]


def told(make: Any, **options: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        make(**options)
    text = str(caught.value)
    assert "Extra inputs" not in text
    return text


def any_reranker(module: ModuleType) -> Any:
    return getattr(module, "RerankCompressor", None) or module.RerankPostprocessor


# Options


@MODULES
@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ("topn", "topn is no option of CohereRerank: did you mean top_n?"),
        ("topN", "topN is no option of CohereRerank: did you mean top_n?"),
        ("apikey", "apikey is no option of CohereRerank: did you mean api_key?"),
        ("zzzzzz", "zzzzzz is no option of CohereRerank "),
        ("max_retries", "there is no max_retries: pass retry=Retry(attempts=...), which counts all requests"),
    ],
)
def test_an_unknown_option_is_named_with_the_nearest_known_one(module: ModuleType, wrong: str, expected: str) -> None:
    text = told(module.CohereRerank, api_key=KEY, **{wrong: SECRET})
    assert expected in text
    assert SECRET not in text


@MODULES
def test_all_unknown_options_are_named_at_once(module: ModuleType) -> None:
    text = told(module.CohereRerank, api_key=KEY, topn=1, modle="m")
    assert "modle is no option of CohereRerank: did you mean model?; topn is no option" in text


@MODULES
def test_a_client_is_passed_to_the_class_for_any_reranker(module: ModuleType) -> None:
    name = any_reranker(module).__name__
    assert f"there is no client: pass it to {name}(reranker=...)" in told(module.CohereRerank, api_key=KEY, client=object())
    text = told(any_reranker(module), client=object())
    assert "client is called reranker here" in text


@MODULES
def test_options_of_a_service_are_refused_beside_a_reranker(module: ModuleType) -> None:
    make = any_reranker(module)
    assert "reranker='cohere:rerank-v3.5'" in told(make, reranker="local:bm25", model="m")
    assert "Client(..., retry=Retry(attempts=...))" in told(make, reranker="local:bm25", max_retries=3)


@MODULES
def test_a_class_of_the_users_own_may_have_aliases_and_further_options(module: ModuleType) -> None:
    class Mine(module.CohereRerank):  # type: ignore[misc, name-defined]
        purpose: str = Field(default="", validation_alias="why")

    class Loose(module.CohereRerank):  # type: ignore[misc, name-defined]
        model_config = ConfigDict(extra="ignore")

    assert Mine(api_key=KEY, why="search").purpose == "search"
    assert Loose(api_key=KEY, whatever=1).top_n is None
    assert "whyy is no option of Mine: did you mean why?" in told(Mine, api_key=KEY, whyy="search")


@MODULES
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"retry": 4}, "retry must be a Retry, got int: pass retry=Retry(attempts=4)"),
        ({"retry": True}, "retry must be a Retry, got bool: pass retry=Retry(attempts=3)"),
        ({"top_n": 0}, "top_n must be a whole number at least 1, got 0; pass None to rank all documents"),
    ],
)
def test_wrong_values_are_told_as_the_core_tells_them(module: ModuleType, options: dict[str, Any], expected: str) -> None:
    assert expected in told(module.CohereRerank, api_key=KEY, **options)


# Rerankers


@MODULES
def test_an_adapter_in_an_adapter_is_refused(module: ModuleType) -> None:
    kind = {"langchain_rerankkit": "a LangChain compressor", "llamaindex_rerankkit": "a LlamaIndex postprocessor"}
    text = told(any_reranker(module), reranker=module.VoyageRerank(api_key=KEY))
    way_out = "use it directly, or pass 'voyage:...' or Client(Voyage(...))"
    assert f"VoyageRerank is {kind[module.__name__]} itself: {way_out}" in text


def test_an_adapter_of_the_other_framework_is_a_wrong_import() -> None:
    of_langchain = langchain_rerankkit.CohereRerank(api_key=KEY)
    of_llamaindex = llamaindex_rerankkit.CohereRerank(api_key=KEY)
    base = RunnableLambda(lambda _: DOCUMENTS)
    for make, options in (
        (langchain_rerankkit.RerankCompressor, {}),
        (langchain_rerankkit.RerankRetriever, {"base_retriever": base}),
        (langchain_rerankkit.RerankTransformer, {"query": "q"}),
    ):
        assert (
            "CohereRerank of llamaindex_rerankkit is a LlamaIndex postprocessor: for LangChain, import one from "
            "langchain_rerankkit"
        ) in told(make, reranker=of_llamaindex, **options)
    assert (
        "CohereRerank of langchain_rerankkit is a LangChain compressor: for LlamaIndex, import one from llamaindex_rerankkit"
    ) in told(llamaindex_rerankkit.RerankPostprocessor, reranker=of_langchain)


@MODULES
def test_a_reranker_may_be_an_adapter_too(module: ModuleType) -> None:
    class Both(BM25):
        compress_documents = postprocess_nodes = None

    assert any_reranker(module)(reranker=Both()).close() is None


@pytest.mark.parametrize("name", ["base_compressor", "compressor", "client"])
def test_langchains_names_of_a_compressor_lead_to_ours(name: str) -> None:
    base = RunnableLambda(lambda _: DOCUMENTS)
    text = told(langchain_rerankkit.RerankRetriever, base_retriever=base, **{name: object()})
    assert f"{name} is called reranker here" in text
    assert "topn is no option of RerankRetriever: did you mean top_n?" in told(
        langchain_rerankkit.RerankRetriever, base_retriever=base, reranker="local:bm25", topn=1
    )


# Calls of LangChain's


@pytest.mark.parametrize(
    ("documents", "query", "expected"),
    [
        ("a bus", "q", "documents must be a list of Documents, got one str; wrap it in a list"),
        (DOCUMENTS[0], "q", "documents must be a list of Documents, got one Document; wrap it in a list"),
        (None, "q", "documents must be a list of Documents, got NoneType"),
        ("q", DOCUMENTS, "documents come first, then the query: compress_documents(documents, query)"),
        (
            [(document, 0.5) for document in DOCUMENTS],
            "q",
            "documents[0] is a pair: take the documents out of the pairs: [document for document, _ in pairs]",
        ),
    ],
)
def test_what_is_no_list_of_documents_is_told(documents: Any, query: Any, expected: str, colour: str) -> None:
    reranker = FakeReranker()
    compressor = langchain_rerankkit.RerankCompressor(reranker=reranker)
    for method, arguments in (
        ("compress_documents", (documents, query)),
        ("invoke", ({"documents": documents, "query": query},)),
    ):
        with pytest.raises(InvalidRequestError) as caught:
            run(colour, compressor, method, *arguments)
        assert str(caught.value) == expected
    assert reranker.calls == []


def test_a_compressor_behind_a_retriever_names_the_one_that_reranks(colour: str) -> None:
    chain = RunnableLambda(lambda _: DOCUMENTS) | langchain_rerankkit.RerankCompressor(reranker="local:bm25")
    with pytest.raises(InvalidRequestError, match=r"got list; .*RerankRetriever\(base_retriever=..., reranker=...\)"):
        run(colour, chain, "invoke", "q")


class Keeping(BaseRetriever):
    """Takes any option, and keeps those it was called with."""

    seen: list[dict[str, Any]] = Field(default_factory=list)

    def _get_relevant_documents(self, query: str, *, run_manager: Any, **kwargs: Any) -> list[Document]:
        self.seen.append(kwargs)
        return DOCUMENTS

    async def _aget_relevant_documents(self, query: str, *, run_manager: Any, **kwargs: Any) -> list[Document]:
        self.seen.append(kwargs)
        return DOCUMENTS


@pytest.mark.parametrize(
    ("wrong", "way_out"),
    [
        ("topn", "did you mean top_n?"),
        ("topN", "did you mean top_n?"),
        ("candidate", "set candidates on the RerankRetriever"),
        ("candidates", "set candidates on the RerankRetriever"),
    ],
)
def test_a_near_miss_among_the_options_of_a_retrievers_call_is_refused(wrong: str, way_out: str, colour: str) -> None:
    base = Keeping()
    retriever = langchain_rerankkit.RerankRetriever(base_retriever=base, reranker="local:bm25")
    with pytest.raises(InvalidRequestError) as caught:
        run(colour, retriever, "invoke", "q", **{wrong: 1})
    bound = f"(to give {wrong} to the base retriever: base_retriever.bind({wrong}=...))"
    assert str(caught.value) == f"invoke() has no option {wrong}: {way_out} {bound}"
    assert base.seen == []


@pytest.mark.parametrize("option", ["top_k", "fetch_k", "num_candidates", "filter", "score_threshold"])
def test_other_options_still_go_to_the_base_retriever(option: str, colour: str) -> None:
    base = Keeping()
    retriever = langchain_rerankkit.RerankRetriever(base_retriever=base, reranker="local:bm25")
    run(colour, retriever, "invoke", "q", **{option: 1})
    assert base.seen == [{option: 1}]
