"""Group B: time.  One deadline holds over everything that a call can wait for."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from helpers.canaries import assert_silent, key_options, shown_of
from helpers.services import COHERE, SERVICES, Service
from helpers.stopwatch import Stopwatch
from helpers.ways import run
from integration.reliability.fault_server import FaultServer, Stage
from integration.reliability.faults import DripsBody, Later, Status
from integration.reliability.rows import row
from integration.reliability.slowness import (
    DRIPPED_BODY,
    FULL_POOL,
    NO_TIME,
    SLOWNESSES,
    TOO_LONG,
    WAITING,
    Ended,
    Slowness,
    side_by_side,
)
from integration.reliability.trial import LATEST, Trial
from rerankkit import Client, DeadlineExceededError, InvalidRequestError, RateLimitError, RerankError, Retry, ServerError

DEADLINES = (0.1, 0.3, 1.0)


@pytest.mark.parametrize("slowness", [pytest.param(one, id=str(one), marks=pytest.mark.row(one.row)) for one in SLOWNESSES])
def test_nothing_outlasts_the_deadline(fault_server: FaultServer, colour: str, slowness: Slowness, caplog: Any) -> None:
    caplog.set_level(logging.INFO)  # more would cost time that counts here
    for ended in ended_in_time(fault_server, slowness, colour, DEADLINES):
        assert ended.error is not None
        assert isinstance(ended.error, DeadlineExceededError) or not slowness.lasts, ended
        assert ended.seconds >= ended.deadline or not slowness.lasts, ended
        assert_silent(*shown_of(ended.error))
    assert_silent(caplog.text)


def ended_in_time(
    server: FaultServer, slowness: Slowness, colour: str, deadlines: Sequence[float], calls: int = 1
) -> list[Ended]:
    """How calls side by side ended, all by their deadlines."""
    ended = side_by_side(server, slowness, colour, deadlines, calls)
    if max(one.late for one in ended) >= LATEST:  # once may be the machine: what is wrong is late each time
        ended = side_by_side(server, slowness, colour, deadlines, calls)
    assert [one for one in ended if one.late >= LATEST] == []
    return ended


@pytest.mark.row(DRIPPED_BODY)
def test_the_deadline_holds_on_every_way(trial: Trial) -> None:
    trial.stage.always(DripsBody())
    assert isinstance(trial(timeout=0.15).error, DeadlineExceededError)


@pytest.mark.row(FULL_POOL)
def test_who_waits_for_a_connection_in_vain_fails_at_its_own_deadline(fault_server: FaultServer, colour: str) -> None:
    """Each reply wakes those who wait, and none of them gets its time anew."""
    slowness = Slowness(FULL_POOL, "busy", Later(0.3), connections=1)
    ended = ended_in_time(fault_server, slowness, colour, [2.0], calls=20)
    for service in SERVICES:
        served = [one for one in ended if one.service == service.name and one.error is None]
        assert 2 <= len(served) <= 6, "of six that one connection can serve"


@pytest.mark.row(FULL_POOL)
def test_nobody_who_waits_for_a_connection_starves(fault_server: FaultServer, colour: str) -> None:
    slowness = Slowness(FULL_POOL, "busy", Later(0.02), connections=1)
    ended = side_by_side(fault_server, slowness, colour, [10.0], calls=50)
    assert [one.error for one in ended] == [None] * 200


@pytest.mark.row(WAITING)
@pytest.mark.parametrize("headers", [{"Retry-After": "1"}, {"Retry-After-Ms": "1000"}], ids=["seconds", "milliseconds"])
def test_what_the_service_asks_for_is_waited(fault_server: FaultServer, colour: str, headers: Mapping[str, str]) -> None:
    slowness = Slowness(WAITING, "once", once=Status(429, headers))
    for ended in side_by_side(fault_server, slowness, colour, [5.0]):
        assert ended.error is None
        assert 1.0 <= ended.seconds < 4.0


@pytest.mark.row(TOO_LONG)
def test_a_wait_beyond_the_deadline_is_not_begun(trial: Trial) -> None:
    trial.stage.always(Status(429, {"Retry-After": "86400"}))
    outcome = trial()
    assert isinstance(outcome.error, RateLimitError)
    assert outcome.error.retry_after == 86_400
    assert outcome.requests == 1
    assert outcome.own_seconds < 1


@pytest.mark.row(NO_TIME)
def test_a_back_off_beyond_the_deadline_is_not_begun(trial: Trial) -> None:
    trial.stage.always(Status(503))
    outcome = trial(timeout=1.0, retry=Retry(base_delay=1e9, max_delay=1e9))
    assert isinstance(outcome.error, ServerError)
    assert outcome.requests == 1
    assert outcome.own_seconds < 0.9


UNTOLD = None  # nothing that counts: the client's own back-off
FOREVER = math.inf  # longer than any deadline

RETRY_AFTERS: dict[str, tuple[Mapping[str, str], float | None]] = {
    **{
        repr(value[:30]): ({"Retry-After": value}, expected)
        for value, expected in {
            "0": 0.0,
            "0.05": 0.05,
            " 0.05 ": 0.05,
            "00000": 0.0,
            "1e-2": 0.01,
            "1.5": 1.5,
            "86400": 86_400.0,
            "1795163084": 1_795_163_084.0,
            "1e35": 1e35,
            "-0": 0.0,
            "-10": UNTOLD,
            "-1e-9": UNTOLD,
            "": UNTOLD,
            "   ": UNTOLD,
            "soon": UNTOLD,
            "inf": UNTOLD,
            "-inf": UNTOLD,
            "nan": UNTOLD,
            "1e999": UNTOLD,
            "9" * 8_000: UNTOLD,
            "1,5": UNTOLD,
            "1, 2": UNTOLD,
            "1 s": UNTOLD,
            "0x10": UNTOLD,
            "true": UNTOLD,
            "\xb2": UNTOLD,
            "\xff\xfe": UNTOLD,
            "GMT": UNTOLD,
            "Fri, ": UNTOLD,
            "Fri, 31 Dec 1999 23:59:59 GMT": 0.0,
            "Friday, 31-Dec-99 23:59:59 GMT": 0.0,
            "Fri Dec 31 23:59:59 1999": 0.0,
            "Thu, 31 Dec 2099 23:59:59 GMT": FOREVER,
            "Thu, 31 Dec 2099 23:59:59 -0000": FOREVER,
            "Fri, 31 Dec 100000 23:59:59 GMT": UNTOLD,
            "Fri, 99 Nov 2099 12:00:30 GMT": UNTOLD,
            "Fri, 31 Dec 1999 23:59:59 +9999": UNTOLD,
            "Thu, 31 Dec 2099 99999999999999999:00:00 GMT": UNTOLD,
            "99999999999999999999999 Jan 2099 00:00:00 GMT": UNTOLD,
            "2099-12-31T23:59:59Z": UNTOLD,
        }.items()
    },
    "two headers": ({"Retry-After": "0", "retry-after": "86400"}, UNTOLD),
}


@row("B9", "a Retry-After in any form, sane or not", "never raises, and is never waited for beyond the deadline")
@pytest.mark.parametrize(("headers", "told"), RETRY_AFTERS.values(), ids=RETRY_AFTERS)
def test_every_form_of_retry_after(core: Trial, headers: Mapping[str, str], told: float | None) -> None:
    assert_waits(core, Status(429, headers), told)


def assert_waits(trial: Trial, fault: Status, told: float | None) -> None:
    """That *fault* is followed by a wait of *told* seconds, or by none that would end after the deadline."""
    trial.stage.play(fault)
    outcome = trial(timeout=1.0)
    if told is None or told < 1.0:
        assert outcome.error is None
        assert outcome.requests == 2
        assert outcome.seconds >= (told or 0.0)
    else:
        assert isinstance(outcome.error, RateLimitError)
        assert outcome.requests == 1
        assert outcome.error.retry_after is not None
        assert told in (outcome.error.retry_after, FOREVER)
        assert outcome.error.retry_after > 1.0


FURTHER_HEADERS: dict[str, tuple[Mapping[str, str], float | None]] = {
    "milliseconds": ({"Retry-After-Ms": "50"}, 0.05),
    "milliseconds before seconds": ({"Retry-After-Ms": "50", "Retry-After": "60"}, 0.05),
    "milliseconds that are none": ({"Retry-After-Ms": "soon", "Retry-After": "60"}, 60.0),
    "negative milliseconds": ({"Retry-After-Ms": "-1", "Retry-After": "0.05"}, 0.05),
    "AWS": ({"x-amz-retry-after": "50"}, 0.05),
    "AWS, too long": ({"x-amz-retry-after": "90000"}, 90.0),
    "AWS, infinite": ({"x-amz-retry-after": "inf"}, UNTOLD),
    "gRPC": ({"grpc-retry-pushback-ms": "50", "Retry-After": "60"}, 0.05),
    "gRPC, too long": ({"grpc-retry-pushback-ms": "90000"}, 90.0),
    "a reset that has been": ({"X-RateLimit-Reset": "1000000000"}, UNTOLD),
    "a reset in another unit": ({"X-RateLimit-Reset": "30"}, UNTOLD),
    "a reset that is none": ({"X-RateLimit-Reset": "soon"}, UNTOLD),
    "a reset beside a Retry-After": ({"X-RateLimit-Reset": "4000000000", "Retry-After": "0.05"}, 0.05),
}
OTHER_HEADERS = row("B10", "the wait told by another header than Retry-After", "is read as that header's owner means it")


@OTHER_HEADERS
@pytest.mark.parametrize(("headers", "told"), FURTHER_HEADERS.values(), ids=FURTHER_HEADERS)
def test_every_header_that_tells_a_wait(core: Trial, headers: Mapping[str, str], told: float | None) -> None:
    assert_waits(core, Status(429, headers), told)


@OTHER_HEADERS
def test_a_window_of_the_rate_limit_counts_where_the_services_own_client_reads_it(core: Trial) -> None:
    """Cohere's does, after a 429."""
    reset = Status(429, {"X-RateLimit-Reset": "4000000000"})
    assert_waits(core, reset, FOREVER if core.service is COHERE else UNTOLD)


@OTHER_HEADERS
def test_a_window_of_the_rate_limit_says_nothing_of_an_outage(core: Trial) -> None:
    assert_waits(core, Status(503, {"X-RateLimit-Reset": "4000000000"}), UNTOLD)


@OTHER_HEADERS
@pytest.mark.parametrize("pushback", ["-1", "-0.5", "soon", "nan", ""])
@pytest.mark.parametrize("status", [429, 503])
def test_a_gateway_that_asks_not_to_be_tried_again_is_not(core: Trial, status: int, pushback: str) -> None:
    core.stage.always(Status(status, {"grpc-retry-pushback-ms": pushback}))
    outcome = core()
    assert isinstance(outcome.error, RateLimitError if status == 429 else ServerError)
    assert outcome.requests == 1


HERD = row("B11", "200 callers and a steady 429", "the retry budget bounds the requests, and the retries come spread out")
CALLERS = 200
WINDOW = 0.4  # seconds over which the first retries are spread


@HERD
def test_a_crowd_before_a_rate_limit_keeps_to_the_budget_and_comes_back_spread_out(
    stage: Stage, service: Service, colour: str, caplog: pytest.LogCaptureFixture
) -> None:
    stage.always(Status(429))
    caplog.set_level(logging.INFO, "rerankkit")
    retry = Retry(base_delay=0.0, rate_limit_delay=WINDOW)
    with Client(service.make(stage.url), retry=retry, timeout=30) as client:
        errors = crowd(colour, client)
    assert {type(error) for error in errors} == {RateLimitError}
    assert stage.count <= CALLERS + retry.budget / 2
    waits = sorted(record.args[-1] for record in caplog.records if "follows in" in record.msg)
    assert len(waits) >= 20, "the budget allows some"
    assert waits[-2] - waits[1] >= WINDOW / 2


def crowd(colour: str, client: Client) -> list[RerankError]:
    """How as many calls as there are `CALLERS`, all at once, failed."""
    queries = [f"query {number}" for number in range(CALLERS)]

    def call(query: str) -> RerankError:
        with pytest.raises(RerankError) as caught:
            client.rerank(query, ["a text"])
        return caught.value

    async def acall(query: str) -> RerankError:
        with pytest.raises(RerankError) as caught:
            await client.arerank(query, ["a text"])
        return caught.value

    async def acalls() -> list[RerankError]:
        return await asyncio.gather(*map(acall, queries))

    if colour == "async":
        return asyncio.run(acalls())
    with ThreadPoolExecutor(CALLERS) as threads:
        return list(threads.map(call, queries))


NO_DEADLINE = row(
    "B13",
    "a deadline of 0, below 0, infinite, NaN, or none at all",
    "is refused before anything is sent; None is the client's own",
)
NO_DEADLINES: list[Any] = [0, -1, -0.0, math.inf, -math.inf, math.nan, True, "1", b"1", [1.0], 1e10, 10**400]


@NO_DEADLINE
@pytest.mark.parametrize("timeout", NO_DEADLINES, ids=lambda value: repr(value)[:12])
def test_a_deadline_that_is_none_is_refused(stage: Stage, service: Service, colour: str, timeout: Any) -> None:
    with Client(service.make(stage.url, **key_options(service))) as client:
        with pytest.raises(InvalidRequestError, match="timeout must be a number of seconds above 0"):
            run(colour, client, "rerank", "q", ["a"], timeout=timeout)
    with pytest.raises(InvalidRequestError, match="timeout must be a number of seconds above 0"):
        Client(service.make(stage.url), timeout=timeout)
    assert stage.connections == 0


@NO_DEADLINE
def test_no_deadline_of_the_calls_own_is_the_clients(stage: Stage, service: Service, colour: str) -> None:
    stage.always(Later(5))
    with Client(service.make(stage.url), timeout=0.2) as client:
        stopwatch = Stopwatch()
        with pytest.raises(DeadlineExceededError, match=r"within 0\.2 s"):
            run(colour, client, "rerank", "q", ["a"], timeout=None)
        assert stopwatch.own_seconds() < 0.2 + LATEST
    with pytest.raises(InvalidRequestError, match="timeout must be"):
        Client(service.make(stage.url), timeout=None)  # type: ignore[arg-type]
