"""What is told of calls of the services, over sockets: who, where, how much; and never a key."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlsplit

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from helpers.canaries import KEY, TEXT, assert_silent, key_options, secrets
from helpers.server import Received, Reply, recorder
from helpers.services import COHERE, KENDRA, PINECONE, POINTWISE, VOYAGE, Service
from helpers.telemetry import Seen, telemetry
from helpers.ways import run
from rerankkit import BadRequestError, Client, DeadlineExceededError, Retry
from rerankkit.resilience import Fallback, Passthrough

PROVIDERS = {
    COHERE.name: ("cohere", "rerank-v3.5"),
    VOYAGE.name: ("voyageai", "rerank-2.5"),
    PINECONE.name: ("pinecone", "bge-reranker-v2-m3"),
    KENDRA.name: ("aws.kendra_ranking", None),
}
QUERY, DOCUMENTS = f"query {TEXT}", [f"a bus {TEXT}", f"a ferry {TEXT}"]


def scored(query: str, text: str) -> float:
    return 0.75 if "ferry" in text else 0.25


def failing(service: Service, status: int = 503) -> Any:
    """An answer that repeats what it was sent."""
    told = " ".join(["no:", *secrets(service), TEXT])
    return lambda _: Reply(service.error(told), status, {"x-request-id": f"r-{KEY}"})


def test_a_span_names_the_service_its_address_and_its_model(service: Service, colour: str) -> None:
    with recorder(service.scored(scored)) as server, telemetry() as seen, Client(service.make(server.url)) as client:
        response = run(colour, client, "rerank", QUERY, DOCUMENTS)
    provider, model = PROVIDERS[service.name]
    assert seen.only.name == (f"rerank {model}" if model else "rerank")
    assert seen.only.kind is SpanKind.CLIENT
    known = {
        "gen_ai.operation.name": "rerank",
        "gen_ai.provider.name": provider,
        "gen_ai.request.model": model,
        "gen_ai.response.model": model,
        "gen_ai.response.id": response.request_id,
        "gen_ai.rerank.candidate.count": 2,
        "server.address": "127.0.0.1",
        "server.port": urlsplit(server.url).port,
        "rerankkit.status": "ok",
        "rerankkit.served_by": response.served_by,
        "rerankkit.requests": 1,
        "rerankkit.request_ids": response.request_ids or None,
        "rerankkit.cost.usd": response.cost,
    }
    assert dict(seen.only.attributes) == {name: value for name, value in known.items() if value is not None}


def test_what_it_consumed_is_told_in_the_services_units(colour: str) -> None:
    bill = {"meta": {"billed_units": {"search_units": 2}}}
    with (
        recorder(lambda _: Reply(COHERE.answer([(1, 0.5), (0, 0.25)]) | bill)) as server,
        telemetry() as seen,
        Client(COHERE.make(server.url)) as client,
    ):
        run(colour, client, "rerank", QUERY, DOCUMENTS)
    assert seen.only.attributes["rerankkit.search_units"] == 2.0
    assert seen.only.attributes["rerankkit.cost.usd"] == 0.004
    assert seen.points()["rerankkit.cost"][0][1] == 0.004
    assert "gen_ai.client.token.usage" not in seen.points(), "search units are no tokens"


def test_tokens_are_input_tokens(colour: str) -> None:
    bill = {"usage": {"total_tokens": 26}}
    with (
        recorder(lambda _: Reply(VOYAGE.answer([(1, 0.5), (0, 0.25)]) | bill)) as server,
        telemetry() as seen,
        Client(VOYAGE.make(server.url)) as client,
    ):
        run(colour, client, "rerank", QUERY, DOCUMENTS)
    assert seen.only.attributes["gen_ai.usage.input_tokens"] == 26
    ((attributes, total),) = seen.points()["gen_ai.client.token.usage"]
    assert (attributes["gen_ai.token.type"], total) == ("input", 26)


@pytest.mark.parametrize("service", POINTWISE, ids=lambda service: service.name)
def test_batches_and_retries_are_one_span(service: Service, colour: str) -> None:
    failures = [failing(service)]

    def answer(request: Received) -> Reply:
        return failures.pop()(request) if failures else service.scored(scored)(request)

    count = service.make("http://127.0.0.1:1").limits.documents + 1
    with (
        recorder(answer) as server,
        telemetry() as seen,
        Client(service.make(server.url), retry=Retry(base_delay=0.001), concurrency=1) as client,
    ):
        run(colour, client, "rerank", "q", [f"text {number}" for number in range(count)])
    assert len(server.requests) == 3
    assert seen.only.attributes["rerankkit.requests"] == 3
    assert seen.only.status.status_code is StatusCode.UNSET


def test_a_deadline_is_an_error_of_its_own(colour: str) -> None:
    with telemetry() as seen, pytest.raises(DeadlineExceededError):
        with recorder(lambda _: _late()) as server, Client(COHERE.make(server.url)) as client:
            run(colour, client, "rerank", QUERY, DOCUMENTS, timeout=0.1)
    assert seen.only.attributes["error.type"] == "DeadlineExceededError"
    assert seen.only.status.status_code is StatusCode.ERROR


def _late() -> Reply:
    import time

    time.sleep(0.5)
    return Reply(COHERE.answer([(0, 0.5), (1, 0.5)]))


def test_a_client_that_answers_an_outage_still_tells_of_it(service: Service, colour: str) -> None:
    with (
        recorder(lambda _: Reply(status=503)) as server,
        telemetry() as seen,
        Client(service.make(server.url), retry=Retry(attempts=1), on_error="passthrough") as client,
    ):
        assert run(colour, client, "rerank", QUERY, DOCUMENTS).status == "degraded"
    assert seen.only.status.status_code is StatusCode.ERROR
    assert seen.only.attributes["error.type"] == "ServerError"
    assert seen.only.attributes["rerankkit.status"] == "degraded"
    assert seen.only.attributes["rerankkit.served_by"] == "passthrough"
    ((attributes, _),) = seen.points()["gen_ai.client.operation.duration"]
    assert attributes["error.type"] == "ServerError"


@pytest.fixture(params=[False, True], ids=["without texts", "with texts"])
def captures(request: pytest.FixtureRequest) -> bool:
    return request.param


def everything(seen: Seen, caplog: pytest.LogCaptureFixture) -> list[str]:
    own = [record for record in caplog.records if record.name == "rerankkit" and hasattr(record, "rerank")]
    assert own
    return [seen.shown(), *(f"{record.getMessage()} {record.rerank}" for record in own)]


def without_texts(shown: list[str]) -> list[str]:
    return [each.replace(TEXT, "") for each in shown]


def test_no_key_is_told_of_a_failure_that_repeats_it(
    service: Service, colour: str, captures: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "rerankkit")
    options = {"capture_content": captures, "capture_scores": captures, "conventions": ["gen_ai", "openinference"]}
    with recorder(failing(service, 400)) as server, telemetry(**options) as seen:
        client = Client(service.make(server.url, **key_options(service)), retry=Retry(attempts=1))
        with Fallback(client, Passthrough()) as reranker, pytest.raises(BadRequestError):
            run(colour, reranker, "rerank", QUERY, DOCUMENTS)
    shown = everything(seen, caplog)
    assert (TEXT in shown[0]) is captures
    assert_silent(*without_texts(shown))
    assert_silent(*shown[1:])


def test_no_key_is_told_of_an_answer_that_repeats_it(
    service: Service, colour: str, captures: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "rerankkit")
    options = {"capture_content": captures, "capture_scores": captures, "conventions": ["gen_ai", "openinference"]}

    def answer(_: Received) -> Reply:
        body = service.answer([(1, 0.75), (0, 0.25)]) | {"id": KEY, "model": f"model {KEY}", "RescoreId": KEY}
        return Reply(body, headers={"x-request-id": KEY, "x-amzn-requestid": secrets(service)[-1]})

    with recorder(answer) as server, telemetry(**options) as seen:
        with Client(service.make(server.url, **key_options(service))) as client:
            run(colour, client, "rerank", QUERY, DOCUMENTS)
    shown = everything(seen, caplog)
    assert (TEXT in shown[0]) is captures
    assert_silent(*without_texts(shown))
    assert_silent(*shown[1:])


def test_nothing_is_added_to_what_services_are_sent(service: Service, colour: str) -> None:
    def sent(**options: Any) -> tuple[set[str], bytes]:
        with recorder(service.scored(scored)) as server, Client(service.make(server.url)) as client:
            if options:
                with telemetry(**options):
                    run(colour, client, "rerank", QUERY, DOCUMENTS)
            else:
                run(colour, client, "rerank", QUERY, DOCUMENTS)
        (request,) = server.requests
        return set(request.headers), request.body

    assert sent(capture_content=True, conventions=["gen_ai", "openinference"]) == sent()
