"""A LlamaIndex node postprocessor over any reranker.

Nodes are the caller's own, in new `NodeWithScore`s; neither is touched. Where the first choice did not rank, a
`RerankDegradedEvent` says so to whoever listens to LlamaIndex's dispatcher.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle
from llama_index_instrumentation import get_dispatcher

import rerankkit
from llamaindex_rerankkit.events import RerankDegradedEvent
from rerankkit.settings import AdapterSettings, RerankerSettings

dispatcher = get_dispatcher(__name__)


class BaseRerankPostprocessor(AdapterSettings, BaseNodePostprocessor):
    """What all postprocessors here do.

    Attributes:
        metadata_mode: What of a node's metadata is ranked with its text; ``MetadataMode.EMBED`` is what embedding
            models saw. The default sends the text alone.
    """

    metadata_mode: MetadataMode = MetadataMode.NONE

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex dumps it."""
        return f"Rerankkit{cls.__name__}"

    @abstractmethod
    def _reranker(self) -> rerankkit.Reranker:
        """Who ranks."""

    def _postprocess_nodes(self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None) -> list[NodeWithScore]:
        query, nodes = _query(query_bundle), list(nodes)
        response = self._reranker().rerank(query, self._candidates(nodes), top_n=self.top_n, timeout=self.timeout)
        return self._answered(nodes, response)

    @dispatcher.span
    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        query, nodes = _query(query_bundle), list(nodes)
        response = await self._reranker().arerank(query, self._candidates(nodes), top_n=self.top_n, timeout=self.timeout)
        return self._answered(nodes, response)

    def _answered(self, nodes: Sequence[NodeWithScore], response: rerankkit.RerankResponse[Any]) -> list[NodeWithScore]:
        """What is returned, in new wrappers; where nobody ranked, nodes keep the first stage's scores."""
        if response.status != "ok":
            served_by, attempts = response.served_by, response.attempts
            dispatcher.event(RerankDegradedEvent(status=response.status, served_by=served_by, attempts=attempts))
        return [
            NodeWithScore(node=node.node, score=node.score if result.skipped == "not_ranked" else result.relevance_score)
            for result in self.kept(response)
            for node in [nodes[result.index]]
        ]

    def _candidates(self, nodes: Sequence[NodeWithScore]) -> list[str | rerankkit.Document]:
        """What is ranked of the nodes; one without text, such as an image, is left unscored at the end."""
        for index, node in enumerate(nodes):
            if not isinstance(node, NodeWithScore):
                kind = type(node).__name__
                raise rerankkit.InvalidRequestError(f"nodes[{index}] must be a NodeWithScore, got {kind}: wrap it in one")
        return [
            self.candidate(node.node.get_content(metadata_mode=self.metadata_mode), node.node.metadata, node.score)
            for node in nodes
        ]


def _query(query_bundle: QueryBundle | None) -> str:
    if query_bundle is None:
        raise rerankkit.InvalidRequestError(
            "there is no query to rank by: call postprocess_nodes(nodes, query_str=...) or pass a query_bundle"
        )
    return query_bundle.query_str


class RerankPostprocessor(RerankerSettings, BaseRerankPostprocessor):
    """Reranks with any reranker: ``RerankPostprocessor(reranker="cohere:rerank-v3.5", top_n=3)``."""
