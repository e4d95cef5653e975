"""Other postprocessors for LlamaIndex, with the options they come with; none has async code of its own."""

from __future__ import annotations

from benchmarks.contestants.contestant import KEY, TOP_N
from benchmarks.contestants.frameworks import LlamaIndexWay


class LlamaIndexPeer(LlamaIndexWay):
    native = False


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
