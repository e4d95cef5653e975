"""Cohere Rerank v2 and v1: checks, texts and members as collected on 2026-11-20 from its OpenAPI document and recordings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, Literal

from pydantic import Field

from rerankkit.emulator.limits import Exceeded
from rerankkit.emulator.service import (
    Answer,
    Call,
    EmulatedService,
    F,
    Form,
    Refusal,
    bearer,
    blank,
    fill,
    json_object,
    new_id,
    probability,
    ranked,
    unknown_member,
)
from rerankkit.emulator.spans import relevant_spans
from rerankkit.emulator.tokens import cut, pieces, tokens
from rerankkit.providers.cohere import CHUNKS, DEFAULT_CHUNKS_PER_DOCUMENT, LOWEST_PRIORITY, MODELS

DOCUMENTS_PER_UNIT = 100
TOKENS_PER_UNIT_DOCUMENT = 500  # of the query and the document; longer ones count as several
DEFAULT_TOKENS_PER_DOCUMENT = 4_096
RESERVED_TOKENS: Mapping[int | None, int] = {
    4_096: 3,
    32_768: 4,
}  # of a window; docs.cohere.com best practices, read 2026-11-20
TRIAL_CALLS_PER_MONTH = 1_000
TRIAL_CALLS_PER_MINUTE = 10
DOCS_URL = "https://docs.cohere.com/reference/rerank"

MESSAGES: Mapping[int, str] = {
    400: "invalid request",
    401: "Incorrect API key provided: ***********. You can find your API key at https://dashboard.cohere.com/api-keys.",
    402: "Please add or update your payment method at https://dashboard.cohere.com/billing?tab=payment to continue",
    404: "404 page not found",
    429: "Please wait and try again later",
    499: "failed to get rerank inference: request cancelled",
    500: "internal server error",
}
LIMIT_MESSAGES: Mapping[Exceeded, str] = {
    "requests_per_minute": "You are past the per minute request limit, please wait and try again later.",
    "tokens_per_minute": "You are past the per minute token limit, please wait and try again later.",
    "requests_per_month": "You are using a Trial key, which is limited to {limit} API calls / month. "
    "You can continue to use the Trial key for free or upgrade to a Production key with higher rate limits at https://dashboard.cohere.com/api-keys.",
}
TRIAL_MINUTE = (
    "You are using a Trial key, which is limited to {limit} API calls / minute. You can continue to use the Trial key for free "
    "or upgrade to a Production key with higher rate limits at https://dashboard.cohere.com/api-keys."
)


EXPERIMENTAL = (
    "You are using an experimental version, for more information please refer to https://docs.cohere.com/versioning-reference"
)


class _Spans(Form):
    mode: Literal["enabled", "disabled"]
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


class _Structured(Form):
    """What v1 takes, and took v2 in mid-2024."""

    query: str
    documents: list[str | dict[str, Any]]
    top_n: int | None = Field(default=None, ge=1)
    rank_fields: list[str] | None = None
    max_chunks_per_doc: int | None = Field(default=None, ge=1)


class _V2Of2024(_Structured):
    model: str
    return_documents: bool = False  # its page said true, and showed a reply without documents


class _V1(_Structured):
    model: str = "rerank-v3.5"
    return_documents: bool = False


class CohereEmulator(EmulatedService):
    """``POST /v2/rerank`` and ``POST /v1/rerank``."""

    name = "cohere"
    results = "results"
    score = "relevance_score"

    versions: ClassVar[Mapping[str, str]] = {"/v2/rerank": "2", "/v1/rerank": "1"}

    def answer(self, call: Call) -> Answer:
        """The reply to *call*."""
        version = self.versions.get(call.path)
        if call.method != "POST" or version is None:
            raise self.refusal(404, "404 page not found")
        self._authorize(call)
        members = json_object(call.body)
        if members is None:
            raise self.refusal(400, "invalid json syntax: the body must be a JSON object")
        if version == "1":
            return self._structured(fill(_V1, members, self._wrong_member), version)
        if self.world.settings.cohere.v2 == "2024":
            return self._structured(self._v2_form(_V2Of2024, members), version)
        return self._v2(self._v2_form(_V2, members))

    def failure(self, status: int, message: str | None = None) -> Answer:
        """An id, and what is wrong."""
        headers = dict[str, str]() if status == HTTPStatus.UNAUTHORIZED else _trace()  # as recorded on 2026-08-13
        return Answer({"id": new_id(), "message": message or MESSAGES.get(status, "error")}, status, headers)

    def _authorize(self, call: Call) -> None:
        key = bearer(call)
        if key is None:
            raise self.refusal(401, "no api key supplied")
        if not self.accepts(key):
            raise self.refusal(401, MESSAGES[401])

    def _v2_form(self, form: type[F], members: Mapping[str, Any]) -> F:
        """*members*, of which v2 refuses those that it does not know."""
        name = unknown_member(form, members)
        if name is not None:
            problem = f"unknown field: parameter '{name}' is not a valid field."
            raise self.refusal(422, f"{problem} For proper usage, please refer to {DOCS_URL}")
        if not members.get("model"):
            raise self.refusal(400, "a model parameter is required for this endpoint.")
        return fill(form, members, self._wrong_member)

    def _v2(self, form: _V2) -> Answer:
        self._check(form.model, form.query, form.documents, CHUNKS + 1)
        wanted = form.relevant_spans if form.relevant_spans is not None and form.relevant_spans.mode == "enabled" else None
        if wanted and not form.model.startswith("rerank-v5"):  # the service's own words, if it does refuse, are not known
            raise self.refusal(400, "invalid request: relevant_spans is only supported for Rerank v5 and newer models")
        texts = [cut(text, form.max_tokens_per_doc or DEFAULT_TOKENS_PER_DOCUMENT) for text in form.documents]
        self._admit(form.query, texts)
        results = [
            {"index": index, "relevance_score": score, **_spans(form.query, texts[index], wanted)}
            for index, score in self._ranked(form.model, form.query, texts, form.top_n)
        ]
        return self._success({"version": "2"}, results, billed_units(form.model, form.query, texts))

    def _structured(self, form: _V1 | _V2Of2024, version: str) -> Answer:
        if form.rank_fields is not None and not form.rank_fields:
            problem = "rank_fields cannot be empty, it must either contain at least one field or be omitted"
            raise self.refusal(400, f"invalid request: {problem}")
        texts = [_text(document, form.rank_fields or ["text"]) for document in form.documents]
        chunks = form.max_chunks_per_doc or DEFAULT_CHUNKS_PER_DOCUMENT
        self._check(form.model, form.query, texts, math.ceil(CHUNKS / chunks))
        self._admit(form.query, texts)
        results = [
            {"index": index, "relevance_score": score, **_echo(form.documents[index], wanted=form.return_documents)}
            for index, score in self._ranked(form.model, form.query, texts, form.top_n, chunks)
        ]
        billed = billed_units(form.model, form.query, texts)
        if version == "1":
            return self._success({"version": "1"}, results, billed)
        return self._success({"version": "2", "is_experimental": True}, results, billed, warnings=[EXPERIMENTAL])

    def _check(self, model: str, query: str, texts: Sequence[str], too_many: int) -> None:
        if not texts:
            raise self.refusal(400, "invalid request: list of documents must not be empty")
        if blank(query):
            raise self.refusal(400, "invalid request: query must not be empty or be only whitespace")
        if all(map(blank, texts)):
            problem = "list of documents must not contain only empty strings or only whitespace"
            raise self.refusal(400, f"invalid request: {problem}")
        known = MODELS.get(model)
        if known is None or (known.retired and self.world.settings.cohere.v2 == "today"):
            problem = "not found, make sure the correct model ID was used and that you have access to the model."
            raise self.refusal(404, f"model '{model}' {problem}")
        if len(texts) >= too_many:
            problem = "number of total max chunks (number of documents * max chunks per doc) must be less than 10000"
            raise self.refusal(400, f"invalid request: {problem}")

    def _admit(self, query: str, texts: Sequence[str]) -> None:
        limits = self.world.settings.rate_limits.get(self.name)
        taken = sum(map(tokens, texts)) + tokens(query) if limits and limits.tokens_per_minute is not None else 0
        self.admit(taken, self._limited)

    def _limited(self, over: Exceeded, limit: int) -> Answer:
        trial = self.world.settings.cohere.trial and over == "requests_per_minute"
        return self.failure(429, (TRIAL_MINUTE if trial else LIMIT_MESSAGES[over]).format(limit=limit))

    def _ranked(
        self, model: str, query: str, texts: Sequence[str], top_n: int | None, most_chunks: int = CHUNKS
    ) -> list[tuple[int, float]]:
        """The query cut as its model does; a document longer than the window is as good as the best of its chunks."""
        limits = MODELS[model].limits
        asked = cut(query, limits.query_tokens)
        room = None if limits.pair_tokens is None else limits.pair_tokens - RESERVED_TOKENS[limits.pair_tokens] - tokens(asked)
        chunks = [(index, chunk) for index, text in enumerate(texts) for chunk in pieces(text, room)[:most_chunks]]
        scores = self.world.scores(asked, [chunk for _, chunk in chunks])
        best = [0.0] * len(texts)
        for (index, _), score in zip(chunks, scores, strict=True):
            best[index] = max(best[index], score)
        return ranked([round(probability(score), 8) for score in best], top_n)

    def _success(
        self,
        version: Mapping[str, object],
        results: Sequence[Mapping[str, Any]],
        billed: Mapping[str, int],
        **further: object,
    ) -> Answer:
        meta = {"api_version": version, "billed_units": billed, **further}
        return Answer({"id": new_id(), "results": results, "meta": meta}, headers={**_trace(), **self._trial_headers()})

    def _trial_headers(self) -> Mapping[str, str]:
        if not self.world.settings.cohere.trial:
            return {}
        limits = self.world.settings.rate_limits.get(self.name)
        limit = TRIAL_CALLS_PER_MINUTE if limits is None or limits.requests_per_minute is None else limits.requests_per_minute
        left = self.world.left(self.name)
        return {
            "x-endpoint-monthly-call-limit": str(TRIAL_CALLS_PER_MONTH),
            "x-trial-endpoint-call-limit": str(limit),
            "x-trial-endpoint-call-remaining": str(limit - 1 if left is None else left),
        }

    def _wrong_member(self, name: str, problem: str) -> Refusal:
        return self.refusal(400, f"invalid request: {name}: {problem}")


def billed_units(model: str, query: str, texts: Sequence[str]) -> Mapping[str, int]:
    """Search units, or, of models whose price is for tokens, those of all pairs: how the service counts them is not known."""
    price = MODELS[model].price
    if price is not None and price.unit == "token":
        return {"text_tokens": tokens(query) * len(texts) + sum(map(tokens, texts))}
    return {"search_units": search_units(query, texts)}


def search_units(query: str, texts: Sequence[str]) -> int:
    """What a call is billed: one unit for 100 documents of 500 tokens with their query; longer ones count as several."""
    own = tokens(query)
    return math.ceil(sum(math.ceil((own + tokens(text)) / TOKENS_PER_UNIT_DOCUMENT) for text in texts) / DOCUMENTS_PER_UNIT)


def _trace() -> Mapping[str, str]:
    return {"x-debug-trace-id": new_id().replace("-", "")}


def _echo(document: str | dict[str, Any], *, wanted: bool) -> dict[str, Any]:
    if not wanted:
        return {}
    return {"document": {"text": document} if isinstance(document, str) else document}


def _text(document: str | Mapping[str, Any], rank_fields: Sequence[str]) -> str:
    return document if isinstance(document, str) else " ".join(str(document.get(name, "")) for name in rank_fields)


def _spans(query: str, text: str, wanted: _Spans | None) -> dict[str, Any]:
    found = relevant_spans(query, text, wanted.threshold, wanted.max_spans) if wanted else []
    return {"relevant_spans": found} if found else {}
