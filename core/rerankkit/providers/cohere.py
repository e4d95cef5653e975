"""Cohere Rerank: https://docs.cohere.com/reference/rerank (read 2026-11-20; SDK 7.3.1 and OpenAPI of 2026-08-20)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NotRequired, TypedDict

from rerankkit import errors
from rerankkit._checks import (
    check_choice,
    check_flag,
    check_header_text,
    check_integer,
    check_model,
    check_names,
    is_blank,
    is_number,
)
from rerankkit._endpoint import Access
from rerankkit._parsing import Count, Form
from rerankkit._rendering import absent_fields, as_object, as_text, plain_texts, ranked_text
from rerankkit._secret import SecretValue, hidden
from rerankkit._tokens import Tokenizer
from rerankkit._wire import HttpRequest, HttpResponse, decode, encode
from rerankkit.errors import InvalidRequestError, ProviderError
from rerankkit.provider import Batch, Content, Limits, Model, Prepared, Price, Reply, Unchanged, check_echo, check_results
from rerankkit.providers._billing import lengths_of, pair_tokens_of, units_of
from rerankkit.providers._keyed import KeyedProvider
from rerankkit.retry import until_reset
from rerankkit.types import Document, Skipped, Span, Usage

DEFAULT_MODEL = "rerank-v3.5"  # answers trial keys, as public recordings of 2026-08-13 show

DOCUMENTS = 1_000  # a request, recommended; more than 10,000 are refused.  docs.cohere.com rerank, read 2026-11-20
CHUNKS = 10_000  # v1: documents times max_chunks_per_doc must stay below.  Error text of the service, read 2026-11-20
DEFAULT_CHUNKS_PER_DOCUMENT = 10  # v1.  OpenAPI document of 2026-08-20
DEFAULT_TOKENS_PER_DOCUMENT = 4_096  # v2; what is longer is cut.  OpenAPI document of 2026-08-20
LOWEST_PRIORITY = 999  # 0 is served first.  SDK 7.3.1

_SHORT = Limits(DOCUMENTS, query_tokens=2_048, pair_tokens=4_096)  # a longer query is cut to half the context
_LONG = Limits(DOCUMENTS, query_tokens=16_384, pair_tokens=32_768)  # docs.cohere.com models, read 2026-11-20
_RESELLERS = "resellers' lists, read 2026-11-20; Cohere's own page states no price a search"
_GONE = "shut down by Cohere on 2025-04-30"

MODELS: Mapping[str, Model] = {
    model.name: model
    for model in (
        Model("rerank-v5.0-pro", _LONG, Price(0.05, 1_000_000, "token", _RESELLERS), "relevant spans"),
        Model("rerank-v5.0-fast", _LONG, Price(0.02, 1_000_000, "token", _RESELLERS), "relevant spans"),
        Model("rerank-v4.0-pro", _LONG, Price(2.50, 1_000, "search unit", _RESELLERS)),
        Model("rerank-v4.0-fast", _LONG, Price(2.00, 1_000, "search unit", _RESELLERS)),
        Model("rerank-v3.5", _SHORT, Price(2.00, 1_000, "search unit", _RESELLERS), "multilingual; the default"),
        Model("rerank-english-v3.0", _SHORT),
        Model("rerank-multilingual-v3.0", _SHORT),
        Model("rerank-english-v2.0", Limits(DOCUMENTS), note=_GONE, retired=True),
        Model("rerank-multilingual-v2.0", Limits(DOCUMENTS), note=_GONE, retired=True),
    )
}


class Cohere(KeyedProvider):
    """Cohere Rerank v2, and v1 where it is asked for.

    Structured documents: v2 ranks strings only, so the fields named by `rank_fields` go out as YAML in that order;
    v1 takes objects, and is given the ranked fields alone unless `return_documents` asks for the others.

    Args:
        model: One of `models`, or a name of your own deployment.
        api_key: None: from CO_API_KEY or COHERE_API_KEY.
        base_url: Without its version; None: from CO_API_URL, or Cohere's own.
        api_version: ``"v2"``, or ``"v1"`` for its options.
        rank_fields: The fields of structured documents to rank, most important first; None: ``text``.
        max_tokens_per_doc: v2; where longer documents are cut off. The service's default is 4,096.
        priority: v2; 0 (first) to 999.
        relevant_spans: v5 models; True, or a mapping with ``threshold`` (from 0) and ``max_spans`` (at least 1).
        return_documents: v1; has the service echo the documents. Responses hold the caller's own in any case.
        max_chunks_per_doc: v1; how many pieces of a document are ranked.
        client_name: Tells Cohere the name of your project.
        allow_http: Lets `base_url` be unencrypted beyond this machine.

    Raises:
        InvalidRequestError: No key, or an option that is out of range or of the other version.
    """

    name = "cohere"
    takes_scores = False
    models = MODELS
    units = ("search unit", "token")
    default_limits = _SHORT
    access = Access("cohere", ("CO_API_KEY", "COHERE_API_KEY"), "CO_API_URL", ("cohere.com", "cohere.ai"))

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        api_key: str | SecretValue | None = None,
        base_url: str | None = None,
        api_version: Literal["v2", "v1"] = "v2",
        rank_fields: Sequence[str] | None = None,
        max_tokens_per_doc: int | None = None,
        priority: int | None = None,
        relevant_spans: bool | Mapping[str, float] | None = None,
        return_documents: bool = False,
        max_chunks_per_doc: int | None = None,
        client_name: str | None = None,
        allow_http: bool = False,
    ) -> None:
        api_key = hidden(api_key)
        self.model = check_model(model)
        self.api_version = check_choice("api_version", api_version, ("v2", "v1"))
        self._key = self.access.key(api_key)
        url = self.access.url(base_url, "https://api.cohere.com", self._key, allow_http=check_flag("allow_http", allow_http))
        self.base_url = url.removesuffix(f"/{self.api_version}")
        if self.is_at_home:
            self.base_url = self.base_url.removesuffix("/v1").removesuffix("/v2")
        self.rank_fields = None if rank_fields is None else check_names("rank_fields", rank_fields)
        self._options = self._check_options(
            max_tokens_per_doc=_checked("max_tokens_per_doc", max_tokens_per_doc, 1, None),
            priority=_checked("priority", priority, 0, LOWEST_PRIORITY),
            relevant_spans=_spans_option(self.model, relevant_spans),
            max_chunks_per_doc=_checked("max_chunks_per_doc", max_chunks_per_doc, 1, CHUNKS - 1),
        )
        self._echo = check_flag("return_documents", return_documents)
        self._headers = _headers(client_name)

    def _check_options(self, **options: object) -> dict[str, object]:
        """The options that are set, if the version in use knows them."""
        given = {name: value for name, value in options.items() if value is not None}
        known = ("max_chunks_per_doc",) if self.api_version == "v1" else ("max_tokens_per_doc", "priority", "relevant_spans")
        for name in given:
            if name not in known:
                other = "v2" if self.api_version == "v1" else "v1"
                raise InvalidRequestError(
                    f"cohere {self.api_version} has no {name}: pass api_version={other!r}, or one of {', '.join(known)} instead"
                )
        return given

    @property
    def limits(self) -> Limits:
        """What one request to `model` may hold."""
        limits = super().limits
        if self.api_version == "v2":
            return limits
        chunks = self._options.get("max_chunks_per_doc", DEFAULT_CHUNKS_PER_DOCUMENT)
        most = (CHUNKS - 1) // chunks if isinstance(chunks, int) else DOCUMENTS
        return Limits(min(DOCUMENTS, most), limits.query_tokens, limits.pair_tokens)

    def prepare(self, items: Sequence[str | Document]) -> Prepared:
        """Texts for v2; for v1 texts and objects."""
        texts = plain_texts(items) if self.rank_fields is None and self.api_version == "v2" else None
        if texts is not None:
            return Prepared(Unchanged(texts))
        contents: dict[int, Content] = {}
        skipped: dict[int, Skipped] = {}
        for index, item in enumerate(items):
            text = ranked_text(index, item, self.rank_fields)
            if is_blank(text):
                skipped[index] = "blank"
            elif self.api_version == "v1" and isinstance(item, Document):
                contents[index] = self._as_texts(index, item)
            else:
                contents[index] = text
        return Prepared(contents, skipped, absent_fields(items, self.rank_fields or ()))

    def _as_texts(self, index: int, item: Document) -> Mapping[str, object]:
        """A document for v1, whose fields are texts: what is something else goes out as JSON."""
        fields = as_object(index, item, self.rank_fields or ("text",), whole=self._echo)
        return {name: value if isinstance(value, str) else as_text(index, name, value) for name, value in fields.items()}

    def build_request(self, batch: Batch) -> HttpRequest:
        """``POST /v2/rerank`` or ``/v1/rerank``."""
        body: dict[str, object] = {"model": self.model, "query": batch.query, "documents": batch.documents}
        if batch.top_n is not None:
            body["top_n"] = batch.top_n
        if self.api_version == "v1":
            body |= {"rank_fields": self.rank_fields} if self.rank_fields else {}
            body |= {"return_documents": True} if self._echo else {}
        content, warnings = encode(body | self._options)
        return HttpRequest(f"{self.base_url}/{self.api_version}/rerank", self._headers, content, warnings)

    def estimate_usage(self, batch: Batch, count: Tokenizer, unit: str | None) -> Usage:
        """Search units: one for 100 documents; a document of over 500 tokens, query included, counts as several.

        Or the tokens of all pairs: whether the query counts once or with each document is not documented.
        """
        cut = self._options.get("max_tokens_per_doc", DEFAULT_TOKENS_PER_DOCUMENT if self.api_version == "v2" else None)
        lengths = lengths_of(batch, count, self.rank_fields or ("text",), cut if isinstance(cut, int) else None)
        if unit == "token":
            return Usage(1, total_tokens=pair_tokens_of(count(batch.query), lengths))
        return Usage(1, search_units=units_of(count(batch.query), lengths))

    def parse_response(self, batch: Batch, response: HttpResponse) -> Reply:
        """The scores, and the relevant spans where they were asked for."""
        answer = _ANSWER.parse(response.content)
        results, meta = answer["results"], answer.get("meta") or {}
        units = meta.get("billed_units") or {}
        tokens = units.get("text_tokens") or units.get("input_tokens")  # which of them v5 models use is not documented
        scores = check_results(batch, ((result["index"], result["relevance_score"]) for result in results))
        echoes = ((result["index"], result.get("document")) for result in (results if self._echo else ()))
        return Reply(
            scores=scores,
            spans=dict(_spans(batch, results)),
            usage=Usage(search_units=units.get("search_units"), total_tokens=None if tokens is None else int(tokens)),
            request_id=answer.get("id"),
            warnings=(*check_echo(batch, echoes), *(meta.get("warnings") or ()), *(answer.get("warnings") or ())),
        )

    def error_message(self, answer: Mapping[str, object]) -> str | None:
        """The member ``message``."""
        message = answer.get("message")
        if not isinstance(message, str):
            return None
        known = MODELS.get(self.model or "")
        return f"{message} ({self.model} was {known.note})" if known and known.retired else message

    def error_class(self, response: HttpResponse, message: str) -> type[ProviderError]:
        """By status; v1 says in words that there are too many chunks."""
        if response.status == 400 and "total max chunks" in message:  # noqa: PLR2004 -- the service's
            return errors.RequestTooLargeError
        return super().error_class(response, message)

    def is_retryable(self, response: HttpResponse, message: str) -> bool:
        """By status; a trial key's calls of the month do not come back by waiting."""
        return super().is_retryable(response, message) and "/ month" not in message

    def retry_after(self, response: HttpResponse) -> float | None:
        """As everybody tells it, or else when the rate limit's window ends, as Cohere's SDK reads it."""
        asked = super().retry_after(response)
        return until_reset(response.headers) if asked is None and response.status == 429 else asked  # noqa: PLR2004 -- RFC 6585

    def request_id(self, response: HttpResponse) -> str | None:
        """The member ``id`` of the body, or else the trace header."""
        found = decode(response.content).get("id")
        return found if isinstance(found, str) else response.headers.get("x-debug-trace-id")


class _CohereSpan(TypedDict):
    start: int
    end: int
    score: float


class _CohereResult(TypedDict):
    index: int
    relevance_score: float
    document: NotRequired[object]
    relevant_spans: NotRequired[list[_CohereSpan] | None]


class _CohereMeta(TypedDict, total=False):
    billed_units: dict[str, Count | None] | None  # an open map: v5 models brought new units
    warnings: list[str] | None


class _CohereAnswer(TypedDict):
    results: list[_CohereResult]
    id: NotRequired[str | None]
    meta: NotRequired[_CohereMeta | None]
    warnings: NotRequired[list[str] | None]  # where the documents of 2024 had them


_ANSWER = Form(_CohereAnswer)


def _spans(batch: Batch, results: Sequence[_CohereResult]) -> Iterator[tuple[int, tuple[Span, ...]]]:
    for result in results:
        spans = result.get("relevant_spans")
        if spans:
            length = len(batch.documents[result["index"]])
            yield result["index"], tuple(_checked_span(span, length) for span in spans)


def _checked_span(span: _CohereSpan, length: int) -> Span:
    if not 0 <= span["start"] <= span["end"] <= length:
        raise ValueError(f"span {span['start']} to {span['end']} in a document of {length} characters")
    return Span(span["start"], span["end"], span["score"])


def _checked(name: str, value: int | None, least: int, most: int | None) -> int | None:
    return None if value is None else check_integer(name, value, least, most)


def _spans_option(model: str, value: bool | Mapping[str, float] | None) -> dict[str, object] | None:  # noqa: FBT001 -- a value
    """The request member for the option `relevant_spans`."""
    if value is None or value is False:
        return None
    if model in MODELS and not model.startswith("rerank-v5"):
        raise InvalidRequestError(f"relevant_spans needs a v5 model such as 'rerank-v5.0-fast', got {model!r}")
    if value is True:
        return {"mode": "enabled"}
    if not isinstance(value, Mapping) or not value.keys() <= {"threshold", "max_spans"}:
        raise InvalidRequestError(f"relevant_spans must be True or a mapping with 'threshold' and 'max_spans', got {value!r}")
    if "threshold" in value and not (is_number(value["threshold"]) and 0 <= value["threshold"] < math.inf):
        raise InvalidRequestError(
            f"relevant_spans['threshold'] must be a finite number, at least 0, got {value['threshold']!r}"
        )
    if "max_spans" in value:
        check_integer("relevant_spans['max_spans']", value["max_spans"], 1, None)
    return {"mode": "enabled", **value}


def _headers(client_name: str | None) -> dict[str, str]:
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    return headers if client_name is None else headers | {"X-Client-Name": check_header_text("client_name", client_name)}
