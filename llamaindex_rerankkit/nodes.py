"""A node as a reranker gives it back."""

from __future__ import annotations

from llama_index.core.schema import NodeWithScore


class RerankedNode(NodeWithScore):
    """The caller's own node with the reranker's score, and the score it was retrieved with.

    The first stage's score stands beside the node, not in its metadata: prompts and the node's hash stay as they were.

    Attributes:
        retrieval_score: None if the retriever gave none.
    """

    retrieval_score: float | None = None

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex dumps it."""
        return "RerankedNode"
