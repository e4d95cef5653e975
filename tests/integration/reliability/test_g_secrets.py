"""Group G: no key, token or text appears where it was not meant to go."""

from __future__ import annotations

import copy
import dataclasses
import faulthandler
import json
import logging
import pickle
import pprint
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydantic import SecretStr

import langchain_rerankkit
import llamaindex_rerankkit
from helpers.canaries import KEY, TEXT, assert_silent, held_in_frames, key_options, secrets, shown_of
from helpers.services import KENDRA, PLAN_ID, Service
from helpers.ways import run
from integration.reliability.fault_server import Stage
from integration.reliability.faults import (
    Fault,
    Raw,
    Status,
    closes_in_body,
    closes_without_a_word,
    resets_after_request,
    resets_at_accept,
    says_nothing,
)
from integration.reliability.keyed import ADAPTERS, CORE, SECRET_PARTS, adapter
from integration.reliability.rows import row
from integration.reliability.trial import Trial
from rerankkit import (
    Client,
    InvalidRequestError,
    KendraPlans,
    RerankError,
    Retry,
    connect,
)

G2 = row(
    "G2",
    "whatever shows objects: repr, vars, copies, pickles, dumps, logs at DEBUG, tracebacks with locals, warnings",
    "shows no key and no token",
)


def attributes(thing: object) -> str:
    """What is found by going through `dir`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydantic's own, about names of its past
        return str([repr(getattr(thing, name, None)) for name in dir(thing) if not name.startswith("__")])


def state(thing: Any) -> str:
    """Its attributes, those of pydantic's kind as well."""
    return f"{vars(thing)} {getattr(thing, '__pydantic_private__', '')}"


VIEWS: dict[str, Callable[[Any], str | bytes]] = {
    "repr": repr,
    "str": str,
    "ascii": ascii,
    "format": lambda thing: f"{thing} {thing!r:>20} {thing!s}",
    "vars": state,
    "dir": attributes,
    "pprint": pprint.pformat,
    "pickle": lambda thing: b"".join(pickle.dumps(thing, protocol) for protocol in range(2, 6)),
    "the repr of a copy": lambda thing: repr(copy.copy(thing)) + state(copy.copy(thing)),
    "the repr of a deep copy": lambda thing: repr(copy.deepcopy(thing)) + state(copy.deepcopy(thing)),
    "the pickle of a copy": lambda thing: pickle.dumps(copy.deepcopy(thing)),
}
DUMPS: dict[str, Callable[[Any], str]] = {
    "model_dump": lambda thing: str(thing.model_dump()),
    "model_dump for JSON": lambda thing: json.dumps(thing.model_dump(mode="json")),
    "model_dump_json": lambda thing: thing.model_dump_json(),
    "model_copy": lambda thing: repr(thing.model_copy()) + repr(thing.model_copy(deep=True)),
    "iteration": lambda thing: str(list(thing)),
}


def langchain_dumps(thing: Any) -> str:
    from langchain_core.load import dumpd, dumps

    return dumps(thing) + str(dumpd(thing))


OWN_DUMPS: dict[str, Callable[[Any], str]] = {
    "langchain_rerankkit": langchain_dumps,
    "llamaindex_rerankkit": lambda thing: f"{thing.to_dict()} {thing.to_json()} {thing.dict()} {thing.json()}",
}


def made(service: Service, kind: str, url: str = "http://127.0.0.1:1") -> Any:
    """Something that holds the keys."""
    provider = service.make(url, **key_options(service))
    makes: dict[str, Callable[[], Any]] = {
        "provider": lambda: provider,
        "client": lambda: Client(provider),
        "connection pools": lambda: Client(provider)._http,
        "LangChain's with a client": lambda: langchain_rerankkit.RerankCompressor(reranker=Client(provider)),
        "LlamaIndex's with a client": lambda: llamaindex_rerankkit.RerankPostprocessor(reranker=Client(provider)),
        "LangChain's own class": lambda: adapter(langchain_rerankkit, service, **key_options(service), base_url=url),
        "LlamaIndex's own class": lambda: adapter(llamaindex_rerankkit, service, **key_options(service), base_url=url),
    }
    return makes[kind]()


KINDS = ("provider", "client", "connection pools")
MODELS = (
    "LangChain's with a client",
    "LlamaIndex's with a client",
    "LangChain's own class",
    "LlamaIndex's own class",
)


@G2
@pytest.mark.parametrize("kind", KINDS + MODELS)
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_objects_show_no_key(service: Service, kind: str, view: Callable[[Any], str | bytes]) -> None:
    assert_silent(view(made(service, kind)))


@G2
@pytest.mark.parametrize("kind", KINDS)
def test_objects_that_have_been_used_show_no_key(service: Service, stage: Stage, colour: str, kind: str) -> None:
    thing = made(service, kind, stage.url)
    with Client(service.make(stage.url, **key_options(service)), transport=service.transport) as client:
        if kind == "provider":
            client.provider = thing
        thing = thing if kind == "provider" else client if kind == "client" else client._http
        run(colour, client, "rerank", "q", ["a"])
        assert_silent(*(view(thing) for view in VIEWS.values()))


@G2
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("dump", DUMPS.values(), ids=DUMPS)
def test_models_dump_no_key(service: Service, kind: str, dump: Callable[[Any], str]) -> None:
    assert_silent(dump(made(service, kind)))


@G2
@pytest.mark.parametrize("module", ADAPTERS, ids=lambda module: module.__name__)
def test_the_frameworks_own_dumps_hold_no_key(service: Service, module: Any) -> None:
    assert_silent(OWN_DUMPS[module.__name__](adapter(module, service, **key_options(service))))


@G2
def test_plans_show_no_key() -> None:
    with KendraPlans(region="us-east-1", **key_options(KENDRA)) as plans:
        assert_silent(*(view(plans) for name, view in VIEWS.items() if "pickle" not in name and "copy" not in name))


@G2
def test_results_hold_no_key(service: Service, stage: Stage, colour: str) -> None:
    with Client(service.make(stage.url, **key_options(service)), transport=service.transport) as client:
        response = run(colour, client, "rerank", "q", ["a"])
    assert_silent(repr(response), pickle.dumps(response), str(dataclasses.asdict(response)))


FAILURES: dict[str, Callable[[Service], Fault]] = {
    "a refusal that echoes the key": lambda service: Status(401, body=service.error(f"bad {' '.join(secrets(service))}")),
    "a 403": lambda service: Status(403, body=service.error("no")),
    "a rate limit": lambda service: Status(429, {"Retry-After": "99"}, service.error("slow down")),
    "an outage that echoes the key on a page": lambda service: Status(500, body=f"oops {' '.join(secrets(service))}".encode()),
    "an answer of the wrong form": lambda _: Status(200, body={"results": KEY, "data": KEY, "ResultItems": KEY}),
    "no JSON": lambda _: Status(200, body=b"<html>"),
    "a redirect": lambda _: Status(307, {"Location": "https://x.test/"}),
    "no HTTP": lambda _: Raw(b"\0\0\0 no HTTP \r\n\r\n"),
    "a reset at once": lambda _: resets_at_accept,
    "a reset": lambda _: resets_after_request,
    "no answer": lambda _: closes_without_a_word,
    "half an answer": lambda _: closes_in_body,
    "another success": lambda _: Status(204, body=b""),
    "silence": lambda _: says_nothing,
}


class Stacks(logging.Handler):
    """Has faulthandler write down what all threads are doing, at each log of this package."""

    def __init__(self) -> None:
        super().__init__()
        self.file = tempfile.TemporaryFile("w+b")  # noqa: SIM115 -- closed with the handler

    def emit(self, record: logging.LogRecord) -> None:
        faulthandler.dump_traceback(self.file)

    def read(self) -> bytes:
        self.file.seek(0)
        return self.file.read()

    def close(self) -> None:
        self.file.close()
        super().close()


@contextmanager
def stacks() -> Iterator[Stacks]:
    handler = Stacks()
    logging.getLogger("rerankkit").addHandler(handler)
    try:
        yield handler
    finally:
        logging.getLogger("rerankkit").removeHandler(handler)
        handler.close()


@G2
@pytest.mark.parametrize("make", FAILURES.values(), ids=FAILURES)
def test_failures_show_no_key_and_no_text(trial: Trial, make: Callable[[Service], Fault]) -> None:
    """Nor do logs of all loggers at DEBUG, asyncio's in debug mode, the errors' chains (all by `Trial`), and these:"""
    trial.stage.always(make(trial.service))
    trial.debug = True
    with stacks() as written:
        error = trial(timeout=0.2 if make(trial.service) is says_nothing else 5.0).error
        assert isinstance(error, RerankError)
        assert_silent(written.read(), *held_in_frames(error), pickle.dumps(error), repr(copy.copy(error)))
    assert trial.way.colour == "sync" or "took" in trial.caplog.text, "asyncio's debug mode was on"


@G2
@pytest.mark.parametrize("way", CORE, ids=str)
@pytest.mark.parametrize("name", ["a rate limit", "an answer of the wrong form", "a reset", "half an answer"])
def test_tracebacks_with_locals_show_no_key(trial: Trial, name: str) -> None:
    from rich.traceback import Traceback

    trial.stage.always(FAILURES[name](trial.service))
    error = trial().error
    assert error is not None
    found = Traceback.extract(
        type(error), error, error.__traceback__, show_locals=True, locals_max_length=100, locals_max_string=10_000
    )
    shown = [node.render(10_000) for stack in found.stacks for frame in stack.frames for node in (frame.locals or {}).values()]
    assert len(shown) > 10
    assert_silent(*(text.replace(TEXT, "a text") for text in shown))


@G2
def test_the_callers_own_errors_keep_their_frames(service: Service, stage: Stage, colour: str) -> None:
    stage.always(resets_after_request)
    with Client(service.make(stage.url), retry=Retry(attempts=1), transport=service.transport) as client:
        try:
            {}["nothing"]
        except KeyError as own:
            with pytest.raises(RerankError):
                run(colour, client, "rerank", "q", ["a"])
            frames = own.__traceback__
    assert frames is not None


WRONG: dict[str, dict[str, Any]] = {
    "base_url": {"base_url": "http://x.test"},
    "allow_http": {"allow_http": 3},
    "an unknown option": {"nobody": 3},
}


@G2
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_failed_constructions_show_no_key(service: Service, wrong: dict[str, Any]) -> None:
    extra = {"plan_id": PLAN_ID, "region": "us-east-1"} if service is KENDRA else {}
    provider_class = type(service.make("https://x.test"))
    makes = [
        lambda: provider_class(**extra, **key_options(service), **wrong),
        lambda: connect(f"{service.name}:{PLAN_ID}", **key_options(service), **wrong),
    ]
    for make in makes:
        with pytest.raises((InvalidRequestError, TypeError)) as caught:
            make()
        assert_silent(*shown_of(caught.value), *held_in_frames(caught.value))


@G2
@pytest.mark.parametrize("module", ADAPTERS, ids=lambda module: module.__name__)
@pytest.mark.parametrize(
    "wrong",
    [{"top_n": 0}, {"min_score": float("nan")}, {"topn": 3}, {"timeout": -1}, {"concurrency": 0}, *WRONG.values()],
    ids=str,
)
def test_adapters_validation_errors_show_no_key(service: Service, module: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error") as caught:
        adapter(module, service, **key_options(service), **wrong)
    assert_silent(*shown_of(caught.value))
    hidden = {
        name: SecretStr(value) if name in SECRET_PARTS[service.name] else value for name, value in key_options(service).items()
    }
    with pytest.raises(ValueError, match="validation error") as caught:
        adapter(module, service, **hidden, **wrong)
    assert_silent(*shown_of(caught.value), *held_in_frames(caught.value))


@G2
def test_llamaindexs_spans_and_events_show_no_key(service: Service, stage: Stage, colour: str) -> None:
    from llama_index.core.schema import NodeWithScore, TextNode
    from llama_index_instrumentation import get_dispatcher
    from llama_index_instrumentation.event_handlers import BaseEventHandler
    from llama_index_instrumentation.span import SimpleSpan
    from llama_index_instrumentation.span_handlers import BaseSpanHandler

    seen: list[str] = []

    class Spans(BaseSpanHandler[SimpleSpan]):
        def new_span(self, id_: str, bound_args: Any, instance: Any = None, *args: Any, **kwargs: Any) -> Any:
            seen.append(f"{id_} {bound_args} {instance!r} {args} {kwargs}")

        def prepare_to_exit_span(self, *args: Any, **kwargs: Any) -> Any:
            seen.append(f"{args} {kwargs}")

        def prepare_to_drop_span(self, *args: Any, **kwargs: Any) -> Any:
            seen.append(f"{args} {kwargs}")

    class Events(BaseEventHandler):
        def handle(self, event: Any, **kwargs: Any) -> None:
            seen.append(f"{event!r} {event.model_dump()} {kwargs}")

    root = get_dispatcher()
    spans, events = Spans(), Events()
    root.add_span_handler(spans)
    root.add_event_handler(events)
    try:
        for fault in (Status(403), Status(200, body=service.answer([(0, 0.5)]))):
            stage.play(fault)
            postprocessor = adapter(llamaindex_rerankkit, service, **key_options(service), base_url=stage.url)
            nodes = [NodeWithScore(node=TextNode(text="text"))]
            try:
                run(colour, postprocessor, "postprocess_nodes", nodes, query_str="q")
            except RerankError:
                assert fault == Status(403)
            postprocessor.client().close()
    finally:
        root.span_handlers.remove(spans)
        root.event_handlers.remove(events)
    assert seen
    assert_silent(*seen)


# Echoes

G3 = row("G3", "a reply that echoes the key, anywhere and in any form", "the key is masked before anything reads it")
ODD_KEY = 'canary+key/5f1d7c2e9b=="\\'


def echo_options(service: Service, key: str) -> dict[str, Any]:
    return {**key_options(service), SECRET_PARTS[service.name][0]: key}


ECHOES: dict[str, Callable[[Service, str], Fault]] = {
    "in its words": lambda service, key: Status(401, body=service.error(f"invalid key {key}")),
    "at the end of a long text": lambda service, key: Status(400, body=service.error("x" * 490 + key + " and more" * 9)),
    "on a page": lambda _, key: Status(502, {"Content-Type": "text/plain"}, f"Authorization: Bearer {key}".encode()),
    "as JSON with other escapes": lambda service, key: Status(
        403, body=json.dumps(service.error(f"bad {key}")).replace("/", "\\/").replace("+", "\\u002B").encode()
    ),
    "as JSON, all by numbers": lambda service, key: Status(
        401,
        body=json.dumps(service.error("@")).replace("@", "".join(f"\\u{ord(char):04X}" for char in key)).encode(),
    ),
    "in a redirect": lambda _, key: Status(307, {"Location": f"https://x.test/?{key}"}),
    "in JSON of another form": lambda _, key: Status(422, body={"oops": [{"headers": {"authorization": f"Bearer {key}"}}]}),
    "in a request id": lambda _, key: Status(500, {"X-Request-Id": key, "x-amzn-RequestId": key}, {"id": key}),
    "in a wrong answer": lambda _, key: Status(200, body={"results": [{key: key}], "data": key, "ResultItems": key}),
}


@G3
@pytest.mark.parametrize("key", [KEY, ODD_KEY], ids=["a plain key", "a key that JSON escapes"])
@pytest.mark.parametrize("make", ECHOES.values(), ids=ECHOES)
def test_an_echoed_key_is_masked(trial: Trial, make: Callable[[Service, str], Fault], key: str) -> None:
    if make in (ECHOES["in a request id"], ECHOES["in a redirect"]):
        trial.loggers = ("rerankkit",)  # the HTTP library writes down the headers that it receives
    trial.stage.always(make(trial.service, key))
    error = trial(retry=Retry(attempts=1), **echo_options(trial.service, key)).error
    assert isinstance(error, RerankError)
    assert key not in str(error)


@G3
@pytest.mark.parametrize("key", [KEY, ODD_KEY], ids=["a plain key", "a key that JSON escapes"])
def test_a_key_that_a_success_echoes_is_masked(service: Service, stage: Stage, colour: str, key: str) -> None:
    answer = {
        **service.answer([(0, 0.5)]),
        "id": f"id {key}",
        "RescoreId": f"id {key}",
        "model": f"model {key}",
        "meta": {"warnings": [f"saw {key}"]},
    }
    stage.play(Status(200, {"x-api-warning": f"saw {key}", "x-request-id": f"id {key}"}, answer))
    with Client(service.make(stage.url, **echo_options(service, key)), transport=service.transport) as client:
        response = run(colour, client, "rerank", "q", ["a"])
    assert_silent(repr(response))
    assert "**********" in repr(response)
