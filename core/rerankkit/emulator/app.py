"""One ASGI application for the four services, each under its name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rerankkit.emulator.cohere import CohereEmulator
from rerankkit.emulator.kendra import CONTENT_TYPE, KendraEmulator
from rerankkit.emulator.pinecone import PineconeEmulator
from rerankkit.emulator.service import Call, EmulatedService, Refusal, Scorer
from rerankkit.emulator.voyage import VoyageEmulator
from rerankkit.local import bm25_scores

METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]  # each service says itself what it does not take


def create_app(scorer: Scorer = bm25_scores, keys: Collection[str] | None = None) -> Starlette:
    """The application.

    Args:
        scorer: Scores of texts for a query, at least 0; BM25 over the texts of one request by default.
        keys: API keys and AWS access key ids that are accepted; None accepts any.
    """
    services: Mapping[str, EmulatedService] = {
        "cohere": CohereEmulator(scorer, keys),
        "voyage": VoyageEmulator(scorer, keys),
        "pinecone": PineconeEmulator(scorer, keys),
        "kendra": KendraEmulator(scorer, keys),
    }
    routes = [Route(f"/{name}{{path:path}}", _endpoint(name, service), methods=METHODS) for name, service in services.items()]
    return Starlette(routes=routes)


def _endpoint(name: str, service: EmulatedService) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    content_type = CONTENT_TYPE if name == "kendra" else "application/json"

    async def endpoint(request: Request) -> Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        call = Call(request.method, request.path_params["path"] or "/", headers, await request.body())
        try:
            answer = service.answer(call)
        except Refusal as refusal:
            answer = refusal.answer
        return Response(orjson.dumps(answer.body), answer.status, dict(answer.headers), content_type)

    return endpoint
