"""Group G: no key, token or text appears where it was not meant to go, and none is sent to anybody else."""

from __future__ import annotations

import ast
import copy
import dataclasses
import faulthandler
import importlib
import json
import logging
import os
import pickle
import pprint
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

import langchain_rerankkit
import llamaindex_rerankkit
import rerankkit
from helpers.canaries import KEY, TEXT, TOKEN, assert_silent, key_options, secrets, shown_of
from helpers.services import KENDRA, PLAN_ID, POINTWISE, SERVICES, Service
from helpers.ways import WAYS, run
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
from integration.reliability.rows import row
from integration.reliability.trial import SOON, Trial
from rerankkit import (
    Client,
    Cohere,
    InvalidRequestError,
    Kendra,
    KendraPlans,
    Pinecone,
    RerankError,
    Retry,
    Voyage,
    connect,
)

ADAPTERS = (langchain_rerankkit, llamaindex_rerankkit)
CORE = [way for way in WAYS if way.package == "core"]
KEYED: dict[str, tuple[type[Any], str, str]] = {  # the class, and the variables of its key and its address
    "cohere": (Cohere, "CO_API_KEY", "CO_API_URL"),
    "voyage": (Voyage, "VOYAGE_API_KEY", "VOYAGE_BASE_URL"),
    "pinecone": (Pinecone, "PINECONE_API_KEY", "PINECONE_CONTROLLER_HOST"),
}
keyed = pytest.mark.parametrize("service", POINTWISE, ids=lambda service: service.name)


def of(service: Service) -> Any:
    """The cases of one service alone."""
    return pytest.mark.parametrize("service", [service], ids=[service.name])


def adapter(module: Any, service: Service, **options: Any) -> Any:
    """A framework's own class for a service."""
    extra = {"plan_id": PLAN_ID, "region": "us-east-1"} if service is KENDRA else {}
    return getattr(module, f"{service.name.capitalize()}Rerank")(**extra, **options)


# G1: the form of keys

G1 = row("G1", "a key with a newline, a space, a NUL, a tab, beyond ASCII, empty, or after 'Bearer'", "refused, never shown")
BAD_KEYS: dict[str, tuple[Any, str]] = {
    "with a newline": (f"{KEY}\n", "white space at its start or end"),
    "with a carriage return": (f"{KEY}\r\n", "white space at its start or end"),
    "with a header after it": (f"{KEY}\r\nX-Evil: 1", "white space or control characters"),
    "with a space before": (f" {KEY}", "white space at its start or end"),
    "with a space inside": (f"{KEY} x", "white space or control characters"),
    "with a no-break space": (f"{KEY}\u00a0", "white space at its start or end"),
    "with a NUL": (f"{KEY}\0x", "white space or control characters"),
    "with a tab": (f"a\t{KEY}", "white space or control characters"),
    "with a DEL": (f"{KEY}\x7f", "white space or control characters"),
    "with an umlaut": (f"{KEY}ü", "outside ASCII"),
    "with a byte order mark": (f"\ufeff{KEY}", "white space or control characters|outside ASCII"),
    "with half a character": (f"{KEY}\ud800", "white space or control characters|outside ASCII"),
    "with Bearer before it": (f"Bearer {KEY}", "pass the key alone"),
    "with bearer twice": (f"bearer Bearer {KEY}", "pass the key alone"),
    "that is empty": ("", "is empty|needs a key"),
    "that is blank": ("  ", "white space"),
    "that is bytes": (KEY.encode(), "must be a str"),
    "that is a number": (31415926, "must be a str"),
}
SECRET_PARTS = {**dict.fromkeys(KEYED, ("api_key",)), "kendra": ("aws_secret_access_key", "aws_session_token")}
PARTS = [(service, part) for service in SERVICES for part in SECRET_PARTS[service.name]]
parts = pytest.mark.parametrize(("service", "part"), PARTS, ids=[f"{service.name}-{part}" for service, part in PARTS])


def assert_refused(make: Callable[[], Any], message: str) -> None:
    """Refused when it is made; nothing shows the key, nor do the frames that are not the caller's."""
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert_silent(*shown_of(caught.value), *held_in_frames(caught.value))


@G1
@parts
@pytest.mark.parametrize(("key", "message"), BAD_KEYS.values(), ids=BAD_KEYS)
def test_a_key_of_the_wrong_form_is_refused_at_construction(service: Service, part: str, key: Any, message: str) -> None:
    given = {**key_options(service), part: key}
    assert_refused(lambda: service.make("https://x.test", **given), message)
    if isinstance(key, str):
        hidden = {**given, part: SecretStr(key)}
        assert_refused(lambda: service.make("https://x.test", **hidden), message)
        target = f"kendra:{PLAN_ID}" if service is KENDRA else service.name
        region = {"region": "us-east-1"} if service is KENDRA else {}
        assert_refused(lambda: connect(target, **given, **region), message)


@G1
@parts
@pytest.mark.parametrize("module", ADAPTERS, ids=lambda module: module.__name__)
@pytest.mark.parametrize(
    ("key", "message"), [case for case in BAD_KEYS.values() if isinstance(case[0], str)], ids=list(BAD_KEYS)[:-2]
)
def test_adapters_refuse_a_key_of_the_wrong_form(service: Service, part: str, module: Any, key: str, message: str) -> None:
    given = {
        name: SecretStr(value) if name in SECRET_PARTS[service.name] else value for name, value in key_options(service).items()
    }
    assert_refused(lambda: adapter(module, service, **{**given, part: SecretStr(key)}), message)


@G1
@keyed
@pytest.mark.parametrize(
    ("key", "message"),
    [case for case in BAD_KEYS.values() if isinstance(case[0], str) and case[0].isascii() and "\0" not in case[0]][:-2],
)
def test_a_key_of_the_wrong_form_in_the_environment_is_refused(
    service: Service, key: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, name, _ = KEYED[service.name]
    monkeypatch.setenv(name, key)
    assert_refused(provider, message)


@G1
@of(KENDRA)
@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY}\t{KEY}", f"{KEY}ü"], ids=["newline", "tab", "umlaut"])
def test_aws_keys_of_the_wrong_form_in_the_environment_are_refused_before_any_request(
    service: Service, stage: Stage, colour: str, name: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in {"ACCESS_KEY_ID": "AKIDEXAMPLE", "SECRET_ACCESS_KEY": KEY, "SESSION_TOKEN": TOKEN}.items():
        monkeypatch.setenv(f"AWS_{variable}", value)
    monkeypatch.setenv(name, key)
    with Client(Kendra(PLAN_ID, region="us-east-1", base_url=stage.url)) as client:
        assert_refused(lambda: run(colour, client, "rerank", "q", ["a"]), "white space|outside ASCII")
    assert stage.count == 0


# G2: one sweep

G2 = row(
    "G2",
    "whatever shows objects: repr, vars, copies, pickles, dumps, logs at DEBUG, tracebacks with locals, warnings",
    "shows no key and no token",
)


def error_chain(error: BaseException | None, seen: list[BaseException] | None = None) -> list[BaseException]:
    """*error*, what it came from by either link, and so on."""
    found = [] if seen is None else seen
    if error is not None and not any(error is known for known in found):
        found.append(error)
        error_chain(error.__cause__, found)
        error_chain(error.__context__, found)
    return found


def held_in_frames(error: BaseException | None) -> Iterator[str]:
    """What error trackers record: the locals of all frames of all errors of the chain, but for those of the tests."""
    for each in error_chain(error):
        trace: TracebackType | None = each.__traceback__
        while trace is not None:
            frame = trace.tb_frame
            if f"{os.sep}tests{os.sep}" not in frame.f_code.co_filename:
                yield from (f"{frame.f_code.co_qualname}: {name}={_safe(value)}" for name, value in frame.f_locals.items())
            trace = trace.tb_next


def _safe(value: object) -> str:
    """Its repr, without the caller's text, which is an argument of every call."""
    try:
        return repr(value).replace(TEXT, "a text")
    except Exception as error:  # noqa: BLE001 -- half-made objects
        return type(error).__name__


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
    with Client(service.make(stage.url, **key_options(service))) as client:
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
    with Client(service.make(stage.url, **key_options(service))) as client:
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
    with Client(service.make(stage.url), retry=Retry(attempts=1)) as client:
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
    with Client(service.make(stage.url, **echo_options(service, key))) as client:
        response = run(colour, client, "rerank", "q", ["a"])
    assert_silent(repr(response))
    assert "**********" in repr(response)


# G4, G5, G6: addresses

G4 = row("G4", "an unencrypted address beyond this machine", "refused unless `allow_http=True`")
G5 = row(
    "G5", "an address with a user, a query, a fragment, a backslash, odd hosts, another scheme", "refused, or dialled as read"
)
G6 = row(
    "G6", "an address of cloud metadata, of everywhere, or a number", "refused; RERANKKIT_ALLOWED_HOSTS allows what it names"
)


@G4
@pytest.mark.parametrize("host", ["api.example.com", "10.0.0.1", "127.0.0.1.evil.com", "localhost.evil.com", "[2001:db8::1]"])
def test_plain_http_beyond_this_machine_is_refused_unless_asked_for(service: Service, host: str) -> None:
    with pytest.raises(InvalidRequestError, match="unencrypted.*allow_http=True"):
        service.make(f"http://{host}")
    assert service.make(f"http://{host}", allow_http=True).base_url == f"http://{host}"


@G4
@pytest.mark.parametrize("module", ADAPTERS, ids=lambda module: module.__name__)
def test_adapters_refuse_plain_http_as_well(service: Service, module: Any) -> None:
    with pytest.raises(ValueError, match="unencrypted"):
        adapter(module, service, **key_options(service), base_url="http://api.example.com")


@G4
@keyed
def test_plain_http_from_the_environment_is_refused_as_well(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    provider, _, variable = KEYED[service.name]
    monkeypatch.setenv(variable, "http://api.example.com")
    with pytest.raises(InvalidRequestError, match="unencrypted"):
        provider(api_key=KEY)


@G4
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]"])
def test_plain_http_to_this_machine_is_fine(service: Service, host: str) -> None:
    assert service.make(f"http://{host}:8765/x/").base_url == f"http://{host}:8765/x"


MALFORMED = {
    "without a scheme": "api.example.com",
    "without slashes": "https:api.example.com",
    "with two slashes alone": "//evil.com",
    "of another scheme": "ftp://api.example.com",
    "of a file": "file:///etc/passwd",
    "of a socket": "unix:///run/x.sock",
    "of a socket in HTTP": "http+unix://%2Frun%2Fx.sock",
    "of a script": "javascript:alert(1)",
    "without a host": "https://",
    "with a path alone": "https:///path",
    "with a port alone": "https://:443",
    "with a query": "https://api.example.com?x=1",
    "with an empty query": "https://api.example.com?",
    "with a fragment": "https://api.example.com#x",
    "with an empty fragment": "https://api.example.com#",
    "with a backslash": "https://api.example.com\\@evil.com",
    "with a backslash in the path": "https://api.example.com/\\evil.com",
    "with white space": "https://api.example .com",
    "with white space before": " https://api.example.com",
    "with a tab": "https://api.exa\tmple.com",
    "with a newline": "https://api.example.com\n",
    "with a header": "https://api.example.com/\r\nX-Evil: 1",
    "with a NUL": "https://api.example.com\0.evil.com",
    "with a wrong port": "https://api.example.com:99999",
    "with a port that is a word": "https://api.example.com:http",
    "with port 0": "https://api.example.com:0",
    "with a negative port": "https://api.example.com:-1",
    "with an IDN host": "https://api.exämple.com",
    "with a host that looks like another": "https://\u0430pi.example.com",
    "with a full-width dot": "https://api\uff0eexample.com",
    "with a percent-encoded host": "https://api%2eexample.com",
    "with a host before the brackets": "http://evil.com[::1]",
    "with a host behind the brackets": "https://[::1]evil.com:443",
    "with an address of the future": "https://[v1.fe]",
    "with a zone": "https://[fe80::1%25eth0]",
    "with half a bracket": "https://[::1",
    "with two colons": "https://api.example.com::443",
    "with an empty label": "https://api..example.com",
    "with a label of 64": f"https://{'a' * 64}.com",
    "with a host of 254": f"https://{'a.' * 126}com",
    "with a hyphen first": "https://-api.example.com",
    "that is no text": 3,
}


@G5
@pytest.mark.parametrize("url", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_base_url_is_refused(service: Service, url: Any) -> None:
    with pytest.raises(InvalidRequestError, match="base_url"):
        service.make(url)


@G5
@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2@api.example.com",
        "https://hunter2@api.example.com",
        "https://api.example.com:hunter2@evil.com",
        "https://:hunter2@api.example.com",
        "https://hunter2:@api.example.com/@x",
        "https://@api.example.com",
    ],
)
def test_a_password_in_a_base_url_is_refused_and_not_shown(service: Service, url: str) -> None:
    with pytest.raises(InvalidRequestError, match="user name or password|malformed") as caught:
        service.make(url)
    assert "hunter2" not in str(caught.value)


DIALLED = {  # an address, and the host that is dialled
    "https://API.Example.COM": "api.example.com",
    "https://api.example.com/": "api.example.com",
    "https://api.example.com/a/@evil.com": "api.example.com",
    "https://api.example.com/http://evil.com": "api.example.com",
    "https://api.example.com//evil.com": "api.example.com",
    "https://api.example.com/%2e%2e/x": "api.example.com",
    "https://api.example.com/../x": "api.example.com",
    "https://api.example.com:8443": "api.example.com",
    "https://api.example.com:": "api.example.com",
    "https://xn--exmple-cua.com": "xn--exmple-cua.com",
    "https://xn--exmple-cua.com:8443/v1": "xn--exmple-cua.com",
    "https://a_b.example.com": "a_b.example.com",
    "https://[2001:db8::1]": "2001:db8::1",
    "https://[2001:DB8:0:0::1]:8443": "2001:db8:0:0::1",
    "https://192.0.2.7": "192.0.2.7",
    "HTTPS://api.example.com": "api.example.com",
}


@G5
@pytest.mark.parametrize(("url", "host"), DIALLED.items(), ids=DIALLED)
def test_the_host_that_was_checked_is_the_host_that_is_dialled(
    service: Service, url: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialled: list[str] = []
    monkeypatch.setattr(DEADLINE_BACKEND, "connect_tcp", lambda _, host, *__, **___: dialled.append(host.lower()) or refuse())
    provider = service.make(url)
    assert urlsplit(provider.base_url).hostname == host
    with Client(provider, retry=Retry(attempts=1)) as client, pytest.raises(RerankError):
        client.rerank("q", ["a"])
    assert dialled == [host]


DEADLINE_BACKEND = importlib.import_module("rerankkit._deadline_stream").DeadlineBackend


def refuse() -> None:
    raise ConnectionRefusedError


PLACES = [
    "https://169.254.169.254",
    "https://169.254.169.254/latest/meta-data",
    "https://169.254.170.2",
    "https://[fe80::1]",
    "https://0.0.0.0",
    "https://[::]",
    "https://224.0.0.1",
    "https://[ff02::1]",
    "https://2130706433",
    "https://0x7f000001",
    "https://0x7f.1",
    "https://127.1",
    "https://0177.0.0.1",
    "https://1.2.3",
    "https://1.2.3.4.5",
    "https://api.example.1",
    "https://256.1.1.1",
    "https://[::ffff:169.254.169.254]",
    "https://[::ffff:0.0.0.0]",
    "https://2852039166",
    "https://0xa9fea9fe",
]


@G6
@pytest.mark.parametrize("url", PLACES)
@pytest.mark.parametrize("allow_http", [False, True], ids=["https", "http allowed"])
def test_a_place_where_no_service_is_is_refused(service: Service, url: str, allow_http: bool) -> None:
    given = url.replace("https", "http") if allow_http else url
    with pytest.raises(InvalidRequestError, match="base_url"):
        service.make(given, allow_http=allow_http)


ALLOWED: list[tuple[str, str, bool]] = [
    ("gateway.example.com", "https://gateway.example.com/v1", True),
    ("gateway.example.com", "https://GATEWAY.example.com", True),
    ("a.test, gateway.example.com", "https://gateway.example.com:8443", True),
    ("*.example.com", "https://gateway.example.com", True),
    ("*.example.com", "https://deep.gateway.example.com", True),
    ("*.Example.com", "https://gateway.example.com", True),
    ("*.example.com", "https://example.com", False),
    ("*.example.com", "https://evilexample.com", False),
    ("*.example.com", "https://gateway.example.com.evil.com", False),
    ("gateway.example.com", "https://evil.com", False),
    ("gateway.example.com", "https://agateway.example.com", False),
    ("gateway.example.com", "https://10.0.0.1", False),
    ("gateway.example.com", "http://127.0.0.1:80", False),
    ("example.*", "https://example.com", False),
]


@G6
@pytest.mark.parametrize(("allowed", "url", "is_allowed"), ALLOWED, ids=[f"{url} of {allowed}" for allowed, url, _ in ALLOWED])
def test_only_allowed_hosts_are_used_where_some_are_named(
    service: Service, allowed: str, url: str, is_allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RERANKKIT_ALLOWED_HOSTS", allowed)
    if is_allowed:
        assert service.make(url).base_url.lower() == url.lower()
    else:
        with pytest.raises(InvalidRequestError, match="RERANKKIT_ALLOWED_HOSTS"):
            service.make(url)


@G6
@pytest.mark.parametrize("module", ADAPTERS, ids=lambda module: module.__name__)
def test_adapters_keep_to_allowed_hosts(service: Service, module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RERANKKIT_ALLOWED_HOSTS", "gateway.example.com")
    with pytest.raises(ValueError, match="RERANKKIT_ALLOWED_HOSTS"):
        adapter(module, service, **key_options(service), base_url="https://evil.com")


# G11: the environment's key

G11 = row("G11", "a key in the environment and an address of somebody else", "refused unless key or address are given with it")
FOREIGN = "https://gateway.example.com"


def entries(service: Service) -> dict[str, Callable[..., Any]]:
    """All the ways to a provider that finds its key itself."""
    provider, _, _ = KEYED[service.name]
    return {
        "provider": provider,
        "connect": lambda **options: connect(service.name, **options).provider,  # type: ignore[attr-defined]
        "langchain": lambda **options: adapter(langchain_rerankkit, service, **options).client().provider,
        "llamaindex": lambda **options: adapter(llamaindex_rerankkit, service, **options).client().provider,
    }


@G11
@keyed
@pytest.mark.parametrize("entry", ["provider", "connect", "langchain", "llamaindex"])
def test_a_key_from_the_environment_goes_only_where_the_environment_says(
    service: Service, entry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = entries(service)[entry]
    _, key, url = KEYED[service.name]
    monkeypatch.setenv(key, KEY)
    with pytest.raises(ValueError, match=f"gateway.example.com.*pass api_key= as well.*or set {url}") as caught:
        make(base_url=FOREIGN)
    assert_silent(*shown_of(caught.value))
    assert make(api_key="another-key-0123", base_url=FOREIGN).base_url == FOREIGN
    assert urlsplit(make().base_url).hostname != urlsplit(FOREIGN).hostname
    monkeypatch.setenv(url, FOREIGN)
    assert make().base_url == FOREIGN


NEIGHBOURS = ["{}.evil.com", "evil-{}", "{}.", "x.{}.evil.com", "evil{}"]


@G11
@keyed
@pytest.mark.parametrize("form", NEIGHBOURS)
def test_a_host_that_looks_like_the_services_is_not(service: Service, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    provider, key, _ = KEYED[service.name]
    monkeypatch.setenv(key, KEY)
    for domain in provider.access.domains:
        with pytest.raises(InvalidRequestError, match="not .* own|http"):
            provider(base_url=f"https://{form.format(domain)}")
        assert provider(base_url=f"https://sub.{domain}").base_url == f"https://sub.{domain}"


@G11
@keyed
def test_a_key_from_the_environment_is_not_sent_along(
    service: Service, stage: Stage, colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, name, _ = KEYED[service.name]
    monkeypatch.setenv(name, KEY)
    with Client(service.make(stage.url, api_key="another-key-0123")) as client:
        run(colour, client, "rerank", "q", ["a"])
    (request,) = stage.requests
    assert_silent(request.body, *request.headers.values())


@G11
@of(KENDRA)
def test_aws_secrets_are_never_sent_they_sign(
    service: Service, stage: Stage, colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    with Client(Kendra(PLAN_ID, region="us-east-1", base_url=stage.url)) as client:
        run(colour, client, "rerank", "q", ["a"])
    (request,) = stage.requests
    assert_silent(request.body, *request.headers.values())
    assert request.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")


# G12: what replies are read with

G12 = row("G12", "a reply or a file that would be code", "replies are read as JSON; nothing here unpickles, evaluates or runs")
FORBIDDEN = {"pickle", "marshal", "shelve", "dill", "jsonpickle", "xml", "ctypes"}
CALLS = {"eval", "exec", "compile", "__import__", "loads_pickle", "unsafe_load", "full_load", "load_all", "system", "popen"}
SOURCES = sorted(path for package in (rerankkit, *ADAPTERS) for path in Path(str(package.__file__)).parent.rglob("*.py"))


def named(node: ast.AST) -> str:
    """What a call calls, without where that is found."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


@G12
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: "/".join(path.parts[-2:]))
def test_no_module_unpickles_evaluates_or_runs_anything(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            assert not FORBIDDEN & {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").partition(".")[0] not in FORBIDDEN
        elif isinstance(node, ast.Call):
            name, owner = named(node.func), named(getattr(node.func, "value", ast.Pass()))
            assert name not in CALLS or (owner, name) == ("re", "compile"), f"line {node.lineno}"
            assert not (owner == "yaml" and name == "load"), f"line {node.lineno}"
            shell = [keyword.arg for keyword in node.keywords if keyword.arg == "shell"]
            assert not shell, f"line {node.lineno}"


PICKLED = pickle.dumps({"results": [{"index": 0, "relevance_score": 0.5}]})
YAML = b"results:\n- {index: 0, relevance_score: 0.5}\ndata: !!python/object/apply:os.getpid []\n"


@G12
@pytest.mark.parametrize("body", [PICKLED, YAML, b"{'results': []}", b"results=[]"], ids=["pickle", "YAML", "Python", "form"])
@pytest.mark.parametrize("status", [200, 400])
def test_a_reply_that_is_no_json_is_an_error(trial: Trial, body: bytes, status: int) -> None:
    trial.stage.play(Status(status, {"Content-Type": "application/x-yaml"}, body))
    assert isinstance(trial(retry=SOON).error, RerankError)
