"""What goes into a rerank call and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Generic, Literal, TypeAlias, TypeVar

from rerankkit.deadline import Deadline

Skipped: TypeAlias = Literal["no_score", "over_limit", "blank", "not_ranked"]
"""Why a document has no score, in the order such documents follow the scored ones: the service left it out, it lay
beyond the service's limit, it held nothing to rank, or nobody ranked and all documents stand as they were given."""

Status: TypeAlias = Literal["ok", "partial", "degraded"]
"""Ranked by the first choice, or an equal of it; by some of several; or by a substitute, or not at all."""


@dataclass(frozen=True, slots=True, init=False)
class Document:
    """A candidate for one query; plain strings and mappings do as well where they say enough.

    Attributes:
        text: What is ranked.
        title: Ranked by Kendra, and by the others where `rank_fields` names ``"title"``.
        id: The caller's own; never sent, never changed.
        score: The first-stage score, higher is better; Kendra takes it into account.
        fields: A structured document; which fields are ranked is the provider's `rank_fields`.
        group_id: Kendra ranks documents of one group (at most 3) as one.
        tokenized_title: Kendra only, instead of `title`: the title's tokens, in order.
        tokenized_body: Kendra only, instead of `text`: the text's tokens, in order.
    """

    text: str = ""
    title: str | None = None
    id: str | None = None
    score: float | None = None
    fields: Mapping[str, object] | None = None
    group_id: str | None = None
    tokenized_title: Sequence[str] | None = None
    tokenized_body: Sequence[str] | None = None

    def __init__(  # noqa: PLR0917 -- as a dataclass's
        self,
        text: str = "",
        title: str | None = None,
        id: str | None = None,  # noqa: A002 -- the field's name
        score: float | None = None,
        fields: Mapping[str, object] | None = None,
        group_id: str | None = None,
        tokenized_title: Sequence[str] | None = None,
        tokenized_body: Sequence[str] | None = None,
    ) -> None:
        # As in `RankedDocument`, for the same reason.
        _set_text(self, text)
        _set_title(self, title)
        _set_id(self, id)
        _set_score(self, score)
        _set_fields(self, fields)
        _set_group_id(self, group_id)
        _set_tokenized_title(self, tokenized_title)
        _set_tokenized_body(self, tokenized_body)


def _setters(of: type) -> Iterator[Callable[[object, object], None]]:
    """What sets the fields of a frozen dataclass with slots, in their order."""
    return (vars(of)[field.name].__set__ for field in fields(of))


(
    _set_text,
    _set_title,
    _set_id,
    _set_score,
    _set_fields,
    _set_group_id,
    _set_tokenized_title,
    _set_tokenized_body,
) = _setters(Document)


DocumentLike: TypeAlias = str | Mapping[str, object] | Document
"""A text, a mapping with a ``"text"`` (or with the fields that `rank_fields` names), or a Document."""

D = TypeVar("D", bound=DocumentLike)
D_co = TypeVar("D_co", bound=DocumentLike, covariant=True)


@dataclass(frozen=True, slots=True)
class RerankRequest(Generic[D]):
    """One checked call, as the rerankers hand it on to each other.

    Attributes:
        query: Not blank.
        documents: The caller's own objects, in the caller's order.
        items: The same documents as texts and `Document`s, position by position.
        top_n: At least 1; None ranks all.
        deadline: When the whole call must be over.
    """

    query: str
    documents: tuple[D, ...]
    items: tuple[str | Document, ...]
    top_n: int | None
    deadline: Deadline


@dataclass(frozen=True, slots=True)
class Span:
    """The part ``[start, end)`` of a document's ranked text, in Unicode code points, and its own score."""

    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True, init=False)
class RankedDocument(Generic[D_co]):
    """A document and its place in the answer.

    Attributes:
        index: Its position in the caller's list, from 0.
        relevance_score: Higher is more relevant, on the service's own scale; None if it was not scored.
        document: The object the caller passed, itself.
        spans: The relevant passages, best first, where the service was asked for them.
        skipped: Why there is no score; None if there is one.
    """

    index: int
    relevance_score: float | None
    document: D_co
    spans: tuple[Span, ...] = ()
    skipped: Skipped | None = None

    def __init__(
        self,
        index: int,
        relevance_score: float | None,
        document: D_co,
        spans: tuple[Span, ...] = (),
        skipped: Skipped | None = None,
    ) -> None:
        # A list has a thousand of these; the way of a frozen dataclass, by name, takes 0.65 us each, this one 0.25.
        _set_index(self, index)
        _set_relevance_score(self, relevance_score)
        _set_document(self, document)
        _set_spans(self, spans)
        _set_skipped(self, skipped)


_set_index, _set_relevance_score, _set_document, _set_spans, _set_skipped = _setters(RankedDocument)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a call consumed, in the service's own units; None where the service counts no such unit.

    Attributes:
        requests: HTTP requests that were sent, retries included.
        search_units: Cohere: one for up to 100 documents of up to about 500 tokens.
        total_tokens: Voyage: query tokens times documents, plus document tokens; Cohere's token-priced models.
        rerank_units: Pinecone.
    """

    requests: int = 0
    search_units: float | None = None
    total_tokens: int | None = None
    rerank_units: int | None = None

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            requests=self.requests + other.requests,
            search_units=_sum(self.search_units, other.search_units),
            total_tokens=_sum(self.total_tokens, other.total_tokens),
            rerank_units=_sum(self.rerank_units, other.rerank_units),
        )


N = TypeVar("N", int, float)


def _sum(one: N | None, other: N | None) -> N | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other


@dataclass(frozen=True, slots=True)
class Attempt:
    """One reranker's turn at a call.

    Attributes:
        reranker: Who, such as ``"cohere:rerank-v3.5"``, ``"local:bm25"`` or ``"passthrough"``.
        outcome: Whether its scores are in the response, it failed, or another was faster.
        seconds: How long it took, or was waited for.
        error: How it failed, in one line.
        usage: What it consumed; of a cancelled turn, whose reply nobody reads, an estimate; of a failed one, its requests.
        cost: The price of that in dollars (USD); None: unknown, as where a service may bill what it did not answer.
    """

    reranker: str
    outcome: Literal["served", "failed", "cancelled"]
    seconds: float
    error: str | None = None
    usage: Usage = field(default_factory=Usage)
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class CacheUse:
    """What a cache did for a call.

    Attributes:
        hits: Documents whose score was there, was being fetched by another call, or is that of an equal document.
        misses: Documents that were sent.
        saved: What the call would have cost more without the cache, in dollars (USD); None: unknown.
    """

    hits: int
    misses: int
    saved: float | None = None

    @property
    def hit_rate(self) -> float:
        """The share of hits, from 0.0 to 1.0; 0.0 for no documents."""
        return self.hits / (self.hits + self.misses) if self.hits else 0.0


@dataclass(frozen=True, slots=True)
class RerankResponse(Generic[D_co]):
    """The answer: results best first, documents without a score last, cut to `top_n`.

    Equal scores keep the caller's order.

    Attributes:
        results: Every document once, or the first `top_n` of them.
        provider: Who ranked, such as ``"voyage"``.
        model: The model that served, which may be another than the one asked for; None where there is no choice.
        usage: Of the answer, summed over all its requests; what others sent before they failed is in `attempts`.
        request_ids: The service's ids of the answered requests, batch by batch.
        warnings: What the service or this package changed or noticed, in words.
        status: Whether the first choice ranked; thresholds for its scores do not hold for a degraded answer.
        attempts: Everybody's turn at the call, in order, where there is more than one reranker behind it.
        cost: The price of `usage` in dollars (USD) by the price table; None: unknown.
        cache: What was found in a cache; None where there is none.
    """

    results: tuple[RankedDocument[D_co], ...]
    provider: str
    model: str | None = None
    usage: Usage = field(default_factory=Usage)
    request_ids: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    status: Status = "ok"
    attempts: tuple[Attempt, ...] = ()
    cost: float | None = None
    cache: CacheUse | None = None

    @property
    def served_by(self) -> str:
        """Who ranked, such as ``"cohere:rerank-v3.5"`` or ``"passthrough"``."""
        return label(self.provider, self.model)

    @property
    def request_id(self) -> str | None:
        """The first request's id, which is the only one unless the list was cut into batches."""
        return self.request_ids[0] if self.request_ids else None

    @property
    def documents(self) -> list[D_co]:
        """The caller's documents, best first."""
        return [result.document for result in self.results]

    def __iter__(self) -> Iterator[RankedDocument[D_co]]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, rank: int) -> RankedDocument[D_co]:
        return self.results[rank]


def label(provider: str, model: str | None) -> str:
    """How a reranker is called in reports: ``"provider:model"``, or the provider alone where there is no choice."""
    return provider if model is None else f"{provider}:{model}"
