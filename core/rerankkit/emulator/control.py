"""How a running emulator is told what to do, over HTTP: ``/_emulator/...``, JSON in and out.

| request | what it does |
|---|---|
| ``GET /`` | says what this is |
| ``GET /stats`` | requests, statuses, faults and times by service |
| ``GET /_emulator/requests?service=...`` | the latest requests, keys left out; ``DELETE`` forgets them |
| ``GET /_emulator/faults`` | the faults and how often each has struck; ``POST`` adds, ``DELETE ?seed=...`` ends them |
| ``GET /_emulator/settings`` | the switches; ``PATCH`` changes those it names |
| ``POST /_emulator/clock`` | ``{"advance": seconds}`` or ``{"set": seconds since 1970}`` |
| ``POST /_emulator/reset`` | everything as at the start |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rerankkit.emulator.faults import parse
from rerankkit.emulator.service import json_object
from rerankkit.emulator.settings import Settings
from rerankkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from rerankkit.emulator.app import Application


OF_ONE_SERVICE = ("cohere", "pinecone", "kendra")


class _Moved(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    advance: float | None = Field(default=None, ge=0)
    set: float | None = None


class _Control:
    """The operations."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def about(self, request: Request) -> Response:
        services = [f"/{name}" for name in self._application.services]
        control = [f"/_emulator/{name}" for name in ("requests", "faults", "settings", "clock", "reset")]
        return _json({"emulates": services, "stats": "/stats", "control": control})

    async def stats(self, request: Request) -> Response:
        return _json(self._application.journal.stats())

    async def requests(self, request: Request) -> Response:
        return _json(self._application.journal.requests(request.query_params.get("service")))

    async def forget_requests(self, request: Request) -> Response:
        self._application.journal.clear()
        return _json({})

    async def faults(self, request: Request) -> Response:
        return _json(self._application.plan.describe())

    async def add_faults(self, request: Request) -> Response:
        try:
            self._application.plan.add(parse(await request.body()))
        except InvalidRequestError as error:
            return _json({"error": str(error)}, 400)
        return await self.faults(request)

    async def end_faults(self, request: Request) -> Response:
        seed = request.query_params.get("seed")
        try:
            self._application.plan.clear(None if seed is None else int(seed))
        except ValueError:
            return _json({"error": f"seed must be a whole number, got {seed!r}"}, 400)
        return _json({})

    async def settings(self, request: Request) -> Response:
        return _json(self._application.world.settings.model_dump(mode="json"))

    async def change_settings(self, request: Request) -> Response:
        world = self._application.world
        changes = json_object(await request.body())
        if changes is None:
            return _json({"error": "the body must be a JSON object of switches and their positions"}, 400)
        try:
            world.settings = Settings.model_validate(_merged(world.settings.model_dump(mode="json"), changes))
        except ValidationError as error:
            return _json({"error": str(error)}, 400)
        return await self.settings(request)

    async def move_clock(self, request: Request) -> Response:
        clock = self._application.world.clock
        try:
            moved = _Moved.model_validate_json(await request.body())
        except ValidationError as error:
            return _json({"error": str(error)}, 400)
        if moved.set is not None:
            clock.set(moved.set)
        clock.advance(moved.advance or 0.0)
        return _json({"now": clock.now()})

    async def reset(self, request: Request) -> Response:
        self._application.reset()
        return _json({})


def control(application: Application) -> Starlette:
    """The application's control."""
    own = _Control(application)
    return Starlette(
        routes=[
            Route("/", own.about),
            Route("/_emulator/", own.about),
            Route("/stats", own.stats),
            Route("/_emulator/stats", own.stats),
            Route("/_emulator/requests", own.requests, methods=["GET"]),
            Route("/_emulator/requests", own.forget_requests, methods=["DELETE"]),
            Route("/_emulator/faults", own.faults, methods=["GET"]),
            Route("/_emulator/faults", own.add_faults, methods=["POST"]),
            Route("/_emulator/faults", own.end_faults, methods=["DELETE"]),
            Route("/_emulator/settings", own.settings, methods=["GET"]),
            Route("/_emulator/settings", own.change_settings, methods=["PATCH"]),
            Route("/_emulator/clock", own.move_clock, methods=["POST"]),
            Route("/_emulator/reset", own.reset, methods=["POST"]),
        ]
    )


def _merged(settings: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """*settings* with *changes*: those of one service member by member, all others as a whole."""
    inner = {name: {**settings[name], **changes[name]} for name in OF_ONE_SERVICE if isinstance(changes.get(name), dict)}
    return {**settings, **changes, **inner}


def _json(content: object, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
