"""Workers in processes of their own that call one service through one shared limit, as fast as it lets them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Literal

from rerankkit import Client, Cohere
from rerankkit.resilience.rate_limited import RateLimited


@dataclass(frozen=True)
class Job:
    """What each process does.

    Attributes:
        url: Of Cohere's emulator.
        workers: Threads, or tasks, of each process.
        seconds: How long they call.
    """

    url: str
    redis_url: str
    name: str
    requests_per_second: float
    colour: Literal["sync", "async"]
    workers: int
    seconds: float


@contextmanager
def processes(job: Job, count: int) -> Iterator[Sequence[subprocess.Popen[str]]]:
    """Processes that wait for their sign."""
    with ExitStack() as stack:
        command = [sys.executable, __file__, json.dumps(asdict(job))]
        found = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            for _ in range(count)
        ]
        for process in found:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        yield found


def start(workers: Sequence[subprocess.Popen[str]]) -> None:
    """Give them their sign."""
    for process in workers:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()


def calls_of(workers: Sequence[subprocess.Popen[str]]) -> int:
    """How many calls they made, waited for."""
    return sum(int(process.communicate()[0]) for process in workers)


def work(job: Job) -> int:
    with RateLimited(
        Client(Cohere(api_key="k", base_url=job.url)),
        requests_per_second=job.requests_per_second,
        redis_url=job.redis_url,
        name=job.name,
    ) as limited:
        print("ready", flush=True)  # noqa: T201 -- the parent reads it
        sys.stdin.readline()
        ends = time.monotonic() + job.seconds
        return _in_threads(limited, job, ends) if job.colour == "sync" else asyncio.run(_in_tasks(limited, job, ends))


def _in_threads(limited: RateLimited, job: Job, ends: float) -> int:
    counts: list[int] = []

    def call() -> None:
        count = 0
        while time.monotonic() < ends:
            limited.rerank("ferry", ["a bus", "a ferry"])
            count += 1
        counts.append(count)

    threads = [threading.Thread(target=call) for _ in range(job.workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(counts) == job.workers
    return sum(counts)


async def _in_tasks(limited: RateLimited, job: Job, ends: float) -> int:
    async def call() -> int:
        count = 0
        while time.monotonic() < ends:
            await limited.arerank("ferry", ["a bus", "a ferry"])
            count += 1
        return count

    return sum(await asyncio.gather(*(call() for _ in range(job.workers))))


if __name__ == "__main__":
    print(work(Job(**json.loads(sys.argv[1]))), flush=True)  # noqa: T201 -- as above
