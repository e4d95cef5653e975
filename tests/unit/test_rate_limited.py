"""Calls begin at a steady rate: on a clock of the tests' own, and on the real one where threads and tasks meet."""

from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from helpers.patience import until
from helpers.processes import fork
from helpers.ways import outrun, run
from rerankkit import (
    BaseReranker,
    Document,
    InvalidRequestError,
    RateLimitError,
    RerankResponse,
    Retry,
    ServerError,
    Usage,
    _io,
)
from rerankkit import Client as RealClient
from rerankkit.emulator import Emulator
from rerankkit.errors import BudgetExceededError, CircuitOpenError, DeadlineExceededError, RerankError
from rerankkit.money import Estimate
from rerankkit.resilience import Fallback, Passthrough
from rerankkit.resilience.rate_limited import RateLimited
from rerankkit.testing import FakeReranker
from rerankkit.types import CacheUse

HOURS = 1e6  # seconds; no deadline ends within a test


class Time:
    """Seconds that pass only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    found = Time()

    async def sleep(_: object, seconds: float) -> None:
        found.sleep(seconds)

    monkeypatch.setattr(type(_io.BLOCKING), "sleep", sleep)
    monkeypatch.setattr(type(_io.ASYNC), "sleep", sleep)
    return found


def on(clock: Time, limited: RateLimited) -> RateLimited:
    """*limited*, on the clock of the test."""
    limited._own._clock = lambda: clock.now
    return limited


class Batched(BaseReranker):
    """Expects to send *expected* and says that it has sent *sent*, or fails."""

    def __init__(self, expected: Usage, sent: Usage | Exception | None = None, **answer: Any) -> None:
        self.expected = expected
        self.sent = expected if sent is None else sent
        self.answer = answer
        self.calls = 0

    def _estimate(self, request: Any) -> Estimate:
        return Estimate(self.expected)

    async def _rerank(self, io: Any, request: Any) -> Any:
        self.calls += 1
        if isinstance(self.sent, Exception):
            raise self.sent
        return RerankResponse((), provider="batched", usage=self.sent, **self.answer)


def calls(colour: str, limited: RateLimited, count: int, **options: Any) -> None:
    for _ in range(count):
        run(colour, limited, "rerank", "q", ["a"], timeout=HOURS, **options)


def test_calls_begin_one_interval_apart(colour: str, clock: Time) -> None:
    fake = FakeReranker({"b": 1.0})
    limited = on(clock, RateLimited(fake, requests_per_second=4))
    calls(colour, limited, 4)
    assert clock.slept == [0.25, 0.25, 0.25]
    response = run(colour, limited, "rerank", "q", ["a", "b"], top_n=1, timeout=HOURS)
    assert [(result.index, result.relevance_score) for result in response] == [(1, 1.0)]
    assert [turn.reranker for turn in response.attempts] == ["fake:fake"]
    assert len(fake.calls) == 5


def test_a_rate_may_be_one_in_a_hundred_seconds(colour: str, clock: Time) -> None:
    limited = on(clock, RateLimited(FakeReranker(), requests_per_second=0.01))
    calls(colour, limited, 3)
    assert clock.slept == [100.0, 100.0]


def test_a_rate_by_the_minute_and_a_burst(colour: str, clock: Time) -> None:
    limited = on(clock, RateLimited(FakeReranker(), requests_per_minute=30, burst=3))
    calls(colour, limited, 5)
    assert clock.slept == [2.0, 2.0]


def test_what_took_longer_than_the_interval_does_not_wait(colour: str, clock: Time) -> None:
    limited = on(clock, RateLimited(FakeReranker(), requests_per_second=1))
    calls(colour, limited, 1)
    clock.now = 0.75
    calls(colour, limited, 1)
    clock.now = 9.0
    calls(colour, limited, 1)
    assert clock.slept == [0.25]


def test_a_place_beyond_the_deadline_fails_at_once_and_is_not_taken(colour: str, clock: Time) -> None:
    fake = FakeReranker()
    limited = on(clock, RateLimited(fake, requests_per_second=0.01))
    calls(colour, limited, 1)
    for _ in range(3):
        with pytest.raises(RateLimitError, match="nothing was sent: this program's own limit") as caught:
            run(colour, limited, "rerank", "q", ["a"], timeout=50)
        assert caught.value.retry_after == 100.0
        assert (caught.value.attempts, caught.value.retryable) == (0, True)
        assert "RateLimited(requests_per_second=0.01)" in str(caught.value)
        assert "deadline of 50 s" in str(caught.value)
    assert (clock.slept, len(fake.calls)) == ([], 1)
    calls(colour, limited, 1)
    assert clock.slept == [100.0]


def test_a_fallback_passes_on_what_would_begin_too_late(colour: str, clock: Time) -> None:
    limited = on(clock, RateLimited(FakeReranker(), requests_per_second=0.01))
    chain = Fallback(limited, Passthrough())
    assert run(colour, chain, "rerank", "q", ["a"], timeout=5).status == "ok"
    response = run(colour, chain, "rerank", "q", ["a"], timeout=5)
    assert (response.served_by, response.status) == ("passthrough", "degraded")
    assert [(turn.reranker, turn.outcome) for turn in response.attempts] == [("fake:fake", "failed"), ("passthrough", "served")]


def test_a_call_reserves_all_the_requests_it_needs(colour: str, clock: Time) -> None:
    limited = on(clock, RateLimited(Batched(Usage(requests=3)), requests_per_second=2))
    calls(colour, limited, 2)
    assert clock.slept == [1.5]


def test_documents_in_batches_are_counted_by_the_request(colour: str, clock: Time, emulator: Emulator) -> None:
    from rerankkit import Pinecone

    with RealClient(Pinecone(api_key="k", base_url=emulator.urls["pinecone"])) as client:
        limited = on(clock, RateLimited(client, requests_per_second=1))
        run(colour, limited, "rerank", "q", ["a"] * 250, timeout=30)
        assert len(emulator.requests("pinecone")) == 3
        run(colour, limited, "rerank", "q", ["a"], timeout=30)
    assert clock.slept == [3.0]


def test_retries_are_charged(colour: str, clock: Time) -> None:
    limited = on(clock, RateLimited(Batched(Usage(requests=1), Usage(requests=3)), requests_per_second=2))
    calls(colour, limited, 2)
    assert clock.slept == [1.5]


@pytest.mark.parametrize(
    ("error", "wait"),
    [
        (ServerError("no"), 2.0),
        (RuntimeError("no"), 2.0),
        (DeadlineExceededError("late"), 2.0),
        (RerankError("odd"), 2.0),
        (InvalidRequestError("bad"), 0.0),
        (BudgetExceededError("dear"), 0.0),
        (CircuitOpenError("open", retry_after=1.0), 0.0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failed_call_counts_unless_nothing_was_sent(colour: str, clock: Time, error: Exception, wait: float) -> None:
    limited = on(clock, RateLimited(Batched(Usage(requests=2), error), requests_per_second=1))
    for _ in range(2):
        with pytest.raises(type(error)):
            run(colour, limited, "rerank", "q", ["a"], timeout=HOURS)
    assert clock.now == wait


def test_the_attempts_of_a_failed_call_are_charged(colour: str, clock: Time) -> None:
    error = ServerError("no")
    error.attempts = 5
    limited = on(clock, RateLimited(Batched(Usage(requests=2), error), requests_per_second=1))
    for _ in range(2):
        with pytest.raises(ServerError):
            run(colour, limited, "rerank", "q", ["a"], timeout=HOURS)
    assert clock.slept == [5.0]


def test_a_limit_within_a_limit_gives_back_what_was_not_sent(colour: str, clock: Time) -> None:
    inner = on(clock, RateLimited(FakeReranker(), requests_per_second=0.01))
    outer = on(clock, RateLimited(inner, requests_per_second=0.5))
    run(colour, outer, "rerank", "q", ["a"], timeout=10)
    with pytest.raises(RateLimitError, match=r"requests_per_second=0\.01"):
        run(colour, outer, "rerank", "q", ["a"], timeout=10)
    with pytest.raises(RateLimitError, match=r"requests_per_second=0\.01"):
        run(colour, outer, "rerank", "q", ["a"], timeout=1)
    assert clock.slept == [2.0]


def test_who_counts_no_requests_is_limited_all_the_same(colour: str, clock: Time) -> None:
    limited = on(clock, RateLimited(Batched(Usage(), Usage()), requests_per_second=1))
    calls(colour, limited, 3)
    assert clock.slept == [1.0, 1.0]


def test_answers_out_of_a_cache_are_not_counted(colour: str, clock: Time) -> None:
    limited = on(clock, RateLimited(Batched(Usage(), Usage(), cache=CacheUse(1, 0)), requests_per_second=1))
    calls(colour, limited, 3)
    assert clock.slept == []
    limited = on(clock, RateLimited(Batched(Usage(), Usage(), cache=CacheUse(1, 1)), requests_per_second=1))
    calls(colour, limited, 2)
    assert clock.slept == [1.0]


def test_no_documents_take_no_place(colour: str, clock: Time) -> None:
    limited = on(clock, RateLimited(FakeReranker(), requests_per_second=1))
    for _ in range(3):
        assert len(run(colour, limited, "rerank", "q", [])) == 0
    calls(colour, limited, 2)
    assert clock.slept == [1.0]


def test_tokens_are_those_of_the_estimate_and_then_of_the_answer(colour: str, clock: Time) -> None:
    reranker = Batched(Usage(requests=1, total_tokens=600), Usage(requests=1, total_tokens=450))
    limited = on(clock, RateLimited(reranker, tokens_per_minute=6_000))
    calls(colour, limited, 2)
    assert clock.slept == [4.5]


def test_tokens_nobody_counts_are_estimated_from_the_texts(colour: str, clock: Time) -> None:
    """A query of 30 bytes and texts of 60: 11 and 21 tokens each, and the query counts with each document."""
    documents: list[Any] = ["b" * 60, Document("b" * 60), {"text": "b" * 60}, {"text": "b" * 30, "name": "b" * 29}]
    limited = on(clock, RateLimited(FakeReranker(), tokens_per_minute=60))
    for _ in range(2):
        run(colour, limited, "rerank", "q" * 30, documents, timeout=HOURS)
    assert clock.slept == [128.0]


def test_a_burst_of_tokens(colour: str, clock: Time) -> None:
    reranker = Batched(Usage(requests=1, total_tokens=100))
    limited = on(clock, RateLimited(reranker, tokens_per_minute=600, burst_tokens=300))
    calls(colour, limited, 4)
    assert clock.slept == [10.0]


def test_requests_and_tokens_are_kept_both(colour: str, clock: Time) -> None:
    reranker = Batched(Usage(requests=1, total_tokens=50))
    limited = on(clock, RateLimited(reranker, requests_per_minute=60, tokens_per_minute=600, burst_tokens=100))
    calls(colour, limited, 4)
    assert clock.slept == [1.0, 4.0, 5.0]


def test_a_reranker_that_is_not_built_on_an_io_is_limited(colour: str, clock: Time) -> None:
    class Foreign:
        async def arerank(self, *args: Any, **options: Any) -> Any:
            return self.rerank(*args, **options)

        def rerank(self, query: str, documents: Any, **options: Any) -> Any:
            return RerankResponse((), provider="foreign")

    limited = on(clock, RateLimited(Foreign(), requests_per_second=1))
    calls(colour, limited, 2)
    assert clock.slept == [1.0]


# On the real clock


def test_threads_and_tasks_wait_in_one_line() -> None:
    moments: list[float] = []
    limited = RateLimited(FakeReranker(lambda query, text: moments.append(time.monotonic()) or 0.0), requests_per_second=40)

    async def tasks() -> None:
        await asyncio.gather(*(limited.arerank("q", ["a"]) for _ in range(6)))

    began = time.monotonic()
    with ThreadPoolExecutor(7) as pool:
        futures = [pool.submit(limited.rerank, "q", ["a"]) for _ in range(6)]
        futures.append(pool.submit(lambda: asyncio.run(tasks())))
        for future in futures:
            future.result()
    assert len(moments) == 12
    for position, moment in enumerate(sorted(moments)):
        assert moment - began >= position / 40 - 0.001


def test_a_cancelled_task_leaves_its_place_to_others() -> None:
    async def main() -> None:
        limited = RateLimited(FakeReranker(), requests_per_second=0.01, timeout=HOURS)
        await limited.arerank("q", ["a"])
        waiting = [asyncio.create_task(limited.arerank("q", ["a"])) for _ in range(20)]
        await asyncio.sleep(0.05)
        for task in waiting:
            task.cancel()
        assert all(isinstance(each, asyncio.CancelledError) for each in await asyncio.gather(*waiting, return_exceptions=True))
        with pytest.raises(RateLimitError) as caught:
            await limited.arerank("q", ["a"], timeout=1)
        assert 90 < caught.value.retry_after <= 100

    asyncio.run(main())


def test_a_thread_that_nobody_waits_for_leaves_its_place_to_others() -> None:
    limited = RateLimited(FakeReranker(), requests_per_second=0.01, timeout=HOURS)
    limited.rerank("q", ["a"])

    outrun(limited)
    until(lambda: limited._own._lines[1]._lines["requests_per_second"].end <= time.monotonic() + 101)
    with pytest.raises(RateLimitError) as caught:
        limited.rerank("q", ["a"], timeout=1)
    assert 90 < caught.value.retry_after <= 100


def test_waiting_is_part_of_the_deadline(colour: str) -> None:
    limited = RateLimited(FakeReranker(latency=60), requests_per_second=5, timeout=0.5)
    began = time.monotonic()
    with pytest.raises(DeadlineExceededError):
        run(colour, limited, "rerank", "q", ["a"], timeout=0.01)
    with pytest.raises(DeadlineExceededError):
        run(colour, limited, "rerank", "q", ["a"])
    assert 0.45 < time.monotonic() - began < 5


def test_a_forked_child_counts_for_itself() -> None:
    limited = RateLimited(FakeReranker(), requests_per_second=0.01)
    limited.rerank("q", ["a"])

    def refused() -> None:
        with pytest.raises(RateLimitError):
            limited.rerank("q", ["a"], timeout=1)

    def child() -> None:
        limited.rerank("q", ["a"], timeout=1)
        refused()

    assert fork(child).failure() == ""
    refused()


def test_a_fork_while_others_are_in_the_line_hangs_nobody() -> None:
    limited = RateLimited(FakeReranker(), requests_per_second=1e6)
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            limited.rerank("q", ["a"])

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            assert fork(lambda: limited.rerank("q", ["a"], timeout=5)).failure() == ""
    finally:
        over.set()
        for thread in threads:
            thread.join()


# What it is made of


def test_it_is_pickled_copied_and_shown_by_its_arguments(colour: str) -> None:
    limited = RateLimited(
        RealClient(_cohere(), retry=Retry(attempts=1)), requests_per_minute=10, burst=2, name="trial", timeout=5
    )
    for twin in (copy.deepcopy(limited), copy.copy(limited)):
        assert repr(twin) == repr(limited)
        assert twin.timeout == 5
    assert "requests_per_minute=10, burst=2, name='trial', timeout=5" in repr(limited)
    assert limited.label == "cohere:rerank-v3.5"


def _cohere() -> Any:
    from rerankkit import Cohere

    return Cohere("rerank-v3.5", api_key="some-key-0123456789")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs a rate, such as requests_per_minute=60"),
        ({"requests_per_second": 0}, "requests_per_second must be a number above 0 and at most 1e+09, got 0"),
        ({"requests_per_minute": -1}, "requests_per_minute must be a number above 0"),
        ({"tokens_per_minute": float("nan")}, "tokens_per_minute must be a number above 0 .* got nan"),
        ({"requests_per_second": float("inf")}, "got inf"),
        ({"requests_per_second": True}, "got True"),
        ({"requests_per_second": "1"}, "got '1'"),
        ({"requests_per_second": 1, "burst": 0}, "burst must be a whole number at least 1, got 0"),
        ({"requests_per_second": 1, "burst_tokens": 1.5}, r"burst_tokens must be a whole number at least 1, got 1\.5"),
        ({"requests_per_second": 1, "timeout": 0}, "timeout must be"),
        ({"requests_per_second": 1, "redis_url": ""}, "redis_url must be an address"),
        ({"requests_per_second": 1, "redis_url": 7}, "redis_url must be an address"),
        ({"requests_per_second": 1, "redis_url": "localhost:6379"}, "redis_url must be an address such as"),
        ({"requests_per_second": 1, "redis_url": "http://localhost"}, "redis_url must be an address such as"),
        ({"requests_per_second": 1, "redis_url": "redis://[::1"}, "redis_url must be an address such as"),
        ({"requests_per_second": 1, "redis_url": "redis://localhost", "name": "a b"}, "name must be one such as 'cohere'"),
        ({"requests_per_second": 1, "redis_url": "env"}, "set RERANKKIT_REDIS_URL, or pass redis_url="),
    ],
    ids=str,
)
def test_what_cannot_be_right_is_refused(options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RERANKKIT_REDIS_URL", raising=False)
    with pytest.raises(InvalidRequestError, match=message.replace("+", r"\+")):
        RateLimited(FakeReranker(), **options)


def test_redis_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(InvalidRequestError, match=r"pip install 'rerankkit\[redis\]'"):
        RateLimited(FakeReranker(), requests_per_second=1, redis_url="redis://localhost")


def test_without_an_address_the_package_redis_is_not_imported() -> None:
    program = (
        "import sys; from rerankkit.resilience.rate_limited import RateLimited; from rerankkit.testing import FakeReranker; "
        "RateLimited(FakeReranker(), requests_per_second=9).rerank('q', ['a']); print('redis' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# Addresses with a password


URLS: list[str] = [
    "redis://:pass-word-17@127.0.0.1:1/0",
    "redis://user:pass-word-17@127.0.0.1:1/0",
    "redis://127.0.0.1:1/0?password=pass-word-17",
    "redis://:pass-word-17#x@127.0.0.1:1",
    "redis://:pass-word-17@127.0.0.1:port/0",
    "redis://:pass-word-17",
    "redis://127.0.0.1:1/0?PASSWORD=pass-word-17",
    "redis://pass-word-17@127.0.0.1:1/0",
]


@pytest.mark.parametrize("url", URLS)
def test_a_password_shows_nowhere(url: str, colour: str, caplog: pytest.LogCaptureFixture) -> None:
    import traceback

    shown: list[str] = []
    try:
        limited = RateLimited(FakeReranker(), requests_per_second=100, redis_url=url)
        shown += [repr(limited), str(vars(limited)), str(limited.arguments()), str(pickle.dumps(RateLimitError("x")))]
        run(colour, limited, "rerank", "q", ["a"])
    except InvalidRequestError as error:
        shown += [*traceback.format_exception(error), *map(repr, _own_locals(error))]
    assert shown
    assert not [text for text in [*shown, caplog.text] if "pass-word" in text or "word-17" in text]


def test_an_address_with_an_option_that_is_none_is_refused_when_it_is_given() -> None:
    with pytest.raises(InvalidRequestError, match="redis_url must be an address such as"):
        RateLimited(FakeReranker(), requests_per_second=1, redis_url="redis://127.0.0.1:1/0?socket_keepalve=yes")
    known = "redis://127.0.0.1:1/0?socket_keepalive=yes"
    assert RateLimited(FakeReranker(), requests_per_second=1, redis_url=known).arguments()["redis_url"] == known


def _own_locals(error: BaseException) -> list[object]:
    """The variables of this package's frames."""
    found: list[object] = []
    trace = error.__traceback__
    while trace:
        if "/core/rerankkit/" in trace.tb_frame.f_code.co_filename:
            found += trace.tb_frame.f_locals.values()
        trace = trace.tb_next
    return found


def test_a_copy_finds_the_password_of_its_server_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RERANKKIT_REDIS_URL", raising=False)
    limited = RateLimited(FakeReranker(), requests_per_second=1, redis_url="redis://me:secret-17@127.0.0.1:1/0")
    assert limited.arguments()["redis_url"] == "redis://me:@127.0.0.1:1/0"
    assert passwords(limited, copy.copy(limited)) == ["secret-17", None]
    monkeypatch.setenv("RERANKKIT_REDIS_URL", "redis://me:another@127.0.0.1:1/0")
    assert passwords(copy.copy(limited), pickle.loads(pickle.dumps(limited))) == ["another", "another"]
    monkeypatch.setenv("RERANKKIT_REDIS_URL", "redis://me:another@127.0.0.2:1/0")
    assert passwords(copy.copy(limited)) == [None]


def passwords(*several: RateLimited) -> list[str | None]:
    """What each would show to its server."""
    found = [limited._shared._server.address.password for limited in several]
    return [None if password is None else password.get_secret_value() for password in found]
