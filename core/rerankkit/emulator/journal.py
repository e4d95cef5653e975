"""What an emulator was asked and what it answered: kept for tests, counted for people."""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import orjson

from rerankkit._wire import members
from rerankkit.emulator.service import Call, is_deep

logger = logging.getLogger("rerankkit.emulator")

KEPT = 1_000  # requests; older ones are forgotten
KEPT_BYTES = 64 * 1024 * 1024  # of their bodies; as above
SECRET_HEADERS = frozenset({"authorization", "api-key", "x-amz-security-token", "cookie"})


@dataclass(slots=True)
class Entry:
    """One request and its reply.

    Attributes:
        moment: When it arrived, on the machine's monotonic clock.
        status: None until there is a reply, and for good if none goes out.
        seconds: Until the reply was ready.
    """

    moment: float
    service: str
    call: Call
    fault: str | None
    status: int | None = None
    seconds: float = 0.0

    def describe(self) -> dict[str, Any]:
        """Everything that a test may ask for; keys are not."""
        headers = {name: "<redacted>" if name in SECRET_HEADERS else value for name, value in self.call.headers.items()}
        return {
            "service": self.service,
            "method": self.call.method,
            "path": self.call.path,
            "headers": headers,
            "body": _body(self.call.body),
            "status": self.status,
            "seconds": round(self.seconds, 6),
            "fault": self.fault,
        }

    def line(self) -> str:
        """One line for people."""
        clock = datetime.now(UTC).astimezone().strftime("%H:%M:%S")
        what = self.call.headers.get("x-amz-target", "").rpartition(".")[2] or f"{self.call.method} {self.call.path}"
        size = _documents(_body(self.call.body))
        documents = "" if size is None else f"{size} document{'' if size == 1 else 's'}, "
        fault = f"  [{self.fault}]" if self.fault else ""
        return f"{clock}  {self.service:<8}  {self.status or '---'}  {what:<20}  {documents}{self.seconds * 1000:.1f} ms{fault}"


class Journal:
    """The latest requests, and figures over all."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._since = 0.0
        self._statuses: Counter[tuple[str, str]] = Counter()
        self._faults: Counter[tuple[str, str]] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def begin(self, entry: Entry) -> None:
        """Keep a request that has arrived."""
        self._entries.append(entry)
        self._bytes += len(entry.call.body)
        while len(self._entries) > KEPT or (self._bytes > KEPT_BYTES and len(self._entries) > 1):
            self._bytes -= len(self._entries.popleft().call.body)
        if entry.fault:
            self._faults[entry.service, entry.fault] += 1

    def finish(self, entry: Entry, status: int | None) -> None:
        """Count its reply, unless all was forgotten meanwhile; None: there was none, or nobody waited for it."""
        entry.status, entry.seconds = status, time.monotonic() - entry.moment
        if self._since <= entry.moment:
            self._statuses[entry.service, str(status or "none")] += 1
            self._seconds[entry.service] += entry.seconds
        if logger.isEnabledFor(logging.INFO):
            logger.info("%s", entry.line())

    def clear(self) -> None:
        """Forget all."""
        self._since = time.monotonic()
        self._entries.clear()
        self._bytes = 0
        self._statuses.clear()
        self._faults.clear()
        self._seconds.clear()

    def requests(self, service: str | None = None) -> list[dict[str, Any]]:
        """The latest requests, oldest first."""
        return [entry.describe() for entry in self._entries if service in (None, entry.service)]

    def stats(self) -> dict[str, Any]:
        """By service: requests, replies by status, strikes by fault, and the mean time of a reply in milliseconds."""
        return dict(self._stats())

    def _stats(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for service in sorted({service for service, _ in self._statuses}):
            statuses = _of(service, self._statuses)
            count = sum(statuses.values())
            mean = 1000 * self._seconds[service] / count
            faults = _of(service, self._faults)
            yield service, {"requests": count, "statuses": statuses, "faults": faults, "mean_ms": round(mean, 3)}


def _of(service: str, counter: Mapping[tuple[str, Any], int]) -> dict[str, int]:
    return {str(name): count for (owner, name), count in sorted(counter.items()) if owner == service}


def _body(content: bytes) -> Any:  # noqa: ANN401 -- it is what a stranger sent
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:
        found = None
    return content.decode("utf-8", "replace") if found is None or is_deep(found) else found


def _documents(body: object) -> int | None:
    asked = members(body)
    found = asked.get("documents", asked.get("Documents"))
    return len(cast("list[object]", found)) if isinstance(found, list) else None
