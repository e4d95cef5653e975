"""What LlamaIndex is told is made where it has somebody to hand it to, and is complete; what it says of nodes is kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from llama_index.core.callbacks import EventPayload
from llama_index.core.schema import Document, MetadataMode, NodeWithScore, TextNode
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.dispatcher import Dispatcher
from llama_index_instrumentation.event_handlers import NullEventHandler
from llama_index_instrumentation.span_handlers import SimpleSpanHandler

from helpers.llamaindex import Asked, Callbacks, Heard, heard, nodes, span_named
from helpers.ways import run
from llamaindex_rerankkit import RerankPostprocessor, reporting
from rerankkit import ServerError
from rerankkit.testing import FakeReranker

TAGS = {"served_by": "fake:fake", "status": "ok", "cost": None, "attempts": [], "warnings": []}
PAIR = ["ReRankStartEvent", "ReRankEndEvent"]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the events that are made, heard or not."""
    names: list[str] = []

    def noting(kind: Any) -> Any:
        def noted(**fields: Any) -> Any:
            names.append(kind.class_name())
            return kind(**fields)

        return noted

    for name in PAIR:
        monkeypatch.setattr(reporting, name, noting(getattr(reporting, name)))
    return names


def ask(colour: str, **options: Any) -> Any:
    reranker = RerankPostprocessor(**{"reranker": Asked(), **options})
    return run(colour, reranker, "postprocess_nodes", nodes("a 0.1", "b 0.3"), query_str="q")


@contextmanager
def handled(dispatcher: Dispatcher, handlers: Sequence[Any], *, propagate: bool = True) -> Iterator[None]:
    before = dispatcher.event_handlers, dispatcher.propagate
    dispatcher.event_handlers, dispatcher.propagate = list(handlers), propagate
    try:
        yield
    finally:
        dispatcher.event_handlers, dispatcher.propagate = before


def check(events: Heard, top_n: int = 2) -> None:
    assert [event.class_name() for event in events.events] == PAIR
    start, end = events.events
    assert (start.query.query_str, start.top_n, start.model_name) == ("q", top_n, "fake")
    assert [node.node_id for node in start.nodes] == ["a", "b"]
    assert [node.node_id for node in end.nodes] == ["b", "a"][:top_n]
    assert end.tags.items() >= TAGS.items()
    assert end.tags["usage"]["requests"] == 1


def test_where_nobody_listens_no_event_is_made(made: list[str], colour: str) -> None:
    root = get_dispatcher("root")
    for handlers in ([], [NullEventHandler()], [NullEventHandler(), NullEventHandler()]):
        with handled(root, handlers, propagate=False):
            assert [node.node_id for node in ask(colour)] == ["b", "a"]
    assert made == []


def test_where_nobody_listens_an_error_is_raised_as_it_is(made: list[str], colour: str) -> None:
    failing = Asked()
    failing.fail(error := ServerError("down"))
    with pytest.raises(ServerError) as raised:
        ask(colour, reranker=failing)
    assert raised.value is error
    assert made == []


@pytest.mark.parametrize("name", ["root", "llamaindex_rerankkit.reporting"])
def test_a_handler_of_any_dispatcher_on_the_way_hears_everything(name: str, made: list[str], colour: str) -> None:
    events = Heard(events=[])
    with handled(get_dispatcher(name), [NullEventHandler(), events], propagate=name != "root"):
        ask(colour, top_n=1)
    check(events, top_n=1)
    assert made == PAIR


def test_somebodys_own_null_handler_hears(colour: str) -> None:
    class Counting(Heard, NullEventHandler):
        pass

    events = Counting(events=[])
    with handled(get_dispatcher("root"), [events], propagate=False):
        ask(colour)
    check(events)


def test_a_dispatcher_that_does_not_propagate_keeps_events_from_those_above(made: list[str], colour: str) -> None:
    with heard() as (events, _), handled(reporting.dispatcher, [], propagate=False):
        ask(colour)
    assert (events.rerank, made) == ([], [])


def test_who_comes_in_the_middle_of_a_call_hears_its_end(colour: str) -> None:
    root, events = get_dispatcher("root"), Heard(events=[])

    class Attaching(Asked):
        def _began(self) -> None:
            root.event_handlers = [*root.event_handlers, events]

        def rerank(self, *args: Any, **options: Any) -> Any:
            self._began()
            return super().rerank(*args, **options)

        async def arerank(self, *args: Any, **options: Any) -> Any:
            self._began()
            return await super().arerank(*args, **options)

    with handled(root, root.event_handlers, propagate=False):
        ask(colour, reranker=Attaching())
    assert [event.class_name() for event in events.events] == ["ReRankEndEvent"]
    assert events.events[0].tags.items() >= TAGS.items()


def test_the_older_callbacks_alone_are_told_everything(made: list[str], colour: str) -> None:
    callbacks = Callbacks()
    found = ask(colour, callback_manager=callbacks.manager)
    (start,), (end,) = callbacks.reranking()
    assert [node.node_id for node in start[EventPayload.NODES]] == ["a", "b"]
    assert (start[EventPayload.QUERY_STR], start[EventPayload.TOP_K], start[EventPayload.MODEL_NAME]) == ("q", 2, "fake")
    assert end[EventPayload.NODES] == found
    assert end[EventPayload.ADDITIONAL_KWARGS].items() >= TAGS.items()
    assert made == [], "the newer system has nobody to tell"


def test_both_systems_are_told_the_same(colour: str) -> None:
    callbacks = Callbacks()
    with heard() as (events, _):
        ask(colour, callback_manager=callbacks.manager)
    check(events)
    assert callbacks.reranking()[1][0][EventPayload.ADDITIONAL_KWARGS] == events.rerank[1].tags


def test_spans_are_there_without_events(made: list[str], colour: str) -> None:
    root = get_dispatcher("root")
    with heard() as (_, spans), handled(root, [NullEventHandler()], propagate=False):
        ask(colour)
    assert span_named(spans, "postprocess_nodes").id_.startswith("RerankPostprocessor.")
    assert made == []


def test_a_span_knows_the_arguments_of_its_call(colour: str) -> None:
    kept: list[Any] = []

    class Keeping(SimpleSpanHandler):
        def span_enter(self, id_: str, bound_args: Any, **options: Any) -> None:
            kept.append((id_.partition("-")[0], dict(bound_args.arguments)))

    root = get_dispatcher("root")
    before, root.span_handlers = root.span_handlers, [Keeping()]
    try:
        ask(colour)
    finally:
        root.span_handlers = before
    ((name, arguments),) = kept
    assert name == f"RerankPostprocessor.{'_a' if colour == 'async' else '_'}postprocess_nodes"
    assert [node.node_id for node in arguments["nodes"]] == ["a", "b"]
    assert arguments["query_bundle"].query_str == "q"


# Texts


class Shouting(TextNode):
    """Somebody's own, which says more than its text."""

    def get_content(self, metadata_mode: MetadataMode = MetadataMode.NONE) -> str:
        return super().get_content(metadata_mode).upper()


TEXTS = ("", " a \n", "a {metadata_str} {content}", "é \ud800")
NODES = [
    kind(text=text, metadata=metadata)
    for kind in (TextNode, Shouting, Document)
    for text in TEXTS
    for metadata in ({}, {"author": "b"})
]


@pytest.mark.parametrize("mode", MetadataMode)
def test_what_is_ranked_is_what_the_node_says_is_its_content(mode: MetadataMode, colour: str) -> None:
    asked = FakeReranker()
    reranker = RerankPostprocessor(reranker=asked, metadata_mode=mode)
    run(colour, reranker, "postprocess_nodes", [NodeWithScore(node=node) for node in NODES], query_str="q")
    assert [*asked.calls[0].texts] == [node.get_content(metadata_mode=mode) for node in NODES]
