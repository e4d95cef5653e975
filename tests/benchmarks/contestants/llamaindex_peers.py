"""Other postprocessors for LlamaIndex, with the options they come with; none has async code of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.contestants.contestant import KEY, TOP_N, Contestant


class LlamaIndexPeer(Contestant):
    framework = "from llama_index.core.postprocessor.types import BaseNodePostprocessor"
    native = False
    postprocessor: Any

    def prepare(self, texts: Sequence[str]) -> Any:
        from llama_index.core.schema import NodeWithScore, TextNode

        return [NodeWithScore(node=TextNode(text=text, id_=str(number)), score=0.0) for number, text in enumerate(texts)]

    def rerank(self, query: str, documents: Any) -> Any:
        return self.postprocessor.postprocess_nodes(documents, query_str=query)

    async def arerank(self, query: str, documents: Any) -> Any:
        return await self.postprocessor.apostprocess_nodes(documents, query_str=query)

    def pairs(self, answer: Any) -> list[tuple[int, float]]:
        return [(int(node.node.node_id), node.score) for node in answer]


class Cohere(LlamaIndexPeer):
    name = "llamaindex cohere-rerank"
    packages = ("llama-index-postprocessor-cohere-rerank",)
    imports = "from llama_index.postprocessor.cohere_rerank import CohereRerank"

    def __init__(self, url: str) -> None:
        from llama_index.postprocessor.cohere_rerank import CohereRerank

        self.postprocessor = CohereRerank(top_n=TOP_N, model="rerank-v3.5", api_key=KEY, base_url=f"{url}/cohere")


class Voyage(LlamaIndexPeer):
    name = "llamaindex voyageai-rerank"
    protocol = "voyage"
    packages = ("llama-index-postprocessor-voyageai-rerank",)
    imports = "from llama_index.postprocessor.voyageai_rerank import VoyageAIRerank"

    def __init__(self, url: str) -> None:
        from llama_index.postprocessor.voyageai_rerank import VoyageAIRerank

        self.postprocessor = VoyageAIRerank(model="rerank-2.5", api_key=KEY, top_n=TOP_N)
        self.postprocessor._client._params["base_url"] = f"{url}/voyage/v1"  # it has no option for that


class Pinecone(LlamaIndexPeer):
    name = "llamaindex pinecone-native-rerank"
    protocol = "pinecone"
    packages = ("llama-index-postprocessor-pinecone-native-rerank",)
    imports = "from llama_index.postprocessor.pinecone_native_rerank import PineconeNativeRerank"

    def __init__(self, url: str) -> None:
        from llama_index.postprocessor.pinecone_native_rerank import PineconeNativeRerank
        from pinecone import Pinecone

        self.postprocessor = PineconeNativeRerank(top_n=TOP_N, api_key=KEY)
        self.postprocessor._pc = Pinecone(api_key=KEY, host=f"{url}/pinecone")  # it has no option for that


CONTESTANTS = [Cohere, Voyage, Pinecone]
