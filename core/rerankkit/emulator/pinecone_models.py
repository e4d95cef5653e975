"""What ``GET /models`` tells of each reranking model: the members of Pinecone's OpenAPI document of 2025-04."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rerankkit.provider import Model
from rerankkit.providers.pinecone import MODELS, PARAMETERS

TRUNCATE_DEFAULTS: Mapping[str, str] = {"bge-reranker-v2-m3": "NONE", "pinecone-rerank-v0": "END"}
DEFAULT_TOKENS_PER_DOCUMENT = 1_024  # cohere-rerank-4-fast
PROVIDERS: Mapping[str, str] = {"bge": "BAAI", "cohere": "Cohere", "pinecone": "Pinecone"}


def _described(model: Model) -> dict[str, Any]:
    parameters: list[dict[str, object]] = []
    values: dict[str, object]
    known = PARAMETERS[model.name]
    if known.truncate:
        values = {"allowed_values": ["END", "NONE"], "default": TRUNCATE_DEFAULTS[model.name]}
        parameters.append(_parameter("truncate", "one_of", "string", **values))
    if known.most_tokens_per_doc is not None:
        values = {"min": 1, "max": known.most_tokens_per_doc, "default": DEFAULT_TOKENS_PER_DOCUMENT}
        parameters.append(_parameter("max_tokens_per_doc", "numeric_range", "integer", **values))
    if known.most_chunks_per_doc is not None:
        values = {"min": 1, "max": known.most_chunks_per_doc}
        parameters.append(_parameter("max_chunks_per_doc", "numeric_range", "integer", **values))
    return {
        "model": model.name,
        "short_description": f"A reranking model of the emulator, in the place of {model.name}.",
        "type": "rerank",
        "supported_parameters": parameters,
        **({} if model.limits.pair_tokens is None else {"max_sequence_length": model.limits.pair_tokens}),
        "max_batch_size": model.limits.documents,
        "modality": "text",
        "provider_name": PROVIDERS[model.name.partition("-")[0]],
    }


def _parameter(name: str, kind: str, value_type: str, **further: object) -> dict[str, object]:
    return {"parameter": name, "type": kind, "value_type": value_type, "required": False, **further}


CATALOGUE: Mapping[str, Mapping[str, Any]] = {name: _described(model) for name, model in MODELS.items()}
