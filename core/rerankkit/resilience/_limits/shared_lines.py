"""The lines of `gcra.py` in Redis, for limits that several processes share (extra: redis)."""

from __future__ import annotations

import importlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

from rerankkit._forking import UNDIVIDED
from rerankkit._io import IO
from rerankkit._secret import Hidden, SecretValue, environment
from rerankkit.deadline import Deadline
from rerankkit.errors import DeadlineExceededError, InvalidRequestError
from rerankkit.resilience._limits.gcra import NONE, Amounts, Correction, Rate, Reservation
from rerankkit.resilience._limits.lines_script import SCRIPT

FROM_ENVIRONMENT = "env"
VARIABLE = "RERANKKIT_REDIS_URL"
PATIENCE = 1.0  # seconds for an answer of Redis, which takes milliseconds
SHARE = 0.25  # of a call's time: the rest is for the call itself
LEAST_PATIENCE = 0.05  # seconds; who has less waits as long as that
PAUSE = 1.0  # seconds after a failure for which it is not asked


class UnavailableError(Exception):
    """Redis does not answer; `__cause__` says why.  No caller sees it: there is a limit without Redis, too."""


class SharedLines:
    """The lines of one limit in one Redis, for this process and all others that name the same.

    Raises:
        InvalidRequestError: The address is none, or the package redis is not there.
    """

    def __init__(self, url: SecretValue, name: str, rates: Sequence[Rate]) -> None:
        self.where = _place(url.get_secret_value())
        self._url = url
        self._key = f"rerankkit:rate:{name}"
        self._rates = rates
        self._library = _load()
        self._client = self._connected()
        self._silent_until = -math.inf
        self._is_closed = False

    async def reserve(self, io: IO, amounts: Amounts, deadline: Deadline) -> Reservation:
        """A place for a call, unless it would begin after *deadline*.

        Raises:
            UnavailableError: Redis does not answer; it is not asked again for a moment.
            DeadlineExceededError: There was no time for it to answer.
            InvalidRequestError: Redis does not let this client in.
        """
        if time.monotonic() < self._silent_until:
            raise UnavailableError
        patience = deadline.sooner(min(PATIENCE, max(LEAST_PATIENCE, SHARE * deadline.remaining())))
        reserved: Future[Reservation] = Future()
        try:
            return await io.offload(partial(self._reserve, reserved, amounts, deadline), patience)
        except (self._library.RedisError, TimeoutError, OSError) as error:
            self._give_back(reserved)
            if not deadline.remaining():
                late = DeadlineExceededError(f"Redis at {self.where} did not answer within {deadline.seconds:g} s")
                late.sent = False
                raise late from error
            self._silent_until = time.monotonic() + PAUSE
            raise UnavailableError from error
        except BaseException:
            self._give_back(reserved)
            raise

    def correct(self, corrections: Sequence[Correction]) -> None:
        """Put right what was reserved, soon: nobody waits for it, and if Redis does not answer, it is left as it is."""
        if not corrections:
            return
        executor = ThreadPoolExecutor(1, thread_name_prefix="rerankkit")
        with suppress(RuntimeError):  # the interpreter is about to end
            executor.submit(self._put_right, corrections)
        executor.shutdown(wait=False)

    def close(self) -> None:
        """Close the connections of this process."""
        self._is_closed = True
        self._disconnect()

    def _put_right(self, corrections: Sequence[Correction]) -> None:
        try:
            self._ask(corrections, [], 0.0)
        finally:
            if self._is_closed:  # meanwhile
                self._disconnect()

    def _disconnect(self) -> None:
        if self._client.pid == os.getpid():
            self._client.redis.connection_pool.disconnect()

    def _reserve(self, reserved: Future[Reservation], amounts: Amounts, deadline: Deadline) -> Reservation:
        """What `reserve` answers, in a thread that may wait; also told to whoever does not wait for it any more."""
        rates = [rate for rate in self._rates if amounts[rate.unit]]
        granted, wait, *starts = self._ask([], [_written(rate, amounts[rate.unit]) for rate in rates], deadline.remaining())
        found = Reservation(float(wait), amounts, {})
        if int(granted):
            began = zip(rates, map(float, starts), strict=True)
            stretches = {rate.name: (start, start + rate.length(amounts[rate.unit])) for rate, start in began}
            found = Reservation(float(wait), amounts, stretches)
        reserved.set_result(found)
        return found

    def _give_back(self, reserved: Future[Reservation]) -> None:
        """Free what was reserved, or is about to be, for a caller who has left."""
        reserved.add_done_callback(lambda done: self.correct(done.result().corrections(self._rates, NONE)))

    def _ask(self, corrections: Sequence[Correction], rates: Sequence[Mapping[str, object]], longest: float) -> list[bytes]:
        asked = {"corrections": [_change(each) for each in corrections], "rates": rates, "longest": longest}
        try:
            return cast("list[bytes]", self._script()(keys=[self._key], args=[json.dumps(asked)]))
        except self._library.refusals as error:
            problem = str(error)
        raise InvalidRequestError(
            f"Redis at {self.where} does not let this client in: {problem}; correct the name and the password in {VARIABLE}, "
            "or allow them the commands evalsha, eval, script, time, get and set"
        )

    def _script(self) -> Callable[..., object]:
        """The script, over this process's own connections."""
        if self._client.pid != os.getpid():
            self._client = self._connected()
        return self._client.script

    def _connected(self) -> _Client:
        try:
            return self._checked()
        except (ValueError, TypeError, AttributeError):
            pass  # its text may hold parts of a password
        raise InvalidRequestError(
            f"redis_url must be an address such as 'redis://localhost:6379/0', 'rediss://...' or 'unix://...', got {self.where}"
        )

    def _checked(self) -> _Client:
        """A client for an address that has no wrong options."""
        redis = self._library.connect(self._url.get_secret_value(), socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE)
        redis.connection_pool.connection_class(**redis.connection_pool.connection_kwargs)
        return _Client(os.getpid(), redis, redis.register_script(SCRIPT))


class _Client(NamedTuple):
    """The package's client of one process; it opens connections when it needs them."""

    pid: int
    redis: Any
    script: Callable[..., object]


def _written(rate: Rate, amount: float) -> Mapping[str, object]:
    return {"name": rate.name, "length": rate.length(amount), "lead": rate.lead(amount)}


def _change(correction: Correction) -> Mapping[str, object]:
    if correction.free:
        return {"line": correction.line, "free": correction.free}
    return {"line": correction.line, "seconds": correction.seconds}


class _Library(NamedTuple):
    """What is used of the package redis.

    Attributes:
        connect: A client for a URL; it opens no connection yet.
        refusals: Its errors that no waiting heals.
    """

    connect: Callable[..., Any]
    RedisError: type[Exception]
    refusals: tuple[type[Exception], ...]


@cache
def _load() -> _Library:
    try:
        with UNDIVIDED:
            redis: Any = importlib.import_module("redis")
            backoff: Any = importlib.import_module("redis.backoff")
            retry: Any = importlib.import_module("redis.retry")
    except ModuleNotFoundError as error:
        raise InvalidRequestError("redis_url needs the package redis: pip install 'rerankkit[redis]'") from error
    again = retry.Retry(backoff.NoBackoff(), 1)  # over a new connection, if Redis has closed the one that was kept
    connect = partial(_pooled, redis, retry=again)
    failures = redis.exceptions
    refusals = (failures.AuthenticationError, failures.AuthorizationError, failures.NoPermissionError)
    return _Library(connect, failures.RedisError, refusals)


def _pooled(redis: Any, url: str, **options: object) -> Any:  # noqa: ANN401 -- the module and its client
    """A client that does not own its pool: one that does would wait for the pool's lock for ever when a forked child drops
    it, should one of the parent's threads have held that at the fork.
    """
    return redis.Redis(connection_pool=redis.ConnectionPool.from_url(url, **options))


def find_url(given: object) -> SecretValue:
    """The address that the caller gave, or that the environment has; it shows itself to nobody.

    Raises:
        InvalidRequestError: There is none.
    """
    if not isinstance(given, str) or not given:
        raise InvalidRequestError(
            f"redis_url must be an address such as 'redis://localhost:6379/0', or 'env', not {type(given).__name__}"
        )
    found = environment([VARIABLE]) if given == FROM_ENVIRONMENT else given
    if not found:
        raise InvalidRequestError(
            f"redis_url='env' needs an address in {VARIABLE}, such as redis://localhost:6379/0 (a copy of an object whose "
            "redis_url had a password in it looks there, too)"
        )
    return Hidden(found)


def may_hold_password(url: object) -> bool:
    """Whether *url* is to be shown to nobody."""
    return isinstance(url, str) and ("@" in url or "password" in url)


def _place(url: str) -> str:
    """Where *url* points, without name and password."""
    if "://" not in url:
        return "one that begins otherwise"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "one that cannot be read"
    return f"{parts.scheme}://{parts.hostname or parts.path}{f':{port}' if port else ''}"
