"""One call, in both colours and on all ways into the package."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from rerankkit import BaseReranker, Reranker
from rerankkit._io import BLOCKING, IO
from rerankkit._io import run as finished

Result = tuple[int, float | None]
Scope: TypeAlias = Callable[[Coroutine[Any, Any, Any]], Coroutine[Any, Any, Any]]


@dataclass(frozen=True)
class Way:
    """Through which package, and in which colour."""

    package: Literal["core", "langchain", "llamaindex"]
    colour: Literal["sync", "async"]

    def __str__(self) -> str:
        return f"{self.package}-{self.colour}"

    def prepare(self) -> None:
        """Import what it needs, before anything is timed."""
        if self.package != "core":
            package = importlib.import_module(f"{self.package}_rerankkit")
            for name in package.__all__:
                getattr(package, name)

    def __call__(self, reranker: Reranker, query: str, texts: Sequence[str], top_n: int | None = None) -> list[Result]:
        """Position in *texts* and score of each result."""
        return getattr(self, f"_{self.package}")(reranker, query, texts, top_n)

    def _core(self, reranker: Reranker, query: str, texts: Sequence[str], top_n: int | None) -> list[Result]:
        response = run(self.colour, reranker, "rerank", query, texts, top_n=top_n)
        return [(result.index, result.relevance_score) for result in response]

    def _langchain(self, reranker: Reranker, query: str, texts: Sequence[str], top_n: int | None) -> list[Result]:
        from langchain_core.documents import Document

        from langchain_rerankkit import RerankCompressor

        documents = [Document(text, id=str(index), metadata={"position": index}) for index, text in enumerate(texts)]
        compressor = RerankCompressor(reranker=reranker, top_n=top_n)
        found = run(self.colour, compressor, "compress_documents", documents, query)
        assert all(document.page_content == texts[int(document.id)] for document in found)
        return [(document.metadata["position"], document.metadata["relevance_score"]) for document in found]

    def _llamaindex(self, reranker: Reranker, query: str, texts: Sequence[str], top_n: int | None) -> list[Result]:
        from llama_index.core.schema import NodeWithScore, TextNode

        from llamaindex_rerankkit import RerankPostprocessor

        nodes = [NodeWithScore(node=TextNode(text=text, id_=str(index))) for index, text in enumerate(texts)]
        postprocessor = RerankPostprocessor(reranker=reranker, top_n=top_n)
        found = run(self.colour, postprocessor, "postprocess_nodes", nodes, query_str=query)
        assert all(node.node is nodes[int(node.node_id)].node for node in found)
        return [(int(node.node_id), node.score) for node in found]


_RUNNER: ContextVar[asyncio.Runner | None] = ContextVar("runner", default=None)
_SCOPE: ContextVar[Scope | None] = ContextVar("scope", default=None)


@contextmanager
def one_loop() -> Iterator[asyncio.Runner]:
    """Within it, async calls share one event loop, and so their connections."""
    with asyncio.Runner() as runner:
        token = _RUNNER.set(runner)
        try:
            yield runner
        finally:
            _RUNNER.reset(token)


@contextmanager
def within(scope: Scope) -> Iterator[None]:
    """Within it, each async call is awaited by *scope*, such as a caller's own time limit."""
    token = _SCOPE.set(scope)
    try:
        yield
    finally:
        _SCOPE.reset(token)


def run(colour: str, holder: object, method: str, *args: Any, **kwargs: Any) -> Any:
    """The method's result: called as it is, or its async twin in an event loop, its own unless within `one_loop`."""
    if colour == "sync":
        return getattr(holder, method)(*args, **kwargs)

    async def awaited() -> Any:
        return await getattr(holder, f"a{method}")(*args, **kwargs)

    runner, scope = _RUNNER.get(), _SCOPE.get()
    coroutine = awaited() if scope is None else scope(awaited())
    return asyncio.run(coroutine) if runner is None else runner.run(coroutine)


def outrun(reranker: BaseReranker) -> None:
    """A blocking call of *reranker*'s that waits, and loses a race while it does."""

    async def raced(io: IO) -> str:
        async def waiting() -> str:
            await reranker._rerank(io, reranker._checked("q", ["a"], None, None))
            return "ranked"

        async def at_once() -> str:
            await io.sleep(0.05)
            return "first"

        return await io.race([waiting, at_once], lambda _: True)

    assert finished(raced(BLOCKING)) == "first"


COLOURS = ("sync", "async")
WAYS = tuple(Way(package, colour) for package in ("core", "langchain", "llamaindex") for colour in COLOURS)
