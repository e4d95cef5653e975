"""The services' own Python SDKs, with the options they come with."""

from __future__ import annotations

from typing import Any

from benchmarks.contestants.contestant import KEY, TOP_N, Contestant


class Cohere(Contestant):
    name = "cohere SDK"
    effort = 0
    packages = ("cohere",)
    imports = "import cohere"

    def __init__(self, url: str) -> None:
        import cohere

        self.client = cohere.ClientV2(KEY, base_url=f"{url}/cohere")
        self.aclient = cohere.AsyncClientV2(KEY, base_url=f"{url}/cohere")

    def rerank(self, query: str, documents: Any) -> Any:
        return self.client.rerank(model="rerank-v3.5", query=query, documents=documents, top_n=TOP_N)

    async def arerank(self, query: str, documents: Any) -> Any:
        return await self.aclient.rerank(model="rerank-v3.5", query=query, documents=documents, top_n=TOP_N)


class Voyage(Contestant):
    name = "voyage SDK"
    effort = 0
    protocol = "voyage"
    packages = ("voyageai",)
    imports = "import voyageai"

    def __init__(self, url: str) -> None:
        import voyageai

        self.client = voyageai.Client(KEY, base_url=f"{url}/voyage/v1")
        self.aclient = voyageai.AsyncClient(KEY, base_url=f"{url}/voyage/v1")

    def rerank(self, query: str, documents: Any) -> Any:
        return self.client.rerank(query, documents, "rerank-2.5", top_k=TOP_N)

    async def arerank(self, query: str, documents: Any) -> Any:
        return await self.aclient.rerank(query, documents, "rerank-2.5", top_k=TOP_N)


class Pinecone(Contestant):
    name = "pinecone SDK"
    effort = 0
    protocol = "pinecone"
    packages = ("pinecone",)
    imports = "from pinecone import AsyncPinecone, Pinecone"

    def __init__(self, url: str) -> None:
        from pinecone import AsyncPinecone, Pinecone

        self.client = Pinecone(api_key=KEY, host=f"{url}/pinecone")
        self.aclient = AsyncPinecone(api_key=KEY, host=f"{url}/pinecone")

    @staticmethod
    def asked(query: str, documents: Any) -> dict[str, Any]:
        model = {"model": "bge-reranker-v2-m3", "top_n": TOP_N, "return_documents": False}
        return {**model, "query": query, "documents": documents}

    def rerank(self, query: str, documents: Any) -> Any:
        return self.client.inference.rerank(**self.asked(query, documents))

    async def arerank(self, query: str, documents: Any) -> Any:
        return await self.aclient.inference.rerank(**self.asked(query, documents))

    def pairs(self, answer: Any) -> list[tuple[int, float]]:
        return [(result.index, result.score) for result in answer.data]


CONTESTANTS = [Cohere, Voyage, Pinecone]
