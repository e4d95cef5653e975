"""What spans say of the documents of a call: scores and texts, where they are asked for.

``gen_ai.rerank.scores`` is of issue 253 of semantic-conventions-genai; the names for texts are of the conventions that
Alibaba keeps (loongsuite-semantic-conventions-genai), as OpenTelemetry has none; ``reranker.*`` is OpenInference's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from rerankkit._wire import mended
from rerankkit.observability._attributes import Attributes
from rerankkit.observability._settings import Settings
from rerankkit.types import Document, RankedDocument, RerankRequest, RerankResponse

MOST = 100  # documents that a span holds; each takes three attributes, of which spans keep 128 by default


def given(request: RerankRequest[Any], settings: Settings) -> Attributes:
    """The query and the documents."""
    if not settings.inputs:
        return {}
    query = mended(request.query)
    documents = [_input(index, item) for index, item in enumerate(request.items[:MOST])]
    found: dict[str, Any] = {}
    if settings.gen_ai:
        found |= {"gen_ai.rerank.query.text": query, "gen_ai.rerank.input_documents": _json(documents)}
    if settings.openinference:
        found |= {"input.value": query, "reranker.query": query}
        for index, document in enumerate(documents):
            found |= _flat(f"reranker.input_documents.{index}", document)
    return found


def ranked(request: RerankRequest[Any], response: RerankResponse[Any], settings: Settings) -> Attributes:
    """The answer."""
    documents = [_output(request, result, settings) for result in response.results[:MOST]]
    found: dict[str, Any] = {}
    if settings.scores and settings.gen_ai:
        found["gen_ai.rerank.scores"] = [result.relevance_score for result in response if result.relevance_score is not None]
    if settings.outputs and settings.gen_ai:
        found["gen_ai.rerank.output_documents"] = _json(documents)
    if settings.openinference and (settings.outputs or settings.scores):
        for rank, document in enumerate(documents):
            found |= _flat(f"reranker.output_documents.{rank}", document)
    return found


def _input(index: int, item: str | Document) -> dict[str, object]:
    score = item.score if isinstance(item, Document) else None
    return {"index": index, "id": _id_of(index, item), "text": _text_of(item), "score": score}


def _output(request: RerankRequest[Any], result: RankedDocument[Any], settings: Settings) -> dict[str, object]:
    """Without texts also without the caller's id, which may say as much: its position stands for it."""
    item, index = request.items[result.index], result.index
    told: dict[str, object] = {"index": index, "id": str(index)}
    if settings.outputs:
        told |= {"id": _id_of(index, item), "text": _text_of(item)}
    return {**told, "relevance_score": result.relevance_score}


def _id_of(index: int, item: str | Document) -> str:
    own = item.id if isinstance(item, Document) else None
    return str(index) if own is None else mended(str(own))


def _text_of(item: str | Document) -> str:
    """Its text, or that of its fields."""
    if isinstance(item, str):
        return mended(item)
    fields = {name: value for name, value in (item.fields or {}).items() if isinstance(value, str | int | float)}
    return mended(str(item.text or fields.get("text") or "\n".join(f"{name}: {value}" for name, value in fields.items())))


def _flat(prefix: str, document: Mapping[str, object]) -> dict[str, object]:
    """A document in OpenInference's form."""
    score = document.get("relevance_score", document.get("score"))
    named = {"id": document["id"], "content": document.get("text"), "score": score}
    return {f"{prefix}.document.{name}": value for name, value in named.items() if value is not None}


def _json(documents: list[dict[str, object]]) -> str:
    known = [{name: value for name, value in document.items() if value is not None} for document in documents]
    return orjson.dumps(known).decode()
