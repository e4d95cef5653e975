"""Pinecone Inference: checks, texts and members as collected on 2026-11-20 from its OpenAPI document and documentation."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from rerankkit.emulator.service import (
    Answer,
    Call,
    EmulatedService,
    Form,
    Refusal,
    blank,
    fill,
    json_object,
    probability,
    ranked,
)
from rerankkit.emulator.voyage import tokens
from rerankkit.providers.pinecone import MODELS, PARAMETERS

SERVED_BY = {"cohere-rerank-3.5": "cohere-rerank-4-fast"}  # since 2026-08-31
CODES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 404: "NOT_FOUND"}


class _Rerank(Form):
    model: str
    query: str
    documents: list[dict[str, Any]]
    rank_fields: list[str] = Field(default=["text"])
    top_n: int | None = Field(default=None, ge=1)
    return_documents: bool = True
    parameters: dict[str, Any] = Field(default_factory=dict[str, Any])


class PineconeEmulator(EmulatedService):
    """``POST /rerank``."""

    def answer(self, call: Call) -> Answer:
        """The reply to *call*."""
        if call.method != "POST" or call.path != "/rerank":
            raise _refusal(404, "Not found")
        key = call.headers.get("api-key")
        if not key or not self.accepts(key):
            raise _refusal(401, "Invalid API key.")
        members = json_object(call.body)
        if members is None:
            raise _wrong_member("body", "not a JSON object")
        form = fill(_Rerank, members, _wrong_member)
        texts = _texts(form)
        scores = [round(probability(score), 8) for score in self.scorer(form.query, texts)]
        results = [_result(form, index, score) for index, score in ranked(scores, form.top_n)]
        served = SERVED_BY.get(form.model, form.model)
        body = {"model": served, "data": results, "usage": {"rerank_units": 1}}
        return Answer(body, headers={"x-pinecone-request-id": uuid.uuid4().hex})


def _result(form: _Rerank, index: int, score: float) -> dict[str, Any]:
    echo = {"document": form.documents[index]} if form.return_documents else {}
    return {"index": index, "score": score, **echo}


def _texts(form: _Rerank) -> list[str]:
    """The ranked text of each document, after the checks."""
    known, parameters = MODELS.get(form.model), PARAMETERS.get(form.model)
    if known is None or parameters is None:
        raise _refusal(404, f"Model '{form.model}' not found")
    if blank(form.query) or not form.documents:
        raise _wrong_member("query" if blank(form.query) else "documents", "must not be empty")
    if len(form.documents) > known.limits.documents:
        raise _refusal(
            400,
            f"Too many documents: {len(form.documents)}. "  # the service's own words are not known
            f"The maximum number of documents for this model is {known.limits.documents}.",
        )
    if not form.rank_fields or (parameters.rank_fields or len(form.rank_fields)) < len(form.rank_fields):
        raise _wrong_member("rank_fields", f"the model takes {parameters.rank_fields or 'one or more'} rank fields")
    texts = [_text(document, index, form.rank_fields) for index, document in enumerate(form.documents)]
    if parameters.truncate and form.parameters.get("truncate", "NONE" if form.model.startswith("bge") else "END") == "NONE":
        _check_pairs(form.query, texts, known.limits.pair_tokens or 0)
    return texts


def _text(document: Mapping[str, Any], index: int, rank_fields: Sequence[str]) -> str:
    missing = [name for name in rank_fields if name not in document]
    if missing:
        raise _wrong_member(f"documents.{index}", f"the rank field '{missing[0]}' is missing")
    return " ".join(str(document[name]) for name in rank_fields)


def _check_pairs(query: str, texts: Sequence[str], most: int) -> None:
    longest = max(tokens(query) + tokens(text) for text in texts)
    if longest > most:
        raise _refusal(
            400,
            f"Request contains a query+document pair with {longest} tokens, which exceeds the maximum token limit of {most} "
            "for each query+document pair.",
        )


def _wrong_member(name: str, problem: str) -> Refusal:
    return _refusal(400, f"Bad request. The request body included invalid request parameters. ({name}: {problem})")


def _refusal(status: int, message: str) -> Refusal:
    body = {"error": {"code": CODES[status], "message": message}, "status": status}
    return Refusal(Answer(body, status, {"x-pinecone-request-id": uuid.uuid4().hex}))
