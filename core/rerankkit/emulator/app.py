"""One ASGI application for the four services, each under its name, and for what controls them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager

from rerankkit.emulator.cohere import CohereEmulator
from rerankkit.emulator.control import control
from rerankkit.emulator.delivery import TRANSPORT, Receive, Scope, Send, deliver, left_within, read
from rerankkit.emulator.fault_plan import FaultPlan
from rerankkit.emulator.faults import AnyFault, Status
from rerankkit.emulator.journal import Entry, Journal
from rerankkit.emulator.kendra import KendraEmulator
from rerankkit.emulator.pinecone import PineconeEmulator
from rerankkit.emulator.replies import spoiled
from rerankkit.emulator.scorers import Scorer
from rerankkit.emulator.service import Answer, Call, EmulatedService, Refusal
from rerankkit.emulator.settings import ServiceName, Settings
from rerankkit.emulator.voyage import VoyageEmulator
from rerankkit.emulator.world import ScorerError, World


class Application:
    """The four services and their control.

    Attributes:
        world: What the services share.
        plan: The faults.
        journal: The requests.
    """

    def __init__(
        self, settings: Settings | None = None, scorer: Scorer | None = None, faults: Sequence[AnyFault] = (), seed: int = 0
    ) -> None:
        self.world = World(settings or Settings(), scorer)
        self.plan = FaultPlan(seed, faults)
        self.journal = Journal()
        self.services: Mapping[ServiceName, EmulatedService] = {
            service.name: service(self.world) for service in (CohereEmulator, VoyageEmulator, PineconeEmulator, KendraEmulator)
        }
        self._control = control(self)
        self._held: set[asyncio.Transport] = set()
        self._resets = 0

    def reset(self) -> None:
        """As at the start; what is under way ends without a reply."""
        self._resets += 1
        self.release()
        self.plan.reset()
        self.journal.clear()
        self.world.reset()
        for service in self.services.values():
            service.reset()

    def release(self) -> None:
        """End the connections that faults keep: a server that stops does not wait for them."""
        for transport in list(self._held):
            transport.abort()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        prefix, _, path = scope["path"][1:].partition("/")
        service = self.services.get(prefix)
        if service is None:
            await self._control(scope, receive, send)
        else:
            await self._serve(service, f"/{path}", scope, receive, send)

    async def _serve(self, service: EmulatedService, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read(receive)
        if body is None:  # the client has left in the middle of it
            return
        call = _call(scope, path, body)
        wait, fault = self.plan.strike(service.name, call)
        entry = Entry(time.monotonic(), service.name, call, _named(wait, fault))
        self.journal.begin(entry)
        with self._holding(scope, struck=entry.fault is not None):
            resets = self._resets
            if wait and (await left_within(wait, receive) or resets != self._resets):
                self.journal.finish(entry, None)
                return
            reply = spoiled(service, _answer(service, call, fault), fault, self.world.clock.dated())
            self.journal.finish(entry, None if fault and fault.silent else reply.status)
            await deliver(reply, fault, scope, receive, send)

    @contextmanager
    def _holding(self, scope: Scope, *, struck: bool) -> Generator[None]:
        """The connection of a request that is struck is one that a server must not wait for."""
        transport = scope.get("state", {}).get(TRANSPORT)
        if not struck or transport is None:
            yield
            return
        self._held.add(transport)
        try:
            yield
        finally:
            self._held.discard(transport)


def _named(wait: float, fault: AnyFault | None) -> str | None:
    """What strikes a request, in a word or two."""
    return "+".join(kind for kind in ("latency" if wait else "", fault.kind if fault else "") if kind) or None


def _call(scope: Scope, path: str, body: bytes) -> Call:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    query = scope["query_string"].decode("latin-1")
    sent = scope.get("raw_path", b"").decode("latin-1") or scope["path"]
    return Call(scope["method"], path, headers, body, f"{sent}?{query}" if query else sent)


def _answer(service: EmulatedService, call: Call, fault: AnyFault | None) -> Answer:
    """What the service makes of *call*: nothing, where a fault has it refused."""
    if isinstance(fault, Status):
        return Answer(None)
    try:
        return service.answer(call)
    except Refusal as refusal:
        return refusal.answer
    except ScorerError as error:
        return service.failure(500, str(error))


def create_app(
    settings: Settings | None = None, scorer: Scorer | None = None, faults: Sequence[AnyFault] = (), seed: int = 0
) -> Application:
    """The application, for a server of your own or for an in-process transport.

    Args:
        settings: None: any API key, BM25, today's forms, no limits.
        scorer: Scores of texts for a query, at least 0; None: the one that the settings name.
        faults: Those that strike from the start, and after each reset.
        seed: Of those that strike at random.
    """
    return Application(settings, scorer, faults, seed)
