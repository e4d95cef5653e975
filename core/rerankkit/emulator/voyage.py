"""Voyage AI / MongoDB: checks, texts and members as collected on 2026-11-20 from its documents and recordings."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from rerankkit.emulator.limits import Exceeded
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
    new_id,
    probability,
    ranked,
    unknown_member,
)
from rerankkit.emulator.settings import DOCUMENTED_LIMITS
from rerankkit.emulator.tokens import cut, tokens
from rerankkit.provider import Limits
from rerankkit.providers.voyage import MODELS

MESSAGES: Mapping[int, str] = {  # the API page's own words
    400: "The request is invalid.",
    401: "Provided API key is invalid.",
    403: "Access forbidden. This may occur if the IP address you are sending the request from is not allowed.",
    404: "Not Found",
    429: "Rate limit exceeded. Your request frequency or token usage is too high. "
    "Reduce your request rate or wait before retrying.",
    500: "An unexpected error occurred on the server. Retry your request after a brief wait.",
    502: "The server received an invalid response from an upstream server. Retry your request after a brief wait.",
    503: "The service is temporarily unavailable due to high traffic or maintenance. Retry your request after a brief wait.",
    504: "The server did not receive a timely response from an upstream server. Retry your request after a brief wait.",
}
EMPTY = "Value error, Input cannot contain empty strings or empty lists"
NO_PAYMENT = (  # recorded on 2026-01-29 as the header of a success; public reports quote its beginning as the text of a 429
    "You have not yet added your payment method in the billing page and will have reduced rate limits of 3 RPM and 10K TPM. "
    "To unlock our standard rate limits, please add a payment method in the billing page for the appropriate organization in "
    "the user dashboard (https://dashboard.voyageai.com/). Even with payment methods entered, the free tokens (200M tokens for "
    "Voyage series 3) will still apply. After adding a payment method, you should see your rate limits increase after several "
    "minutes. See our pricing docs (https://docs.voyageai.com/docs/pricing) for the free tokens for your model."
)


class _Rerank(Form):
    query: str
    documents: list[str]
    model: str
    top_k: int | None = Field(default=None, ge=1)
    return_documents: bool = False
    truncation: bool = True


class VoyageEmulator(EmulatedService):
    """``POST /v1/rerank``."""

    name = "voyage"
    results = "data"
    score = "relevance_score"

    def answer(self, call: Call) -> Answer:
        """The reply to *call*."""
        if call.method != "POST" or call.path != "/v1/rerank":
            raise self.refusal(404, MESSAGES[404])
        key = bearer(call)
        if key is None or not self.accepts(key):
            raise self.refusal(401, MESSAGES[401])
        form = self._form(call.body)
        limits = self._limits(form)
        query, texts = self._texts(form, limits)
        used = self._tokens(form.model, query, texts, limits)
        self.admit(used, self._limited)
        scores = [bfloat16(probability(score)) for score in self.world.scores(query, texts)]
        results = [_result(form, index, score) for index, score in ranked(scores, form.top_k)]
        body = {"object": "list", "data": results, "model": form.model, "usage": {"total_tokens": used}}
        return Answer(body, headers={**_request_id(), **({"x-api-warning": NO_PAYMENT} if self._unpaid else {})})

    def failure(self, status: int, message: str | None = None) -> Answer:
        """A detail."""
        return Answer({"detail": message or MESSAGES.get(status, MESSAGES[500])}, status, _request_id())

    def _form(self, body: bytes) -> _Rerank:
        members = json_object(body)
        if members is None:
            raise self._wrong_member("body", "not valid JSON")
        unknown = unknown_member(_Rerank, members) if self.world.settings.strict else None
        if unknown is not None:
            raise self._wrong_member(unknown, "Extra inputs are not permitted")
        return fill(_Rerank, members, self._wrong_member)

    def _limits(self, form: _Rerank) -> Limits:
        """The limits of the model, once texts, model and number of documents are right."""
        if not form.documents or any(map(blank, form.documents)):
            raise self._wrong_member("documents", EMPTY)
        if blank(form.query):
            raise self._wrong_member("query", EMPTY)
        known = MODELS.get(form.model)
        if known is None:
            raise self.refusal(400, f"Model {form.model} is not supported. Supported models are {list(MODELS)}.")
        if len(form.documents) > known.limits.documents:
            problem = f"The number of documents should be at most {known.limits.documents}."
            raise self._failed(form.model, f"{problem} Your request has {len(form.documents)} documents.")
        return known.limits

    def _texts(self, form: _Rerank, limits: Limits) -> tuple[str, Sequence[str]]:
        """The query and the documents as they are ranked: cut to the model's window, if the request allows that."""
        query = cut(form.query, limits.query_tokens)
        room = None if limits.pair_tokens is None else limits.pair_tokens - tokens(query)
        texts = [cut(text, room) for text in form.documents]
        if not form.truncation:
            self._refuse_cuts(form, query, texts)
        return query, texts

    def _refuse_cuts(self, form: _Rerank, query: str, texts: Sequence[str]) -> None:
        """Say what would have to be cut; the service's own words are not known."""
        if query != form.query:
            raise self._failed(form.model, f"The query has more than {tokens(query)} tokens.")
        place = next((place for place, text in enumerate(texts) if text != form.documents[place]), None)
        if place is not None:
            most = tokens(query) + tokens(texts[place])
            raise self._failed(
                form.model, f"The document at index {place} and the query have more than {most} tokens together."
            )

    def _tokens(self, model: str, query: str, texts: Sequence[str], limits: Limits) -> int:
        """What the request is billed."""
        total = tokens(query) * len(texts) + sum(map(tokens, texts))
        if limits.request_tokens is not None and total > limits.request_tokens:
            raise self._failed(
                model,
                f"The max allowed tokens per submitted batch is {limits.request_tokens}. Your batch has {total} tokens after "
                "truncation. Please lower the number of tokens in the batch.",
            )
        return total

    def _limited(self, over: Exceeded, limit: int) -> Answer:
        return self.failure(429, NO_PAYMENT if self._unpaid else None)

    @property
    def _unpaid(self) -> bool:
        """Whether the limits are those of an account without a payment method."""
        return self.world.settings.rate_limits.get(self.name) == DOCUMENTED_LIMITS[self.name]

    def _failed(self, model: str, problem: str) -> Refusal:
        return self.refusal(400, f"Request to model '{model}' failed. {problem}")

    def _wrong_member(self, name: str, problem: str) -> Refusal:
        return self.refusal(
            400,
            "The request body is not valid JSON, or some arguments were not specified properly. "
            f"In particular, Error for argument '{name}': {problem}",
        )


def _result(form: _Rerank, index: int, score: float) -> dict[str, Any]:
    echo = {"document": form.documents[index]} if form.return_documents else {}
    return {"relevance_score": score, "index": index, **echo}


def _request_id() -> Mapping[str, str]:
    return {"x-request-id": new_id().replace("-", "")}


def bfloat16(value: float) -> float:
    """*value* with the 8 significant bits that the service's scores have, so that ties happen as they do there."""
    bits: int = struct.unpack(">I", struct.pack(">f", value))[0]
    rounded: float = struct.unpack(">f", struct.pack(">I", (bits + 0x8000) & 0xFFFF0000))[0]
    return rounded
