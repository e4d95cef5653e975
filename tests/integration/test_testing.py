"""What users' own tests are given: the fake, and the fixtures, in a pytest of their own."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest

from helpers.stopwatch import Stopwatch
from helpers.ways import WAYS, Way, run
from rerankkit import DeadlineExceededError, Document, InvalidRequestError, RateLimitError, Reranker, ServerError
from rerankkit.testing import FakeReranker


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize(
    "scores", [lambda query, text: float(text[-1]), {"text 2": 2.0, "text 3": 3.0}], ids=["function", "table"]
)
def test_a_fake_ranks_as_it_is_told(way: Way, scores: Any) -> None:
    fake = FakeReranker(scores)
    assert [index for index, _ in way(fake, "q", ["text 2", "text 3", "text 0"], 2)] == [1, 0]
    (call,) = fake.calls
    assert (call.query, call.texts, call.top_n) == ("q", ("text 2", "text 3", "text 0"), 2)


def test_a_fake_without_scores_keeps_the_order(colour: str) -> None:
    documents = ["a", " ", Document("b", id="7")]
    response = run(colour, FakeReranker(), "rerank", "q", documents)
    assert [result.index for result in response] == [0, 2, 1]
    assert response.results[1].document is documents[2]
    assert response.results[2].skipped == "blank"


def test_a_fake_fails_as_often_as_it_is_told(colour: str) -> None:
    fake = FakeReranker()
    fake.fail(RateLimitError("limit"), times=2)
    fake.fail(ServerError("outage"))
    for expected in (RateLimitError, RateLimitError, ServerError):
        with pytest.raises(expected):
            run(colour, fake, "rerank", "q", ["a"])
    assert len(run(colour, fake, "rerank", "q", ["a"])) == 1
    assert len(fake.calls) == 4


def test_a_slow_fake_keeps_the_deadline(colour: str) -> None:
    fake = FakeReranker(latency=0.2)
    assert len(run(colour, fake, "rerank", "q", ["a"])) == 1
    stopwatch = Stopwatch()
    with pytest.raises(DeadlineExceededError):
        run(colour, FakeReranker(latency=9), "rerank", "q", ["a"], timeout=0.1)
    assert stopwatch.own_seconds() < 1


def test_a_fake_is_a_reranker_and_checks_what_it_is_given(colour: str) -> None:
    assert isinstance(FakeReranker(), Reranker)
    for wrong in ({"scores": 3}, {"latency": -1}, {"latency": math.inf}, {"timeout": 0}):
        with pytest.raises(InvalidRequestError, match=next(iter(wrong))):
            FakeReranker(**wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="error must be an exception"):
        FakeReranker().fail("outage")  # type: ignore[arg-type]
    for score in (math.nan, "high", None):
        with pytest.raises(InvalidRequestError, match="scores must give a finite number for each text"):
            run(colour, FakeReranker(lambda *_: score), "rerank", "q", ["a"])  # type: ignore[arg-type,return-value]  # noqa: B023
    with pytest.raises(InvalidRequestError, match="top_n must be"):
        run(colour, FakeReranker(), "rerank", "q", ["a"], top_n=0)


FIXTURES = """
import asyncio
import socket
import httpx
import pytest
from rerankkit import ServerError
from rerankkit.emulator import faults
from rerankkit.testing import NetworkBlockedError

SERVICES = ["cohere", "voyage", "pinecone", "kendra"]

@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_every_service(rerank_clients, rerank_emulator, no_network, service, colour):
    client = rerank_clients[service]
    call = client.rerank if colour == "sync" else lambda *a: asyncio.run(client.arerank(*a))
    assert call("ferry", ["a bus", "a ferry"]).documents[0] == "a ferry"
    assert [request.service for request in rerank_emulator.requests()] == [service]

def test_a_test_may_stop_it(rerank_emulator):
    rerank_emulator.stop()

def test_a_fault(rerank_emulator):
    rerank_emulator.inject(faults.Status(status=500))
    assert httpx.post(rerank_emulator.urls["voyage"] + "/rerank", json={}).status_code == 500

def test_is_over_with_its_test(rerank_emulator):
    assert httpx.post(rerank_emulator.urls["voyage"] + "/rerank", json={}).status_code == 401
    assert len(rerank_emulator.requests()) == 1

def connect_ex():
    with socket.socket() as sock:
        sock.connect_ex(("192.0.2.1", 80))

def send_to():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", ("192.0.2.1", 53))

MADE_EARLIER = __import__("rerankkit").Client(__import__("rerankkit").Cohere(api_key="a-real-key"))

def test_a_client_that_was_made_before_does_not_reach_the_service(rerank_environment):
    with pytest.raises(NetworkBlockedError, match="a client would go to api.cohere.com, past the emulator"):
        MADE_EARLIER.rerank("q", ["a"])

@pytest.mark.parametrize("reach", [
    send_to,
    lambda: socket.create_connection(("192.0.2.1", 80), 1),
    lambda: socket.getaddrinfo("api.cohere.com", 443),
    lambda: socket.gethostbyname("API.cohere.com."),
    lambda: socket.gethostbyname_ex("api.cohere.com"),
    connect_ex,
    lambda: httpx.get("https://api.cohere.com"),
    lambda: asyncio.run(httpx.AsyncClient().get("https://api.cohere.com")),
], ids=["send", "connect", "look up", "by name", "by name, in full", "connect_ex", "httpx", "async httpx"])
def test_nobody_leaves(no_network, reach):
    with pytest.raises(NetworkBlockedError, match="192.0.2.1|(api|API).cohere.com"):
        reach()

def test_awss_own_sdk_is_pointed_there_too(rerank_environment, rerank_emulator):
    import boto3
    client = boto3.client("kendra-ranking")
    assert [plan["Id"] for plan in client.list_rescore_execution_plans()["SummaryItems"]] == [rerank_emulator.plan_id]
    client.close()

def test_clients_are_made_when_they_are_asked_for(rerank_clients, monkeypatch):
    from rerankkit import InvalidRequestError
    monkeypatch.setattr("rerankkit._kendra_service.importlib.util.find_spec", lambda name: None)
    assert rerank_clients["cohere"].rerank("ferry", ["a ferry"])
    with pytest.raises(InvalidRequestError, match="kendra signs its requests with botocore"):
        rerank_clients["kendra"]

def test_the_environment_is_given_back():
    import os
    assert "CO_API_URL" not in os.environ
"""


@pytest.mark.parametrize("options", [("-p", "no:xdist"), ("-n", "2")], ids=["in one process", "with xdist"])
@pytest.mark.parametrize("where", ["process", "thread"])
def test_the_fixtures_work_in_a_pytest_of_their_own(pytester: pytest.Pytester, where: str, options: tuple[str, ...]) -> None:
    pytester.makepyfile(test_it=FIXTURES)
    pytester.makeini(f"[pytest]\nfilterwarnings = error\nrerankkit_emulator = {where}\n")
    pytester.runpytest_subprocess("-p", "no:asyncio", *options).assert_outcomes(passed=23)


def test_a_misspelt_place_is_told(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it="def test_it(rerank_emulator): pass")
    pytester.makeini("[pytest]\nrerankkit_emulator = proces\n")
    told = pytester.runpytest_subprocess("-p", "no:xdist").stdout.str()
    assert "rerankkit_emulator must be 'process' or 'thread', got 'proces'" in told


def test_nothing_heavy_is_imported_before_a_fixture_is_used() -> None:
    heavy = "{'starlette', 'uvicorn', 'httpx', 'httpx2', 'numpy', 'pydantic', 'langchain_core'}"
    program = f"import sys, rerankkit.testing.plugin; print(*({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "\n"
