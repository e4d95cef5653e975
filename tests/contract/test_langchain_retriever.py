"""The retriever and the transformer."""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
from typing import Any

import pytest
from langchain_classic.retrievers.document_compressors import DocumentCompressorPipeline
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import ConfigurableField, RunnableLambda
from langchain_core.vectorstores import InMemoryVectorStore
from pydantic import ValidationError

from helpers.server import recorder
from helpers.services import COHERE, KEY
from helpers.ways import one_loop, run
from langchain_rerankkit import CohereRerank, RerankCompressor, RerankRetriever, RerankTransformer
from rerankkit import InvalidRequestError, ServerError
from rerankkit.testing import FakeReranker

TEXTS = [f"text {number:03}" for number in range(300)]


def last_first(query: str, text: str) -> float:
    return float(text.rsplit(maxsplit=1)[-1])


class Taking(BaseRetriever):
    """Is told how many in its call, for both colours."""

    asked: list[Any] = []  # noqa: RUF012 -- pydantic copies it

    def _get_relevant_documents(self, query: str, *, run_manager: Any, k: int = 10, **options: Any) -> list[Document]:
        self.asked.append((k, options))
        return [Document(text) for text in TEXTS[:k]]

    async def _aget_relevant_documents(self, query: str, *, run_manager: Any, k: int = 10, **options: Any) -> list[Document]:
        return self._get_relevant_documents(query, run_manager=run_manager, k=k, **options)


class Holding(BaseRetriever):
    """Has a field for how many, as BM25Retriever has."""

    k: int = 10

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return [Document(text) for text in TEXTS[: self.k]]


class Fixed(BaseRetriever):
    """Cannot be told."""

    size: int = 10

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return [Document(text) for text in TEXTS[: self.size]]


class HalfTaking(BaseRetriever):
    """Can be told in blocking calls only: LangChain's default for event loops takes no options."""

    def _get_relevant_documents(self, query: str, *, run_manager: Any, k: int = 10) -> list[Document]:
        return [Document(text) for text in TEXTS[:k]]


def retriever(base: Any, **options: Any) -> tuple[RerankRetriever, FakeReranker]:
    fake = FakeReranker(last_first)
    return RerankRetriever(base_retriever=base, reranker=fake, **options), fake


@pytest.mark.parametrize("base", [Taking, Holding, lambda: Taking().with_config(tags=["t"])])
@pytest.mark.parametrize(
    ("options", "fetched", "returned"),
    [
        ({}, 10, 10),
        ({"k": 3}, 12, 3),
        ({"top_n": 3}, 12, 3),
        ({"k": 3, "multiplier": 10}, 30, 3),
        ({"k": 50}, 100, 50),
        ({"k": 50, "max_candidates": 60}, 60, 50),
        ({"k": 120}, 120, 120),
        ({"k": 3, "candidates": 20}, 20, 3),
        ({"candidates": 25}, 25, 25),
        ({"k": 5, "candidates": 2}, 5, 5),
    ],
)
def test_more_are_fetched_than_are_returned(
    base: Any, options: dict[str, int], fetched: int, returned: int, colour: str
) -> None:
    reranking, fake = retriever(base(), **options)
    found = run(colour, reranking, "invoke", "q")
    assert [document.page_content for document in found] == TEXTS[fetched - returned : fetched][::-1]
    assert [len(call.documents) for call in fake.calls] == [fetched]


def test_a_call_may_say_how_many_by_either_name(colour: str) -> None:
    reranking, fake = retriever(Taking(), k=7)
    for options in ({"k": 2}, {"top_n": 2}, {"k": 2, "top_n": 2}):
        assert len(run(colour, reranking, "invoke", "q", **options)) == 2
    assert len(run(colour, reranking, "invoke", "q", k=None)) == 7
    assert [len(call.documents) for call in fake.calls] == [8, 8, 8, 28]
    with pytest.raises(InvalidRequestError, match="k and top_n are the same here, got k=1 and top_n=2"):
        run(colour, reranking, "invoke", "q", k=1, top_n=2)
    for wrong in (0, -1, "3", True):
        with pytest.raises(InvalidRequestError, match="k must be"):
            run(colour, reranking, "invoke", "q", k=wrong)


def test_the_compressors_own_top_n_holds_where_nobody_says_otherwise(colour: str) -> None:
    reranking = RerankRetriever(base_retriever=Taking(), reranker=RerankCompressor(reranker=FakeReranker(), top_n=2))
    assert len(run(colour, reranking, "invoke", "q")) == 2
    assert len(run(colour, reranking, "invoke", "q", k=5)) == 5
    assert [asked for asked, _ in reranking.base_retriever.asked] == [8, 20]


def test_a_retriever_that_cannot_be_told_fetches_what_it_fetches(colour: str) -> None:
    reranking, fake = retriever(Fixed(size=10), k=3)
    assert len(run(colour, reranking, "invoke", "q")) == 3
    fixed, cut = retriever(Fixed(size=200), k=3)
    assert len(run(colour, fixed, "invoke", "q")) == 3
    assert [len(call.documents) for call in (*fake.calls, *cut.calls)] == [10, 12], "no more is paid for than was asked for"


def test_an_option_that_only_one_colour_takes_is_not_forced_on_the_other(colour: str) -> None:
    reranking, fake = retriever(HalfTaking(), k=5)
    assert len(run(colour, reranking, "invoke", "q")) == 5
    assert [len(call.documents) for call in fake.calls] == [20 if colour == "sync" else 10]


def test_any_runnable_from_a_query_to_documents_will_do(colour: str) -> None:
    reranking, _ = retriever(RunnableLambda(lambda query: [Document(f"{query} {number}") for number in range(3)]), k=1)
    assert [document.page_content for document in run(colour, reranking, "invoke", "q")] == ["q 2"]


def test_a_vector_store_is_told(colour: str) -> None:
    store = InMemoryVectorStore(DeterministicFakeEmbedding(size=8))
    store.add_texts(TEXTS)
    reranking, fake = retriever(store.as_retriever(), k=6)
    assert len(run(colour, reranking, "invoke", "q")) == 6
    assert [len(call.documents) for call in fake.calls] == [24], "without being told it fetches 4"


def test_other_options_of_a_call_go_to_the_base_retriever(colour: str) -> None:
    reranking, _ = retriever(Taking(), k=1)
    run(colour, reranking, "invoke", "q", filter="f")
    assert reranking.base_retriever.asked == [(4, {"filter": "f"})]


def test_nothing_found_is_nothing_asked(colour: str) -> None:
    reranking, fake = retriever(Fixed(size=0), k=1)
    assert run(colour, reranking, "invoke", "q") == []
    assert fake.calls == []


class Reversing(BaseDocumentCompressor):
    """Somebody else's compressor."""

    def compress_documents(self, documents: Any, query: str, callbacks: Any = None) -> Any:
        return tuple(reversed(documents))


def test_a_compressor_of_others_will_do(colour: str) -> None:
    reranking = RerankRetriever(base_retriever=Taking(), reranker=Reversing(), k=2)
    assert [document.page_content for document in run(colour, reranking, "invoke", "q")] == ["text 007", "text 006"]
    reranking.close()
    asyncio.run(reranking.aclose())


@pytest.mark.parametrize("reranker", ["local:bm25", {"type": "fallback", "rerankers": ["local:bm25", "passthrough"]}])
def test_a_reranker_may_be_named_or_described(reranker: Any, colour: str) -> None:
    reranking = RerankRetriever(base_retriever=Taking(), reranker=reranker, k=1, candidates=30)
    assert [document.page_content for document in run(colour, reranking, "invoke", "017")] == ["text 017"]
    reranking.reranker = FakeReranker(last_first)
    assert [document.page_content for document in run(colour, reranking, "invoke", "017")] == ["text 029"]


def test_a_description_that_is_changed_in_place_counts() -> None:
    described: dict[str, Any] = {"type": "fallback", "rerankers": ["local:bm25"]}
    reranking = RerankRetriever(base_retriever=Taking(), reranker=described, k=1)
    before = reranking.compressor()
    assert reranking.compressor() is before
    reranking.reranker["rerankers"].append("passthrough")
    assert reranking.compressor() is not before


def test_what_fails_is_raised(colour: str) -> None:
    reranking, fake = retriever(Taking(), k=1)
    fake.fail(ServerError("no"))
    with pytest.raises(ServerError):
        run(colour, reranking, "invoke", "q")


@pytest.mark.parametrize(
    "wrong",
    [{"k": 0}, {"k": "3"}, {"candidates": 0}, {"multiplier": 0}, {"max_candidates": True}, {"kk": 3}, {"k": 1, "top_n": 1}],
)
def test_wrong_options_are_refused_at_construction(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RerankRetriever(base_retriever=Taking(), reranker="local:bm25", **wrong)
    for reranker in (object(), "nobody:knows", {"type": "nothing"}):
        with pytest.raises(ValidationError):
            RerankRetriever(base_retriever=Taking(), reranker=reranker)


@pytest.mark.parametrize("reranker", ["cohere", {"type": "client", "service": "cohere"}])
def test_its_fields_can_be_configured_and_connections_are_kept(
    reranker: Any, colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with recorder(COHERE.scored(last_first)) as server, one_loop():
        monkeypatch.setenv("CO_API_KEY", KEY)
        monkeypatch.setenv("CO_API_URL", server.url)
        reranking = RerankRetriever(base_retriever=Taking(), reranker=reranker, k=1)
        configurable = reranking.configurable_fields(k=ConfigurableField(id="k"))
        for k in (2, 3):
            assert len(run(colour, configurable, "invoke", "q", {"configurable": {"k": k}})) == k
    assert server.connections == 1


def test_closing_it_closes_the_reranker_alone(colour: str) -> None:
    with recorder(COHERE.scored(last_first)) as server:
        compressor = CohereRerank(api_key=KEY, base_url=server.url)
        reranking = RerankRetriever(base_retriever=Taking(), reranker=compressor, k=1)
        if colour == "sync":
            with reranking:
                reranking.invoke("q")
        else:
            asyncio.run(_used(reranking))
        with pytest.raises(Exception, match="closed"):
            compressor.compress_documents([Document("text 1")], "q")


async def _used(reranking: RerankRetriever) -> None:
    async with reranking:
        await reranking.ainvoke("q")


def test_it_brings_nothing_but_langchain_core() -> None:
    program = "import sys, langchain_rerankkit; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"langchain_classic", "langchain", "langchain_community", "llama_index"} & set(done.stdout.split())
    assert importlib.import_module("langchain_rerankkit").RerankRetriever is RerankRetriever


# The transformer


def test_the_transformer_ranks_for_its_query(colour: str) -> None:
    transformer = RerankTransformer(query="ferry", reranker=RerankCompressor(reranker="local:bm25", top_n=1))
    given = [Document("a bus"), Document("a ferry", metadata={"n": 1})]
    (found,) = run(colour, transformer, "transform_documents", given)
    assert (found.page_content, found.metadata["n"]) == ("a ferry", 1)
    assert given[1].metadata == {"n": 1}
    with pytest.raises(InvalidRequestError, match="no option 'top_n': set it on the compressor"):
        run(colour, transformer, "transform_documents", given, top_n=1)


def test_the_transformer_stands_in_langchains_pipeline(colour: str) -> None:
    pipeline = DocumentCompressorPipeline(transformers=[RerankTransformer(query="ferry", reranker="local:bm25")])
    found = run(colour, pipeline, "compress_documents", [Document("a bus"), Document("a ferry")], "bus")
    assert [document.page_content for document in found] == ["a ferry", "a bus"]


@pytest.mark.parametrize("wrong", [{"query": None}, {"top_n": 3}, {"reranker": 7}])
def test_wrong_transformers_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RerankTransformer(**{"query": "q", "reranker": "local:bm25", **wrong})
