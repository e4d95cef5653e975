"""Calls begin no faster than a service allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rerankkit._checks import MODEL_FORM, check_integer, is_number, shown
from rerankkit._degrading import NOTICES
from rerankkit._io import IO
from rerankkit._secret import SecretValue, hidden
from rerankkit._tokens import most_tokens
from rerankkit._turns import call, estimate_of, is_sent
from rerankkit.errors import InvalidRequestError, RateLimitError, RerankError
from rerankkit.reranker import Reranker
from rerankkit.resilience._limits.gcra import NONE, Amounts, Rate, Reservation, Unit
from rerankkit.resilience._limits.own_lines import OwnLines
from rerankkit.resilience._limits.shared_lines import SharedLines, UnavailableError
from rerankkit.resilience._redis import Address
from rerankkit.resilience.wrapper import Wrapper
from rerankkit.types import D, Document, RerankRequest, RerankResponse

FROM_ENVIRONMENT = "env"
MOST = 1e9  # requests or tokens in a second or a minute: more is no limit


class RateLimited(Wrapper):
    """Lets calls begin at a steady rate: ``RateLimited(Client(Kendra(plan)), requests_per_second=0.01)``.

    Calls wait within their deadline, first come, first served; threads and tasks wait in one line, and with `redis_url`
    those of other processes, too. One whose turn comes too late fails at once, with a `RateLimitError`: nothing was sent.

    In any t seconds calls begin that take at most ``burst + rate * t`` requests, one call of several requests counting as
    the burst if it is larger. What a call is likely to take is reserved before it; what it took besides, retries among
    them, is charged after it. A forked child counts for itself unless there is Redis.

    Args:
        reranker: Whose calls are limited.
        requests_per_second: May be below one.
        requests_per_minute: The same by the minute; both may be given.
        tokens_per_minute: As `Usage.total_tokens` counts; by `estimate` before the call, or by UTF-8 bytes divided by three.
        burst: Requests that may go out at once after a pause.
        burst_tokens: Tokens that may; a call of more begins when all before it are paid for.
        redis_url: Of the Redis that all processes share, such as ``"redis://localhost:6379/0"`` (extra: redis); ``"env"``
            reads RERANKKIT_REDIS_URL. While it does not answer, each process keeps the limit for itself. A password
            in the address shows nowhere; a copy or a pickle finds it in RERANKKIT_REDIS_URL, if that names the same server.
        name: What the limit is called in Redis: those of one name count together.
        timeout: Seconds for a call as a whole, waiting included; None: as the reranker.

    Raises:
        InvalidRequestError: There is no rate, or an argument is out of range.
    """

    keeps_scores: ClassVar[bool] = True

    def __init__(
        self,
        reranker: Reranker,
        *,
        requests_per_second: float | None = None,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        burst: int = 1,
        burst_tokens: int = 1,
        redis_url: str | None = None,
        name: str = "rerankkit",
        timeout: float | None = None,
    ) -> None:
        given_url = hidden(redis_url)
        del redis_url  # tracebacks show what is left here
        address = self._found(given_url)
        super().__init__(reranker, timeout=timeout)
        given: list[tuple[str, Unit, float | None, float, int]] = [
            ("requests_per_second", "requests", requests_per_second, 1.0, check_integer("burst", burst, 1, None)),
            ("requests_per_minute", "requests", requests_per_minute, 60.0, burst),
            ("tokens_per_minute", "tokens", tokens_per_minute, 60.0, check_integer("burst_tokens", burst_tokens, 1, None)),
        ]
        self._rates = [
            Rate(each, unit, _check_count(each, count) / seconds, most)
            for each, unit, count, seconds, most in given
            if count is not None
        ]
        if not self._rates:
            raise InvalidRequestError("RateLimited needs a rate, such as requests_per_minute=60")
        self._own = OwnLines(self._rates)
        self._shared = None if address is None else SharedLines(address, _check_name(name), self._rates)

    def _found(self, redis_url: SecretValue | None) -> Address | None:
        """The address of Redis; copies hold it without its password."""
        if redis_url is None:
            return None
        if redis_url.get_secret_value() == FROM_ENVIRONMENT:
            return Address.find("redis_url", None)
        self._given = {**self._given, "redis_url": "not checked yet, and not shown"}
        address = Address.find("redis_url", redis_url)
        self._given = {**self._given, "redis_url": address.url}
        return address

    async def _rerank(self, io: IO, request: RerankRequest[D]) -> RerankResponse[D]:
        if not request.documents:
            return await call(io, self.rerankers[0], request)
        place = await self._place(io, request)
        try:
            if place.reservation.wait > 0:
                await io.sleep(place.reservation.wait)
        except BaseException:
            place.settle(NONE)
            raise
        try:
            response = await call(io, self.rerankers[0], request)
        except RerankError as error:
            place.settle(_used_in_vain(error, place.reservation.amounts))
            raise
        place.settle(_used(response, place.reservation.amounts))
        return response

    async def _place(self, io: IO, request: RerankRequest[D]) -> _Place:
        """A place that comes before the deadline; nothing else is reserved.

        Raises:
            RateLimitError: There is none.
        """
        place = await self._next_place(io, request)
        if not place.reservation.stretches:
            raise self._too_late(place.reservation.wait, request)
        return place

    async def _next_place(self, io: IO, request: RerankRequest[D]) -> _Place:
        amounts = self._expected(request)
        if self._shared is not None:
            try:
                return _Place(self._shared, self._rates, await self._shared.reserve(io, amounts, request.deadline))
            except UnavailableError as error:
                if error.__cause__ is not None:
                    NOTICES.tell(f"Redis at {self._shared.where}", error.__cause__, "each process limits its own rate")
        return _Place(self._own, self._rates, self._own.reserve(amounts, request.deadline.remaining()))

    def _expected(self, request: RerankRequest[D]) -> Amounts:
        """What a call is likely to take."""
        usage = estimate_of(self.rerankers[0], request).usage
        tokens = _most_tokens(request) if usage.total_tokens is None else usage.total_tokens
        return {"requests": max(1, usage.requests), "tokens": max(1, tokens)}

    def _too_late(self, wait: float, request: RerankRequest[D]) -> RateLimitError:
        rates = ", ".join(f"{rate.name}={self.arguments()[rate.name]}" for rate in self._rates)
        error = RateLimitError(
            f"nothing was sent: this program's own limit, RateLimited({rates}), lets the call begin in {wait:.3g} s, after its "
            f"deadline of {request.deadline.seconds:g} s; allow more with timeout=, or put something behind it in a Fallback",
            retry_after=wait,
        )
        error.attempts = 0
        return error

    def close(self) -> None:
        """Close the reranker, and the connections to Redis."""
        super().close()
        if self._shared is not None:
            self._shared.close()

    async def aclose(self) -> None:
        """Close the reranker, and the connections to Redis."""
        await super().aclose()
        if self._shared is not None:
            self._shared.close()


@dataclass(frozen=True, slots=True)
class _Place:
    """What a call reserved, and on whose lines."""

    lines: OwnLines | SharedLines
    rates: Sequence[Rate]
    reservation: Reservation

    def settle(self, used: Amounts) -> None:
        """Charge, or give back, the difference to what was *used*."""
        corrections = self.reservation.corrections(self.rates, used)
        if corrections:
            self.lines.correct(corrections)


def _used(response: RerankResponse[D], expected: Amounts) -> Amounts:
    """What a call took.  An answer that names no requests comes from somebody who does not count, or out of a cache."""
    usage = response.usage
    requests = usage.requests + sum(turn.usage.requests for turn in response.attempts if turn.outcome == "failed")
    if not requests:
        return NONE if response.cache is not None and not response.cache.misses else expected
    return {"requests": requests, "tokens": expected["tokens"] if usage.total_tokens is None else usage.total_tokens}


def _used_in_vain(error: RerankError, expected: Amounts) -> Amounts:
    """What a failed call took, as far as that is known: at least what was expected, unless nothing was sent."""
    turns = error.history
    if not any(map(is_sent, turns)):
        return NONE
    return {**expected, "requests": max(expected["requests"], sum(turn.usage.requests for turn in turns))}


def _most_tokens(request: RerankRequest[D]) -> int:
    """The query's tokens for each document, and the documents', rather too many than too few."""
    of_query = most_tokens(request.query)
    return sum(of_query + most_tokens(_text(item)) for item in request.items)


def _text(item: str | Document) -> str:
    if isinstance(item, str):
        return item
    parts = (item.title, item.text) if item.fields is None else item.fields.values()
    return " ".join(str(part) for part in parts if part)


def _check_count(name: str, value: object) -> float:
    if not is_number(value) or not 0 < value <= MOST:
        raise InvalidRequestError(f"{name} must be a number above 0 and at most {MOST:g}, got {shown(value)}")
    return float(value)


def _check_name(value: object) -> str:
    if not isinstance(value, str) or not MODEL_FORM.fullmatch(value):
        raise InvalidRequestError(
            f"name must be one such as 'cohere' (letters, digits and . _ : / @ -, at most 200), got {shown(value)}"
        )
    return value
