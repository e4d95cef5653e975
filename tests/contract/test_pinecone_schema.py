"""Whatever the emulated Pinecone is sent: its replies have the form of Pinecone's own OpenAPI document.

The document lists the statuses 200, 400, 401 and 500; replies with others must have the form that it gives to all errors.
"""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
import requests
import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from helpers.shared import SHARED, needs_shared
from rerankkit.emulator import Emulator, RateLimit, faults
from rerankkit.providers.pinecone import MODELS

pytestmark = needs_shared

EXAMPLES = 60
BOUNDED = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]


@pytest.fixture(autouse=True)
def _left_as_it_was(emulator: Emulator) -> Iterator[None]:
    yield
    emulator.reset()


def document() -> dict[str, Any]:
    """The OpenAPI document."""
    page = (SHARED / "api" / "pinecone-rerank.md").read_text("utf-8")
    found = re.search(r"^## OpenAPI\n+````yaml[^\n]*\n(.*?)^````", page, re.DOTALL | re.MULTILINE)
    assert found
    return yaml.safe_load(found[1])


def narrowed() -> dict[str, Any]:
    """The document with requests of which most are good; replies are as they were."""
    changed = copy.deepcopy(document())
    request = changed["components"]["schemas"]["RerankRequest"]
    members = request["properties"]
    members["model"]["enum"] = sorted(MODELS)
    members["query"] |= {"minLength": 1, "pattern": r"^\w"}
    members["top_n"]["minimum"] = 1
    members["rank_fields"] |= {"minItems": 1, "maxItems": 1, "items": {"type": "string", "enum": ["text"]}}
    members["documents"] |= {"minItems": 1, "maxItems": 8, "items": {"$ref": "#/components/schemas/WithText"}}
    members["parameters"] = {"type": "object", "additionalProperties": False, "properties": {"truncate": {"enum": ["END"]}}}
    text = {"text": {"type": "string"}}
    changed["components"]["schemas"]["WithText"] = {"type": "object", "properties": text, "required": ["text"]}
    return changed


def validator(name: str) -> Any:
    """Of one of the document's schemas."""
    components = document()["components"]
    return jsonschema_rs.Draft4Validator({"$ref": f"#/components/schemas/{name}", "components": components})


RESULT, ERROR = (validator("RerankResult"), validator("ErrorResponse")) if SHARED.is_dir() else (None, None)


GOOD = {"model": "bge-reranker-v2-m3", "query": "ferry", "documents": [{"text": "a ferry", "id": "1"}]}


def post(emulator: Emulator, body: Any) -> tuple[int, Any]:
    response = requests.post(f"{emulator.urls['pinecone']}/rerank", json=body, headers={"Api-Key": "any"}, timeout=10)
    return response.status_code, response.json()


def assert_form(status: int, body: Any, *, expected: int | None = None) -> None:
    """That of a result, or that of an error, which holds its status."""
    assert expected in (None, status)
    if status == 200:
        RESULT.validate(body)
    else:
        ERROR.validate(body)
        assert body["status"] == status


def exchanged(emulator: Emulator, source: dict[str, Any], mode: GenerationMode) -> Counter[int]:
    """Statuses of the replies to generated requests, each of which is checked."""
    statuses: Counter[int] = Counter()
    operation = schemathesis.openapi.from_dict(source)["/rerank"]["POST"]

    @BOUNDED
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        response = case.call(base_url=emulator.urls["pinecone"], headers={"Api-Key": "any"})
        statuses[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)
        assert_form(response.status_code, response.json())

    send()
    return statuses


@pytest.mark.parametrize("strict", [False, True], ids=["tolerant", "strict"])
def test_replies_to_requests_of_the_documents_form_have_its_form(emulator: Emulator, strict: bool) -> None:
    emulator.configure(strict=strict)
    statuses = exchanged(emulator, document(), GenerationMode.POSITIVE)
    assert statuses.keys() <= {200, 400, 404}
    assert sum(statuses.values()) >= EXAMPLES / 2


def test_replies_to_good_requests_have_the_documents_form(emulator: Emulator) -> None:
    statuses = exchanged(emulator, narrowed(), GenerationMode.POSITIVE)
    assert statuses[200] >= EXAMPLES / 3


def test_replies_to_requests_of_another_form_have_the_documents_form(emulator: Emulator) -> None:
    statuses = exchanged(emulator, document(), GenerationMode.NEGATIVE)
    assert statuses.keys() <= {400, 401, 404}
    assert statuses[400]


@pytest.mark.parametrize("status", [402, 403, 404, 408, 409, 412, 413, 422, 429, 500, 501, 502, 503, 504])
def test_an_injected_error_has_the_documents_form(emulator: Emulator, status: int) -> None:
    emulator.inject(faults.Status(service="pinecone", status=status))
    assert_form(*post(emulator, GOOD), expected=status)


def test_a_refusal_by_a_rate_limit_has_the_documents_form(emulator: Emulator) -> None:
    emulator.configure(rate_limits={"pinecone": RateLimit(requests_per_month=0)})
    assert_form(*post(emulator, GOOD), expected=429)
