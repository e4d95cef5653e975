"""Faults on real sockets: what a client sees of each, from Python, over HTTP, and from the command line."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from helpers.services import Service
from helpers.ways import run
from rerankkit import (
    APIConnectionError,
    Client,
    DeadlineExceededError,
    InvalidRequestError,
    InvalidResponseError,
    KendraPlans,
    Provider,
    RateLimitError,
    RerankError,
    Retry,
    ServerError,
)
from rerankkit.emulator import Emulator, RemoteEmulator, Settings, create_app, faults
from rerankkit.emulator.settings import KEY

ONCE = Retry(attempts=1)


@pytest.fixture(scope="module", params=[False, True], ids=["process", "thread"])
def started(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    with Emulator(in_process=request.param) as emulator:
        yield emulator


@pytest.fixture
def emulated(started: Emulator) -> Emulator:
    started.reset()
    return started


def provider(service: Service, emulator: RemoteEmulator) -> Provider:
    keys = {"aws_access_key_id": KEY, "aws_secret_access_key": KEY} if service.name == "kendra" else {"api_key": KEY}
    extra = {"plan_id": emulator.plan_id} if service.name == "kendra" else {}
    return service.make(emulator.urls[service.name], **keys, **extra)


def reranked(service: Service, emulator: RemoteEmulator, colour: str, timeout: float = 5.0, retry: Retry = ONCE) -> list[int]:
    with Client(provider(service, emulator), retry=retry, timeout=timeout) as client:
        response = run(colour, client, "rerank", "ferry", ["a bus", "a ferry", "a car"])
    return [result.index for result in response]


SEEN: dict[str, tuple[faults.AnyFault, type[RerankError]]] = {
    "an outage": (faults.Status(status=503), ServerError),
    "a rate limit": (faults.Status(status=429), RateLimitError),
    "a proxy's page": (faults.NotJson(), InvalidResponseError),
    "an index beyond the list": (faults.WrongReply(what="index"), InvalidResponseError),
    "one result twice": (faults.WrongReply(what="duplicate"), InvalidResponseError),
    "one result more": (faults.WrongReply(what="extra"), InvalidResponseError),
    "a score that is no number": (faults.WrongReply(what="score"), InvalidResponseError),
    "a score that is a text": (faults.WrongReply(what="score", value="0.5"), InvalidResponseError),
    "half a body": (faults.Cut(), APIConnectionError),
    "half a body and a reset": (faults.Cut(reset=True), APIConnectionError),
    "a closed connection": (faults.Close(), APIConnectionError),
    "a reset connection": (faults.Reset(), APIConnectionError),
    "silence": (faults.Hang(), DeadlineExceededError),
    "headers and silence": (faults.Hang(headers=True), DeadlineExceededError),
    "a dripping body": (faults.Drip(seconds=0.1), DeadlineExceededError),
    "dripping headers": (faults.Drip(of="headers", seconds=0.1), DeadlineExceededError),
    "a late reply": (faults.Latency(seconds=2), DeadlineExceededError),
}


@pytest.mark.parametrize(("fault", "error"), SEEN.values(), ids=SEEN)
def test_a_client_sees_the_fault(
    service: Service, colour: str, emulated: Emulator, fault: Any, error: type[RerankError]
) -> None:
    emulated.inject(fault)
    with pytest.raises(error):
        reranked(service, emulated, colour, timeout=1.0 if error is DeadlineExceededError else 5.0)
    (request,) = emulated.requests()
    assert (request.service, request.fault) == (service.name, fault.kind)
    emulated.heal()
    assert reranked(service, emulated, colour) == [1, 0, 2]


def test_what_heals_is_retried_and_counted(service: Service, colour: str, emulated: Emulator) -> None:
    emulated.inject(faults.Status(status=503, retry_after=0.05, times=1), faults.Reset(times=1))
    assert reranked(service, emulated, colour, retry=Retry(base_delay=0.01)) == [1, 0, 2]
    assert [(request.status, request.fault) for request in emulated.requests()] == [
        (503, "status"),
        (None, "reset"),
        (200, None),
    ]
    stats = emulated.stats()[service.name]
    assert stats["requests"] == 3
    assert stats["faults"] == {"reset": 1, "status": 1}
    assert stats["statuses"] == {"200": 1, "503": 1, "none": 1}


def test_a_drip_that_ends_in_time_is_a_whole_reply(service: Service, colour: str, emulated: Emulator) -> None:
    emulated.inject(faults.Drip(of="headers", crumb=40, seconds=0.005))
    assert reranked(service, emulated, colour) == [1, 0, 2]


def test_requests_are_kept_without_their_keys(service: Service, colour: str, emulated: Emulator) -> None:
    reranked(service, emulated, colour)
    (request,) = emulated.requests(service.name)  # type: ignore[arg-type]
    assert service.texts(request.body)[:2] == ["a bus", "a ferry"]
    assert KEY not in json.dumps(dict(request.headers))
    assert "<redacted>" in request.headers.values()
    assert request.seconds < 2


def test_a_reset_undoes_everything(emulated: Emulator) -> None:
    emulated.inject(faults.Status(status=500))
    emulated.configure(strict=True, cohere={"trial": True}, rate_limits={"cohere": {"requests_per_minute": 1}})
    emulated.advance(10_000)
    httpx.post(f"{emulated.urls['cohere']}/v2/rerank", json={})
    emulated.reset()
    assert emulated.requests() == []
    assert emulated.stats() == {}
    settings = httpx.get(f"{emulated.url}/_emulator/settings").json()
    assert settings == Settings().model_dump(mode="json")
    assert abs(httpx.post(f"{emulated.url}/_emulator/clock", json={}).json()["now"] - time.time()) < 5


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"stric": True}, "stric"),
        ({"cohere": {"v2": "2023"}}, "2024"),
        ({"rate_limits": {"amazon": {}}}, "amazon"),
        ({"scorer": "best"}, "bm25"),
    ],
)
def test_a_switch_that_is_none_is_told(emulated: Emulator, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidRequestError, match=problem):
        emulated.configure(**changes)


def test_control_over_http_needs_no_python(emulated: Emulator) -> None:
    added = httpx.post(f"{emulated.url}/_emulator/faults", json={"kind": "status", "status": 418, "service": "voyage"})
    assert added.json()[0]["struck"] == 0
    assert httpx.post(f"{emulated.urls['voyage']}/rerank").status_code == 418
    assert httpx.post(f"{emulated.urls['cohere']}/v2/rerank").status_code == 401
    assert httpx.get(f"{emulated.url}/_emulator/faults").json()[0]["struck"] == 1
    assert httpx.get(f"{emulated.url}/_emulator/requests?service=voyage").json()[0]["status"] == 418
    assert httpx.get(f"{emulated.url}/stats").json()["voyage"]["requests"] == 1
    for method, path, body in [
        ("POST", "faults", b"{"),
        ("POST", "faults", b'{"kind": "none"}'),
        ("PATCH", "settings", b"[]"),
        ("PATCH", "settings", b'{"x": 1}'),
        ("POST", "clock", b'{"back": 1}'),
    ]:
        refused = httpx.request(method, f"{emulated.url}/_emulator/{path}", content=body)
        assert refused.status_code == 400
        assert refused.json()["error"]
    assert httpx.get(emulated.url).json()["control"][0] == "/_emulator/requests"
    assert httpx.get(f"{emulated.url}/_emulator/").status_code == 200


def test_a_running_emulator_can_be_told_from_elsewhere(emulated: Emulator) -> None:
    elsewhere = RemoteEmulator(emulated.url)
    elsewhere.inject(faults.Status(status=429, times=1))
    assert httpx.post(f"{emulated.urls['voyage']}/rerank").status_code == 429
    assert len(elsewhere.requests()) == 1
    assert [found["struck"] for found in elsewhere.injected()] == [1]
    assert repr(elsewhere) == f"RemoteEmulator('{emulated.url}')"
    with pytest.raises(InvalidRequestError, match="url must be the emulator's own"):
        RemoteEmulator(emulated.urls["cohere"])
    with pytest.raises(InvalidRequestError, match="service must be one of cohere, voyage, pinecone, kendra, got 'coher'"):
        elsewhere.requests("coher")  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match=r"such as faults.Status\(status=503\)"):
        elsewhere.inject(faults.Status)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="greater than or equal to 0"):
        elsewhere.advance(-5)
    with pytest.raises(ConnectionError, match="no emulator answers at http://127.0.0.1:1 "):
        RemoteEmulator("http://127.0.0.1:1").requests()


def test_scores_may_be_a_tests_own() -> None:
    with Emulator(in_process=True, scorer=lambda _, texts: [float(text[-1]) for text in texts]) as emulator:
        body = {"model": "rerank-v3.5", "query": "q", "documents": ["a 1", "a 3", "a 2"]}
        answer = httpx.post(f"{emulator.urls['cohere']}/v2/rerank", json=body, headers={"Authorization": "Bearer k"}).json()
    assert [result["index"] for result in answer["results"]] == [1, 2, 0]
    with Emulator(in_process=True, scorer=lambda query, text: 1) as emulator:  # type: ignore[arg-type,return-value]
        refused = httpx.post(f"{emulator.urls['cohere']}/v2/rerank", json=body, headers={"Authorization": "Bearer k"})
    assert refused.status_code == 500
    assert "the scorer must return a list of 3 scores, one for each text, got 1" in refused.json()["message"]
    for wrong, told in (
        (lambda _, texts: [-4.0] * len(texts), "finite numbers, at least 0, got -4.0"),
        (lambda *_: 1 / 0, "ZeroDivisionError"),
    ):
        with Emulator(in_process=True, scorer=wrong) as emulator:
            body["model"] = "rerank-2.5"
            refused = httpx.post(f"{emulator.urls['voyage']}/rerank", json=body, headers={"Authorization": "Bearer k"})
            assert emulator.requests()[0].status == 500
        assert told in refused.json()["detail"]
    with pytest.raises(InvalidRequestError, match="in_process=True"):
        Emulator(scorer=lambda _, texts: [0.0] * len(texts))


def test_an_application_without_its_server_says_what_it_cannot_do() -> None:
    application = create_app()
    application.plan.add([faults.Reset(times=1)])

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(application)  # type: ignore[arg-type]
        async with httpx.AsyncClient(
            transport=transport, base_url="http://x.test", headers={"Authorization": "Bearer k"}
        ) as client:
            body = {"model": "rerank-2.5", "query": "ferry", "documents": ["a ferry"]}
            return [await client.post("/voyage/v1/rerank", json=body) for _ in range(2)]

    refused, served = asyncio.run(ask())
    assert refused.status_code == 501
    assert "run the emulator with Emulator()" in refused.text
    assert served.json()["data"][0]["index"] == 0


def plans_of(emulator: RemoteEmulator, retry: Retry | None = None) -> KendraPlans:
    keys = {"aws_access_key_id": KEY, "aws_secret_access_key": KEY}
    return KendraPlans(base_url=emulator.urls["kendra"], region="us-east-1", retry=retry, **keys)


def test_what_is_under_way_at_a_reset_is_not_carried_out(emulated: Emulator) -> None:
    emulated.inject(faults.Latency(seconds=0.4))
    with plans_of(emulated, ONCE) as plans:
        with ThreadPoolExecutor(1) as other:
            late = other.submit(plans.create, "left-over")
            time.sleep(0.15)
            emulated.reset()
        with pytest.raises(APIConnectionError):
            late.result()
        assert [plan.name for plan in plans.list()] == ["emulated"]


def test_what_a_fault_refuses_is_not_carried_out(emulated: Emulator) -> None:
    with plans_of(emulated) as plans:
        emulated.inject(faults.Status(status=429, path="UpdateRescoreExecutionPlan", times=1, retry_after=0))
        plans.update(emulated.plan_id, name="changed")
        emulated.inject(faults.Status(status=403, path="CreateRescoreExecutionPlan"))
        with pytest.raises(RerankError):
            plans.create("none")
        assert [plan.name for plan in plans.list()] == ["changed"]
        emulated.inject(faults.Cut(path="TagResource"))
        with pytest.raises(APIConnectionError):
            plans.tag(emulated.plan_id, {"a": "b"})


def test_a_retry_after_is_dated_by_the_clients_clock(emulated: Emulator) -> None:
    emulated.advance(3_600)
    emulated.inject(faults.Status(status=429, retry_after=5, retry_after_form="date"))
    told = httpx.post(f"{emulated.urls['cohere']}/v2/rerank").headers
    assert -1 <= (parsedate_to_datetime(told["retry-after"]) - parsedate_to_datetime(told["date"])).total_seconds() - 5 <= 1


def test_half_a_request_is_none(emulated: Emulator) -> None:
    emulated.inject(faults.Status(status=503, times=1))
    parts = urlsplit(emulated.url)
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        connection.sendall(b"POST /voyage/v1/rerank HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
    time.sleep(0.1)
    assert emulated.requests() == []
    assert httpx.post(f"{emulated.urls['voyage']}/rerank").status_code == 503


def test_switches_of_one_service_are_changed_one_by_one_and_others_as_a_whole(emulated: Emulator) -> None:
    emulated.configure(kendra={"plans": 3}, aws_secrets={}, rate_limits={"cohere": {"requests_per_month": 5}})
    emulated.configure(kendra={"burst": 1}, rate_limits={"voyage": {"requests_per_minute": 1}})
    settings = httpx.get(f"{emulated.url}/_emulator/settings").json()
    assert (settings["kendra"]["plans"], settings["kendra"]["burst"], settings["aws_secrets"]) == (3, 1, {})
    assert list(settings["rate_limits"]) == ["voyage"]
    with pytest.raises(InvalidRequestError, match="positions that JSON can tell"):
        emulated.configure(scorer=len)
    with pytest.raises(InvalidRequestError, match="finite number of seconds"):
        emulated.advance(float("nan"))
    assert httpx.delete(f"{emulated.url}/_emulator/faults?seed=x").status_code == 400
    emulated.heal(seed=-1)


def test_an_emulator_runs_once_and_may_run_again() -> None:
    for in_process in (False, True):
        emulator = Emulator(in_process=in_process)
        for _ in range(2):
            emulator.start()
            with pytest.raises(InvalidRequestError, match="runs already"):
                emulator.start()
            assert emulator.stats() == {}
            emulator.stop()
            emulator.stop()


def test_an_emulator_that_cannot_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> None:
        raise SystemExit(3)

    monkeypatch.setattr("uvicorn.Server.startup", fail)
    with pytest.raises(RuntimeError, match="the emulator did not start"):
        Emulator(in_process=True).start()


def test_a_stopped_emulator_does_not_wait_for_what_hangs() -> None:
    for in_process in (False, True):
        emulator = Emulator(in_process=in_process)
        emulator.start()
        emulator.inject(faults.Hang())
        parts = urlsplit(emulator.url)
        connection = http.client.HTTPConnection(parts.netloc)
        connection.request("POST", "/voyage/v1/rerank", b"{}")
        time.sleep(0.1)
        began = time.monotonic()
        emulator.stop()
        assert time.monotonic() - began < 2
        connection.close()


# The command


def serve(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "rerankkit", "serve", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def base_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    lines = iter(process.stdout.readline, "")
    base = next(line for line in lines if "emulated on" in line).split("emulated on ")[1].split(";")[0]
    next(line for line in lines if "Kendra has the plan" in line)
    return base


def ended(process: subprocess.Popen[str]) -> str:
    """What it has written to its second stream, after Ctrl-C."""
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=10)
    assert process.returncode == 0, told
    return told


def test_serve_takes_faults_and_tells_of_every_request() -> None:
    process = serve(
        "--faults",
        '{"kind": "substitution", "model": "x", "after": 1}',
        "--faults",
        '{"kind": "status", "status": 503, "times": 1}',
        "--latency",
        "0.05",
        "--strict",
        "--scorer",
        "order",
    )
    emulator = RemoteEmulator(base_of(process))
    body = json.dumps({"model": "rerank-2.5", "query": "q", "documents": ["a", "b"], "new": 1}).encode()
    request = urllib.request.Request(f"{emulator.urls['voyage']}/rerank", body, {"Authorization": "Bearer k"})
    statuses = [_status(request) for _ in range(2)]
    assert statuses == [503, 400]
    assert all(recorded.seconds > 0.05 for recorded in emulator.requests())
    first, second = ended(process).splitlines()
    assert "voyage    503  POST /v1/rerank       2 documents, 5" in first
    assert first.endswith("ms  [latency+status]")
    assert "  400  " in second


def _status(request: urllib.request.Request) -> int:
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_serve_reads_faults_and_settings_from_files(tmp_path: Any) -> None:
    (tmp_path / "faults.json").write_text('[{"kind": "status", "status": 418}]')
    (tmp_path / "settings.json").write_text('{"cohere": {"trial": true}, "keys": ["k"]}')
    process = serve(
        "--faults", str(tmp_path / "faults.json"), "--settings", str(tmp_path / "settings.json"), "--quiet", "--rate-limits"
    )
    emulator = RemoteEmulator(base_of(process))
    assert httpx.post(f"{emulator.urls['cohere']}/v2/rerank").status_code == 418
    settings = httpx.get(f"{emulator.url}/_emulator/settings").json()
    assert settings["cohere"]["trial"]
    assert settings["rate_limits"]["cohere"]["requests_per_minute"] == 10
    assert ended(process) == ""


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--host", "0.0.0.0"), "0.0.0.0 lets other machines connect, and nothing is protected: pass --allow-remote as well"),
        (("--faults", '{"kind": "none"}'), "these faults cannot be read"),
        (("--faults", "missing.json"), "missing.json is neither JSON nor a file that can be read"),
        (("--settings", '{"strikt": true}'), "--settings strikt: Extra inputs are not permitted"),
        (("--latency", "-1"), "--latency"),
        (("--faults", __file__.replace("test_faults.py", "__pycache__")), "is neither JSON nor a file that can be read"),
        (("--faults", sys.executable), "is not UTF-8: convert it first"),
        (("--latency", "nan"), "--latency must be a finite number of seconds"),
        (("--settings", "{bad"), "--settings: Invalid JSON"),
    ],
)
def test_serve_explains_a_mistake(arguments: tuple[str, ...], problem: str) -> None:
    process = serve(*arguments)
    _, told = process.communicate(timeout=20)
    assert process.returncode in (1, 2)
    assert problem in " ".join(told.split())
    assert "Traceback" not in told


def test_serve_binds_elsewhere_only_if_told_to() -> None:
    process = serve("--host", "0.0.0.0", "--allow-remote", "--quiet")
    port = urlsplit(base_of(process)).port
    with socket.create_connection(("127.0.0.1", port), 5):
        assert ended(process) == ""


def test_an_emulator_in_a_thread_leaves_the_tests_logging_alone() -> None:
    before = (list(logging.root.handlers), logging.getLogger("uvicorn.error").level)
    with Emulator(in_process=True):
        pass
    assert (list(logging.root.handlers), logging.getLogger("uvicorn.error").level) == before
