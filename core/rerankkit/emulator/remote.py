"""A running emulator, told from Python what to do."""

from __future__ import annotations

import http.client
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args
from urllib.parse import urlsplit

import orjson

from rerankkit._checks import is_number
from rerankkit.emulator.addresses import environment, urls
from rerankkit.emulator.faults import AnyFault, dump
from rerankkit.emulator.kendra import PLAN_ID
from rerankkit.emulator.settings import ServiceName
from rerankkit.errors import InvalidRequestError


@dataclass(frozen=True, slots=True)
class Recorded:
    """A request that arrived, and what became of it.

    Attributes:
        path: Without the service's prefix.
        headers: Names in lower case; keys are ``"<redacted>"``.
        body: Its JSON, or its text if it was none.
        status: Of the reply; None while there is none, and for good if a fault let none out, or the client has left.
        seconds: From the whole request to the reply.
        fault: What struck, such as ``"latency+status"``.
    """

    service: ServiceName
    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    status: int | None
    seconds: float
    fault: str | None


class RemoteEmulator:
    """An emulator that runs, wherever it does: ``RemoteEmulator("http://127.0.0.1:8765")`` for one of `rerankkit serve`.

    Attributes:
        url: Where it listens; each service under its name.
        plan_id: A Kendra plan that is there from the start.
    """

    plan_id = PLAN_ID

    def __init__(self, url: str) -> None:
        if urlsplit(url).path.strip("/"):
            raise InvalidRequestError(f"url must be the emulator's own, such as 'http://127.0.0.1:8765', got {url!r}")
        self.url = url.rstrip("/")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    @property
    def urls(self) -> Mapping[str, str]:
        """Each service's base URL, as its client takes it."""
        return urls(self.url)

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment variables that point clients here."""
        return environment(self.url)

    def inject(self, *faults: AnyFault) -> None:
        """Let *faults* strike from the next request on, after those that are there."""
        self._ask("POST", "/_emulator/faults", dump(faults))

    def heal(self, *, seed: int | None = None) -> None:
        """End all faults; *seed* is that of the random ones that follow."""
        self._ask("DELETE", "/_emulator/faults" + ("" if seed is None else f"?seed={seed}"))

    def injected(self) -> list[Mapping[str, Any]]:
        """The faults, oldest first, each with how many requests it has ``"struck"``."""
        return cast("list[Mapping[str, Any]]", self._ask("GET", "/_emulator/faults"))

    def requests(self, service: ServiceName | None = None) -> list[Recorded]:
        """The latest requests, at most 1,000, oldest first."""
        if service is not None and service not in get_args(ServiceName):
            raise InvalidRequestError(f"service must be one of {', '.join(get_args(ServiceName))}, got {service!r}")
        found = self._ask("GET", "/_emulator/requests" + (f"?service={service}" if service else ""))
        return [Recorded(**entry) for entry in cast("list[dict[str, Any]]", found)]

    def stats(self) -> Mapping[str, Mapping[str, Any]]:
        """By service: ``requests``, ``statuses``, ``faults``, and ``mean_ms``, the mean time of a reply."""
        return cast("dict[str, dict[str, Any]]", self._ask("GET", "/stats"))

    def configure(self, **changes: object) -> None:
        """Change switches; those are the members of `Settings`, and those of one service are changed one by one.

        Raises:
            InvalidRequestError: There is no such switch, or it has no such position.
        """
        try:
            body = orjson.dumps(changes, default=_as_json)
        except TypeError as error:
            raise InvalidRequestError(f"switches have positions that JSON can tell: {error}") from error
        self._ask("PATCH", "/_emulator/settings", body)

    def advance(self, seconds: float) -> None:
        """Let *seconds*, at least 0, pass at once: for rate limits and plans; not for latencies, nor for signatures."""
        self._ask("POST", "/_emulator/clock", orjson.dumps({"advance": _finite(seconds)}))

    def set_clock(self, moment: float) -> None:
        """Let its time go on from *moment*, in seconds since 1970, UTC: for requests that were signed then."""
        self._ask("POST", "/_emulator/clock", orjson.dumps({"set": _finite(moment)}))

    def reset(self) -> None:
        """Everything as at the start: no faults, no requests, its first settings, the machine's time."""
        self._ask("POST", "/_emulator/reset")

    def _ask(self, method: str, path: str, body: bytes | None = None) -> object:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=10)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            content: object = orjson.loads(response.read())
        except ConnectionError as error:
            raise ConnectionError(f"no emulator answers at {self.url or 'an address: start it'} ({error})") from error
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise InvalidRequestError(cast("dict[str, str]", content)["error"])
        return content


def _finite(seconds: float) -> float:
    if not is_number(seconds) or not math.isfinite(seconds):
        raise InvalidRequestError(f"time is told in a finite number of seconds, got {seconds!r}")
    return seconds


def _as_json(value: object) -> object:
    """Models and sets, which may stand for parts of the settings."""
    if isinstance(value, frozenset | set):
        return list(cast("set[object]", value))
    dump_model = getattr(value, "model_dump", None)
    if dump_model is None:
        raise TypeError(type(value).__name__)
    return dump_model(mode="json")
