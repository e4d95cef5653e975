"""Voyage AI / MongoDB rerankers: https://www.mongodb.com/docs/voyageai/models/rerankers (read 2026-11-20; SDK 0.5.0)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NotRequired, TypedDict
from urllib.parse import urlsplit

import orjson

from rerankkit import errors
from rerankkit._checks import check_flag, check_model, is_blank
from rerankkit._endpoint import Access
from rerankkit._parsing import Form, WholeCount
from rerankkit._rendering import plain_texts, ranked_text
from rerankkit._secret import SecretValue, hidden
from rerankkit._tokens import Tokenizer
from rerankkit._wire import HttpRequest, HttpResponse, encode
from rerankkit.errors import InvalidRequestError, ProviderError
from rerankkit.provider import Batch, Limits, Model, Prepared, Price, Reply, Unchanged, check_echo, check_results
from rerankkit.providers._billing import lengths_of, pair_tokens_of
from rerankkit.providers._keyed import KeyedProvider
from rerankkit.types import Document, Usage

DEFAULT_MODEL = "rerank-2.5"  # 200M free tokens a model, recommended by the API document of ai.mongodb.com

HOSTS: Mapping[str, str] = {  # by the form of the key, longest prefix first; MongoDB's pages, read 2026-11-20
    "al-eu-": "https://eu.ai.mongodb.com/v1",
    "al-us-": "https://us.ai.mongodb.com/v1",
    "al-": "https://ai.mongodb.com/v1",
    "": "https://api.voyageai.com/v1",
}

SURCHARGED = frozenset({"eu.ai.mongodb.com", "us.ai.mongodb.com"})
SURCHARGE = 1.1  # times the price, on these hosts.  MongoDB's rerankers page, read 2026-11-20

_PRICES = "MongoDB's rerankers page, read 2026-11-20; +10 % on the eu and us hosts"
_FULL = Price(0.05, 1_000_000, "token", _PRICES)
_LITE = Price(0.02, 1_000_000, "token", _PRICES)
_CURRENT = Limits(1_000, query_tokens=8_000, pair_tokens=32_000, request_tokens=600_000)

MODELS: Mapping[str, Model] = {
    model.name: model
    for model in (
        Model("rerank-3", _CURRENT, _FULL, "takes an instruction"),
        Model("rerank-3-lite", _CURRENT, _LITE, "takes an instruction"),
        Model("rerank-2.5", _CURRENT, _FULL, "takes an instruction; the default"),
        Model("rerank-2.5-lite", _CURRENT, _LITE, "takes an instruction"),
        Model("rerank-2", Limits(1_000, 4_000, 16_000, 600_000), _FULL),
        Model("rerank-2-lite", Limits(1_000, 2_000, 8_000, 600_000), _LITE),
        Model("rerank-1", Limits(1_000, 2_000, 8_000, 100_000), note="not in MongoDB's list of valid models"),
        Model("rerank-lite-1", Limits(1_000, 1_000, 4_000, 300_000), note="not in MongoDB's list of valid models"),
    )
}

INSTRUCTED = frozenset({"rerank-3", "rerank-3-lite", "rerank-2.5", "rerank-2.5-lite"})
"""Models that follow an instruction in the query.  MongoDB's rerankers page, read 2026-11-20."""


class Voyage(KeyedProvider):
    """Voyage AI, which is MongoDB's: the key's form says on which host it is valid.

    Args:
        model: One of `models`.
        api_key: None: from VOYAGE_API_KEY.
        base_url: With its ``/v1``; None: from VOYAGE_BASE_URL, or the host for the key's form.
        truncation: Whether the service cuts what is too long for the model; it refuses it otherwise.
        return_documents: Has the service echo the documents. Responses hold the caller's own in any case.
        instruction: What to prefer, in words, for models that take it; goes out before the query and counts as part of it.
        allow_http: Lets `base_url` be unencrypted beyond this machine.

    Raises:
        InvalidRequestError: No key, or an option that is out of range or not the model's.
    """

    name = "voyage"
    takes_scores = False
    models = MODELS
    units = ("token",)
    conventional_name = "voyageai"
    default_limits = _CURRENT
    access = Access("voyage", ("VOYAGE_API_KEY",), "VOYAGE_BASE_URL", ("voyageai.com", "ai.mongodb.com"))

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        api_key: str | SecretValue | None = None,
        base_url: str | None = None,
        truncation: bool = True,
        return_documents: bool = False,
        instruction: str | None = None,
        allow_http: bool = False,
    ) -> None:
        api_key = hidden(api_key)
        self.model = check_model(model)
        self._key = self.access.key(api_key)
        self.base_url = self.access.url(
            base_url, _host(self._key.reveal()), self._key, allow_http=check_flag("allow_http", allow_http)
        )
        self.truncation = check_flag("truncation", truncation)
        self.instruction = None if instruction is None else _checked_instruction(model, instruction)
        self._echo = check_flag("return_documents", return_documents)

    def full_query(self, query: str) -> str:
        """The query after the instruction, if there is one."""
        return query if self.instruction is None else f"{self.instruction}\nQuery: {query}"

    def price_of(self, name: str) -> Price | None:
        """By the price table, with what is added on the eu and us hosts."""
        price = super().price_of(name)
        if price is None or urlsplit(self.base_url).hostname not in SURCHARGED:
            return price
        return replace(price, dollars=round(price.dollars * SURCHARGE, 6))

    def prepare(self, items: Sequence[str | Document]) -> Prepared:
        """Texts; one blank text would have the service refuse all."""
        plain = plain_texts(items)
        if plain is not None:
            return Prepared(Unchanged(plain))
        texts = [ranked_text(index, item, None) for index, item in enumerate(items)]
        return Prepared(
            contents={index: text for index, text in enumerate(texts) if not is_blank(text)},
            skipped={index: "blank" for index, text in enumerate(texts) if is_blank(text)},
        )

    def build_request(self, batch: Batch) -> HttpRequest:
        """``POST /v1/rerank``."""
        body = {
            "query": self.full_query(batch.query),
            "documents": batch.documents,
            "model": self.model,
            "top_k": batch.top_n,
            "truncation": self.truncation,
        }
        content, warnings = encode(body | ({"return_documents": True} if self._echo else {}))
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        return HttpRequest(f"{self.base_url}/rerank", headers, content, warnings)

    def estimate_usage(self, batch: Batch, count: Tokenizer, unit: str | None) -> Usage:
        """Query tokens times documents, plus document tokens, cut to what the model takes.

        https://www.mongodb.com/docs/voyageai/models/rerankers (read 2026-11-20).
        """
        asked, limits = count(self.full_query(batch.query)), self.limits
        asked = min(asked, limits.query_tokens or asked)
        room = None if limits.pair_tokens is None else limits.pair_tokens - asked
        return Usage(1, total_tokens=pair_tokens_of(asked, lengths_of(batch, count, most=room)))

    def parse_response(self, batch: Batch, response: HttpResponse) -> Reply:
        """The scores; they are bfloat16 numbers, so that equal ones are common."""
        answer = _ANSWER.parse(response.content)
        warning = response.headers.get("x-api-warning")
        scores = check_results(batch, ((result["index"], result["relevance_score"]) for result in answer["data"]))
        echoes = ((result["index"], result.get("document")) for result in (answer["data"] if self._echo else ()))
        return Reply(
            scores=scores,
            model=answer.get("model"),
            usage=Usage(total_tokens=(answer.get("usage") or {}).get("total_tokens")),
            request_id=self.request_id(response),
            warnings=(*check_echo(batch, echoes), *((warning,) if warning else ())),
        )

    def request_id(self, response: HttpResponse) -> str | None:
        """The header ``x-request-id`` (recorded 2026-01-29) or ``request-id`` (SDK 0.5.0)."""
        return response.headers.get("x-request-id") or response.headers.get("request-id")

    def error_message(self, answer: Mapping[str, object]) -> str | None:
        """The member ``detail``: a text, or for a 422 a list of what is wrong where."""
        detail = answer.get("detail")
        return detail if isinstance(detail, str) else _listed(detail)

    def error_class(self, response: HttpResponse, message: str) -> type[ProviderError]:
        """By status; a 400 says in words that the batch is too large."""
        if response.status == 400 and ("tokens per submitted batch" in message or "number of documents" in message):  # noqa: PLR2004 -- the service's
            return errors.RequestTooLargeError
        return super().error_class(response, message)


class _VoyageResult(TypedDict):
    index: int
    relevance_score: float
    document: NotRequired[object]


class _VoyageUsage(TypedDict, total=False):
    total_tokens: WholeCount | None


class _VoyageAnswer(TypedDict):
    data: list[_VoyageResult]
    model: NotRequired[str | None]
    usage: NotRequired[_VoyageUsage | None]


_ANSWER = Form(_VoyageAnswer)


def _listed(detail: object) -> str | None:
    """The problems of a 422, as its JSON; None for what is no list, or too deep to be one."""
    try:
        return orjson.dumps(detail).decode() if isinstance(detail, list) else None
    except TypeError:
        return None


def _host(key: str) -> str:
    return next(host for prefix, host in HOSTS.items() if key.startswith(prefix))


def _checked_instruction(model: str, instruction: object) -> str:
    if not isinstance(instruction, str) or is_blank(instruction):
        raise InvalidRequestError(f"instruction must be a text that is not blank, got {instruction!r}")
    if model in MODELS and model not in INSTRUCTED:
        raise InvalidRequestError(f"{model!r} takes no instruction; 'rerank-2.5' and 'rerank-3' models do")
    return instruction
