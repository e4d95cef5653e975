"""Voyage AI / MongoDB: checks, texts and members as collected on 2026-11-20 from its documents and recordings."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Sequence
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
from rerankkit.providers.voyage import MODELS

BYTES_PER_TOKEN = 4  # a stand-in for the models' tokenizers


class _Rerank(Form):
    query: str
    documents: list[str]
    model: str
    top_k: int | None = Field(default=None, ge=1)
    return_documents: bool = False
    truncation: bool = True


class VoyageEmulator(EmulatedService):
    """``POST /v1/rerank``."""

    def answer(self, call: Call) -> Answer:
        """The reply to *call*."""
        if call.method != "POST" or call.path != "/v1/rerank":
            raise _refusal(404, "Not Found")
        key = bearer(call)
        if key is None or not self.accepts(key):
            raise _refusal(401, "Provided API key is invalid.")
        members = json_object(call.body)
        if members is None:
            raise _wrong_member("body", "not valid JSON")
        form = fill(_Rerank, members, _wrong_member)
        tokens = _check(form)
        scores = [bfloat16(probability(score)) for score in self.scorer(form.query, form.documents)]
        results = [self._result(form, index, score) for index, score in ranked(scores, form.top_k)]
        body = {"object": "list", "data": results, "model": form.model, "usage": {"total_tokens": tokens}}
        return Answer(body, headers={"x-request-id": uuid.uuid4().hex})

    def _result(self, form: _Rerank, index: int, score: float) -> dict[str, Any]:
        echo = {"document": form.documents[index]} if form.return_documents else {}
        return {"relevance_score": score, "index": index, **echo}


def _check(form: _Rerank) -> int:
    """The tokens the request is billed."""
    if not form.documents or any(map(blank, form.documents)):
        raise _wrong_member("documents", "Value error, Input cannot contain empty strings or empty lists")
    if blank(form.query):
        raise _wrong_member("query", "Value error, Input cannot contain empty strings or empty lists")
    known = MODELS.get(form.model)
    if known is None:
        raise _refusal(400, f"Model {form.model} is not supported. Supported models are {list(MODELS)}.")
    limits = known.limits
    if len(form.documents) > limits.documents:
        raise _refusal(
            400,
            f"Request to model '{form.model}' failed. The number of documents should be at most {limits.documents}. "
            f"Your request has {len(form.documents)} documents.",
        )
    pairs = [tokens(form.query) + tokens(document) for document in form.documents]
    if not form.truncation:
        _check_pairs(form.model, pairs, limits.pair_tokens or max(pairs))
    total = sum(min(pair, limits.pair_tokens or pair) for pair in pairs)
    if limits.request_tokens is not None and total > limits.request_tokens:
        raise _refusal(
            400,
            f"Request to model '{form.model}' failed. The max allowed tokens per submitted batch is {limits.request_tokens}. "
            f"Your batch has {total} tokens after truncation. Please lower the number of tokens in the batch.",
        )
    return total


def _check_pairs(model: str, pairs: Sequence[int], most: int) -> None:
    if max(pairs) > most:
        raise _refusal(
            400,
            f"Request to model '{model}' failed. The document at index {pairs.index(max(pairs))} and the query have more than "
            f"{most} tokens together.",  # the service's own words are not known
        )


def tokens(text: str) -> int:
    return len(text.encode()) // BYTES_PER_TOKEN + 1


def bfloat16(value: float) -> float:
    """*value* with the 8 significant bits that the service's scores have, so that ties happen as they do there."""
    bits: int = struct.unpack(">I", struct.pack(">f", value))[0]
    rounded: float = struct.unpack(">f", struct.pack(">I", (bits + 0x8000) & 0xFFFF0000))[0]
    return rounded


def _wrong_member(name: str, problem: str) -> Refusal:
    return _refusal(
        400,
        "The request body is not valid JSON, or some arguments were not specified properly. "
        f"In particular, Error for argument '{name}': {problem}",
    )


def _refusal(status: int, detail: str) -> Refusal:
    return Refusal(Answer({"detail": detail}, status, {"x-request-id": uuid.uuid4().hex}))
