"""The requests that the owner's documents show, sent as they stand there, and their replies, member by member."""

from __future__ import annotations

import json
import re
import shlex
import urllib.error
import urllib.request
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
import yaml

from helpers.shared import SHARED, needs_shared
from rerankkit.emulator import Emulator, faults

pytestmark = needs_shared


def page(name: str) -> str:
    return (SHARED / "api" / f"{name}.md").read_text("utf-8")


def command(text: str) -> tuple[dict[str, str], bytes]:
    """Headers and body of the curl command on a page, its variables filled in."""
    found = re.search(r"^ *curl (.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    assert found
    words = shlex.split(re.sub(r"\$\w+", "any-key", found[1].replace("\\\n", " ")))
    given = list(pairwise(words))
    headers = dict(value.split(": ", 1) for option, value in given if option in ("-H", "--header"))
    return headers, next(value for option, value in given if option in ("-d", "--data")).encode()


def reply_shown(text: str, language: str) -> Any:
    """The last JSON reply on a page."""
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    return json.loads(found[-1])


def post(url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, dict(headers))) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def form(value: Any) -> Any:
    """The members of a value and the types they hold; of a list those of its first item."""
    if isinstance(value, dict):
        return {name: form(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [form(inner) for inner in value[:1]]
    return type(value)


def test_coheres_example_of_2024_gets_the_reply_it_shows(emulator: Emulator) -> None:
    emulator.configure(cohere={"v2": "2024"})
    headers, body = command(page("cohere-rerank"))
    status, answer = post(f"{emulator.urls['cohere']}/v2/rerank", headers, body)
    shown = reply_shown(page("cohere-rerank"), "json")
    assert status == 200
    assert form(answer) == form(shown)
    assert answer["meta"] == shown["meta"]
    assert len(answer["results"]) == len(shown["results"]) == 3


def test_coheres_example_of_2024_also_works_today(emulator: Emulator) -> None:
    headers, body = command(page("cohere-rerank"))
    status, answer = post(f"{emulator.urls['cohere']}/v2/rerank", headers, body)
    assert status == 200
    assert answer["meta"] == {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}


def test_coheres_document_form_of_2024_is_ranked_then_and_refused_today(emulator: Emulator) -> None:
    headers, body = command(page("cohere-rerank"))
    documents = re.search(r"```json\n(\[.*?\])\n```", page("cohere-rerank"), re.DOTALL)
    assert documents
    asked = {**json.loads(body), "documents": json.loads(documents[1])}
    wished = {"rank_fields": ["text"], "return_documents": True, "max_chunks_per_doc": 1}
    url = f"{emulator.urls['cohere']}/v2/rerank"
    assert post(url, headers, json.dumps({**asked, **wished}).encode())[0] == 422
    assert post(url, headers, json.dumps(asked).encode())[0] == 400
    emulator.configure(cohere={"v2": "2024"})
    status, answer = post(url, headers, json.dumps({**asked, **wished}).encode())
    assert status == 200
    assert [result["document"] for result in answer["results"]] == [asked["documents"][1], {"text": asked["documents"][0]}]


@pytest.mark.parametrize("model", re.findall(r"`(rerank-[\w.-]+)`", page("cohere-rerank")) if SHARED.is_dir() else [])
def test_coheres_models_of_2024_rank(emulator: Emulator, model: str) -> None:
    emulator.configure(cohere={"v2": "2024"})
    headers, body = command(page("cohere-rerank"))
    asked = json.dumps({**json.loads(body), "model": model}).encode()
    assert post(f"{emulator.urls['cohere']}/v2/rerank", headers, asked)[0] == 200


def test_pinecones_example_of_2025_gets_the_reply_it_shows(emulator: Emulator) -> None:
    emulator.configure(pinecone={"versions": ["2025-04"]})
    headers, body = command(page("pinecone-rerank"))
    status, answer = post(f"{emulator.urls['pinecone']}/rerank", headers, body)
    shown = reply_shown(page("pinecone-rerank"), r"JSON curl\b[^\n]*")
    assert status == 200
    assert form(answer) == {"model": str, **form(shown)}  # which the page's schema requires, and its example leaves out
    assert [result["document"] for result in answer["data"]] == [
        json.loads(body)["documents"][result["index"]] for result in answer["data"]
    ]
    other = {**headers, "X-Pinecone-Api-Version": "2024-10"}
    assert post(f"{emulator.urls['pinecone']}/rerank", other, body)[0] == 400


@pytest.mark.parametrize(
    "wanted", [{}, {"return_documents": True}, {"top_k": 1}, {"top_k": None, "truncation": False}], ids=str
)
def test_voyages_parameters_give_the_reply_its_page_describes(emulator: Emulator, wanted: dict[str, Any]) -> None:
    text = page("voyage-mongodb-rerank")
    body = {"query": "q", "documents": ["a", "b"], "model": "rerank-2.5", **wanted}
    assert all(f"**{name}** (" in text for name in body)
    headers = {"Authorization": "Bearer any-key", "Content-Type": "application/json"}
    status, answer = post(f"{emulator.urls['voyage']}/rerank", headers, json.dumps(body).encode())
    echoed = {"document": str} if wanted.get("return_documents") else {}
    assert status == 200
    assert form(answer) == {
        "object": str,
        "data": [{"relevance_score": float, "index": int, **echoed}],
        "model": str,
        "usage": {"total_tokens": int},
    }
    assert (answer["object"], len(answer["data"])) == ("list", wanted.get("top_k") or 2)
    assert all(f"**{name}** (" in text for name in answer)


@pytest.mark.parametrize("status", [400, 403, 429, 500, 502, 503, 504])
def test_voyages_errors_speak_the_words_of_its_page(emulator: Emulator, status: int) -> None:
    emulator.inject(faults.Status(service="voyage", status=status))
    found, answer = post(f"{emulator.urls['voyage']}/rerank", {"Authorization": "Bearer any-key"}, b"{}")
    said = re.search(rf"### {status} .*?\*\*detail\*\* \(string\) (.*?) (?:###|\[)", page("voyage-mongodb-rerank"))
    assert said
    assert found == status
    assert said[1].startswith(answer["detail"])


@pytest.mark.parametrize(("status", "name"), [(400, "index-metric-validation-error"), (401, "unauthorized"), (500, "internal")])
def test_pinecones_errors_are_the_examples_of_its_page(emulator: Emulator, status: int, name: str) -> None:
    emulator.inject(faults.Status(service="pinecone", status=status))
    found, answer = post(f"{emulator.urls['pinecone']}/rerank", {"Api-Key": "any-key"}, b"{}")
    text = re.search(r"````yaml[^\n]*\n(.*?)^````", page("pinecone-rerank"), re.DOTALL | re.MULTILINE)
    assert text
    examples = yaml.safe_load(text[1])["paths"]["/rerank"]["post"]["responses"][str(status)]["content"]["application/json"]
    shown = next(example["value"] for key, example in examples["examples"].items() if key.startswith(name))
    assert (found, answer) == (status, shown)
