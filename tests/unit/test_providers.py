"""What is true of one service only: where requests go, options on the wire, usage, spans."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import botocore.session
import pytest
from botocore.endpoint_provider import EndpointProvider
from pydantic import SecretStr

from helpers.server import Reply, recorder
from helpers.services import COHERE, KEY, PINECONE, POINTWISE, SERVICES, VOYAGE, Service, dumped
from helpers.ways import run
from rerankkit import (
    Client,
    Cohere,
    Document,
    InvalidRequestError,
    Kendra,
    Pinecone,
    Span,
    Usage,
    Voyage,
    connect,
    providers,
)
from rerankkit._checks import as_items
from rerankkit._wire import HttpResponse
from rerankkit.provider import Batch, Provider


def sent(provider: Provider, documents: list[Any], top_n: int | None = None) -> dict[str, Any]:
    """The body of the request for *documents*."""
    prepared = provider.prepare(as_items(documents))
    return json.loads(
        provider.build_request(Batch("q", list(prepared.contents.values()), list(prepared.contents), top_n)).content
    )


@pytest.mark.parametrize(
    ("provider", "url"),
    [
        (Cohere(api_key=KEY), "https://api.cohere.com/v2/rerank"),
        (Cohere(api_key=KEY, api_version="v1"), "https://api.cohere.com/v1/rerank"),
        (Cohere(api_key=KEY, base_url="https://api.cohere.com/v1/"), "https://api.cohere.com/v2/rerank"),
        (Cohere(api_key=KEY, base_url="https://vault.example.com/x/"), "https://vault.example.com/x/v2/rerank"),
        (Cohere(api_key=KEY, base_url="https://vault.example.com/x/v2"), "https://vault.example.com/x/v2/rerank"),
        (Cohere(api_key=KEY, base_url="https://vault.example.com/v1"), "https://vault.example.com/v1/v2/rerank"),
        (Voyage(api_key="pa-0123456789"), "https://api.voyageai.com/v1/rerank"),
        (Voyage(api_key="al-0123456789"), "https://ai.mongodb.com/v1/rerank"),
        (Voyage(api_key="al-eu-0123456789"), "https://eu.ai.mongodb.com/v1/rerank"),
        (Voyage(api_key="al-us-0123456789"), "https://us.ai.mongodb.com/v1/rerank"),
        (Voyage(api_key="al-0123456789", base_url="https://eu.ai.mongodb.com/v1/"), "https://eu.ai.mongodb.com/v1/rerank"),
        (Pinecone(api_key=KEY), "https://api.pinecone.io/rerank"),
        (Pinecone(api_key=KEY, base_url="https://gw.example.com/prefix"), "https://gw.example.com/prefix/rerank"),
    ],
)
def test_requests_go_where_the_service_is(provider: Provider, url: str) -> None:
    assert provider.build_request(Batch("q", ["a"], [0])).url == url


@pytest.mark.parametrize(
    ("region", "fips", "url"),
    [
        ("us-east-1", False, "https://kendra-ranking.us-east-1.api.aws/"),
        ("us-east-1", True, "https://kendra-ranking-fips.us-east-1.api.aws/"),
        ("us-gov-west-1", True, "https://kendra-ranking-fips.us-gov-west-1.api.aws/"),
        ("cn-north-1", False, "https://kendra-ranking.cn-north-1.api.amazonwebservices.com.cn/"),
        ("eusc-de-east-1", False, "https://kendra-ranking.eusc-de-east-1.api.amazonwebservices.eu/"),
        ("us-iso-east-1", False, "https://kendra-ranking.us-iso-east-1.api.aws.ic.gov/"),
        ("us-isob-east-1", False, "https://kendra-ranking.us-isob-east-1.api.aws.scloud/"),
        ("us-isof-south-1", False, "https://kendra-ranking.us-isof-south-1.api.aws.hci.ic.gov/"),
        ("eu-isoe-west-1", False, "https://kendra-ranking.eu-isoe-west-1.api.cloud-aws.adc-e.uk/"),
    ],
)
def test_kendra_requests_go_to_the_region_as_botocore_resolves_it(region: str, fips: bool, url: str) -> None:
    provider = Kendra("p" * 36, region=region, fips=fips, aws_access_key_id="AKID", aws_secret_access_key=KEY)
    assert provider.operation("Rescore", {}).url == url
    loader = botocore.session.Session().get_component("data_loader")
    rules = loader.load_service_model("kendra-ranking", "endpoint-rule-set-1")
    resolved = EndpointProvider(rules, loader.load_data("partitions")).resolve_endpoint(Region=region, UseFIPS=fips)
    assert f"{resolved.url}/" == url


ENVIRONMENT = [
    (Cohere, "CO_API_KEY", "CO_API_URL"),
    (Cohere, "COHERE_API_KEY", "CO_API_URL"),
    (Voyage, "VOYAGE_API_KEY", "VOYAGE_BASE_URL"),
    (Pinecone, "PINECONE_API_KEY", "PINECONE_CONTROLLER_HOST"),
]


@pytest.mark.parametrize(("provider", "key", "url"), ENVIRONMENT, ids=[key for _, key, _ in ENVIRONMENT])
def test_keys_and_addresses_come_from_the_fields_own_variables(
    provider: Any, key: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(key, KEY)
    monkeypatch.setenv(url, "http://127.0.0.1:9/x")
    found = provider()
    assert found.base_url == "http://127.0.0.1:9/x"
    assert KEY in found.authenticate(found.build_request(Batch("q", ["a"], [0]))).auth.popitem()[1]


def test_cohere_prefers_its_own_name_for_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COHERE_API_KEY", "second-0123456789")
    monkeypatch.setenv("CO_API_KEY", "first-0123456789")
    provider = Cohere()
    assert provider.authenticate(provider.build_request(Batch("q", ["a"], [0]))).auth == {
        "Authorization": "Bearer first-0123456789"
    }
    monkeypatch.setenv("CO_API_KEY", "")
    assert Cohere()._key.reveal() == "second-0123456789"


@pytest.mark.parametrize("names", [("AWS_REGION",), ("AWS_DEFAULT_REGION",), ("AWS_REGION", "AWS_DEFAULT_REGION")])
def test_kendras_region_comes_from_the_environment(names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name in enumerate(names, 1):
        monkeypatch.setenv(name, f"eu-west-{number}")
    assert Kendra("p" * 36).region == "eu-west-1"


def test_kendras_region_and_keys_come_from_a_profile(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").write_text("[profile work]\nregion = ap-south-1\n")
    (tmp_path / "credentials").write_text("[work]\naws_access_key_id = AKIDWORK\naws_secret_access_key = 0123456789\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    provider = Kendra("p" * 36, profile="work")
    assert provider.region == "ap-south-1"
    signed = provider.authenticate(provider.operation("Rescore", {}))
    assert "Credential=AKIDWORK/" in signed.auth["Authorization"]
    assert "/ap-south-1/kendra-ranking/aws4_request" in signed.auth["Authorization"]


def test_keys_may_be_given_as_secrets() -> None:
    assert Cohere(api_key=SecretStr(KEY))._key.reveal() == KEY


def test_options_reach_the_wire() -> None:
    spans = {"threshold": 0.2, "max_spans": 3}
    provider = Cohere("rerank-v5.0-pro", api_key=KEY, relevant_spans=spans, priority=5, max_tokens_per_doc=9)
    body = sent(provider, ["a", "b"], top_n=1)
    assert body["relevant_spans"] == {"mode": "enabled", **spans}
    assert (body["priority"], body["max_tokens_per_doc"], body["top_n"]) == (5, 9, 1)
    assert sent(Pinecone(api_key=KEY), ["a"])["parameters"] == {"truncate": "END"}, "said openly for models that take it"
    assert "parameters" not in sent(Pinecone("cohere-rerank-4-fast", api_key=KEY), ["a"])
    assert sent(Pinecone("cohere-rerank-4-fast", api_key=KEY, max_tokens_per_doc=4_096), ["a"])["parameters"] == {
        "max_tokens_per_doc": 4_096
    }


def test_nothing_is_sent_that_was_not_asked_for() -> None:
    """Ids, scores, groups and unranked fields stay here, unless the service is asked to send whole documents back."""
    document = Document("text", id="secret-id", score=1.5, group_id="secret-group", title="secret-title")
    fields = {"text": "text", "private": "secret-field"}
    for service in POINTWISE:
        provider = service.make("https://x.test")
        assert (
            b"secret"
            not in provider.build_request(Batch("q", list(provider.prepare([document]).contents.values()), [0])).content
        )
    for provider in (Cohere(api_key=KEY), Cohere(api_key=KEY, api_version="v1"), Voyage(api_key=KEY), Pinecone(api_key=KEY)):
        assert "secret-field" not in str(sent(provider, [fields]))
    assert sent(Pinecone(api_key=KEY, return_documents=True), [fields])["documents"] == [fields]
    assert sent(Cohere(api_key=KEY, api_version="v1", return_documents=True), [fields])["documents"] == [fields]


def test_cohere_v1_gets_texts_alone() -> None:
    provider = Cohere(api_key=KEY, api_version="v1", rank_fields=["text", "page", "tags"])
    assert sent(provider, [{"text": "a", "page": 7, "tags": ["x"]}])["documents"] == [
        {"text": "a", "page": "7", "tags": '["x"]'}
    ]


@pytest.mark.parametrize(
    ("rank_fields", "document", "expected"),
    [
        (["text"], "a", {"text": "a"}),
        (["content"], "a", {"content": "a"}),
        (["text"], Document("a", title="t"), {"text": "a"}),
        (["content"], {"content": "a", "n": 1}, {"content": "a"}),
        (["text"], Document(fields={"text": "a"}), {"text": "a"}),
    ],
)
def test_pinecone_gets_objects(rank_fields: list[str], document: Any, expected: dict[str, Any]) -> None:
    assert sent(Pinecone(api_key=KEY, rank_fields=rank_fields), [document])["documents"] == [expected]


def test_pinecones_cohere_models_rank_several_fields() -> None:
    provider = Pinecone("cohere-rerank-4-fast", api_key=KEY, rank_fields=["title", "text"])
    body = sent(provider, [Document("a", title="t"), {"title": "t", "text": "b", "n": 1}, {"title": " ", "text": ""}])
    assert body["documents"] == [{"title": "t", "text": "a"}, {"title": "t", "text": "b"}]
    assert body["rank_fields"] == ["title", "text"]
    for incomplete in ("a", Document("a"), {"text": "a"}):
        with pytest.raises(InvalidRequestError, match=r"documents\[0\] has no 'title'"):
            provider.prepare([incomplete] if isinstance(incomplete, str) else _items(incomplete))


def _items(document: Any) -> Any:
    return as_items([document])


@pytest.mark.parametrize("value", [object(), Decimal(1), 2**70, {1: "key"}], ids=["object", "Decimal", "2**70", "int key"])
def test_a_value_without_a_json_form_is_refused_with_its_place(value: object, colour: str) -> None:
    documents = ["a", {"text": "a", "price": {"deep": [value]}}]
    with Client(PINECONE.make("http://127.0.0.1:1", return_documents=True)) as client:
        with pytest.raises(InvalidRequestError, match=r"documents\[1\]\.price\.deep\[0\].* has no JSON form"):
            run(colour, client, "rerank", "q", documents)


SPANS = {
    "id": "x",
    "results": [
        {
            "index": 1,
            "relevance_score": 0.9,
            "relevant_spans": [{"start": 3, "end": 9, "score": 0.8}, {"start": 0, "end": 2, "score": 0.3}],
        },
        {"index": 0, "relevance_score": 0.3},
        {"index": 2, "relevance_score": 0.2, "relevant_spans": None},
    ],
}


def test_relevant_spans_reach_the_caller(colour: str) -> None:
    with recorder(lambda _: Reply(SPANS)) as server:
        with Client(COHERE.make(server.url, model="rerank-v5.0-fast", relevant_spans=True)) as client:
            response = run(colour, client, "rerank", "q", ["a" * 9, "b" * 9, "c" * 9])
    assert [result.spans for result in response] == [(Span(3, 9, 0.8), Span(0, 2, 0.3)), (), ()]


USAGES = [
    (COHERE, {"meta": {"billed_units": {"search_units": 1}}}, Usage(1, search_units=1.0)),
    (COHERE, {"meta": {"billed_units": {"text_tokens": 120.0, "new_units": 7}}}, Usage(1, total_tokens=120)),
    (COHERE, {"meta": {"billed_units": None}}, Usage(1)),
    (COHERE, {"meta": None}, Usage(1)),
    (VOYAGE, {"usage": {"total_tokens": 86}}, Usage(1, total_tokens=86)),
    (VOYAGE, {"usage": {}}, Usage(1)),
    (PINECONE, {"usage": {"rerank_units": 2}}, Usage(1, rerank_units=2)),
]


@pytest.mark.parametrize(("service", "members", "expected"), USAGES, ids=lambda value: str(value)[:40])
def test_usage_is_read_where_it_is_told(service: Service, members: dict[str, Any], expected: Usage, colour: str) -> None:
    body = {**service.answer([(0, 0.5)]), **members}
    with recorder(lambda _: Reply(body)) as server, Client(service.make(server.url)) as client:
        assert run(colour, client, "rerank", "q", ["a"]).usage == expected


def test_usage_ids_and_warnings_of_all_batches_are_summed(colour: str) -> None:
    numbers = iter(range(100))

    def answer(request: Any) -> Reply:
        count = len(COHERE.texts(request.json))
        body = COHERE.answer([(index, 0.5) for index in range(count)])
        meta = {"billed_units": {"search_units": count / 100}, "warnings": ["the same twice"]}
        return Reply({**body, "id": f"r-{next(numbers)}", "meta": meta, "warnings": ["at the top"]})

    with recorder(answer) as server, Client(COHERE.make(server.url)) as client:
        response = run(colour, client, "rerank", "q", ["a"] * 2_500)
    assert response.usage == Usage(3, search_units=25.0)
    assert sorted(response.request_ids) == ["r-0", "r-1", "r-2"]
    assert response.request_id == response.request_ids[0]
    assert response.warnings == ("the same twice", "at the top")


def test_usage_adds_up_without_inventing_units() -> None:
    assert Usage(1, search_units=1.0) + Usage(2, total_tokens=5) == Usage(3, search_units=1.0, total_tokens=5)
    assert Usage(1) + Usage(1) == Usage(2)


def test_a_request_may_be_printed_without_its_key(service: Service) -> None:
    provider = service.make("https://x.test")
    request = provider.build_request(Batch("q", ["a"], [0]) if service in POINTWISE else Batch("q", [{"Id": "0"}], [0]))
    signed = provider.authenticate(request)
    assert signed.auth
    assert KEY not in repr(signed)
    assert "Signature" not in repr(signed)
    assert request.auth == {}


def test_a_repr_says_where_requests_go_if_not_to_the_service(service: Service) -> None:
    assert "base_url='http://127.0.0.1:9'" in repr(Client(service.make("http://127.0.0.1:9")))
    assert repr(Client(Cohere(api_key=KEY))) == "Client(Cohere('rerank-v3.5'), timeout=30)"
    kendra = Kendra("p" * 36, region="us-east-1")
    assert "base_url" not in repr(kendra)
    assert kendra.is_at_home


def test_prices_and_limits_name_their_source() -> None:
    for name in providers.REGISTRY:
        for model in providers.load(name).models.values():
            assert model.limits.documents >= 25
            assert model.price is None or ("2026-11-20" in model.price.source and model.price.unit)


def test_the_defaults_run_on_a_free_key() -> None:
    assert [service.make("https://x.test").model for service in POINTWISE] == [
        "rerank-v3.5",
        "rerank-2.5",
        "bge-reranker-v2-m3",
    ]


def test_a_reply_is_parsed_from_its_bytes_alone() -> None:
    provider = COHERE.make("https://x.test")
    reply = provider.parse_response(Batch("q", ["a"], [0]), HttpResponse(200, {}, dumped(COHERE.answer([(0, 1)]))))
    assert reply.scores == {0: 1.0}


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_text_among_the_fields_is_the_text(service: Service) -> None:
    prepared = service.make("https://x.test").prepare([Document(fields={"title": "T", "text": "the text"})])
    assert prepared.skipped == {}
    assert "the text" in str(prepared.contents[0])


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
@pytest.mark.parametrize(
    "empty", ["", Document(""), Document(fields={"title": " ", "text": None})], ids=["str", "text", "fields"]
)
def test_a_document_with_nothing_in_it_is_blank_whatever_is_ranked(service: Service, empty: Any) -> None:
    model = {"model": "cohere-rerank-4-fast"} if service is PINECONE else {}
    several = {"rank_fields": ["title", "text"]} if service in (COHERE, PINECONE) else {}
    assert service.make("https://x.test", **model, **several).prepare([empty]).skipped == {0: "blank"}


def test_what_is_there_twice_and_texts_of_any_class_have_a_yaml_form() -> None:
    class Text(str):
        __slots__ = ()

    shared = ["a"]
    (document,) = as_items([{"title": Text("t"), "tags": shared, "more": shared, "bad": "x\ud800"}])
    found = Cohere(api_key=KEY, rank_fields=["title", "tags", "more", "bad"]).prepare([document]).contents[0]
    assert found == "title: t\ntags:\n- a\nmore:\n- a\nbad: x\ufffd\n"


@pytest.mark.parametrize("target", ["cohere:", "voyage:"])
def test_a_colon_without_a_model_is_no_model(target: str) -> None:
    with pytest.raises(InvalidRequestError, match="needs its model"):
        connect(target, api_key=KEY)


@pytest.mark.parametrize(
    "option", [{"concurrency": 0}, {"retry": 5}, {"transport": "nonsense"}, {"on_error": 1}, {"tokenizer": 2}], ids=str
)
def test_options_of_requests_are_checked_for_the_local_ranker_as_well(option: Any) -> None:
    with pytest.raises(InvalidRequestError, match=next(iter(option))):
        connect("local:bm25", **option)
