"""Only so many calls at a time."""

from __future__ import annotations

from typing import ClassVar

from rerankkit._checks import check_flag, check_integer
from rerankkit._io import IO
from rerankkit._turns import call, is_sent
from rerankkit.errors import DeadlineExceededError, InvalidRequestError, RateLimitError, RerankError, ServerError
from rerankkit.reranker import Reranker
from rerankkit.resilience._limits.places import Place, Places
from rerankkit.resilience.wrapper import Wrapper
from rerankkit.types import D, RerankRequest, RerankResponse

UNAVAILABLE = 503  # RFC 9110: too much to do just now


class ConcurrencyLimited(Wrapper):
    """Lets at most so many calls be under way in this process: ``ConcurrencyLimited(Client(Cohere()), 8)``.

    Others wait within their deadline, first come, first served, threads and tasks in one line. A forked child begins with
    all places free.

    Args:
        reranker: Whose calls are limited.
        most: Calls under way at a time; one of them may need several requests (`Client`'s `concurrency`).
        adaptive: Find out how many the service takes: half as many after a rate limit or a 503, once for all calls that
            were under way, and one more after as many successes as there are places.
        least: Of an adaptive limit, which begins with `most`.
        timeout: Seconds for a call as a whole, waiting included; None: as the reranker.

    Raises:
        InvalidRequestError: An argument is out of range.
    """

    keeps_scores: ClassVar[bool] = True

    def __init__(
        self, reranker: Reranker, most: int = 8, *, adaptive: bool = False, least: int = 1, timeout: float | None = None
    ) -> None:
        super().__init__(reranker, timeout=timeout)
        self._is_adaptive = check_flag("adaptive", adaptive)
        check_integer("most", most, 1, None)
        if check_integer("least", least, 1, None) > most:
            raise InvalidRequestError(f"least must be at most {most}, as most= is, got {least}")
        self._places = Places(most, least)

    @property
    def limit(self) -> int:
        """How many calls may be under way just now."""
        return int(self._places.limit)

    async def _rerank(self, io: IO, request: RerankRequest[D]) -> RerankResponse[D]:
        place: Place = Place()
        try:
            self._places.take(place)  # here, so that an interrupt leaves none taken
            number = await _given(io, place, request, self)
            response = await self._observed(io, request, number)
        finally:
            self._places.leave(place)
        return response

    async def _observed(self, io: IO, request: RerankRequest[D], number: int) -> RerankResponse[D]:
        """What the reranker answers; it tells whether there are too many places."""
        try:
            response = await call(io, self.rerankers[0], request)
        except RerankError as error:
            if self._is_adaptive and _is_too_much(error):
                self._places.narrow(number)
            raise
        if self._is_adaptive and response.status != "degraded":
            self._places.widen()
        return response


async def _given(io: IO, place: Place, request: RerankRequest[D], by: ConcurrencyLimited) -> int:
    """The round in which *place* was given.

    Raises:
        DeadlineExceededError: It was not, in time.
    """
    if place.done():
        return place.result()
    try:
        return await io.wait(place, request.deadline)
    except TimeoutError:
        error = DeadlineExceededError(
            f"nothing was sent: {by.limit} calls were under way, and none of them ended within {request.deadline.seconds:g} s; "
            "allow more time with timeout=, or more calls with most="
        )
        error.sent = False
        raise error from None


def _is_too_much(error: RerankError) -> bool:
    """Whether a service says that it is asked too often, and not a limit of this program's."""
    if not any(map(is_sent, error.history)):
        return False
    if isinstance(error, RateLimitError):
        return error.retryable
    return isinstance(error, ServerError) and error.status_code == UNAVAILABLE
