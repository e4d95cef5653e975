"""No key, token or text of the caller's appears where it was not meant to go."""

from __future__ import annotations

import copy
import importlib
import json
import logging
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from helpers.canaries import KEY, TEXT, assert_silent, key_options, secrets, shown_of
from helpers.server import Reply, recorder
from helpers.services import KENDRA, Service
from helpers.ways import run
from rerankkit import Client, Document, RerankError, Retry


def provider(service: Service, url: str) -> Any:
    return service.make(url, **key_options(service))


def test_objects_do_not_show_their_keys(service: Service) -> None:
    ranked_by = provider(service, "http://127.0.0.1:1")
    client = Client(ranked_by)
    for thing in (ranked_by, client, copy.deepcopy(client), copy.copy(ranked_by)):
        assert_silent(repr(thing), str(thing), f"{thing!r:>20}", str(vars(thing)), pickle.dumps(thing))


def escaped(service: Service) -> bytes:
    """An error in the service's form whose keys are written as JSON may write them: all by numbers."""
    numbered = ["".join(f"\\u{ord(char):04X}" for char in secret) for secret in secrets(service)]
    return json.dumps(service.error("@")).replace("@", " ".join(numbered)).encode()


FAILURES: dict[str, Callable[[Service], Reply]] = {
    "a refusal that echoes its key": lambda service: Reply(service.error(f"bad {' '.join(secrets(service))}"), 401),
    "a refusal that echoes it in escapes": lambda service: Reply(escaped(service), 401),
    "an outage that echoes it on a page": lambda service: Reply(f"oops {' '.join(secrets(service))}".encode(), 500),
    "an answer of the wrong form": lambda service: Reply({"results": KEY, "data": KEY, "ResultItems": KEY}),
    "a redirect": lambda service: Reply(b"", 307, {"Location": f"https://x.test/?{KEY}"}),
    "no answer": lambda service: Reply(b"", 204),
}


@pytest.mark.parametrize("make", FAILURES.values(), ids=FAILURES)
def test_errors_and_logs_do_not_show_keys_or_texts(
    service: Service, colour: str, transport: Any, make: Callable[[Service], Reply], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "rerankkit")
    with recorder(lambda _: make(service)) as server:
        client = Client(provider(service, server.url), retry=Retry(attempts=2, base_delay=0.01), transport=transport)
        with client, pytest.raises(RerankError) as caught:
            run(colour, client, "rerank", TEXT, [TEXT, Document(TEXT, id=TEXT)])
    assert_silent(*shown_of(caught.value), caplog.text)


@pytest.mark.parametrize("package", ["langchain_rerankkit", "llamaindex_rerankkit"])
def test_adapters_do_not_show_their_keys(service: Service, package: str) -> None:
    name = f"{service.name.capitalize()}Rerank"
    extra = {"plan_id": "p" * 36, "region": "us-east-1"} if service is KENDRA else {}
    adapter = getattr(importlib.import_module(package), name)(**key_options(service), **extra)
    assert_silent(repr(adapter), str(adapter), pickle.dumps(adapter), repr(copy.deepcopy(adapter)))
    assert_silent(json.dumps(adapter.model_dump(mode="json")), adapter.model_dump_json(), str(adapter.model_dump()))
    if package == "llamaindex_rerankkit":
        assert_silent(str(adapter.to_dict()), adapter.to_json())
    else:
        from langchain_core.load import dumps

        assert_silent(dumps(adapter))


@pytest.mark.parametrize("package", ["langchain_rerankkit", "llamaindex_rerankkit"])
@pytest.mark.parametrize("wrong", [{"top_n": 0}, {"min_score": float("nan")}, {"topn": 3}, {"timeout": -1}, {"concurrency": 0}])
def test_adapters_validation_errors_do_not_show_keys(service: Service, package: str, wrong: dict[str, Any]) -> None:
    extra = {"plan_id": "p" * 36, "region": "us-east-1"} if service is KENDRA else {}
    with pytest.raises(ValueError, match="validation error") as caught:
        getattr(importlib.import_module(package), f"{service.name.capitalize()}Rerank")(
            **key_options(service), **extra, **wrong
        )
    assert_silent(*shown_of(caught.value))


def test_results_do_not_hold_keys(service: Service, colour: str) -> None:
    with recorder(service.scored(lambda *_: 0.5)) as server, Client(provider(service, server.url)) as client:
        response = run(colour, client, "rerank", "q", ["a"])
    assert_silent(repr(response), pickle.dumps(response))
