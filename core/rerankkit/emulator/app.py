"""One ASGI application for the four services, each under its name, and for what controls them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from weakref import WeakSet

from rerankkit.emulator.cohere import CohereEmulator
from rerankkit.emulator.control import control
from rerankkit.emulator.delivery import TRANSPORT, Receive, Scope, Send, deliver, left_within, read
from rerankkit.emulator.fault_plan import FaultPlan
from rerankkit.emulator.faults import AnyFault
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

    def __init__(self, settings: Settings | None = None, scorer: Scorer | None = None) -> None:
        self.world = World(settings or Settings(), scorer)
        self.plan = FaultPlan()
        self.journal = Journal()
        self.services: Mapping[ServiceName, EmulatedService] = {
            service.name: service(self.world) for service in (CohereEmulator, VoyageEmulator, PineconeEmulator, KendraEmulator)
        }
        self._control = control(self)
        self._held: WeakSet[asyncio.Transport] = WeakSet()

    def reset(self) -> None:
        """As at the start."""
        self.plan.clear()
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
        started = time.monotonic()
        call = _call(scope, path, await read(receive))
        wait, fault = self.plan.strike(service.name, call)
        entry = Entry(started, service.name, call, _named(wait, fault))
        self.journal.begin(entry)
        if entry.fault and TRANSPORT in scope.get("state", {}):
            self._held.add(scope["state"][TRANSPORT])
        if wait and await left_within(wait, receive):
            self.journal.finish(entry, None, time.monotonic() - started)
            return
        reply = spoiled(service, _answer(service, call), fault, self.world.clock.now())
        self.journal.finish(entry, None if fault and fault.silent else reply.status, time.monotonic() - started)
        await deliver(reply, fault, scope, receive, send)


def _named(wait: float, fault: AnyFault | None) -> str | None:
    """What strikes a request, in a word or two."""
    return "+".join(kind for kind in ("latency" if wait else "", fault.kind if fault else "") if kind) or None


def _call(scope: Scope, path: str, body: bytes) -> Call:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    query = scope["query_string"].decode("latin-1")
    sent = scope.get("raw_path", b"").decode("latin-1") or scope["path"]
    return Call(scope["method"], path, headers, body, f"{sent}?{query}" if query else sent)


def _answer(service: EmulatedService, call: Call) -> Answer:
    try:
        return service.answer(call)
    except Refusal as refusal:
        return refusal.answer
    except ScorerError as error:
        return service.failure(500, str(error))


def create_app(settings: Settings | None = None, scorer: Scorer | None = None) -> Application:
    """The application, for a server of your own or for an in-process transport.

    Args:
        settings: None: any API key, BM25, today's forms, no limits.
        scorer: Scores of texts for a query, at least 0; None: the one that the settings name.
    """
    return Application(settings, scorer)
