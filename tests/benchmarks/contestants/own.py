"""rerankkit, through its core and both adapters, over each HTTP library it can choose."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, get_args, get_type_hints

from benchmarks.contestants.contestant import KEY, TOP_N, Contestant
from benchmarks.contestants.frameworks import LangChainWay, LlamaIndexWay


@cache
def transports() -> Sequence[str]:
    """As the constructor's type has them."""
    from rerankkit import Client

    return _literals(get_type_hints(Client.__init__)["transport"])


def _literals(annotation: object) -> list[str]:
    if isinstance(annotation, str):
        return [annotation]
    return [name for inner in get_args(annotation) for name in _literals(inner)]


@cache
def default_transport() -> str:
    from rerankkit._library import default_transport as chosen

    return chosen()


class Core(Contestant):
    kind = "ours"
    packages = ("rerankkit",)
    imports = "import rerankkit; from rerankkit import Client, Cohere"
    transport = ""

    def __init__(self, url: str) -> None:
        self.reranker: Any = self.make(url + "/cohere")

    def make(self, url: str) -> Any:
        from rerankkit import Client, Cohere

        return Client(Cohere(api_key=KEY, base_url=url), transport=self.transport, timeout=60)  # type: ignore[arg-type]

    def rerank(self, query: str, documents: Any) -> Any:
        return self.reranker.rerank(query, documents, top_n=TOP_N)

    async def arerank(self, query: str, documents: Any) -> Any:
        return await self.reranker.arerank(query, documents, top_n=TOP_N)

    async def aclose(self) -> None:
        await self.reranker.aclose()


class HedgedCore(Core):
    name = "core, Hedged"
    scenarios = frozenset({"tail"})

    def make(self, url: str) -> Any:
        from rerankkit.resilience import Hedged

        return Hedged(super().make(url), delay=0.05)


class CachedCore(Core):
    name = "core, Cached"
    scenarios = frozenset({"duplicates"})

    def make(self, url: str) -> Any:
        from rerankkit.resilience import Cached

        return Cached(super().make(url))


class LangChain(LangChainWay, Core):
    packages = ("rerankkit", "langchain-core")
    imports = (
        "import langchain_rerankkit; from langchain_rerankkit import RerankCompressor; from rerankkit import Client, Cohere"
    )

    def __init__(self, url: str) -> None:
        from langchain_rerankkit import RerankCompressor

        super().__init__(url)
        self.compressor = RerankCompressor(reranker=self.reranker, top_n=TOP_N)


class LangChainFirst(LangChain):
    """In a process that has imported no retriever yet: our compressors are Runnables, whose modules come with them."""

    name = "langchain, no retriever before"
    framework = "from langchain_core.documents import BaseDocumentCompressor"
    scenarios = frozenset({"cold"})


class LlamaIndex(LlamaIndexWay, Core):
    packages = ("rerankkit", "llama-index-core")
    imports = (
        "import llamaindex_rerankkit; from llamaindex_rerankkit import RerankPostprocessor; "
        "from rerankkit import Client, Cohere"
    )

    def __init__(self, url: str) -> None:
        from llamaindex_rerankkit import RerankPostprocessor

        super().__init__(url)
        self.postprocessor = RerankPostprocessor(reranker=self.reranker, top_n=TOP_N)


class LlamaIndexTexts(LlamaIndex):
    """What LlamaIndex takes to say a node's text, for each node: not asked of its own text nodes ranked without metadata."""

    name = "LlamaIndex's own get_content"
    kind = "part"
    native = None
    scenarios = frozenset({"sync"})

    def rerank(self, query: str, documents: Any) -> Any:
        from llama_index.core.schema import MetadataMode

        return [node.get_content(metadata_mode=MetadataMode.NONE) for node in documents]

    def pairs(self, answer: Any) -> None:
        return None


def over(base: type[Core], short: str, transport: str) -> type[Core]:
    """*base* over that library: ``core[httpx2]``."""
    effort = 0 if transport == default_transport() else 1 if base is Core or transport != "httpx" else 2
    facts = {"name": f"{short}[{transport}]", "transport": transport, "effort": effort, "blocking": transport != "aiohttp"}
    return type(base.__name__, (base,), facts)


for one in (HedgedCore, CachedCore, LangChainFirst, LlamaIndexTexts):
    one.transport, one.effort = default_transport(), 0

CONTESTANTS = [
    *(
        over(base, short, transport)
        for base, short in ((Core, "core"), (LangChain, "langchain"), (LlamaIndex, "llamaindex"))
        for transport in transports()
    ),
    HedgedCore,
    CachedCore,
    LangChainFirst,
    LlamaIndexTexts,
]
