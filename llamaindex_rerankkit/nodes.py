"""A node as a reranker gives it back."""

from __future__ import annotations

from llama_index.core.schema import NodeWithScore

from rerankkit import Span


class RerankedNode(NodeWithScore):
    """The caller's own node with the reranker's score, and what else is known of it.

    That stands beside the node, not in its metadata: prompts and the node's hash stay as they were.

    Attributes:
        retrieval_score: The score it was retrieved with; None if the retriever gave none.
        spans: Where the text that was ranked is relevant, best first, as far as the reranker says.
    """

    retrieval_score: float | None = None
    spans: tuple[Span, ...] = ()

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex dumps it."""
        return "RerankedNode"
