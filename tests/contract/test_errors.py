"""Every error reply becomes the class that says who is at fault, with what one needs to know at two in the morning."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

import rerankkit
from helpers.server import Reply, recorder
from helpers.services import COHERE, KENDRA, PINECONE, SERVICES, VOYAGE, Service
from helpers.shared import cassette, needs_shared
from helpers.ways import WAYS, Way, run
from rerankkit import Client, ProviderError, RateLimitError, Retry

ONCE = Retry(attempts=1)

BY_STATUS = {
    400: "BadRequestError",
    401: "AuthenticationError",
    402: "PaymentRequiredError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    408: "ServerError",
    409: "ConflictError",
    413: "RequestTooLargeError",
    422: "BadRequestError",
    425: "ServerError",
    429: "RateLimitError",
    498: "BadRequestError",
    499: "BadRequestError",
    500: "ServerError",
    501: "ServerError",
    502: "ServerError",
    503: "ServerError",
    504: "ServerError",
    520: "ServerError",
}
RETRIED = {408, 425, 429, 500, 502, 503, 504}


def failing(service: Service, colour: str, reply: Reply, retry: Retry = ONCE, **options: Any) -> tuple[ProviderError, int]:
    """The error that comes of *reply*, and how many requests were made."""
    with recorder(lambda _: reply) as server, Client(service.make(server.url, **options), retry=retry) as client:
        with pytest.raises(ProviderError) as caught:
            run(colour, client, "rerank", "q", ["a"])
    return caught.value, len(server.requests)


@pytest.mark.parametrize("service", [COHERE, VOYAGE, PINECONE], ids=lambda service: service.name)
@pytest.mark.parametrize("status", BY_STATUS)
def test_a_status_becomes_its_class(service: Service, colour: str, status: int) -> None:
    error, requests = failing(service, colour, Reply(service.error("what is wrong"), status))
    assert type(error).__name__ == BY_STATUS[status]
    assert (error.provider, error.status_code, error.model) == (service.name, status, service.make("https://x.test").model)
    assert error.retryable == (status in RETRIED)
    assert "what is wrong" in str(error)
    assert requests == error.attempts == 1


@pytest.mark.parametrize(
    ("service", "message"),
    [
        (COHERE, "You are using a Trial key, which is limited to 1000 API calls / month."),
        (PINECONE, "Request failed. You've reached the rerank request limit (500) for model x for the current month."),
    ],
    ids=["cohere", "pinecone"],
)
def test_a_quota_of_the_month_is_not_worth_a_retry(service: Service, colour: str, message: str) -> None:
    error, requests = failing(service, colour, Reply(service.error(message), 429), Retry(base_delay=0, rate_limit_delay=0))
    assert isinstance(error, RateLimitError)
    assert not error.retryable
    assert requests == 1


def test_a_model_that_was_shut_down_is_told_of(colour: str) -> None:
    error, _ = failing(COHERE, colour, Reply(COHERE.error("model not found"), 404), model="rerank-english-v2.0")
    assert "rerank-english-v2.0 was shut down by Cohere on 2025-04-30" in str(error)


def test_an_unknown_address_is_told_with_the_error(service: Service, colour: str) -> None:
    error, _ = failing(service, colour, Reply(service.error("not found"), 404))
    assert "(at http://127.0.0.1:" in str(error), "a wrong address looks like a wrong model"


REQUEST_IDS = [
    (COHERE, {"message": "x", "id": "c-1"}, {}, "c-1"),
    (COHERE, {"message": "x"}, {"x-debug-trace-id": "c-2"}, "c-2"),
    (VOYAGE, {"detail": "x"}, {"x-request-id": "v-1"}, "v-1"),
    (VOYAGE, {"detail": "x"}, {"request-id": "v-2"}, "v-2"),
    (PINECONE, {}, {"x-pinecone-request-id": "p-1"}, "p-1"),
    (KENDRA, {}, {"x-amzn-RequestId": "k-1"}, "k-1"),
]


@pytest.mark.parametrize(("service", "body", "headers", "expected"), REQUEST_IDS, ids=[case[3] for case in REQUEST_IDS])
def test_the_services_request_id_is_kept(service: Service, colour: str, body: Any, headers: Any, expected: str) -> None:
    error, _ = failing(service, colour, Reply(body, 500, headers))
    assert error.request_id == expected
    assert f"request id {expected}" in str(error)


def test_a_redirect_is_not_followed_and_names_only_the_host(service: Service, colour: str, transport: Any) -> None:
    location = "https://elsewhere.test/path?secret=1"
    for status in (301, 302, 303, 307, 308):
        with recorder(lambda _, status=status: Reply(b"", status, {"Location": location})) as server:
            with Client(service.make(server.url), transport=transport) as client, pytest.raises(ProviderError) as caught:
                run(colour, client, "rerank", "q", ["a"])
        assert "redirected to elsewhere.test; redirects are never followed" in str(caught.value)
        assert "secret" not in str(caught.value)
        assert len(server.requests) == 1


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_errors_reach_the_caller_on_every_way(service: Service, way: Way) -> None:
    with recorder(lambda _: Reply(service.error("no"), 403)) as server:
        with Client(service.make(server.url)) as client, pytest.raises(rerankkit.RerankError):
            way(client, "q", ["a"])


def test_one_failed_batch_fails_the_whole_call(colour: str) -> None:
    def answer(request: Any) -> Reply:
        texts = PINECONE.texts(request.json)
        return (
            Reply(PINECONE.error("no"), 403)
            if "text 150" in texts
            else Reply(PINECONE.answer([(i, 0.5) for i in range(len(texts))]))
        )

    with recorder(answer) as server, Client(PINECONE.make(server.url)) as client:
        with pytest.raises(rerankkit.PermissionDeniedError):
            run(colour, client, "rerank", "q", [f"text {number}" for number in range(1_000)])


@needs_shared
@pytest.mark.parametrize(
    ("name", "service", "expected"),
    [
        ("cohere-error-401", COHERE, "Incorrect API key provided"),
        ("voyage-error-400-model", VOYAGE, "Model nonexistent is not supported"),
    ],
)
def test_a_recorded_error_keeps_the_services_words(name: str, service: Service, expected: str, colour: str) -> None:
    reply = cassette(name)["response"]
    error, _ = failing(service, colour, Reply(reply["body_text"].encode(), reply["status"]))
    assert type(error).__name__ == BY_STATUS[reply["status"]]
    assert expected in str(error)


def test_errors_can_be_copied_and_pickled() -> None:
    for kind in (ProviderError, RateLimitError, rerankkit.InvalidResponseError):
        error = kind("text", provider="cohere", model="m", status_code=429, request_id="r", retry_after=2.0)
        error.attempts = 3
        for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
            assert (type(twin), str(twin), vars(twin)) == (kind, str(error), vars(error))
    assert str(error) == "cohere: text (model m, status 429, request id r, retry after 2 s, attempts 3)"


def test_classes_say_who_is_at_fault() -> None:
    assert issubclass(rerankkit.InvalidRequestError, ValueError)
    assert issubclass(rerankkit.DeadlineExceededError, TimeoutError)
    assert not issubclass(rerankkit.InvalidRequestError, ProviderError)
    assert {service.name for service in SERVICES} == {"cohere", "voyage", "pinecone", "kendra"}
