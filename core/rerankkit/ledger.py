"""What the calls of a client came to, together and by tag."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from rerankkit._checks import is_blank, shown
from rerankkit._forking import fork_lock
from rerankkit.errors import InvalidRequestError
from rerankkit.types import Usage

_TAGS: ContextVar[tuple[str, ...]] = ContextVar("rerankkit_tags", default=())


@contextmanager
def tagged(*tags: str) -> Generator[None]:
    """Within it, calls count under each of *tags* as well, and under those of the blocks around it.

    It holds for the running task or thread, for tasks that are started within it, and for the threads of this package;
    other threads begin without tags.

    Raises:
        InvalidRequestError: A tag is no text, or a blank one.
    """
    for tag in tags:
        if not isinstance(tag, str) or is_blank(tag):
            raise InvalidRequestError(f"a tag must be a text such as 'tenant-a', got {shown(tag)}")
    token = _TAGS.set(tuple(dict.fromkeys((*_TAGS.get(), *tags))))
    try:
        yield
    finally:
        _TAGS.reset(token)


@dataclass(frozen=True, slots=True)
class Account:
    """What some calls came to.

    Attributes:
        calls: All that have ended, in whatever way.
        failures: Those that raised an error; what they were billed no reply says.
        cancelled: Those that nobody waited for any more, such as the loser of a hedge; services bill them all the same.
        unpriced: Those that were answered at an unknown cost.
        usage: Of those that were answered, and the requests that failed ones are known to have sent.
        cost: In dollars (USD), of those that were answered at a known cost: the least that all of them cost.
    """

    calls: int = 0
    failures: int = 0
    cancelled: int = 0
    unpriced: int = 0
    usage: Usage = field(default_factory=Usage)
    cost: float = 0.0


@dataclass(slots=True)
class _Tally:
    """An account that goes on."""

    calls: int = 0
    failures: int = 0
    cancelled: int = 0
    unpriced: int = 0
    usage: Usage = field(default_factory=Usage)
    cost: float = 0.0

    def account(self) -> Account:
        return Account(self.calls, self.failures, self.cancelled, self.unpriced, self.usage, self.cost)


class Ledger:
    """What the calls of a client came to, in this process.

    A copy, a pickle and a forked child begin with an empty one, so that the ledgers of several processes can be added.
    It keeps an account a tag for good: tag by tenant or feature, not by call.
    """

    def __init__(self) -> None:
        self._lock = fork_lock()
        self._clear()

    def __repr__(self) -> str:
        return f"Ledger({self.total})"

    def __reduce__(self) -> tuple[type[Ledger], tuple[()]]:
        return (Ledger, ())

    @property
    def total(self) -> Account:
        """Of all calls."""
        with self._lock:
            return self._own()[0].account()

    @property
    def by_tag(self) -> Mapping[str, Account]:
        """Of the calls under each tag."""
        with self._lock:
            return {tag: tally.account() for tag, tally in self._own()[1].items()}

    def reset(self) -> None:
        """Begin anew."""
        with self._lock:
            self._clear()

    def answered(self, usage: Usage, cost: float | None) -> None:
        """Count a call that was answered; None: its cost is unknown."""
        self._add(usage, cost or 0.0, unpriced=int(cost is None))

    def failed(self, error: BaseException) -> None:
        """Count a call that ended with *error*."""
        is_cancelled = isinstance(error, CancelledError) or not isinstance(error, Exception)
        sent: object = getattr(error, "attempts", 0)
        usage = Usage(sent if isinstance(sent, int) else 0)
        self._add(usage, 0.0, failures=int(not is_cancelled), cancelled=int(is_cancelled))

    def _add(self, usage: Usage, cost: float, *, failures: int = 0, cancelled: int = 0, unpriced: int = 0) -> None:
        tags = _TAGS.get()
        with self._lock:
            total, by_tag = self._own()
            for tally in (total, *(by_tag.setdefault(tag, _Tally()) for tag in tags)):
                tally.calls += 1
                tally.failures += failures
                tally.cancelled += cancelled
                tally.unpriced += unpriced
                tally.usage += usage
                tally.cost += cost

    def _own(self) -> tuple[_Tally, dict[str, _Tally]]:
        """The tallies of this process."""
        if self._process != os.getpid():
            self._clear()
        return self._total, self._tags

    def _clear(self) -> None:
        self._process = os.getpid()
        self._total = _Tally()
        self._tags: dict[str, _Tally] = {}
