"""Workers in processes of their own that call one service through one shared limit, as fast as it lets them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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
    client = Client(Cohere(api_key="k", base_url=job.url))
    with RateLimited(client, requests_per_second=job.requests_per_second, redis_url=job.redis_url, name=job.name) as limited:
        return _in_threads(client, limited, job) if job.colour == "sync" else asyncio.run(_in_tasks(client, limited, job))


def _in_threads(client: Client, limited: RateLimited, job: Job) -> int:
    def call(ends: float) -> int:
        count = 0
        while time.monotonic() < ends:
            limited.rerank("ferry", ["a bus", "a ferry"])
            count += 1
        return count

    client.rerank("ferry", ["a ferry"])  # what a first call takes longer is not what is measured
    _await_the_sign()
    with ThreadPoolExecutor(job.workers) as pool:
        return sum(pool.map(call, [time.monotonic() + job.seconds] * job.workers))


async def _in_tasks(client: Client, limited: RateLimited, job: Job) -> int:
    async def call(ends: float) -> int:
        count = 0
        while time.monotonic() < ends:
            await limited.arerank("ferry", ["a bus", "a ferry"])
            count += 1
        return count

    await client.arerank("ferry", ["a ferry"])
    _await_the_sign()
    return sum(await asyncio.gather(*map(call, [time.monotonic() + job.seconds] * job.workers)))


def _await_the_sign() -> None:
    print("ready", flush=True)  # noqa: T201 -- the parent reads it
    sys.stdin.readline()


if __name__ == "__main__":
    print(work(Job(**json.loads(sys.argv[1]))), flush=True)  # noqa: T201 -- as above
