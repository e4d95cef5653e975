"""Retrievers, models and listeners for tests of LlamaIndex: all offline, all of them small."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, LLMMetadata, MessageRole
from llama_index.core.callbacks import CallbackManager, CBEventType
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.base import BaseEvent
from llama_index_instrumentation.event_handlers import BaseEventHandler
from llama_index_instrumentation.span import BaseSpan
from llama_index_instrumentation.span_handlers import SimpleSpanHandler
from pydantic import Field

from rerankkit import RerankResponse
from rerankkit.testing import FakeReranker


def by_number(query: str, text: str) -> float:
    return float(text.rsplit(maxsplit=1)[-1])


def nodes(*texts: str, **fields: Any) -> list[NodeWithScore]:
    """A node each, with falling scores."""
    return [
        NodeWithScore(node=TextNode(text=text, id_=text.partition(" ")[0], **fields), score=0.9 - rank / 10)
        for rank, text in enumerate(texts)
    ]


class Found(BaseRetriever):
    """Finds the same, whatever the question."""

    def __init__(self, *texts: str) -> None:
        self.found = nodes(*texts)
        super().__init__()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return list(self.found)


class Asked(FakeReranker):
    """Ranks by the number at a text's end, and keeps the colour of each call."""

    def __init__(self, **options: Any) -> None:
        super().__init__(by_number, **options)
        self.colours: list[str] = []

    def rerank(self, *args: Any, **options: Any) -> RerankResponse[Any]:
        self.colours.append("sync")
        return super().rerank(*args, **options)

    async def arerank(self, *args: Any, **options: Any) -> RerankResponse[Any]:
        self.colours.append("async")
        return await super().arerank(*args, **options)


class Heard(BaseEventHandler):
    """What LlamaIndex's instrumentation tells."""

    events: list[BaseEvent] = Field(default_factory=list)

    @classmethod
    def class_name(cls) -> str:
        return "Heard"

    def handle(self, event: BaseEvent, **options: Any) -> None:
        self.events.append(event)

    def named(self, *names: str) -> list[Any]:
        return [event for event in self.events if event.class_name() in names]

    @property
    def rerank(self) -> list[Any]:
        """Starts and ends of reranking."""
        return self.named("ReRankStartEvent", "ReRankEndEvent")


@contextmanager
def heard() -> Iterator[tuple[Heard, SimpleSpanHandler]]:
    """Events and spans of what happens within."""
    root = get_dispatcher("root")
    events, spans = Heard(events=[]), SimpleSpanHandler()
    before = list(root.event_handlers), list(root.span_handlers)
    root.event_handlers, root.span_handlers = [events], [spans]
    try:
        yield events, spans
    finally:
        root.event_handlers, root.span_handlers = before


def span_named(spans: SimpleSpanHandler, ending: str) -> BaseSpan:
    return next(span for span in spans.completed_spans if span.id_.partition("-")[0].endswith(ending))


class Callbacks(BaseCallbackHandler):
    """What LlamaIndex's older callbacks tell."""

    def __init__(self) -> None:
        super().__init__([], [])
        self.starts: list[tuple[CBEventType, dict[str, Any]]] = []
        self.ends: list[tuple[CBEventType, dict[str, Any]]] = []

    def on_event_start(self, event_type: Any, payload: Any = None, event_id: str = "", parent_id: str = "", **_: Any) -> str:
        self.starts.append((event_type, payload or {}))
        return event_id

    def on_event_end(self, event_type: Any, payload: Any = None, event_id: str = "", **_: Any) -> None:
        self.ends.append((event_type, payload or {}))

    def start_trace(self, trace_id: str | None = None) -> None:
        pass

    def end_trace(self, trace_id: str | None = None, trace_map: Any = None) -> None:
        pass

    @property
    def manager(self) -> CallbackManager:
        return CallbackManager([self])

    def reranking(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The payloads of starts and ends of reranking."""
        return tuple([payload for kind, payload in told if kind == CBEventType.RERANKING] for told in (self.starts, self.ends))


class CallsOneTool(FunctionCallingLLM):
    """A model that calls the first tool with the question, and then answers with what the tool said."""

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(is_function_calling_model=True, is_chat_model=True)

    def chat(self, messages: Sequence[ChatMessage], **options: Any) -> ChatResponse:
        last = messages[-1]
        calls = [] if last.role == MessageRole.TOOL else [last.content]
        text = str(last.content) if last.role == MessageRole.TOOL else ""
        return ChatResponse(message=ChatMessage(role="assistant", content=text), raw={}, additional_kwargs={"calls": calls})

    async def achat(self, messages: Sequence[ChatMessage], **options: Any) -> ChatResponse:
        return self.chat(messages)

    def stream_chat(self, messages: Sequence[ChatMessage], **options: Any) -> Generator[ChatResponse, None, None]:
        yield self.chat(messages)

    async def astream_chat(self, messages: Sequence[ChatMessage], **options: Any) -> AsyncGenerator[ChatResponse, None]:
        async def parts() -> AsyncGenerator[ChatResponse, None]:
            yield self.chat(messages)

        return parts()

    def _prepare_chat_with_tools(self, tools: Any, user_msg: Any = None, chat_history: Any = None, **_: Any) -> dict[str, Any]:
        return {"messages": [*(chat_history or []), *([user_msg] if user_msg else [])]}

    def get_tool_calls_from_response(self, response: ChatResponse, *_: Any, **__: Any) -> list[ToolSelection]:
        questions = response.additional_kwargs["calls"]
        return [ToolSelection(tool_id="1", tool_name="handbook", tool_kwargs={"input": question}) for question in questions]

    def complete(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    acomplete = stream_complete = astream_complete = complete
