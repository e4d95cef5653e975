"""Requests equal those of the official SDKs in meaning; real replies are read as they were recorded."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest

from helpers.server import Received, Recorder, Reply, recorder
from helpers.services import COHERE, KENDRA, KEY, PINECONE, PLAN_ID, VOYAGE, Service
from helpers.shared import SHARED, cassette, kendra_recording, needs_shared, recording
from helpers.ways import WAYS, Way, run
from rerankkit import Client, Document, Kendra, KendraPlans
from rerankkit._wire import HttpRequest

pytestmark = needs_shared

DEFAULTS: Mapping[str, Mapping[str, Any]] = {  # what the services' documents say an absent member means
    "cohere": {},
    "voyage": {"return_documents": False, "truncation": True},
    "pinecone": {"rank_fields": ["text"], "return_documents": True, "parameters": {}},
}


@dataclass(frozen=True)
class Case:
    """A recording, and how the same is asked of rerankkit."""

    name: str
    service: Service
    options: Mapping[str, Any] = field(default_factory=dict)
    top_n: int | None = None

    def __str__(self) -> str:
        return self.name


def bge(**options: Any) -> dict[str, Any]:
    return {"return_documents": True, **options}


STRINGS = [
    Case("cohere-v2-strings", COHERE),
    Case("cohere-v2-top-n", COHERE, top_n=2),
    Case("cohere-v2-top-n-async", COHERE, top_n=2),
    Case("cohere-v2-top-n-none", COHERE),
    Case("cohere-v2-top-n-larger-than-documents", COHERE, top_n=50),
    Case("cohere-v2-max-tokens-per-doc", COHERE, {"max_tokens_per_doc": 512}),
    Case("cohere-v2-priority", COHERE, {"max_tokens_per_doc": 4096, "priority": 10}, top_n=2),
    Case("cohere-v2-relevant-spans", COHERE, {"relevant_spans": {"threshold": 0.2, "max_spans": 3}}, top_n=2),
    Case("cohere-v2-relevant-spans-minimal", COHERE, {"relevant_spans": True}),
    Case("cohere-v2-client-name", COHERE, {"client_name": "rerankkit-tests"}),
    Case("cohere-v2-duplicate-documents", COHERE),
    Case("cohere-v2-unicode", COHERE),
    Case("cohere-seed-curl", COHERE, top_n=3),
    Case("cohere-v1-strings", COHERE, {"api_version": "v1"}),
    Case("voyage-strings", VOYAGE),
    Case("voyage-top-k", VOYAGE, top_n=2),
    Case("voyage-top-k-async", VOYAGE, top_n=2),
    Case("voyage-truncation-false", VOYAGE, {"truncation": False}),
    Case("voyage-duplicate-documents", VOYAGE),
    Case("voyage-unicode", VOYAGE),
    Case("voyage-docs-curl", VOYAGE),
    Case("voyage-rest-all-options", VOYAGE, {"return_documents": True, "truncation": False}, top_n=1),
    Case("voyage-low-level-return-documents", VOYAGE, {"return_documents": True}, top_n=1),
    Case("voyage-instruction-in-query", VOYAGE, {"instruction": "Instruction: prefer official sources."}),
    Case("pinecone-strings", PINECONE, bge(truncate=None)),
    Case("pinecone-top-n", PINECONE, bge(), top_n=2),
    Case("pinecone-top-n-async", PINECONE, bge(), top_n=2),
    Case("pinecone-top-n-larger-than-documents", PINECONE, bge(), top_n=50),
    Case("pinecone-return-documents-false", PINECONE),
    Case("pinecone-truncate-end", PINECONE, bge(truncate="END")),
    Case("pinecone-truncate-none", PINECONE, bge(truncate="NONE")),
    Case("pinecone-duplicate-documents", PINECONE, bge()),
    Case("pinecone-unicode", PINECONE, bge()),
    Case("pinecone-version-override", PINECONE, bge(api_version="2025-04")),
]
STRUCTURED = [
    Case(
        "cohere-v1-dict-documents-rank-fields",
        COHERE,
        {"api_version": "v1", "rank_fields": ["title", "text"], "return_documents": True, "max_chunks_per_doc": 3},
        1,
    ),
    Case("pinecone-dict-documents", PINECONE, bge()),
    Case("pinecone-all-options", PINECONE, bge(truncate="END"), top_n=4),
    Case("pinecone-rank-fields", PINECONE, bge()),
    Case("pinecone-rank-fields-two", PINECONE, bge()),
    Case("pinecone-seed-curl", PINECONE, bge(api_version="2025-04"), top_n=4),
]


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("case", STRINGS, ids=str)
def test_a_request_about_texts_equals_the_sdks(case: Case, way: Way) -> None:
    recorded = request_of(case)
    body = recorded["body_json"]
    texts = [document if isinstance(document, str) else document["text"] for document in body["documents"]]
    query = body["query"].removeprefix("Instruction: prefer official sources.\nQuery: ")
    with recorder(lambda _: success(case, len(texts))) as server, client_for(case, server, body) as client:
        found = way(client, query, texts, case.top_n)
    assert found == expected_results(case, len(texts))
    assert_same_meaning(case.service, server.requests[0], recorded)


@pytest.mark.parametrize("case", STRUCTURED, ids=str)
def test_a_request_about_objects_equals_the_sdks(case: Case, colour: str) -> None:
    recorded = request_of(case)
    body = recorded["body_json"]
    with recorder(lambda _: success(case, len(body["documents"]))) as server, client_for(case, server, body) as client:
        run(colour, client, "rerank", body["query"], body["documents"], top_n=case.top_n)
    assert_same_meaning(case.service, server.requests[0], recorded)


def test_fields_go_to_cohere_as_the_yaml_its_documentation_shows(colour: str) -> None:
    case = Case("cohere-v2-yaml-documents", COHERE, {"rank_fields": ["Title", "Content"]})
    recorded = request_of(case)
    documents = [
        {"Title": "Facts", "Content": "Carson City is the capital city of the American state of Nevada.", "internal": 1},
        {"Content": "Washington, D.C. is the capital of the United States.", "Title": "Capital"},
    ]
    with recorder(lambda _: success(case, 2)) as server, client_for(case, server, recorded["body_json"]) as client:
        run(colour, client, "rerank", recorded["body_json"]["query"], documents)
    assert_same_meaning(COHERE, server.requests[0], recorded)


def request_of(case: Case) -> Mapping[str, Any]:
    return recording(case.name)["exchanges"][0]["request"]


def client_for(case: Case, server: Recorder, body: Mapping[str, Any]) -> Client:
    prefix = "/v1" if case.service is VOYAGE else ""
    options = (
        {"rank_fields": body["rank_fields"], "model": body["model"]} if "rank_fields" in body else {"model": body["model"]}
    )
    return Client(case.service.make(server.url + prefix, **{**options, **case.options}))


def success(case: Case, documents: int) -> Reply:
    """The recorded reply, if it is about these documents; else one that scores the first best."""
    recorded = recording(case.name)["exchanges"][0]["reply"]
    found = results_in(case.service, json.loads(recorded["body"]))
    wanted = min(case.top_n or documents, documents)
    if len(found) == wanted and all(index < documents for index, _ in found) and not repeats_others(case, recorded["body"]):
        return Reply(recorded["body"].encode(), recorded["status"], dict(recorded["headers"]))
    return Reply(case.service.answer([(index, 0.9 - index / 10) for index in range(wanted)]))


def repeats_others(case: Case, content: str) -> bool:
    """Whether a recorded reply repeats other documents than its request had: some SDKs talked to a stand-in."""
    sent = request_of(case)["body_json"]["documents"]
    results = json.loads(content).get("data", ()) if case.service is PINECONE else ()
    return any("document" in result and result["document"]["text"] != sent[result["index"]]["text"] for result in results)


def expected_results(case: Case, documents: int) -> list[tuple[int, float]]:
    return sorted(results_in(case.service, json.loads(success(case, documents).content)), key=lambda pair: (-pair[1], pair[0]))


def results_in(service: Service, body: Mapping[str, Any]) -> list[tuple[int, float]]:
    if service is COHERE:
        return [(result["index"], result["relevance_score"]) for result in body["results"]]
    score = "score" if service is PINECONE else "relevance_score"
    return [(result["index"], result[score]) for result in body["data"]]


def assert_same_meaning(service: Service, sent: Received, recorded: Mapping[str, Any]) -> None:
    headers = {name.lower(): value for name, value in recorded["headers"]}
    assert (sent.method, sent.path) == (recorded["method"], recorded["target"])
    assert meaning(service, sent.json) == meaning(service, recorded["body_json"])
    for name in ("content-type", "x-pinecone-api-version", "x-client-name"):
        assert sent.headers.get(name) == headers.get(name)
    for name in ("authorization", "api-key"):
        assert sent.headers.get(name) == (headers[name].replace("<redacted>", KEY) if name in headers else None)


def meaning(service: Service, body: Mapping[str, Any]) -> dict[str, Any]:
    """A body with its defaults filled in; what only restates them is left out."""
    filled = {**DEFAULTS[service.name], **{name: value for name, value in body.items() if value is not None}}
    for name in ("top_n", "top_k"):
        if filled.get(name, 0) >= len(body["documents"]):
            del filled[name]
    parameters = filled.get("parameters")
    if parameters is not None:  # ours says openly that long pairs are cut; the SDK leaves it to the service's default
        filled["parameters"] = {"truncate": "END", **parameters}
    return filled


# Kendra: ids are the package's own, so recordings are compared with theirs replaced


@pytest.fixture
def frozen_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001 -- as botocore has it
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_: moment)


@pytest.mark.parametrize(
    "name", ["rescore_body", "rescore_title_body", "rescore_tokenized", "rescore_group_ids", "rescore_unicode_and_scores"]
)
def test_a_rescore_request_equals_botocores(name: str, colour: str) -> None:
    recorded = kendra_recording(name)
    params = recorded["params"]
    documents = [as_document(entry) for entry in params["Documents"]]
    with recorder(answer_for) as server:
        with Client(KENDRA.make(server.url, plan_id=params["RescoreExecutionPlanId"])) as client:
            response = run(colour, client, "rerank", params["SearchQuery"], documents)
    assert len(response) == len(documents)
    sent = server.requests[0]
    headers = {name.lower(): value for name, value in recorded["request"]["headers"]}
    assert (sent.method, sent.path) == ("POST", "/")
    assert {name: sent.headers[name] for name in ("content-type", "x-amz-target")} == {
        name: headers[name] for name in ("content-type", "x-amz-target")
    }
    assert renamed(sent.json) == renamed(with_content(json.loads(recorded["request"]["body_text"])))


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("name", ["rescore_body", "rescore_title_body"])
def test_a_rescore_request_equals_botocores_on_every_way(name: str, way: Way) -> None:
    recorded = kendra_recording(name)
    params = recorded["params"]
    with recorder(answer_for) as server, Client(KENDRA.make(server.url, plan_id=params["RescoreExecutionPlanId"])) as client:
        rescored(way, client, params["SearchQuery"], params["Documents"])
    assert renamed(server.requests[0].json) == renamed(json.loads(recorded["request"]["body_text"]))


def rescored(way: Way, client: Client, query: str, entries: Sequence[Mapping[str, Any]]) -> None:
    """Title and first-stage score handed over as each framework has them."""
    from langchain_core.documents import Document as LangChainDocument
    from llama_index.core.schema import NodeWithScore, TextNode

    from langchain_rerankkit import RerankCompressor
    from llamaindex_rerankkit import RerankPostprocessor

    metadata = [{"title": entry.get("Title"), "score": entry["OriginalScore"]} for entry in entries]
    if way.package == "core":
        run(way.colour, client, "rerank", query, [as_document(entry) for entry in entries])
    elif way.package == "langchain":
        compressor = RerankCompressor(reranker=client, title_key="title", first_stage_score_key="score")
        documents = [LangChainDocument(entry["Body"], metadata=known) for entry, known in zip(entries, metadata, strict=True)]
        run(way.colour, compressor, "compress_documents", documents, query)
    else:
        nodes = [
            NodeWithScore(node=TextNode(text=entry["Body"], metadata=known), score=known["score"])
            for entry, known in zip(entries, metadata, strict=True)
        ]
        run(way.colour, RerankPostprocessor(reranker=client, title_key="title"), "postprocess_nodes", nodes, query_str=query)


def with_content(body: Mapping[str, Any]) -> dict[str, Any]:
    """*body* without entries that hold nothing to rank: botocore sends them, rerankkit leaves them unscored."""
    members = {"Body", "Title", "TokenizedBody", "TokenizedTitle"}
    return {**body, "Documents": [entry for entry in body["Documents"] if members & entry.keys()]}


def as_document(entry: Mapping[str, Any]) -> Document:
    return Document(
        entry.get("Body", ""),
        title=entry.get("Title"),
        score=entry["OriginalScore"],
        group_id=entry.get("GroupId"),
        tokenized_title=entry.get("TokenizedTitle"),
        tokenized_body=entry.get("TokenizedBody"),
    )


def answer_for(request: Received) -> Reply:
    names = dict.fromkeys(entry.get("GroupId", entry["Id"]) for entry in request.json["Documents"])
    return Reply(KENDRA.answer([(name, 0.5) for name in names]))


def renamed(body: Mapping[str, Any]) -> dict[str, Any]:
    """*body* with ids and group ids numbered in the order in which they occur."""
    groups = list(dict.fromkeys(entry["GroupId"] for entry in body["Documents"] if "GroupId" in entry))
    documents = [
        {**entry, "Id": position, **({"GroupId": groups.index(entry["GroupId"])} if "GroupId" in entry else {})}
        for position, entry in enumerate(body["Documents"])
    ]
    return {**body, "Documents": documents}


@pytest.mark.usefixtures("frozen_clock")
@pytest.mark.parametrize("name", ["rescore_body", "rescore_session_token", "create_plan_all_fields"])
def test_a_signature_equals_the_recorded_one(name: str) -> None:
    recorded = kendra_recording(name)
    headers = dict(recorded["request"]["headers"])
    provider = KENDRA.make(
        f"http://{headers['Host']}",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        aws_session_token=headers.get("X-Amz-Security-Token"),
    )
    unsigned = provider.operation(recorded["operation"], {})
    request = HttpRequest(unsigned.url, unsigned.headers, base64.b64decode(recorded["request"]["body_b64"]))
    signed = provider.authenticate(request)
    assert signed.auth["Authorization"] == headers["Authorization"]
    assert signed.auth["X-Amz-Date"] == headers["X-Amz-Date"]
    assert signed.auth.get("X-Amz-Security-Token") == headers.get("X-Amz-Security-Token")


@pytest.mark.parametrize("index", range(5))
def test_an_endpoint_equals_botocores(index: int) -> None:

    case = json.loads((SHARED / "wire" / "kendra" / "endpoints.json").read_text())["cases"][index]
    fips = bool(case["config"].get("use_fips_endpoint"))
    provider = Kendra(PLAN_ID, region=case["region"], fips=fips, aws_access_key_id="AKID", aws_secret_access_key=KEY)
    assert provider.operation("Rescore", {}).url == case["request"]["url"]


def test_a_plan_is_created_with_botocores_request(colour: str) -> None:
    recorded = kendra_recording("create_plan_all_fields")
    params = recorded["params"]
    tags = {tag["Key"]: tag["Value"] for tag in params["Tags"]}
    with recorder(lambda _: Reply(json.loads(recorded["response"]["body_text"]))) as server:
        plans = KendraPlans(base_url=server.url, region="us-east-1", aws_access_key_id="AKID", aws_secret_access_key=KEY)
        plan = run(
            colour,
            plans,
            "create",
            params["Name"],
            description=params["Description"],
            capacity_units=params["CapacityUnits"]["RescoreCapacityUnits"],
            tags=tags,
            client_token=params["ClientToken"],
        )
        run(colour, plans, "close")
    assert server.requests[0].json == json.loads(recorded["request"]["body_text"])
    assert server.requests[0].headers["x-amz-target"] == "AWSKendraRerankingFrontendService.CreateRescoreExecutionPlan"
    assert (plan.id, plan.arn) == (recorded["parsed"]["Id"], recorded["parsed"]["Arn"])


# Real replies

CASSETTES = [
    ("cohere-v1-rerank-multilingual-v2.0", COHERE, {"api_version": "v1"}),
    ("cohere-v2-rerank-english-v3.0-a", COHERE, {}),
    ("cohere-v2-rerank-v3.5-topn2", COHERE, {}),
    ("cohere-v2-rerank-v3.5-two", COHERE, {}),
    ("voyage-rerank-2-lite-4docs", VOYAGE, {}),
    ("voyage-rerank-2.5-printed-1", VOYAGE, {}),
    ("voyage-rerank-2.5-printed-3", VOYAGE, {}),
    ("voyage-rerank-2.5-printed-5", VOYAGE, {}),
    ("pinecone-bge-reranker-v2-m3-printed-1", PINECONE, {}),
]


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize(("name", "service", "options"), CASSETTES, ids=[name for name, _, _ in CASSETTES])
def test_a_real_reply_is_read_in_its_order_and_with_its_scores(
    name: str, service: Service, options: Mapping[str, Any], way: Way
) -> None:
    recorded = cassette(name)
    body, reply = recorded["request"]["body"], recorded["response"]
    texts = [document if isinstance(document, str) else document["text"] for document in body["documents"]]
    top_n = body.get("top_n") or body.get("top_k")
    content = reply["body_text"].encode() if reply["body_text"] else json.dumps(reply["body"]).encode()
    headers = {name: value for name, value in reply["headers"].items() if name.startswith("x-")}
    with recorder(lambda _: Reply(content, reply["status"], headers)) as server:
        with Client(service.make(server.url, model=body["model"], **options)) as client:
            assert way(client, body["query"], texts, top_n) == recorded_order(service, reply["body"])


def recorded_order(service: Service, body: Mapping[str, Any]) -> list[tuple[int, float]]:
    """As recorded; equal scores, where the services promise no order, in that of the documents."""
    found = results_in(service, body)
    assert found == sorted(found, key=lambda pair: -pair[1]), "a recording of a real reply is in order"
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))


def test_usage_ids_and_warnings_of_real_replies_reach_the_caller(colour: str) -> None:
    recorded = cassette("voyage-rerank-2-lite-4docs")
    reply = recorded["response"]
    headers = {name: value for name, value in reply["headers"].items() if name.startswith("x-")}
    body = recorded["request"]["body"]
    with recorder(lambda _: Reply(reply["body"], headers=headers)) as server:
        with Client(VOYAGE.make(server.url, model=body["model"])) as client:
            response = run(colour, client, "rerank", body["query"], body["documents"], top_n=3)
    assert response.usage.total_tokens == 57
    assert response.request_id == "9454b60510fef508af49c38eeb0cd0bf"
    assert response.model == "rerank-2-lite"
    assert response.warnings[0].startswith("You have not yet added your payment method")
