"""How something is seen: a function that says what happened, by the number that docs/why.md gives it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from helpers.server import Answer, Received, Reply


@dataclass(frozen=True)
class Sighting:
    """Of one package: what happened, in words."""

    number: str
    package: str
    look: Callable[[], object]


SIGHTINGS: list[Sighting] = []


def seen(number: str, package: str) -> Callable[[Callable[[], object]], Callable[[], object]]:
    def keep(look: Callable[[], object]) -> Callable[[], object]:
        SIGHTINGS.append(Sighting(number, package, look))
        return look

    return keep


def attempt(look: Callable[[], object]) -> object:
    """What it gives, or the error that it ends with."""
    try:
        return look()
    except BaseException as error:  # noqa: BLE001 -- what it raises is what is looked for
        return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"


def scored(request: Received, order: Sequence[int] | None = None) -> Reply:
    """A good reply of whichever service is asked: 0.9 for the first document, a tenth less for each that follows."""
    if request.method == "GET":
        model = {"model": "bge-reranker-v2-m3", "type": "rerank", "short_description": "", "supported_parameters": []}
        return Reply({"models": [model], "data": [{"id": "m"}]})
    asked = request.json
    documents = asked.get("documents") or asked.get("passages") or asked.get("texts") or asked.get("input") or []
    places = range(len(documents)) if order is None else order
    scores = [{"index": place, "relevance_score": 0.9 - 0.1 * place, "score": 0.9 - 0.1 * place} for place in places]
    if "texts" in asked:
        return Reply(scores)
    rows = [{**row, "logit": row["score"], "document": documents[max(0, row["index"]) % len(documents)]} for row in scores]
    if "rank_fields" in asked:
        found = [{name: row[name] for name in ("index", "score", "document")} for row in rows]
        if not asked.get("return_documents"):
            found = [{**row, "document": None} for row in found]
        return Reply({"model": "m", "data": found, "usage": {"rerank_units": 1}})
    usage = {"total_tokens": 7, "prompt_tokens": 7}
    plain = [{name: row[name] for name in ("index", "relevance_score", "score")} for row in rows]
    return Reply({"id": "r", "model": "m", "object": "list", "usage": usage, "results": plain, "data": plain, "rankings": rows})


def slowly(seconds: float) -> Answer:
    def answer(request: Received) -> Reply:
        time.sleep(seconds)
        return scored(request)

    return answer


def failing(status: int, times: int = 1_000_000, headers: dict[str, str] | None = None) -> Answer:
    """So many failures, and then good replies."""
    left = [times]

    def answer(request: Received) -> Reply:
        left[0] -= 1
        return Reply({"message": "no"}, status, headers or {}) if left[0] >= 0 else scored(request)

    return answer


def at(*places: int) -> Answer:
    """Results for these places, whatever was asked."""
    return lambda request: scored(request, places)


def sent(requests: Sequence[Received]) -> list[dict[str, object]]:
    """What was posted."""
    return [json.loads(request.body) for request in requests if request.method == "POST"]
