"""A rate that processes share through a real Redis, and what becomes of it when Redis is away."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis

from helpers.processes import fork
from helpers.rate_workers import Job, calls_of, processes, start
from helpers.redis_server import redis_server
from helpers.ways import run
from rerankkit import BaseReranker, DeadlineExceededError, InvalidRequestError, RateLimitError, RerankResponse, Usage
from rerankkit._degrading import Notices
from rerankkit.emulator import Emulator
from rerankkit.money import Estimate
from rerankkit.resilience import rate_limited
from rerankkit.resilience._limits import shared_lines
from rerankkit.resilience.rate_limited import RateLimited
from rerankkit.testing import FakeReranker

SLOW = 0.01  # requests a second: what is reserved stays so while a test runs


@pytest.fixture
def name() -> str:
    """A limit that no other test knows."""
    return uuid.uuid4().hex


@pytest.fixture(autouse=True)
def _own_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limited, "NOTICES", Notices())


def refused(colour: str, limited: RateLimited) -> float:
    """Seconds until the next call might begin."""
    with pytest.raises(RateLimitError, match="nothing was sent") as caught:
        run(colour, limited, "rerank", "q", ["a"], timeout=1)
    assert caught.value.retry_after is not None
    return caught.value.retry_after


def soon_refused_for(limited: RateLimited, seconds: float) -> bool:
    """Whether the next call might begin in *seconds*, or a bit less; corrections take a moment."""
    ends = time.monotonic() + 10
    while not (found := seconds - 10 < refused("sync", limited) <= seconds) and time.monotonic() < ends:
        time.sleep(0.01)
    return found


@pytest.mark.parametrize("workers", ["sync", "async"])
def test_twelve_workers_in_three_processes_keep_one_rate_and_reach_it(
    workers: Any, emulator: Emulator, redis_url: str, name: str
) -> None:
    """`tests/benchmarks/rate.py` does so for half a minute."""
    job = Job(emulator.urls["cohere"], redis_url, name, 100.0, workers, 4, 1.5)
    with processes(job, 3) as started:
        emulator.reset()
        began = time.monotonic()
        start(started)
        calls = calls_of(started)
        seconds = time.monotonic() - began
    counted = emulator.stats()["cohere"]["requests"]
    assert counted == calls
    assert counted <= 1 + 102 * seconds
    assert counted >= 50


def test_limits_of_one_name_count_together_and_others_apart(colour: str, redis_url: str, name: str) -> None:
    one, same, other = (
        RateLimited(FakeReranker(), requests_per_second=SLOW, redis_url=redis_url, name=each)
        for each in (name, name, name + "x")
    )
    with one, same, other:
        run(colour, one, "rerank", "q", ["a"])
        assert 90 < refused(colour, same) <= 100
        assert 90 < refused(colour, same) <= 100
        run(colour, other, "rerank", "q", ["a"])
        assert len(same.rerankers[0].calls) == 0


def test_the_address_may_come_from_the_environment(
    colour: str, redis_url: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RERANKKIT_REDIS_URL", redis_url)
    with RateLimited(FakeReranker(), requests_per_second=SLOW, redis_url="env", name=name) as limited:
        run(colour, limited, "rerank", "q", ["a"])
        with RateLimited(FakeReranker(), requests_per_second=SLOW, redis_url=redis_url, name=name) as other:
            assert refused(colour, other) > 90


def test_a_forked_child_counts_with_its_parent(redis_url: str, name: str) -> None:
    with RateLimited(FakeReranker(), requests_per_second=SLOW, redis_url=redis_url, name=name) as limited:
        limited.rerank("q", ["a"])
        child = fork(lambda: refused("sync", limited))
        assert refused("sync", limited) > 90
        assert child.failure() == ""


def test_a_fork_while_others_ask_redis_hangs_nobody(redis_url: str, name: str) -> None:
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            limited.rerank("q", ["a"])

    def child() -> None:
        limited.rerank("q", ["a"], timeout=20)
        assert limited._shared._silent_until < 0, "Redis was not asked"

    with RateLimited(FakeReranker(), requests_per_second=1e6, redis_url=redis_url, name=name) as limited:
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            assert [fork(child).failure() for _ in range(10)] == [""] * 10
        finally:
            over.set()
            for thread in threads:
                thread.join()


def test_a_cancelled_waiter_leaves_its_place_to_other_processes(redis_url: str, name: str) -> None:
    limited, other = (
        RateLimited(FakeReranker(), requests_per_second=SLOW, redis_url=redis_url, name=name, timeout=9_999) for _ in range(2)
    )

    async def main() -> None:
        await limited.arerank("q", ["a"])
        tasks = [asyncio.create_task(limited.arerank("q", ["a"])) for _ in range(3)]
        for _ in range(1_000):
            await asyncio.sleep(0.01)
            if refused("sync", other) > 350:
                break
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    with limited, other:
        asyncio.run(main())
        assert soon_refused_for(other, 100)


def test_a_task_cancelled_while_redis_is_asked_leaves_no_place_behind(redis_url: str, name: str) -> None:
    limited = RateLimited(FakeReranker(), requests_per_second=SLOW, redis_url=redis_url, name=name, timeout=9_999)

    async def main() -> None:
        await limited.arerank("q", ["a"])
        for number in range(30):
            task = asyncio.create_task(limited.arerank("q", ["a"]))
            for _ in range(number % 3 + 1):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    with limited:
        asyncio.run(main())
        assert soon_refused_for(limited, 100)


class Sending(BaseReranker):
    """Expects one request, and sends three."""

    def _estimate(self, request: Any) -> Estimate:
        return Estimate(Usage(requests=1, total_tokens=100))

    async def _rerank(self, io: Any, request: Any) -> Any:
        return RerankResponse((), provider="sending", usage=Usage(requests=3, total_tokens=40))


def test_what_a_call_took_is_settled_for_all(colour: str, redis_url: str, name: str) -> None:
    rates: dict[str, Any] = {"redis_url": redis_url, "name": name}
    with RateLimited(Sending(), requests_per_second=SLOW, **rates) as limited:
        run(colour, limited, "rerank", "q", ["a"])
        assert soon_refused_for(limited, 300)
    with RateLimited(Sending(), tokens_per_minute=60, **rates) as limited:
        run(colour, limited, "rerank", "q", ["a"])
        assert soon_refused_for(limited, 40)


def test_redis_forgets_what_is_over(redis_url: str, name: str) -> None:
    with RateLimited(FakeReranker(), requests_per_second=10, redis_url=redis_url, name=name) as limited:
        limited.rerank("q", ["a"])
    with closing(redis.Redis.from_url(redis_url)) as client:
        assert 0 < client.pttl(f"rerankkit:rate:{name}") <= 1_100


# Redis away


@pytest.fixture
def closed_url() -> str:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return f"redis://127.0.0.1:{found.getsockname()[1]}/0"


@pytest.fixture
def silent_url() -> Iterator[str]:
    """Where somebody takes connections and says nothing."""
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        found.listen(50)
        yield f"redis://127.0.0.1:{found.getsockname()[1]}/0"


def test_without_redis_each_process_keeps_the_limit_and_says_so_once(
    colour: str, closed_url: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "rerankkit")
    with RateLimited(FakeReranker(), requests_per_second=SLOW, burst=3, redis_url=closed_url, name=name) as limited:
        for _ in range(3):
            run(colour, limited, "rerank", "q", ["a"])
        assert refused(colour, limited) > 90
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.text.count(f"Redis at {closed_url.removesuffix('/0')} failed, each process limits its own rate") == 1


def test_a_redis_that_says_nothing_costs_one_wait_and_not_one_a_call(
    colour: str, silent_url: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_lines, "PATIENCE", 0.2)
    monkeypatch.setattr(shared_lines, "PAUSE", 60.0)
    with RateLimited(FakeReranker(), requests_per_second=1e6, redis_url=silent_url, name=name) as limited:
        began = time.monotonic()
        for _ in range(50):
            run(colour, limited, "rerank", "q", ["a"])
        assert 0.2 <= time.monotonic() - began < 5


def test_a_silent_redis_takes_only_a_part_of_a_calls_time(colour: str, silent_url: str, name: str) -> None:
    with RateLimited(FakeReranker(), requests_per_second=1, redis_url=silent_url, name=name) as limited:
        assert len(run(colour, limited, "rerank", "q", ["a"], timeout=0.6)) == 1


def test_a_silent_redis_does_not_hold_a_call_beyond_its_deadline(
    colour: str, silent_url: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_lines, "LEAST_PATIENCE", 0.4)
    fake = FakeReranker()
    with RateLimited(fake, requests_per_second=1, redis_url=silent_url, name=name) as limited:
        with pytest.raises(DeadlineExceededError, match=r"Redis at redis://127\.0\.0\.1:.* did not answer within 0\.1 s"):
            run(colour, limited, "rerank", "q", ["a"], timeout=0.1)
    assert fake.calls == []


def test_a_silent_redis_does_not_hold_up_the_event_loop(silent_url: str, name: str) -> None:
    async def main(limited: RateLimited) -> float:
        task = asyncio.create_task(limited.arerank("q", ["a"], timeout=30))
        longest, last = 0.0, time.monotonic()
        while not task.done():
            await asyncio.sleep(0.005)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        assert len(await task) == 1
        return longest

    with RateLimited(FakeReranker(), requests_per_second=1, redis_url=silent_url, name=name) as limited:
        assert asyncio.run(main(limited)) < 0.75 * shared_lines.PATIENCE


def test_when_redis_is_back_it_is_asked_again(colour: str, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_lines, "PAUSE", 0.0)
    with (
        redis_server(tmp_path) as url,
        RateLimited(FakeReranker(), requests_per_second=1e6, redis_url=url, name=name) as limited,
    ):
        with closing(redis.Redis.from_url(url)) as client:
            run(colour, limited, "rerank", "q", ["a"])
            client.client_kill_filter(_type="normal", skipme=True)
            client.delete(f"rerankkit:rate:{name}")
            run(colour, limited, "rerank", "q", ["a"])
            assert client.exists(f"rerankkit:rate:{name}")
            client.config_set("maxclients", 1)
            client.client_kill_filter(_type="normal", skipme=True)
            client.delete(f"rerankkit:rate:{name}")
            run(colour, limited, "rerank", "q", ["a"])
            assert not client.exists(f"rerankkit:rate:{name}")
            client.config_set("maxclients", 100)
            run(colour, limited, "rerank", "q", ["a"])
            assert client.exists(f"rerankkit:rate:{name}")


def test_a_wrong_password_is_an_error_that_does_not_show_it(colour: str, tmp_path: Path, name: str) -> None:
    with redis_server(tmp_path) as url:
        with closing(redis.Redis.from_url(url)) as client:
            client.config_set("requirepass", "the-password-17")
        right, wrong = (url.replace("//", f"//:{password}@") for password in ("the-password-17", "not-the-password-17"))
        with RateLimited(FakeReranker(), requests_per_second=SLOW, redis_url=right, name=name) as limited:
            run(colour, limited, "rerank", "q", ["a"])
            assert refused(colour, limited) > 90
            assert "password" not in repr(limited)
        for address in (wrong, url):
            with RateLimited(FakeReranker(), requests_per_second=SLOW, redis_url=address, name=name) as limited:
                with pytest.raises(InvalidRequestError, match="does not let this client in") as caught:
                    run(colour, limited, "rerank", "q", ["a"])
                assert "password-17" not in str(caught.value)
                assert limited.rerankers[0].calls == []


def test_nothing_stays_open(redis_url: str, name: str) -> None:
    def held() -> tuple[int, int]:
        return threading.active_count(), len(client.client_list())

    with closing(redis.Redis.from_url(redis_url)) as client:
        gc.collect()  # connections that other tests have dropped
        threads, connections = held()
        for _ in range(20):
            with RateLimited(Sending(), requests_per_second=1e6, redis_url=redis_url, name=name) as limited:
                limited.rerank("q", ["a"])
        ends = time.monotonic() + 20
        while held()[0] > threads or held()[1] > connections:
            assert time.monotonic() < ends, held()
            time.sleep(0.01)
