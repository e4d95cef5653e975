"""How a plan is watched until it is in another state: pure decisions, no waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from rerankkit._checks import check_seconds
from rerankkit._plan_answers import Plan
from rerankkit.deadline import Deadline
from rerankkit.errors import ConflictError, DeadlineExceededError, InvalidRequestError, ProviderError, RateLimitError
from rerankkit.service import tidy

WATCH_TIMEOUT = 3_600.0  # seconds.  AWS names none; its CloudFormation allows 4 h to create a plan and 12 h to delete it
FIRST_PAUSE = 1.0  # seconds; each pause is twice the one before
LONGEST_PAUSE = 60.0  # seconds, as in AWS's own samples

HOPELESS: Mapping[str, str] = {"FAILED": "delete it and create another", "DELETING": "create another"}


@dataclass(frozen=True, slots=True)
class Watch:
    """How long to look, how often, and who is told."""

    timeout: float
    poll_seconds: float
    progress: Callable[[Plan], object] | None

    def __post_init__(self) -> None:
        check_seconds("timeout", self.timeout)
        check_seconds("poll_seconds", self.poll_seconds)
        if self.progress is not None and not callable(self.progress):
            raise InvalidRequestError(f"progress must be a function that takes a Plan, got {self.progress!r}")

    def pauses(self) -> Iterator[float]:
        """Seconds from each look to the next."""
        pause = min(FIRST_PAUSE, self.poll_seconds)
        while True:
            yield pause
            pause = min(2 * pause, self.poll_seconds)


class Looks:
    """The looks at one plan so far, and when the next is due.

    Attributes:
        goal: What is waited for, in a word.
        attempts: Requests that were begun.
    """

    def __init__(self, plan_id: str, goal: str, watch: Watch) -> None:
        self.plan_id = plan_id
        self.goal = goal
        self.attempts = 0
        self._watch = watch
        self._deadline = Deadline(watch.timeout)
        self._pauses = watch.pauses()
        self._plan: Plan | None = None
        self._failure: ProviderError | DeadlineExceededError | None = None

    @property
    def over(self) -> bool:
        """Whether there is no time for another."""
        return not self._deadline.remaining()

    def deadline(self, timeout: float) -> Deadline:
        """Of the next look, which may take *timeout* seconds if there are so many left."""
        return Deadline(min(timeout, self._deadline.remaining()))

    def pause(self) -> float:
        """Seconds until the next: more if the service asked for it, less if there are no more."""
        wish = self._failure.retry_after if isinstance(self._failure, ProviderError) else None
        return min(max(next(self._pauses), wish or 0.0), self._deadline.remaining())

    def saw(self, plan: Plan, attempts: int) -> None:
        """Keep what a look has shown, and tell whoever wants to know."""
        self._plan, self._failure = plan, None
        self.attempts += attempts
        if self._watch.progress is not None:
            self._watch.progress(plan)

    def missed(self, error: ProviderError | DeadlineExceededError) -> bool:
        """Keep what a look has failed with; False: looking again will not help.

        A throttled look is one to repeat, and so is any other that may pass, once the plan has been seen.  Of a last one
        that has hardly begun when the time is over nothing is to be learnt.
        """
        self.attempts += error.attempts
        if isinstance(self._failure, RateLimitError) and isinstance(error, DeadlineExceededError) and self.over:
            return True
        self._failure = error
        passing = isinstance(error, DeadlineExceededError) or error.retryable
        return isinstance(error, RateLimitError) or (passing and self._plan is not None)

    def too_late(self) -> DeadlineExceededError:
        """The error when the time is over."""
        last = f"it was {_told(self._plan)} when last seen" if self._plan else "the service was too busy to show it"
        error = DeadlineExceededError(
            f"the plan {self.plan_id} was not {self.goal} within {self._watch.timeout:g} s: {last}; "
            "wait again, or allow more with timeout=",
            provider="kendra",
            attempts=self.attempts,
        )
        error.__cause__ = self._failure
        return error


def is_active(plan: Plan) -> bool:
    """Whether *plan* ranks.  A status that is not documented means that it does not yet.

    Raises:
        ConflictError: It never will.
    """
    if plan.status in HOPELESS:
        reason = f"{_told(plan)}, and will not become ACTIVE: {HOPELESS[plan.status]}"
        raise ConflictError(f"the plan {plan.id} is {reason}", provider="kendra")
    return plan.status == "ACTIVE"


def _told(plan: Plan) -> str:
    return plan.status if plan.error_message is None else f"{plan.status} ({tidy(plan.error_message)})"
