"""Pinecone Inference: checks, texts and members as collected on 2026-11-20 from its OpenAPI documents and documentation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

from pydantic import Field

from rerankkit.emulator.pinecone_models import CATALOGUE, DEFAULT_TOKENS_PER_DOCUMENT, TRUNCATE_DEFAULTS
from rerankkit.emulator.service import (
    Answer,
    Call,
    EmulatedService,
    Form,
    Refusal,
    blank,
    fill,
    json_object,
    new_id,
    probability,
    ranked,
    unknown_member,
)
from rerankkit.emulator.tokens import cut, tokens
from rerankkit.providers.pinecone import API_VERSION, MODELS, PARAMETERS

SERVED_BY = {"cohere-rerank-3.5": "cohere-rerank-4-fast"}  # since 2026-08-31
TOKENS_PER_CHUNK = 500
CHUNKS_PER_UNIT = 100

MESSAGES: Mapping[int, str] = {
    400: "Bad request. The request body included invalid request parameters.",
    401: "Invalid API key.",
    404: "Not found",
    500: "Internal server error",
    503: "Service unavailable",
}
CODES: Mapping[int, str] = {  # of the closed list of the 2025-04 document; by status, where that is all that is known
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "QUOTA_EXCEEDED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    412: "FAILED_PRECONDITION",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "UNKNOWN",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
PER_MINUTE = (
    "Request failed. You've reached the max rerank requests per minute ({limit}) for model '{model}' "
    "for the current project. \nTo increase this limit, upgrade your plan."
)
PER_MONTH = (
    "Request failed. You've reached the rerank request limit ({limit}) for model {model} for the current month. \n"
    "To continue using this model, upgrade your plan."
)


class _Rerank(Form):
    model: str
    query: str
    documents: list[dict[str, Any]]
    rank_fields: list[str] = Field(default=["text"])
    top_n: int | None = Field(default=None, ge=1)
    return_documents: bool = True
    parameters: dict[str, Any] = Field(default_factory=dict[str, Any])


class PineconeEmulator(EmulatedService):
    """``POST /rerank``, ``GET /models`` and ``GET /models/{model}``."""

    name = "pinecone"
    results = "data"
    score = "score"

    def answer(self, call: Call) -> Answer:
        """The reply to *call*."""
        lists = call.method == "GET" and (call.path == "/models" or call.path.startswith("/models/"))
        if not lists and (call.method, call.path) != ("POST", "/rerank"):
            raise self.refusal(404, MESSAGES[404])
        self._authorize(call)
        version = self._version(call)
        answer = self._models(call) if lists else self._rerank(call)
        return Answer(answer.body, answer.status, {**answer.headers, "x-pinecone-api-version": version})

    def failure(self, status: int, message: str | None = None) -> Answer:
        """An error with its code, and the status once more."""
        error = {"code": CODES.get(status, "UNKNOWN"), "message": message or MESSAGES.get(status, "Request failed")}
        return Answer({"error": error, "status": status}, status, _request_id())

    def _authorize(self, call: Call) -> None:
        key = call.headers.get("api-key")
        if not key or not self.accepts(key):
            raise self.refusal(401, MESSAGES[401])

    def _version(self, call: Call) -> str:
        """The API version of the request; what the service does with one it does not know is not known."""
        given = call.headers.get("x-pinecone-api-version")
        served = self.world.settings.pinecone.versions
        if served is not None and given not in served:
            raise self.refusal(400, f"Unsupported X-Pinecone-Api-Version {given}: this emulator serves {sorted(served)}")
        return given or API_VERSION

    def _models(self, call: Call) -> Answer:
        name = call.path.removeprefix("/models").strip("/")
        if not name:
            wanted = parse_qs(call.target.partition("?")[2])
            embeds = wanted.get("type") == ["embed"] or "vector_type" in wanted
            return Answer({"models": [] if embeds else list(CATALOGUE.values())}, headers=_request_id())
        if name not in CATALOGUE:
            raise self.refusal(404, f"Model '{name}' not found")
        return Answer(CATALOGUE[name], headers=_request_id())

    def _rerank(self, call: Call) -> Answer:
        form = self._form(call.body)
        texts = self._texts(form)
        self.admit(
            sum(map(tokens, texts)),
            lambda over, limit: self.failure(
                429, (PER_MONTH if over == "requests_per_month" else PER_MINUTE).format(limit=limit, model=form.model)
            ),
        )
        scores = [round(probability(score), 8) for score in self.world.scores(form.query, texts)]
        results = [_result(form, index, score) for index, score in ranked(scores, form.top_n)]
        served = SERVED_BY.get(form.model, form.model)
        body = {"model": served, "data": results, "usage": {"rerank_units": rerank_units(served, form.query, texts)}}
        return Answer(body, headers=_request_id())

    def _form(self, body: bytes) -> _Rerank:
        members = json_object(body)
        if members is None:
            raise self._wrong_member("body", "not a JSON object")
        unknown = unknown_member(_Rerank, members) if self.world.settings.strict else None
        if unknown is not None:
            raise self._wrong_member(unknown, "unknown field")
        return fill(_Rerank, members, self._wrong_member)

    def _texts(self, form: _Rerank) -> list[str]:
        """The ranked text of each document, after the checks."""
        if blank(form.query) or not form.documents:
            raise self._wrong_member("query" if blank(form.query) else "documents", "must not be empty")
        if form.model not in MODELS:
            raise self.refusal(404, f"Model '{form.model}' not found")
        most = MODELS[form.model].limits.documents
        if len(form.documents) > most:  # the service's own words are not known
            problem = f"Too many documents: {len(form.documents)}. The maximum number of documents for this model is {most}."
            raise self.refusal(400, problem)
        fields = PARAMETERS[form.model].rank_fields
        if not form.rank_fields or (fields or len(form.rank_fields)) < len(form.rank_fields):
            raise self._wrong_member("rank_fields", f"the model takes {fields or 'one or more'} rank fields")
        self._check_parameters(form)
        texts = [self._text(document, index, form.rank_fields) for index, document in enumerate(form.documents)]
        return self._fitting(form, texts)

    def _text(self, document: Mapping[str, Any], index: int, rank_fields: Sequence[str]) -> str:
        missing = next((name for name in rank_fields if name not in document), None)
        if missing is not None:
            raise self._wrong_member(f"documents.{index}", f"the rank field '{missing}' is missing")
        return " ".join(str(document[name]) for name in rank_fields)

    def _check_parameters(self, form: _Rerank) -> None:
        """Values of those that are documented; what the service does with others is not known."""
        if PARAMETERS[form.model].truncate and form.parameters.get("truncate", "END") not in ("END", "NONE"):
            raise self._wrong_member("parameters.truncate", "must be END or NONE")
        for name, most in (
            ("max_tokens_per_doc", PARAMETERS[form.model].most_tokens_per_doc),
            ("max_chunks_per_doc", PARAMETERS[form.model].most_chunks_per_doc),
        ):
            value = form.parameters.get(name)
            if most is not None and value is not None and not (type(value) is int and 1 <= value <= most):
                raise self._wrong_member(f"parameters.{name}", f"must be an integer from 1 to {most}")

    def _fitting(self, form: _Rerank, texts: Sequence[str]) -> list[str]:
        """*texts* as the model ranks them: cut, unless the request would rather have it refused."""
        if PARAMETERS[form.model].most_tokens_per_doc is not None:
            most = form.parameters.get("max_tokens_per_doc", DEFAULT_TOKENS_PER_DOCUMENT)
            return [cut(text, most) for text in texts]
        room = MODELS[form.model].limits.pair_tokens
        longest = max(tokens(form.query) + tokens(text) for text in texts)
        if room is None or longest <= room:
            return list(texts)
        takes = PARAMETERS[form.model].truncate
        if takes and form.parameters.get("truncate", TRUNCATE_DEFAULTS[form.model]) == "NONE":
            raise self.refusal(
                400,
                f"Request contains a query+document pair with {longest} tokens, "
                f"which exceeds the maximum token limit of {room} for each query+document pair.",
            )
        return [cut(text, max(1, room - tokens(form.query))) for text in texts]

    def _wrong_member(self, name: str, problem: str) -> Refusal:
        return self.refusal(400, f"{MESSAGES[400]} ({name}: {problem})")


def rerank_units(model: str, query: str, texts: Sequence[str]) -> int:
    """What a request is billed: one unit, or, by cohere-rerank-4-fast, one for each 100 chunks of about 500 tokens."""
    if model != "cohere-rerank-4-fast":
        return 1
    own = tokens(query)
    chunks = sum(math.ceil((own + tokens(text)) / TOKENS_PER_CHUNK) for text in texts)
    return math.ceil(chunks / CHUNKS_PER_UNIT)


def _result(form: _Rerank, index: int, score: float) -> dict[str, Any]:
    echo = {"document": form.documents[index]} if form.return_documents else {}
    return {"index": index, "score": score, **echo}


def _request_id() -> Mapping[str, str]:
    return {"x-pinecone-request-id": new_id().replace("-", "")}
