"""How services count what they bill, where several count alike."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rerankkit._tokens import Tokenizer
from rerankkit.provider import Batch, Content

DOCUMENTS_PER_UNIT = 100
TOKENS_PER_UNIT_DOCUMENT = 500  # of the query and the document.  Cohere's and Pinecone's pages, read 2026-11-20


def units_of(query_tokens: int, document_tokens: Sequence[int]) -> int:
    """One unit for 100 documents of up to 500 tokens with their query; a longer one counts as several."""
    pieces = (math.ceil((query_tokens + tokens) / TOKENS_PER_UNIT_DOCUMENT) for tokens in document_tokens)
    return math.ceil(sum(pieces) / DOCUMENTS_PER_UNIT)


def pair_tokens_of(query_tokens: int, document_tokens: Sequence[int]) -> int:
    """Query tokens times documents, plus document tokens."""
    return query_tokens * len(document_tokens) + sum(document_tokens)


def lengths_of(batch: Batch, count: Tokenizer, rank_fields: Sequence[str] = (), most: int | None = None) -> list[int]:
    """The tokens of each document's ranked text, which is cut at *most*."""
    lengths = (count(_ranked(content, rank_fields)) for content in batch.documents)
    return list(lengths) if most is None else [min(length, most) for length in lengths]


def _ranked(content: Content, rank_fields: Sequence[str]) -> str:
    return content if isinstance(content, str) else " ".join(str(content.get(name, "")) for name in rank_fields)
