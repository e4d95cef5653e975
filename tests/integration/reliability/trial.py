"""One call under a fault, and what holds after every one of them: the seven standing invariants.

I1 no document lost or doubled, scores right; I2 over by the deadline and a quarter of a second; I3 no key and no text
in errors, logs and warnings; I4 nothing left open after close; I5 the next call on the same object works; I6 no more
requests than attempts; I7 the caller's input as it was.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from helpers.canaries import TEXT, assert_silent, key_options, shown_of
from helpers.compositions import prices_of
from helpers.patience import happens
from helpers.services import Service
from helpers.stopwatch import Stopwatch
from helpers.ways import Result, Way, one_loop
from integration.reliability.fault_server import Stage, score_of
from rerankkit import BaseReranker, Client, Retry, _library

LATEST = 0.25  # seconds after the deadline
QUERY = f"{TEXT} which?"
TEXTS = tuple(f"{TEXT} {number}" for number in range(5))
MOST = {"kendra": 25}  # documents that are ranked at all, of services whose lists cannot be cut
SOON = Retry(base_delay=0.01, rate_limit_delay=0.01)


@dataclass
class Outcome:
    """How a call ended.

    Attributes:
        results: Position and score, best first; empty if it failed.
        own_seconds: How long it took, where no thread waited for a processor.
        requests: What the server read whole for this call.
    """

    results: list[Result] = field(default_factory=list)
    error: BaseException | None = None
    seconds: float = 0.0
    own_seconds: float = 0.0
    requests: int = 0


@dataclass
class Trial:
    """A client of one service before a stage, called in one way.

    Attributes:
        name: The address by which the stage is called, where it is another than its own.
        loggers: Whose logs are looked at, from DEBUG on; the root's are everybody's.
        debug: Whether event loops tell of all that they do.
        wrap: What the client is called through.
    """

    service: Service
    way: Way
    stage: Stage
    caplog: pytest.LogCaptureFixture
    texts: Sequence[str] = TEXTS
    query: str = QUERY
    name: str = ""
    loggers: Sequence[str | None] = (None,)
    debug: bool = False
    wrap: Callable[[Client], BaseReranker] = lambda client: client

    def __call__(
        self,
        *,
        timeout: float = 5.0,
        top_n: int | None = None,
        retry: Retry = SOON,
        url: str = "",
        ranking: list[Result] | None = None,
        batches: int = 1,
        **options: Any,
    ) -> Outcome:
        """The outcome of one call; all invariants are checked, and one further call that meets no fault is made.

        *ranking* is what this call must bring, if it is not what the texts' own scores say; *batches* is how many
        requests it needs.
        """
        for name in self.loggers:
            self.caplog.set_level(logging.DEBUG, name)
        before = open_sockets()
        with ExitStack() as stack:
            runner = stack.enter_context(one_loop()) if self.way.colour == "async" else None
            if runner is not None and self.debug:
                talk_of_everything(runner.get_loop())
            provider = self.service.make(url or self.name or self.stage.url, **{**key_options(self.service), **options})
            client = Client(
                provider, timeout=timeout, retry=retry, prices=prices_of(provider), transport=self.service.transport
            )
            warm(client)
            reranker = self.wrap(client)
            outcome = self._outcome(reranker, timeout, top_n, ranking)
            if not url:
                assert outcome.requests <= retry.most() * batches, "I6"
                self.stage.heal()
                assert not replace(self, texts=TEXTS, query=QUERY)._outcome(reranker, 5.0, None).error, "I5"
            if runner is not None:
                runner.run(reranker.aclose())
                assert_no_tasks(runner)
            reranker.close()
        assert happens(lambda: open_sockets() <= before), f"I4: {open_sockets() - before}"
        assert_silent(*shown_of(outcome.error), self.caplog.text)
        return outcome

    def _outcome(
        self, reranker: BaseReranker, timeout: float, top_n: int | None, ranking: list[Result] | None = None
    ) -> Outcome:
        texts, requests = tuple(self.texts), self.stage.count
        reranker.timeout = timeout
        outcome = Outcome()
        stopwatch = Stopwatch()
        try:
            outcome.results = self.way(reranker, self.query, self.texts, top_n)
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is looked at
            outcome.error = error
        outcome.seconds, outcome.own_seconds = stopwatch.seconds(), stopwatch.own_seconds()
        outcome.requests = self.stage.count - requests
        assert outcome.own_seconds < timeout + LATEST, "I2"
        assert tuple(self.texts) == texts, "I7"
        if outcome.error is None:
            assert outcome.results == (self.expected(top_n) if ranking is None else ranking), "I1"
        return outcome

    def expected(self, top_n: int | None = None) -> list[Result]:
        """The right ranking of the texts: what the service does not take, and what is blank, follows without a score."""
        filled = [index for index, text in enumerate(self.texts) if text.strip()]
        most = MOST.get(self.service.name, len(filled))
        scores = [(index, score_of(as_sent(self.query), as_sent(self.texts[index]))) for index in filled[:most]]
        ranked = sorted(scores, key=lambda pair: (-pair[1], pair[0]))
        blank = [index for index, text in enumerate(self.texts) if not text.strip()]
        return [*ranked, *((index, None) for index in (*filled[most:], *blank))][:top_n]


def warm(client: Client) -> None:
    """Do before anything is timed what takes its time once a process."""
    _library.ssl_context(client._http.transport)
    if client._http.transport == "aiohttp":
        importlib.import_module("rerankkit._over_aiohttp")
    for name in ("auth", "awsrequest", "credentials", "session") if client.provider.auth_waits else ():
        importlib.import_module(f"botocore.{name}")


def as_sent(text: str) -> str:
    """*text* with U+FFFD for each half of a character."""
    return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)


def talk_of_everything(loop: asyncio.AbstractEventLoop) -> None:
    """Debug mode, in which every callback is slow enough to be told of."""
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0


def assert_no_tasks(runner: asyncio.Runner) -> None:
    loop = runner.get_loop()
    assert not asyncio.all_tasks(loop), "I4: tasks that nobody waits for"


def open_sockets() -> set[str]:
    """This process's sockets."""
    found: set[str] = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue  # it was closed meanwhile
        if target.startswith("socket:"):
            found.add(target)
    return found
