"""Pinecone Inference: https://docs.pinecone.io/reference/api/latest/inference/rerank (API 2026-07, read 2026-11-20)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NotRequired, TypedDict

from rerankkit._checks import (
    check_choice,
    check_flag,
    check_header_text,
    check_integer,
    check_model,
    check_names,
)
from rerankkit._endpoint import Access
from rerankkit._parsing import Form, WholeCount
from rerankkit._rendering import all_blank, as_object, is_empty, plain_texts
from rerankkit._secret import SecretValue, hidden
from rerankkit._tokens import Tokenizer
from rerankkit._wire import HttpRequest, HttpResponse, encode, members
from rerankkit.errors import InvalidRequestError
from rerankkit.provider import Batch, Content, Limits, Model, Prepared, Price, Reply, Unchanged, check_echo, check_results
from rerankkit.providers._billing import lengths_of, units_of
from rerankkit.providers._keyed import KeyedProvider
from rerankkit.types import Document, Skipped, Usage

DEFAULT_MODEL = "bge-reranker-v2-m3"  # 500 requests a month on the free plan; the Cohere models need a paid one
API_VERSION = "2026-07"
DEFAULT_TOKENS_PER_DOCUMENT = 1_024  # cohere-rerank-4-fast; what is longer is cut.  As PARAMETERS

_PRICE = Price(2.00, 1_000, "rerank unit", "a third party's figure, read 2026-11-20; Pinecone's page could not be read")


@dataclass(frozen=True, slots=True)
class _Parameters:
    """What else is true of a model: https://docs.pinecone.io/guides/search/rerank-results, read 2026-11-20."""

    rank_fields: int | None  # how many it takes; None: any number
    truncate: bool = False
    most_tokens_per_doc: int | None = None
    most_chunks_per_doc: int | None = None
    bills_chunks: bool = False  # a unit for 100 chunks of about 500 tokens with the query; else one for each request


_BGE = _Parameters(rank_fields=1, truncate=True)
PARAMETERS: Mapping[str, _Parameters] = {
    "bge-reranker-v2-m3": _BGE,
    "pinecone-rerank-v0": _BGE,
    "cohere-rerank-4-fast": _Parameters(rank_fields=None, most_tokens_per_doc=4_096, bills_chunks=True),
    "cohere-rerank-3.5": _Parameters(rank_fields=None, most_chunks_per_doc=3_072, bills_chunks=True),  # as who serves it
}

MODELS: Mapping[str, Model] = {
    model.name: model
    for model in (
        Model("bge-reranker-v2-m3", Limits(100, pair_tokens=1_024), _PRICE, "one rank field; the default"),
        Model("cohere-rerank-4-fast", Limits(250), _PRICE, "8,192 tokens a document; paid plans only"),
        Model("cohere-rerank-3.5", Limits(200, pair_tokens=40_000), _PRICE, "served by cohere-rerank-4-fast since 2026-08-31"),
        Model(
            "pinecone-rerank-v0", Limits(100, pair_tokens=512), _PRICE, "deprecated, closed to most projects; one rank field"
        ),
    )
}


class Pinecone(KeyedProvider):
    """Pinecone's hosted rerankers, which take documents as objects: those of the ranked fields alone.

    Args:
        model: One of `models`. The service may serve another one; responses say so.
        api_key: None: from PINECONE_API_KEY.
        base_url: None: from PINECONE_CONTROLLER_HOST, or Pinecone's own.
        rank_fields: The fields to rank, most important first; None: ``text``. The bge model takes one.
        return_documents: Has the service echo the documents, which then go out with all their fields. Responses hold
            the caller's own in any case.
        truncate: What becomes of a pair that is too long: ``"END"`` cuts it, ``"NONE"`` has the service refuse the
            whole request. None: ``"END"``, for models that take it.
        max_tokens_per_doc: cohere-rerank-4-fast; up to 4,096, the service's default is 1,024.
        max_chunks_per_doc: cohere-rerank-3.5; up to 3,072.
        api_version: Of Pinecone's API, sent with every request.
        allow_http: Lets `base_url` be unencrypted beyond this machine.

    Raises:
        InvalidRequestError: No key, or an option that is out of range or not the model's.
    """

    name = "pinecone"
    takes_scores = False
    models = MODELS
    units = ("rerank unit",)
    default_limits = Limits(100)
    auth_header = ("Api-Key", "{key}")
    access = Access("pinecone", ("PINECONE_API_KEY",), "PINECONE_CONTROLLER_HOST", ("pinecone.io",))

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        api_key: str | SecretValue | None = None,
        base_url: str | None = None,
        rank_fields: Sequence[str] | None = None,
        return_documents: bool = False,
        truncate: Literal["END", "NONE"] | None = None,
        max_tokens_per_doc: int | None = None,
        max_chunks_per_doc: int | None = None,
        api_version: str = API_VERSION,
        allow_http: bool = False,
    ) -> None:
        api_key = hidden(api_key)
        self.model = check_model(model)
        self._key = self.access.key(api_key)
        self.base_url = self.access.url(
            base_url, "https://api.pinecone.io", self._key, allow_http=check_flag("allow_http", allow_http)
        )
        self.rank_fields = _checked_rank_fields(self.model, ("text",) if rank_fields is None else rank_fields)
        self._parameters = _checked_parameters(self.model, truncate, max_tokens_per_doc, max_chunks_per_doc)
        self._echo = check_flag("return_documents", return_documents)
        self._headers = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "X-Pinecone-Api-Version": check_header_text("api_version", api_version),
        }

    def prepare(self, items: Sequence[str | Document]) -> Prepared:
        """Objects with the ranked fields, and with the others where the service is to send them back."""
        texts = plain_texts(items) if self.rank_fields == ("text",) else None
        if texts is not None:
            return Prepared(Unchanged([{"text": text} for text in texts]))
        contents: dict[int, Content] = {}
        skipped: dict[int, Skipped] = {}
        for index, item in enumerate(items):
            fields = None if is_empty(item) else as_object(index, item, self.rank_fields, whole=self._echo)
            if fields is None or all_blank({name: fields[name] for name in self.rank_fields}):
                skipped[index] = "blank"
            else:
                contents[index] = fields
        return Prepared(contents, skipped)

    def build_request(self, batch: Batch) -> HttpRequest:
        """``POST /rerank``."""
        body: dict[str, object] = {
            "model": self.model,
            "query": batch.query,
            "documents": batch.documents,
            "rank_fields": self.rank_fields,
            "return_documents": self._echo,
        }
        if batch.top_n is not None:
            body["top_n"] = batch.top_n
        if self._parameters:
            body["parameters"] = self._parameters
        content, warnings = encode(body)
        return HttpRequest(f"{self.base_url}/rerank", self._headers, content, warnings)

    def estimate_usage(self, batch: Batch, count: Tokenizer, unit: str | None) -> Usage:
        """Rerank units: one a request; of the Cohere models one for 100 chunks of about 500 tokens, query included."""
        known = PARAMETERS.get(self.model or "")
        if known is None or not known.bills_chunks:
            return Usage(1, rerank_units=1)
        asked, pair = count(batch.query), self.limits.pair_tokens
        most = self._parameters.get("max_tokens_per_doc", DEFAULT_TOKENS_PER_DOCUMENT) if pair is None else pair - asked
        lengths = lengths_of(batch, count, self.rank_fields, most if isinstance(most, int) else None)
        return Usage(1, rerank_units=units_of(asked, lengths))

    def parse_response(self, batch: Batch, response: HttpResponse) -> Reply:
        """The scores."""
        answer = _ANSWER.parse(response.content)
        scores = check_results(batch, ((result["index"], result["score"]) for result in answer["data"]))
        echoes = ((result["index"], result.get("document")) for result in (answer["data"] if self._echo else ()))
        return Reply(
            scores=scores,
            model=answer.get("model"),
            usage=Usage(rerank_units=(answer.get("usage") or {}).get("rerank_units")),
            request_id=self.request_id(response),
            warnings=check_echo(batch, echoes),
        )

    def request_id(self, response: HttpResponse) -> str | None:
        """One of the two headers that the SDK reads."""
        return response.headers.get("x-pinecone-request-id") or response.headers.get("x-request-id")

    def error_message(self, answer: Mapping[str, object]) -> str | None:
        """The member ``error.message``."""
        message = members(answer.get("error")).get("message")
        return message if isinstance(message, str) else None

    def is_retryable(self, response: HttpResponse, message: str) -> bool:
        """By status; the month's requests do not come back by waiting."""
        return super().is_retryable(response, message) and "current month" not in message


class _PineconeResult(TypedDict):
    index: int
    score: float
    document: NotRequired[object]


class _PineconeUsage(TypedDict, total=False):
    rerank_units: WholeCount | None


class _PineconeAnswer(TypedDict):
    data: list[_PineconeResult]
    model: NotRequired[str | None]
    usage: NotRequired[_PineconeUsage | None]


_ANSWER = Form(_PineconeAnswer)


def _checked_rank_fields(model: str, names: object) -> tuple[str, ...]:
    fields = check_names("rank_fields", names)
    known = PARAMETERS.get(model)
    if known is not None and known.rank_fields is not None and len(fields) > known.rank_fields:
        raise InvalidRequestError(
            f"{model!r} ranks {known.rank_fields} field, got rank_fields={list(fields)}; "
            "join them into one field, or use 'cohere-rerank-4-fast'"
        )
    return fields


def _checked_parameters(
    model: str, truncate: str | None, max_tokens_per_doc: int | None, max_chunks_per_doc: int | None
) -> dict[str, object]:
    """The request member ``parameters``: what was asked for, if the model takes it."""
    known = PARAMETERS.get(model)
    parameters: dict[str, object] = {}
    if truncate is not None:
        parameters["truncate"] = check_choice("truncate", truncate, ("END", "NONE"))
    elif known is not None and known.truncate:
        parameters["truncate"] = "END"  # the service's default for bge fails the whole request over one long pair
    for name, value in (("max_tokens_per_doc", max_tokens_per_doc), ("max_chunks_per_doc", max_chunks_per_doc)):
        if value is not None:
            parameters[name] = check_integer(name, value, 1, _most(known, name))
    if known is not None:
        _refuse_foreign(model, known, parameters)
    return parameters


def _most(known: _Parameters | None, name: str) -> int | None:
    if known is None:
        return None
    return known.most_tokens_per_doc if name == "max_tokens_per_doc" else known.most_chunks_per_doc


def _refuse_foreign(model: str, known: _Parameters, parameters: Mapping[str, object]) -> None:
    takes = {
        "truncate": known.truncate,
        "max_tokens_per_doc": known.most_tokens_per_doc is not None,
        "max_chunks_per_doc": known.most_chunks_per_doc is not None,
    }
    for name in parameters:
        if not takes[name]:
            own = ", ".join(other for other, is_taken in takes.items() if is_taken)
            raise InvalidRequestError(f"{model!r} takes no {name}; it takes {own}")
