"""In which order the emulated services look at a request: one that is wrong in every way is mended step by step."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from rerankkit.emulator import Emulator, RateLimit

NOT_JSON = b'{"query": '
GONE = object()


@dataclass(frozen=True)
class Step:
    """What is mended first, and what is then found to be wrong.

    Attributes:
        mended: Members of the request's body; or its ``path``, ``key``, ``version``, ``json`` or ``rate``.
    """

    mended: Mapping[str, Any]
    status: int
    words: str = ""


COHERE = [
    Step({}, 404, "404 page not found"),
    Step({"path": "v2/rerank"}, 401, "Incorrect API key provided"),
    Step({"key": "right"}, 400, "invalid json syntax"),
    Step({"json": True}, 422, "unknown field: parameter 'rank_fields' is not a valid field."),
    Step({"rank_fields": GONE}, 400, "a model parameter is required for this endpoint."),
    Step({"model": "xyz"}, 400, "invalid request: top_n"),
    Step({"top_n": 1}, 400, "list of documents must not be empty"),
    Step({"documents": [" "] * 10_001}, 400, "query must not be empty"),
    Step({"query": "ferry"}, 400, "must not contain only empty strings"),
    Step({"documents": ["x"] * 10_001}, 404, "model 'xyz' not found"),
    Step({"model": "rerank-v3.5"}, 400, "number of total max chunks"),
    Step({"documents": ["x"] * 10_000}, 400, "relevant_spans"),
    Step({"relevant_spans": GONE}, 429, "You are past the per minute request limit"),
    Step({"rate": True}, 200),
]
VOYAGE = [
    Step({}, 404, "Not Found"),
    Step({"path": "v1/rerank"}, 401, "Provided API key is invalid."),
    Step({"key": "right"}, 400, "Error for argument 'body'"),
    Step({"json": True}, 400, "Error for argument 'nonsense'"),
    Step({"nonsense": GONE}, 400, "Error for argument 'model'"),
    Step({"model": "xyz"}, 400, "Error for argument 'top_k'"),
    Step({"top_k": 1}, 400, "Input cannot contain empty strings or empty lists"),
    Step({"documents": ["x" * 4_000] * 1_001}, 400, "Error for argument 'query'"),
    Step({"query": "ferry"}, 400, "Model xyz is not supported"),
    Step({"model": "rerank-2.5"}, 400, "The number of documents should be at most 1000."),
    Step({"documents": ["x" * 4_000] * 1_000}, 400, "The max allowed tokens per submitted batch is 600000."),
    Step({"documents": ["x"]}, 429, "Rate limit exceeded."),
    Step({"rate": True}, 200),
]
PINECONE = [
    Step({}, 404, "Not found"),
    Step({"path": "rerank"}, 401, "Invalid API key."),
    Step({"key": "right"}, 400, "Unsupported X-Pinecone-Api-Version"),
    Step({"version": "2026-07"}, 400, "(body: "),
    Step({"json": True}, 400, "(nonsense: "),
    Step({"nonsense": GONE}, 400, "(model: "),
    Step({"model": "xyz"}, 400, "(top_n: "),
    Step({"top_n": 1}, 400, "(query: "),
    Step({"query": "ferry"}, 400, "(documents: "),
    Step({"documents": [{"other": "x"}] * 101}, 404, "Model 'xyz' not found"),
    Step({"model": "bge-reranker-v2-m3"}, 400, "Too many documents: 101."),
    Step({"documents": [{"other": "x"}] * 100}, 400, "(rank_fields: "),
    Step({"rank_fields": ["text"]}, 400, "(parameters.truncate: "),
    Step({"parameters": GONE}, 400, "(documents.0: the rank field 'text' is missing)"),
    Step({"documents": [{"text": "x" * 5_000}]}, 400, "exceeds the maximum token limit of 1024"),
    Step({"documents": [{"text": "x"}]}, 429, "max rerank requests per minute (0)"),
    Step({"rate": True}, 200),
]
BAD = {"query": " ", "documents": list[str]()}
STEPS: Mapping[str, tuple[Mapping[str, Any], Sequence[Step]]] = {
    "cohere": ({**BAD, "top_n": "x", "rank_fields": [], "relevant_spans": {"mode": "enabled"}}, COHERE),
    "voyage": ({**BAD, "top_k": "x", "nonsense": 1}, VOYAGE),
    "pinecone": (
        {**BAD, "top_n": "x", "nonsense": 1, "rank_fields": ["a", "b"], "parameters": {"truncate": "START"}},
        PINECONE,
    ),
}


@pytest.fixture(autouse=True)
def _left_as_it_was(emulator: Emulator) -> Iterator[None]:
    yield
    emulator.reset()


@pytest.mark.parametrize("service", STEPS)
def test_what_is_wrong_is_found_in_the_documented_order(emulator: Emulator, service: Any) -> None:
    bad, steps = STEPS[service]
    emulator.configure(
        keys=["right"],
        strict=True,
        rate_limits={service: RateLimit(requests_per_minute=0)},
        pinecone={"versions": ["2026-07"]},
    )
    request = dict(bad)
    for step in steps:
        request.update(step.mended)
        if "rate" in request:
            emulator.configure(rate_limits={service: RateLimit()})
        status, text = sent(emulator, service, request)
        assert (status, step.words if step.words in text else text) == (step.status, step.words)


ELSEWHERE = ("path", "key", "version", "json", "rate")


def sent(emulator: Emulator, service: str, request: Mapping[str, Any]) -> tuple[int, str]:
    key = request.get("key", "wrong")
    headers = {"Authorization": f"Bearer {key}", "Api-Key": key, "X-Pinecone-Api-Version": request.get("version", "2000-01")}
    members = {name: value for name, value in request.items() if name not in ELSEWHERE and value is not GONE}
    body = json.dumps(members).encode() if "json" in request else NOT_JSON
    url = f"{emulator.url}/{service}/{request.get('path', 'v9/rerank')}"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_cohere_tells_a_missing_key_from_a_wrong_one(emulator: Emulator) -> None:
    request = urllib.request.Request(f"{emulator.url}/cohere/v2/rerank", b"{}", {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    with caught.value as error:
        assert (error.code, json.load(error)["message"]) == (401, "no api key supplied")
