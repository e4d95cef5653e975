"""A provider describes one reranking service and does nothing: no I/O, no retry, no framework.

It knows the limits of each model, how a batch becomes a request and how reply bytes become scores;
from its base, what authenticates a request and what an error reply means.
"""

from __future__ import annotations

import math
import unicodedata
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, TypeAlias, cast

from rerankkit._checks import check_integer, is_blank, is_number, shown
from rerankkit._described import Described
from rerankkit._tokens import MOST_BYTES_PER_TOKEN, Tokenizer, least_tokens
from rerankkit._wire import HttpRequest, HttpResponse, mended
from rerankkit.errors import InvalidRequestError
from rerankkit.service import Service
from rerankkit.types import Document, Skipped, Span, Usage

Content: TypeAlias = str | Mapping[str, object]
"""A document in the form its service takes."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request to a model may hold.

    Attributes:
        documents: Documents in one request.
        query_tokens: Tokens of the query; None: not documented.
        pair_tokens: Tokens of the query and one document together.
        request_tokens: Query tokens times documents, plus document tokens.
    """

    documents: int
    query_tokens: int | None = None
    pair_tokens: int | None = None
    request_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars (USD) for *per* units, as *source* stated it.

    Attributes:
        unit: ``"search unit"``, ``"token"``, ``"rerank unit"`` or ``"request"``.
    """

    dollars: float
    per: int
    unit: str
    source: str = "the caller"

    def __post_init__(self) -> None:
        if not is_number(self.dollars) or not 0 <= self.dollars < math.inf:
            raise InvalidRequestError(f"dollars must be a finite number, at least 0, got {shown(self.dollars)}")
        check_integer("per", self.per, 1, None)
        for name in ("unit", "source"):
            value: object = getattr(self, name)
            if not isinstance(value, str) or is_blank(value):
                raise InvalidRequestError(f"{name} must be a text, got {shown(value)}")


@dataclass(frozen=True, slots=True)
class Model:
    """A model's limits, price and what else one must know before choosing it; a retired one answers no more."""

    name: str
    limits: Limits
    price: Price | None = None
    note: str = ""
    retired: bool = False


class Unchanged(Mapping[int, Content]):
    """All documents of a list by their positions, none left out: a dict of 1,000 takes 45 us to make, this one none."""

    __slots__ = ("contents",)

    def __init__(self, contents: Sequence[Content]) -> None:
        self.contents = contents

    def __getitem__(self, position: int) -> Content:
        if not 0 <= position < len(self.contents):
            raise KeyError(position)
        return self.contents[position]

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.contents)))

    def __len__(self) -> int:
        return len(self.contents)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Documents in their service's form.

    Attributes:
        contents: What is sent, by position in the caller's list, in that order.
        skipped: Why the others are not sent.
        warnings: What was changed on the way, in words.
    """

    contents: Mapping[int, Content]
    skipped: Mapping[int, Skipped] = field(default_factory=dict[int, Skipped])
    warnings: tuple[str, ...] = ()

    def in_order(self) -> tuple[Sequence[Content], Sequence[int]]:
        """What is sent, and where each of it stands in the caller's list."""
        if isinstance(self.contents, Unchanged):
            return self.contents.contents, range(len(self.contents))
        return list(self.contents.values()), list(self.contents)


@dataclass(frozen=True, slots=True)
class Batch:
    """One request's share of a call.

    Attributes:
        documents: What is sent.
        indices: Where each of them stands in the caller's list.
        top_n: Sent to the service, which then answers with so many results; None: with all.
    """

    query: str
    documents: Sequence[Content]
    indices: Sequence[int]
    top_n: int | None = None

    def halves(self) -> tuple[Batch, Batch]:
        """The same documents in two batches, each answered in full."""
        middle = len(self.documents) // 2
        first = replace(self, documents=self.documents[:middle], indices=self.indices[:middle], top_n=None)
        return first, replace(self, documents=self.documents[middle:], indices=self.indices[middle:], top_n=None)


@dataclass(frozen=True, slots=True)
class Reply:
    """One checked answer.

    Attributes:
        scores: By position in the batch; finite.
        spans: By position in the batch, where the service reports them.
    """

    scores: Mapping[int, float]
    spans: Mapping[int, tuple[Span, ...]] = field(default_factory=dict[int, tuple[Span, ...]])
    model: str | None = None
    usage: Usage = field(default_factory=Usage)
    request_id: str | None = None
    warnings: tuple[str, ...] = ()

    def after(self, requests: int, warnings: tuple[str, ...] = ()) -> Reply:
        """The same, with *requests* more that it took and *warnings* from before them."""
        usage, told = self.usage + Usage(requests), (*warnings, *self.warnings)
        return Reply(self.scores, self.spans, self.model, usage, self.request_id, told)


class Provider(Described, Service):
    """One reranking service, described.  A further one is one module, one line in the registry, and fixtures.

    Attributes:
        pointwise: Whether each document is scored on its own, so that batches merge exactly.
        takes_top_n: Whether the service itself cuts its answer.
        takes_scores: Whether `prepare` looks at first-stage scores (`Document.score`); adapters then bring them along.
        models: What is known of the service's models, by name.
        units: What its replies count of a call, which a price may be for.
        conventional_name: What OpenTelemetry's conventions call it, or their way would; empty: as `name`.
    """

    pointwise: ClassVar[bool] = True
    takes_top_n: ClassVar[bool] = True
    takes_scores: ClassVar[bool] = True
    models: ClassVar[Mapping[str, Model]] = {}
    units: ClassVar[Sequence[str]] = ()
    conventional_name: ClassVar[str] = ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._repr_arguments()})"

    def _repr_arguments(self) -> str:
        return repr(self.model) if self.is_at_home else f"{self.model!r}, base_url={self.base_url!r}"

    @property
    @abstractmethod
    def limits(self) -> Limits:
        """What one request to `model` may hold."""

    def full_query(self, query: str) -> str:
        """The query as it is sent."""
        return query

    def check_query(self, query: str) -> None:
        """Refuse a query that is too long by any count; one that may fit is left to the service.

        Raises:
            InvalidRequestError: It is.
        """
        limit = self.limits.query_tokens
        if limit is not None and least_tokens(self.full_query(query)) > limit:
            raise InvalidRequestError(
                f"query has {len(query):,} characters, {self.name} model {self.model} takes at most {limit:,} tokens "
                f"(never more than {limit * MOST_BYTES_PER_TOKEN:,} bytes): shorten it"
            )

    def billed_as(self, served: str | None) -> str:
        """What price lists call the model that served; None: the service named none.  Without a choice there is one."""
        return served or self.model or next(iter(self.models), "")

    def price_of(self, name: str) -> Price | None:
        """What a model costs by the price table; None: it is not known."""
        known = self.models.get(name)
        return known.price if known else None

    def estimate_usage(self, batch: Batch, count: Tokenizer, unit: str | None) -> Usage:
        """What the service is likely to bill for *batch*, in the *unit* that its model's price is for, if it has one."""
        return Usage(requests=1)

    @abstractmethod
    def prepare(self, items: Sequence[str | Document]) -> Prepared:
        """The documents in the form the service takes."""

    @abstractmethod
    def build_request(self, batch: Batch) -> HttpRequest:
        """The request for *batch*, complete but for what authenticates it."""

    @abstractmethod
    def parse_response(self, batch: Batch, response: HttpResponse) -> Reply:
        """The scores of *batch*'s documents.

        Raises:
            ValueError: The answer is not what the service documents.
        """


def check_results(batch: Batch, results: Iterable[tuple[int, float]], *, partial: bool = False) -> dict[int, float]:
    """The scores by position, if every index and score is possible, and none is missing unless *partial*.

    Raises:
        ValueError: One is not, or one is missing.
    """
    found, size = list(results), len(batch.documents)
    scores = dict(found)
    if not _are_possible(scores, found, size):
        _refuse(found, size)
    expected = size if batch.top_n is None else min(batch.top_n, size)
    if len(scores) < expected and not (partial and scores):
        raise ValueError(f"{len(scores)} results, expected {expected}")
    return scores


def _are_possible(scores: Mapping[int, float], results: Sequence[tuple[int, float]], size: int) -> bool:
    """Whether each index is there once, and within *size*, with a finite score: asked of all at once, not of each."""
    is_within = min(scores, default=0) >= 0 and max(scores, default=-1) < size
    return is_within and len(scores) == len(results) and all(map(math.isfinite, scores.values()))


def _refuse(results: Iterable[tuple[int, float]], size: int) -> None:
    """Say what is wrong first.

    Raises:
        ValueError: It is what.
    """
    seen: set[int] = set()
    for index, score in results:
        if not 0 <= index < size:
            raise ValueError(f"index {index} in an answer about {size} documents")
        if index in seen:
            raise ValueError(f"index {index} twice")
        if not math.isfinite(score):
            raise ValueError(f"score {score} of index {index}")
        seen.add(index)


def check_echo(batch: Batch, echoes: Iterable[tuple[int, object]]) -> tuple[str, ...]:
    """A warning if some of the documents that an answer repeats are not those that were sent: their index counts.

    A repeated text may be the beginning of the one sent, and differ in spaces, case and marks; objects without a text are
    not compared.

    Raises:
        ValueError: None is what was sent: this is the answer to another request.
    """
    pairs = [(_text(batch.documents[index]), _text(echo)) for index, echo in echoes]
    other = [not _letters(sent).startswith(_letters(echo)) for sent, echo in pairs if sent is not None and echo is not None]
    if other and all(other):
        raise ValueError("it repeats other documents than were sent: it answers another request")
    return (f"documents that came back as others than were sent, so that their index counted: {sum(other)}",) * any(other)


def _letters(text: str) -> str:
    """What is left of *text* whatever a service does to it on the way."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", mended(text)).casefold()))


def _text(document: object) -> str | None:
    """The text of a document, as it is sent or as it comes back."""
    found = cast("Mapping[str, object]", document).get("text") if isinstance(document, Mapping) else document
    return found if isinstance(found, str) else None
