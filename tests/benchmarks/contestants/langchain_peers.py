"""Other compressors for LangChain, with the options they come with."""

from __future__ import annotations

from typing import Any

from benchmarks.contestants.contestant import KEY, TOP_N
from benchmarks.contestants.frameworks import LangChainWay


class Cohere(LangChainWay):
    name = "langchain-cohere"
    packages = ("langchain-cohere",)
    imports = "from langchain_cohere import CohereRerank"
    native = False

    def __init__(self, url: str) -> None:
        from langchain_cohere import CohereRerank

        options: dict[str, Any] = {"cohere_api_key": KEY, "base_url": f"{url}/cohere"}
        self.compressor = CohereRerank(model="rerank-v3.5", top_n=TOP_N, **options)


class Voyage(LangChainWay):
    name = "langchain-voyageai"
    protocol = "voyage"
    packages = ("langchain-voyageai",)
    imports = "from langchain_voyageai import VoyageAIRerank"

    def __init__(self, url: str) -> None:
        from langchain_voyageai import VoyageAIRerank

        options: dict[str, Any] = {"api_key": KEY, "base_url": f"{url}/voyage/v1"}
        self.compressor = VoyageAIRerank(model="rerank-2.5", top_k=TOP_N, **options)


class Pinecone(LangChainWay):
    name = "langchain-pinecone"
    protocol = "pinecone"
    packages = ("langchain-pinecone",)
    imports = "from langchain_pinecone import PineconeRerank"

    def __init__(self, url: str) -> None:
        import langchain_pinecone.rerank as module
        from pinecone import Pinecone

        models = [{"model": "bge-reranker-v2-m3"}]
        module.get_pinecone_supported_models = lambda *_, **__: models  # it asks the service when it is made
        client = Pinecone(api_key=KEY, host=f"{url}/pinecone")
        options: dict[str, Any] = {"pinecone_api_key": KEY, "client": client}
        self.compressor = module.PineconeRerank(model="bge-reranker-v2-m3", top_n=TOP_N, **options)
        self.host = f"{url}/pinecone"

    async def arerank(self, query: str, documents: Any) -> Any:
        from pinecone import PineconeAsyncio

        if self.compressor.async_client is None:  # it names no other host by itself
            self.compressor.async_client = PineconeAsyncio(api_key=KEY, host=self.host)
        return await self.compressor.acompress_documents(documents, query)


CONTESTANTS = [Cohere, Voyage, Pinecone]
