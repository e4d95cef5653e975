"""Cohere Rerank v2 and v1: checks, texts and members as collected on 2026-11-20 from its OpenAPI document and recordings."""

from __future__ import annotations

import math
import re
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
    bearer,
    blank,
    fill,
    json_object,
    probability,
    ranked,
)
from rerankkit.providers.cohere import CHUNKS, DEFAULT_CHUNKS_PER_DOCUMENT, LOWEST_PRIORITY, MODELS

DOCUMENTS_PER_UNIT = 100
SENTENCE = re.compile(r"[^.!?]+[.!?]*")
WORD = re.compile(r"\w+")
DOCS_URL = "https://docs.cohere.com/reference/rerank"


class _Spans(Form):
    mode: str
    threshold: float = 0.1
    max_spans: int | None = Field(default=None, ge=1)


class _V2(Form):
    model: str
    query: str
    documents: list[str]
    top_n: int | None = Field(default=None, ge=1)
    max_tokens_per_doc: int | None = Field(default=None, ge=1)
    priority: int | None = Field(default=None, ge=0, le=LOWEST_PRIORITY)
    relevant_spans: _Spans | None = None


class _V1(Form):
    model: str = "rerank-v3.5"
    query: str
    documents: list[str | dict[str, Any]]
    top_n: int | None = Field(default=None, ge=1)
    rank_fields: list[str] | None = None
    return_documents: bool = False
    max_chunks_per_doc: int | None = Field(default=None, ge=1)


class CohereEmulator(EmulatedService):
    """``POST /v2/rerank`` and ``POST /v1/rerank``."""

    def answer(self, call: Call) -> Answer:
        """The reply to *call*."""
        if call.method != "POST" or call.path not in ("/v2/rerank", "/v1/rerank"):
            raise _refusal(404, "404 page not found")
        self._authorize(call)
        members = json_object(call.body)
        if members is None:
            raise _refusal(400, "invalid json syntax: the body must be a JSON object")
        return self._v2(members) if call.path == "/v2/rerank" else self._v1(members)

    def _authorize(self, call: Call) -> None:
        key = bearer(call)
        if key is None:
            raise _refusal(401, "no api key supplied")
        if not self.accepts(key):
            raise _refusal(401, "invalid api token")

    def _v2(self, members: Mapping[str, Any]) -> Answer:
        for name in members:
            if name not in _V2.model_fields:
                raise _refusal(
                    422,
                    f"unknown field: parameter '{name}' is not a valid field. For proper usage, please refer to {DOCS_URL}",
                )
        if not members.get("model"):
            raise _refusal(400, "a model parameter is required for this endpoint.")
        form = fill(_V2, members, _wrong_member)
        _check(form.model, form.query, form.documents, CHUNKS + 1)
        wanted = form.relevant_spans if form.relevant_spans is not None and form.relevant_spans.mode == "enabled" else None
        results = [
            {"index": index, "relevance_score": score, **_spans(form.query, form.documents[index], wanted)}
            for index, score in self._ranked(form.query, form.documents, form.top_n)
        ]
        return _answer("2", results, len(form.documents))

    def _v1(self, members: Mapping[str, Any]) -> Answer:
        form = fill(_V1, members, _wrong_member)
        if form.rank_fields is not None and not form.rank_fields:
            raise _refusal(
                400,
                "invalid request: rank_fields cannot be empty, it must either contain at least one field or be omitted",
            )
        texts = [_text(document, form.rank_fields or ["text"]) for document in form.documents]
        chunks = form.max_chunks_per_doc or DEFAULT_CHUNKS_PER_DOCUMENT
        _check(form.model, form.query, texts, math.ceil(CHUNKS / chunks))
        results = [
            {"index": index, "relevance_score": score, **_echo(form.documents[index], wanted=form.return_documents)}
            for index, score in self._ranked(form.query, texts, form.top_n)
        ]
        return _answer("1", results, len(texts))

    def _ranked(self, query: str, texts: Sequence[str], top_n: int | None) -> list[tuple[int, float]]:
        return ranked([round(probability(score), 8) for score in self.scorer(query, texts)], top_n)


def _check(model: str, query: str, texts: Sequence[str], too_many: int) -> None:
    if not texts:
        raise _refusal(400, "invalid request: list of documents must not be empty")
    if blank(query):
        raise _refusal(400, "invalid request: query must not be empty or be only whitespace")
    if all(map(blank, texts)):
        raise _refusal(400, "invalid request: list of documents must not contain only empty strings or only whitespace")
    known = MODELS.get(model)
    if known is None or known.retired:
        raise _refusal(
            404, f"model '{model}' not found, make sure the correct model ID was used and that you have access to the model."
        )
    if len(texts) >= too_many:
        raise _refusal(
            400,
            "invalid request: number of total max chunks (number of documents * max chunks per doc) must be less than 10000",
        )


def _answer(version: str, results: Sequence[Mapping[str, Any]], documents: int) -> Answer:
    units = math.ceil(documents / DOCUMENTS_PER_UNIT)
    meta = {"api_version": {"version": version}, "billed_units": {"search_units": units}}
    return Answer({"id": str(uuid.uuid4()), "results": results, "meta": meta})


def _echo(document: str | dict[str, Any], *, wanted: bool) -> dict[str, Any]:
    if not wanted:
        return {}
    return {"document": {"text": document} if isinstance(document, str) else document}


def _text(document: str | Mapping[str, Any], rank_fields: Sequence[str]) -> str:
    return document if isinstance(document, str) else " ".join(str(document.get(name, "")) for name in rank_fields)


def _spans(query: str, text: str, wanted: _Spans | None) -> dict[str, Any]:
    """The sentences that share words with the query: a stand-in for what the v5 models find."""
    if wanted is None:
        return {}
    asked = set(WORD.findall(query.lower()))
    spans: list[dict[str, Any]] = []
    for sentence in SENTENCE.finditer(text):
        score = len(asked & set(WORD.findall(sentence.group().lower()))) / max(1, len(asked))
        start = sentence.start() + len(sentence.group()) - len(sentence.group().lstrip())
        if score >= wanted.threshold and start < sentence.end():
            spans.append({"start": start, "end": sentence.end(), "score": round(score, 6)})
    best = sorted(spans, key=lambda span: -span["score"])[: wanted.max_spans]
    return {"relevant_spans": best} if best else {}


def _wrong_member(name: str, problem: str) -> Refusal:
    return _refusal(400, f"invalid request: {name}: {problem}")


def _refusal(status: int, message: str) -> Refusal:
    return Refusal(Answer({"id": str(uuid.uuid4()), "message": message}, status))
