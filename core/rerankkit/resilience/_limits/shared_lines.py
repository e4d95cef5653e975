"""The lines of `gcra.py` in Redis, for limits that several processes share (extra: redis)."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, cast

from rerankkit._io import IO
from rerankkit.deadline import Deadline
from rerankkit.errors import DeadlineExceededError, InvalidRequestError
from rerankkit.resilience._limits.gcra import NONE, Amounts, Correction, Rate, Reservation
from rerankkit.resilience._limits.lines_script import SCRIPT
from rerankkit.resilience._redis import URL_NAME, Address, Server, library

PATIENCE = 1.0  # seconds for an answer of Redis, which takes milliseconds
SHARE = 0.25  # of a call's time: the rest is for the call itself
LEAST_PATIENCE = 0.05  # seconds; who has less waits as long as that
PAUSE = 1.0  # seconds after a failure for which it is not asked


class UnavailableError(Exception):
    """Redis does not answer; `__cause__` says why.  No caller sees it: there is a limit without Redis, too."""


class SharedLines:
    """The lines of one limit in one Redis, for this process and all others that name the same."""

    def __init__(self, address: Address, name: str, rates: Sequence[Rate]) -> None:
        self.where = address.place
        self._server = Server(address, timeout=PATIENCE, retries=1)  # Redis may have closed the connection that was kept
        self._key = f"rerankkit:rate:{name}"
        self._rates = rates
        self._errors: Any = library().exceptions
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
        except (self._errors.RedisError, TimeoutError, OSError) as error:
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
        self._server.close()

    def _put_right(self, corrections: Sequence[Correction]) -> None:
        try:
            self._ask(corrections, [], 0.0)
        finally:
            if self._is_closed:  # meanwhile
                self._server.close()

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
        refusals = self._errors.AuthenticationError, self._errors.AuthorizationError, self._errors.NoPermissionError
        try:
            script = self._server.client().register_script(SCRIPT)
            return cast("list[bytes]", script(keys=[self._key], args=[json.dumps(asked)]))
        except refusals as error:
            problem = str(error)
        raise InvalidRequestError(
            f"Redis at {self.where} does not let this client in: {problem}; correct the name and the password in {URL_NAME}, "
            "or allow them the commands evalsha, eval, script, time, get and set"
        )


def _written(rate: Rate, amount: float) -> Mapping[str, object]:
    return {"name": rate.name, "length": rate.length(amount), "lead": rate.lead(amount)}


def _change(correction: Correction) -> Mapping[str, object]:
    if correction.free:
        return {"line": correction.line, "free": correction.free}
    return {"line": correction.line, "seconds": correction.seconds}
