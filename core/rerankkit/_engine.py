"""How a call is carried out: plan, score the batches, merge.  Written once for both colours."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import TypeAlias, TypeVar

from rerankkit._content import UnreadableReplyError
from rerankkit._failing import TransportError
from rerankkit._http import Http
from rerankkit._io import IO, Job
from rerankkit._planning import plan
from rerankkit._wire import HttpRequest, HttpResponse
from rerankkit.deadline import Deadline
from rerankkit.errors import (
    APIConnectionError,
    AuthenticationError,
    DeadlineExceededError,
    InvalidResponseError,
    ProviderError,
    RequestTooLargeError,
)
from rerankkit.money import cost_of, sum_of_costs
from rerankkit.provider import Batch, Prepared, Price, Provider, Reply
from rerankkit.retry import Attempts, Retry, RetryBudget
from rerankkit.service import Service, tidy
from rerankkit.types import D, RankedDocument, RerankRequest, RerankResponse, Skipped, Span, Usage

logger = logging.getLogger("rerankkit")
T = TypeVar("T")

PriceOf: TypeAlias = Callable[[str | None], Price | None]
"""The price of the model that served; None for the one asked for."""


def _unknown(_: str | None) -> None:
    """No price."""


SKIPPED_ORDER: tuple[Skipped, ...] = ("no_score", "over_limit", "blank", "not_ranked")


@dataclass(frozen=True, slots=True)
class Policy:
    """How hard a client tries.

    Attributes:
        retry: When to send a request again.
        concurrency: Requests of one call under way at a time, where its documents need several.
        budget: What of retries is left to all calls together.
    """

    retry: Retry = field(default_factory=Retry)
    concurrency: int = 8
    budget: RetryBudget = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "budget", RetryBudget(self.retry.budget))  # what a frozen dataclass has for it


@dataclass(frozen=True, slots=True)
class Line:
    """A line to a service: who waits on it, over which connections, how often and how long."""

    io: IO
    http: Http
    service: Service
    policy: Policy
    deadline: Deadline


async def rerank(
    io: IO, http: Http, provider: Provider, request: RerankRequest[D], policy: Policy, *, price_of: PriceOf = _unknown
) -> RerankResponse[D]:
    """Every document of *request*, best first, cut to its `top_n`."""
    provider.check_query(request.query)
    prepared = provider.prepare(request.items)
    line = Line(io, http, provider, policy, request.deadline)
    batches = plan(provider, request, prepared)
    share = policy.concurrency // max(1, min(len(batches), policy.concurrency))
    jobs = [partial(score, line, provider, batch, share) for batch in batches]
    scored = list(chain.from_iterable(await _all(io, jobs, policy.concurrency)))
    return merge(provider, request, prepared, scored, price_of=price_of)


# Scoring


@dataclass(frozen=True, slots=True)
class ScoredBatch:
    """A batch and its checked reply."""

    batch: Batch
    reply: Reply


async def score(line: Line, provider: Provider, batch: Batch, share: int) -> list[ScoredBatch]:
    """The scores of *batch*, in halves if the service finds it too large: token counts here are estimates.

    *share* is how many of the call's requests may be its own at a time.
    """
    request = provider.build_request(batch)
    try:
        reply, attempts = await attempt(line, request, partial(provider.parse_response, batch))
    except RequestTooLargeError as error:
        if not provider.pointwise or len(batch.documents) == 1:
            raise
        refused = error.attempts
    else:
        return [ScoredBatch(batch, reply.after(attempts, request.warnings))]
    halves = [partial(score, line, provider, half, max(1, share // 2)) for half in batch.halves()]
    first, *others = chain.from_iterable(await _all(line.io, halves, min(2, share)))
    return [replace(first, reply=first.reply.after(refused)), *others]


async def _all(io: IO, jobs: Sequence[Job[list[ScoredBatch]]], limit: int) -> list[list[ScoredBatch]]:
    """What came of all requests of a call, or of a part of it; a failure of one of several says so."""
    try:
        return await io.gather(jobs, limit)
    except ProviderError as error:
        error.partial = error.partial or len(jobs) > 1
        raise


async def attempt(line: Line, request: HttpRequest, parse: Callable[[HttpResponse], T]) -> tuple[T, int]:
    """The parsed reply to *request* and how often it was sent: again after what can heal, while there is time."""
    attempts = Attempts(line.policy.retry, line.policy.budget)
    try:
        while True:
            try:
                answer = await exchange(line, request, parse)
            except TimeoutError:
                raise _out_of_time(line, attempts.sent, attempts.last) from attempts.last
            except ProviderError as error:
                delay = attempts.delay(error)
                if delay is None or not line.deadline.allows(delay):
                    raise
                if isinstance(error, AuthenticationError):
                    line.service.forget_credentials()
            else:
                attempts.succeed()
                return answer, attempts.sent
            attempts.sent += 1
            logger.info("%s; attempt %d follows in %.2f s", attempts.last, attempts.sent, delay)
            await line.io.sleep(delay)
    finally:
        attempts.last = None  # it and the frames of its traceback would keep each other alive, and the documents


def _out_of_time(line: Line, attempts: int, last: ProviderError | None) -> DeadlineExceededError:
    after = f"; the attempt before failed with: {last}" if last else ""
    return DeadlineExceededError(
        f"{line.service.name} did not answer within {line.deadline.seconds:.4g} s (attempt {attempts}){after}; "
        "allow more with timeout=",
        provider=line.service.name,
        model=line.service.model,
        attempts=attempts,
    )


async def exchange(line: Line, request: HttpRequest, parse: Callable[[HttpResponse], T]) -> T:
    """One request, one reply; the only place where foreign exceptions are translated."""
    service = line.service
    try:
        response = await line.io.send(line.http, await _authenticated(line, request), line.deadline)
    except UnreadableReplyError as error:
        raise InvalidResponseError(str(error), provider=service.name, model=service.model) from error
    except TransportError as error:
        raise _unreachable(service, error) from error
    response = _masked(service, response)
    if response.status != 200:  # noqa: PLR2004 -- none of the services documents another success
        raise service.error(response)
    try:
        return parse(response)
    except ValueError as error:
        raise _invalid(service, response, error) from error


def _unreachable(service: Service, error: TransportError) -> APIConnectionError:
    found = APIConnectionError(tidy(str(error)), provider=service.name, model=service.model, retryable=error.can_heal)
    found.stale, found.sent = error.stale, error.sent
    return found


def _masked(service: Service, response: HttpResponse) -> HttpResponse:
    """*response* without the caller's key, which a service, or a proxy before it, may have echoed anywhere."""
    content, together = service.mask(response.content), "\n".join(response.headers.values()).encode()
    if content == response.content and service.mask(together) == together:
        return response
    headers = {name: service.mask(value.encode()).decode() for name, value in response.headers.items()}
    return replace(response, headers=headers, content=content)


async def _authenticated(line: Line, request: HttpRequest) -> HttpRequest:
    if line.service.auth_waits:
        return await line.io.offload(partial(line.service.authenticate, request), line.deadline)
    return line.service.authenticate(request)


def _invalid(service: Service, response: HttpResponse, error: ValueError) -> InvalidResponseError:
    return InvalidResponseError(
        tidy(f"the answer is not what the service documents: {error}"),
        provider=service.name,
        model=service.model,
        status_code=response.status,
        request_id=service.quoted_request_id(response),
    )


# Merging


def merge(
    provider: Provider,
    request: RerankRequest[D],
    prepared: Prepared,
    scored: Sequence[ScoredBatch],
    *,
    price_of: PriceOf = _unknown,
) -> RerankResponse[D]:
    """One ranking of all documents: by score, equal scores in the caller's order, then what has no score."""
    scores: dict[int, float] = {}
    spans: dict[int, tuple[Span, ...]] = {}
    for part in scored:
        place = part.batch.indices.__getitem__
        scores.update(zip(map(place, part.reply.scores), part.reply.scores.values(), strict=True))
        spans.update(zip(map(place, part.reply.spans), part.reply.spans.values(), strict=True))
    skipped = _skipped(prepared, scores, scored)
    best_first = sorted(sorted(scores), key=scores.__getitem__, reverse=True)  # equal ones stay in the caller's order
    order = [*best_first, *skipped][: request.top_n]
    replies = [part.reply for part in scored]
    first, *others = [reply.usage for reply in replies] or [Usage()]
    return RerankResponse(
        results=_results(request.documents, order, scores, spans, skipped),
        provider=provider.name,
        model=next((reply.model for reply in replies if reply.model), provider.model),
        usage=sum(others, first),
        request_ids=tuple(reply.request_id for reply in replies if reply.request_id),
        warnings=_warnings(provider, prepared, scored),
        cost=sum_of_costs(*[cost_of(reply.usage, price_of(reply.model)) for reply in replies]),
    )


def _results(
    documents: Sequence[D],
    order: Sequence[int],
    scores: Mapping[int, float],
    spans: Mapping[int, tuple[Span, ...]],
    skipped: Mapping[int, Skipped],
) -> tuple[RankedDocument[D], ...]:
    if not spans and not skipped:
        return tuple(map(RankedDocument, order, map(scores.__getitem__, order), map(documents.__getitem__, order)))
    return tuple(
        RankedDocument(index, scores.get(index), documents[index], spans.get(index, ()), skipped.get(index)) for index in order
    )


def _skipped(prepared: Prepared, scores: Mapping[int, float], scored: Sequence[ScoredBatch]) -> dict[int, Skipped]:
    """Why each document without a score has none, in the order in which they follow the others.

    A document that the service cut off because of `top_n` is not among them: the answer is cut there, too.
    """
    reasons: dict[int, Skipped] = dict(prepared.skipped)
    for part in scored:
        if part.batch.top_n is None and len(part.reply.scores) < len(part.batch.indices):
            reasons.update((index, "no_score") for index in part.batch.indices if index not in scores)
    if not reasons:
        return {}
    return {index: reasons[index] for index in sorted(reasons, key=lambda index: (SKIPPED_ORDER.index(reasons[index]), index))}


def substitution(asked: str | None, served: str) -> str:
    """The warning that another model served than was asked for."""
    return f"asked for {asked}, served by {served}: scores and thresholds may differ"


def _warnings(provider: Provider, prepared: Prepared, scored: Sequence[ScoredBatch]) -> tuple[str, ...]:
    """Each warning once, in the order they arose."""
    found, asked = [*prepared.warnings], provider.model
    substitutions: list[str] = []
    surplus: list[str] = []
    for part in scored:
        found += part.reply.warnings
        served, count, most = part.reply.model, len(part.reply.scores), part.batch.top_n
        if served and asked and served != asked:
            substitutions.append(substitution(asked, served))
        if most is not None and count > most:
            surplus.append(f"asked for {most} results, got {count}: the others were cut off")
    return tuple(dict.fromkeys((*found, *substitutions, *surplus)))
