"""Each service as the tests need it: a provider pointed at a URL, and answers in the service's own form."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from helpers.server import Received, Reply
from rerankkit import Cohere, Kendra, Pinecone, Provider, Voyage
from rerankkit._wire import Transport

KEY = "test-key-0123456789"
PLAN_ID = "00000000-0000-4000-8000-000000000000"

Scorer = Callable[[str, str], float]


@dataclass(frozen=True)
class Service:
    """One service.

    Attributes:
        make: A provider for a base URL; options as the provider takes them.
        path: Where its requests go.
        texts: The texts in a request's body, as they were sent.
        answer: The success body with these results (position, score), in this order.
        error: An error body.
    """

    name: str
    make: Callable[..., Provider]
    path: str
    query: str
    texts: Callable[[Mapping[str, Any]], list[str]]
    answer: Callable[[Sequence[tuple[Any, Any]]], dict[str, Any]]
    error: Callable[[str], dict[str, Any]]

    @property
    def transport(self) -> Transport | None:
        """What its clients use where every fault is tried with every service.

        Beside httpx2, which is the default, aiohttp is tried with two of them; where there is no httpx2, httpx with all.
        """
        is_alone = importlib.util.find_spec("httpx2") is None
        return "aiohttp" if self.name in ("voyage", "kendra") and not is_alone else None

    def scored(self, scorer: Scorer) -> Callable[[Received], Reply]:
        """An answer to any request, best first, cut to what was asked for."""

        def answer(request: Received) -> Reply:
            body = request.json
            scores = [scorer(body[self.query], text) for text in self.texts(body)]
            ranked = sorted(enumerate(scores), key=lambda pair: -pair[1])
            return Reply(self.answer(ranked[: body.get("top_n") or body.get("top_k")]))

        return answer


def _kendra(url: str, **options: Any) -> Kendra:
    keys = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": KEY, "region": "us-east-1"}
    return Kendra(**{"plan_id": PLAN_ID, **keys, "base_url": url, **options})


COHERE = Service(
    name="cohere",
    make=lambda url, **options: Cohere(**{"api_key": KEY, "base_url": url, **options}),
    path="/v2/rerank",
    query="query",
    texts=lambda body: body["documents"],
    answer=lambda results: {"id": "r-1", "results": [{"index": i, "relevance_score": s} for i, s in results]},
    error=lambda text: {"id": "e-1", "message": text},
)
VOYAGE = Service(
    name="voyage",
    make=lambda url, **options: Voyage(**{"api_key": KEY, "base_url": url, **options}),
    path="/rerank",
    query="query",
    texts=lambda body: body["documents"],
    answer=lambda results: {"object": "list", "data": [{"index": i, "relevance_score": s} for i, s in results]},
    error=lambda text: {"detail": text},
)
PINECONE = Service(
    name="pinecone",
    make=lambda url, **options: Pinecone(**{"api_key": KEY, "base_url": url, **options}),
    path="/rerank",
    query="query",
    texts=lambda body: [document["text"] for document in body["documents"]],
    answer=lambda results: {"data": [{"index": i, "score": s} for i, s in results]},
    error=lambda text: {"error": {"code": "INVALID_ARGUMENT", "message": text}, "status": 400},
)
KENDRA = Service(
    name="kendra",
    make=_kendra,
    path="/",
    query="SearchQuery",
    texts=lambda body: [document["Body"] for document in body["Documents"]],
    answer=lambda results: {
        "RescoreId": "r-1",
        "ResultItems": [{"DocumentId": str(i) if isinstance(i, int) else i, "Score": s} for i, s in results],
    },
    error=lambda text: {"__type": "com.amazonaws.kendraranking#ValidationException", "message": text},
)
SERVICES = (COHERE, VOYAGE, PINECONE, KENDRA)
POINTWISE = (COHERE, VOYAGE, PINECONE)


def dumped(value: object) -> bytes:
    return json.dumps(value).encode()
