"""The emulator: each service's checks and words, and AWS's own SDK as a stranger's client."""

from __future__ import annotations

import json
import struct
import time
import urllib.error
import urllib.request
from typing import Any

import boto3
import botocore.config
import botocore.exceptions
import pytest

from helpers.services import PLAN_ID
from rerankkit.emulator import Emulator
from rerankkit.emulator.settings import KEY
from rerankkit.emulator.voyage import bfloat16

GOOD: dict[str, dict[str, Any]] = {
    "cohere/v2/rerank": {"model": "rerank-v3.5", "query": "ferry", "documents": ["a car", "a ferry", "the ferry ferry"]},
    "cohere/v1/rerank": {
        "model": "rerank-v3.5",
        "query": "ferry",
        "documents": ["a car", {"text": "a ferry"}, "the ferry ferry"],
    },
    "voyage/v1/rerank": {"model": "rerank-2.5", "query": "ferry", "documents": ["a car", "a ferry", "the ferry ferry"]},
    "pinecone/rerank": {
        "model": "bge-reranker-v2-m3",
        "query": "ferry",
        "documents": [{"text": "a car"}, {"text": "a ferry", "n": 1}, {"text": "the ferry ferry"}],
    },
}


def post(emulator: Emulator, path: str, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    """Status and body of the reply."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    keys = {"Api-Key": "k"} if path.startswith("pinecone") else {"Authorization": "Bearer k"}
    request = urllib.request.Request(f"{emulator.url}/{path}", content, {**keys, **headers})
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


@pytest.mark.parametrize("path", GOOD)
def test_a_good_request_is_answered_in_the_services_form(emulator: Emulator, path: str) -> None:
    status, body = post(emulator, path, GOOD[path])
    assert status == 200
    results = body.get("results") or body["data"]
    scores = [result.get("relevance_score", result.get("score")) for result in results]
    assert [result["index"] for result in results][-1] == 0
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


def test_usage_is_counted_by_the_documented_rules(emulator: Emulator) -> None:
    def told(path: str, **changes: Any) -> Any:
        body = post(emulator, path, {**GOOD[path], **changes})[1]
        return body.get("usage") or body["meta"]["billed_units"]

    assert told("cohere/v2/rerank") == {"search_units": 1}
    assert told("cohere/v2/rerank", documents=["a"] * 101) == {"search_units": 2}
    v5 = {"model": "rerank-v5.0-fast", "query": "1234567", "documents": ["12345678"] * 3}
    assert told("cohere/v2/rerank", **v5) == {"text_tokens": 3 * 2 + 3 * 3}
    assert told("voyage/v1/rerank", query="1234567", documents=["1234567"] * 3) == {"total_tokens": 3 * 2 + 3 * 2}
    assert told("pinecone/rerank") == {"rerank_units": 1}


REFUSALS: list[tuple[str, dict[str, Any], int, str]] = [
    ("cohere/v2/rerank", {"top_k": 3}, 422, "unknown field: parameter 'top_k' is not a valid field."),
    ("cohere/v2/rerank", {"return_documents": True}, 422, "unknown field: parameter 'return_documents'"),
    ("cohere/v2/rerank", {"model": None}, 400, "a model parameter is required for this endpoint."),
    ("cohere/v2/rerank", {"documents": []}, 400, "invalid request: list of documents must not be empty"),
    ("cohere/v2/rerank", {"documents": [{"text": "x"}]}, 400, "invalid request: documents.0"),
    ("cohere/v2/rerank", {"documents": [" "]}, 400, "must not contain only empty strings or only whitespace"),
    ("cohere/v2/rerank", {"query": " "}, 400, "query must not be empty or be only whitespace"),
    ("cohere/v2/rerank", {"top_n": 0}, 400, "invalid request: top_n"),
    ("cohere/v2/rerank", {"model": "rerank-english-v2.0"}, 404, "model 'rerank-english-v2.0' not found, make sure"),
    ("cohere/v2/rerank", {"documents": ["a"] * 10_001}, 400, "number of total max chunks"),
    ("cohere/v1/rerank", {"rank_fields": []}, 400, "rank_fields cannot be empty"),
    ("cohere/v1/rerank", {"documents": ["a"] * 1_000}, 400, "must be less than 10000"),
    ("voyage/v1/rerank", {"documents": ["a", ""]}, 400, "Input cannot contain empty strings or empty lists"),
    ("voyage/v1/rerank", {"documents": []}, 400, "Error for argument 'documents'"),
    ("voyage/v1/rerank", {"model": "x"}, 400, "Model x is not supported. Supported models are ['rerank-3'"),
    ("voyage/v1/rerank", {"documents": ["a"] * 1_001}, 400, "The number of documents should be at most 1000."),
    (
        "voyage/v1/rerank",
        {"documents": ["x" * 4_000] * 700},
        400,
        "The max allowed tokens per submitted batch is 600000. Your batch has",
    ),
    ("voyage/v1/rerank", {"documents": ["x" * 200_000], "truncation": False}, 400, "32000 tokens"),
    ("voyage/v1/rerank", {"top_k": 0}, 400, "Error for argument 'top_k'"),
    ("pinecone/rerank", {"documents": ["text"]}, 400, "Bad request. The request body included invalid request parameters."),
    ("pinecone/rerank", {"rank_fields": ["a", "b"]}, 400, "takes 1 rank fields"),
    ("pinecone/rerank", {"rank_fields": ["missing"]}, 400, "the rank field 'missing' is missing"),
    ("pinecone/rerank", {"model": "unknown-model"}, 404, "Model 'unknown-model' not found"),
    ("pinecone/rerank", {"documents": [{"text": "a"}] * 101}, 400, "Too many documents: 101."),
    (
        "pinecone/rerank",
        {"documents": [{"text": "x" * 5_000}]},
        400,
        "exceeds the maximum token limit of 1024 for each query+document pair.",
    ),
]


@pytest.mark.parametrize(
    ("path", "changes", "status", "words"), REFUSALS, ids=[f"{path}: {words}" for path, _, _, words in REFUSALS]
)
def test_a_wrong_request_is_refused_in_the_services_words(
    emulator: Emulator, path: str, changes: dict[str, Any], status: int, words: str
) -> None:
    body = {name: value for name, value in {**GOOD[path], **changes}.items() if value is not None}
    found, answer = post(emulator, path, body)
    assert found == status
    assert words in str(answer.get("message") or answer.get("detail") or answer["error"]["message"])


@pytest.mark.parametrize("path", GOOD)
def test_keys_json_and_paths_are_checked_in_the_services_form(emulator: Emulator, path: str) -> None:
    service = path.partition("/")[0]
    assert post(emulator, path, GOOD[path], **{"Authorization": "", "Api-Key": ""})[0] == 401
    assert post(emulator, path, b"{")[0] == 400
    status, body = post(emulator, f"{service}/v9/other", {})
    assert status == 404
    assert body.keys() & {"message", "detail", "error"}


def test_pinecone_cuts_long_pairs_only_if_told_to(emulator: Emulator) -> None:
    body = {**GOOD["pinecone/rerank"], "documents": [{"text": "x" * 5_000}], "parameters": {"truncate": "END"}}
    assert post(emulator, "pinecone/rerank", body)[0] == 200


def test_pinecone_serves_another_model_where_the_service_does(emulator: Emulator) -> None:
    body = post(emulator, "pinecone/rerank", {**GOOD["pinecone/rerank"], "model": "cohere-rerank-3.5"})[1]
    assert body["model"] == "cohere-rerank-4-fast"


def test_documents_are_echoed_as_each_service_does(emulator: Emulator) -> None:
    first = {path: (body.get("results") or body["data"])[0] for path in GOOD for body in [post(emulator, path, GOOD[path])[1]]}
    assert "document" not in first["cohere/v2/rerank"]
    assert "document" not in first["cohere/v1/rerank"]
    assert "document" not in first["voyage/v1/rerank"]
    assert first["pinecone/rerank"]["document"] == GOOD["pinecone/rerank"]["documents"][first["pinecone/rerank"]["index"]]
    echoed = post(emulator, "cohere/v1/rerank", {**GOOD["cohere/v1/rerank"], "return_documents": True})[1]["results"]
    assert all(set(result["document"]) == {"text"} for result in echoed)
    echoed = post(emulator, "voyage/v1/rerank", {**GOOD["voyage/v1/rerank"], "return_documents": True})[1]["data"]
    assert all(isinstance(result["document"], str) for result in echoed)


def test_voyages_scores_are_bfloat16(emulator: Emulator) -> None:
    data = post(emulator, "voyage/v1/rerank", GOOD["voyage/v1/rerank"])[1]["data"]
    for result in data:
        assert struct.pack(">f", result["relevance_score"])[2:] == b"\0\0"
    assert bfloat16(0.43) == 0.4296875


def test_cohere_finds_spans_for_v5_models_on_request(emulator: Emulator) -> None:
    text = "Cars go first. The ferry leaves at nine. Dogs wait."
    body = {"model": "rerank-v5.0-fast", "query": "ferry leaves", "documents": [text], "relevant_spans": {"mode": "enabled"}}
    (span,) = post(emulator, "cohere/v2/rerank", body)[1]["results"][0]["relevant_spans"]
    assert text[span["start"] : span["end"]] == "The ferry leaves at nine."


# AWS's own SDK


@pytest.fixture
def sdk(emulator: Emulator) -> Any:
    client = boto3.client(
        "kendra-ranking",
        region_name="us-east-1",
        endpoint_url=emulator.urls["kendra"],
        aws_access_key_id=KEY,
        aws_secret_access_key=KEY,
        config=botocore.config.Config(retries={"total_max_attempts": 1}),
    )
    yield client
    client.close()


def test_boto3_rescores(sdk: Any) -> None:
    documents = [
        {"Id": "a", "OriginalScore": 2.0, "Body": "a car"},
        {"Id": "b", "OriginalScore": 1.0, "Title": "Ferries", "Body": "the ferry"},
        {"Id": "c", "OriginalScore": 0.5, "Body": "nothing", "GroupId": "g"},
        {"Id": "d", "OriginalScore": 0.4, "TokenizedBody": ["ferry", "ferry"], "GroupId": "g"},
    ]
    answer = sdk.rescore(RescoreExecutionPlanId=PLAN_ID, SearchQuery="ferry", Documents=documents)
    assert [item["DocumentId"] for item in answer["ResultItems"]] == ["g", "b", "a"]
    assert len(answer["RescoreId"]) == 36


def test_boto3_creates_a_plan_once_a_token_and_uses_it(sdk: Any) -> None:
    first = sdk.create_rescore_execution_plan(Name="plan", ClientToken="one")
    assert sdk.create_rescore_execution_plan(Name="plan", ClientToken="one")["Id"] == first["Id"]
    assert sdk.create_rescore_execution_plan(Name="plan")["Id"] != first["Id"]
    assert first["Arn"].endswith(f":rescore-execution-plan/{first['Id']}")
    documents = [{"Id": "a", "OriginalScore": 1.0, "Body": "x"}]
    while sdk.describe_rescore_execution_plan(Id=first["Id"])["Status"] != "ACTIVE":
        time.sleep(0.05)
    sdk.rescore(RescoreExecutionPlanId=first["Id"], SearchQuery="q", Documents=documents)


BODY = {"Id": "a", "OriginalScore": 1.0, "Body": "x"}
KENDRA_REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"RescoreExecutionPlanId": "1" * 36}, "ResourceNotFoundException"),
    ({"RescoreExecutionPlanId": "_" * 36}, "ValidationException"),
    ({"SearchQuery": "x" * 1_001}, "ValidationException"),
    ({"Documents": [{**BODY, "Body": "a\nb"}]}, "ValidationException"),
    ({"Documents": [{**BODY, "Body": "x" * 2_049}]}, "ValidationException"),
    ({"Documents": [{**BODY, "OriginalScore": 1e6}]}, "ValidationException"),
    ({"Documents": [{**BODY, "TokenizedBody": ["x"]}]}, "ValidationException"),
    ({"Documents": [BODY, BODY]}, "ValidationException"),
    ({"Documents": [{**BODY, "Id": str(number)} for number in range(26)]}, "ValidationException"),
    ({"Documents": [{**BODY, "Id": str(number), "GroupId": "g"} for number in range(4)]}, "ValidationException"),
]


@pytest.mark.parametrize(("changes", "kind"), KENDRA_REFUSALS, ids=lambda value: str(value)[:50])
def test_boto3_meets_the_services_own_exceptions(sdk: Any, changes: dict[str, Any], kind: str) -> None:
    call = {"RescoreExecutionPlanId": PLAN_ID, "SearchQuery": "q", "Documents": [BODY], **changes}
    with pytest.raises(getattr(sdk.exceptions, kind)):
        sdk.rescore(**call)


def test_an_unsigned_or_unknown_request_to_kendra_is_refused(emulator: Emulator) -> None:
    target = {"X-Amz-Target": "AWSKendraRerankingFrontendService.Rescore", "Content-Type": "application/x-amz-json-1.0"}
    assert post(emulator, "kendra/", {}, **target)[1]["__type"].endswith("#IncompleteSignatureException")
    assert post(emulator, "kendra/", {}, **{**target, "X-Amz-Target": "X.Y"})[1]["__type"].endswith(
        "#UnknownOperationException"
    )
    request = urllib.request.Request(f"{emulator.url}/kendra/", b"{}", target)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    with caught.value as error:
        assert b"MissingAuthenticationTokenException" in error.read()
