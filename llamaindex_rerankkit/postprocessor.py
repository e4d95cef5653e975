"""A LlamaIndex node postprocessor over any reranker.

Nodes are the caller's own, in new `NodeWithScore`s; neither is touched. Where the first choice did not rank, a
`RerankDegradedEvent` says so to whoever listens to LlamaIndex's dispatcher.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, ClassVar, Self, TypeVar

from llama_index.core.callbacks import CallbackManager
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, QueryBundle, TextNode
from llama_index_instrumentation import get_dispatcher
from pydantic import BaseModel, ConfigDict

import rerankkit
from llamaindex_rerankkit.events import RerankDegradedEvent
from llamaindex_rerankkit.nodes import RerankedNode
from llamaindex_rerankkit.reporting import Call, Report, answer, reported
from rerankkit._checks import are_all
from rerankkit._turns import label_of
from rerankkit.settings.adapters import AdapterSettings
from rerankkit.settings.rerankers import RerankerSettings

dispatcher = get_dispatcher(__name__)

F = TypeVar("F", bound=Callable[..., object])


def _signed(method: F) -> F:
    """The method, which knows its signature: LlamaIndex asks for it at each call, and would have it made anew."""
    method.__signature__ = inspect.signature(method)  # type: ignore[attr-defined]
    return method


class BaseRerankPostprocessor(AdapterSettings, BaseNodePostprocessor):
    """What all postprocessors here do.

    Closing one, by hand or by leaving a ``with`` block, closes its reranker.

    Attributes:
        metadata_mode: What of a node's metadata is ranked with its text; ``MetadataMode.EMBED`` is what embedding
            models saw. The default sends the text alone.
        keep_retrieval_score: Give nodes back as `RerankedNode`s, which know the score they came with. Nodes are given back
            so, too, where the reranker says which spans of their texts are relevant.
    """

    model_config = ConfigDict(validate_assignment=True, defer_build=False)

    ways_out: ClassVar[Mapping[str, str]] = {"client": "there is no client: pass it to RerankPostprocessor(reranker=...)"}

    metadata_mode: MetadataMode = MetadataMode.NONE
    keep_retrieval_score: bool = False

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex dumps it."""
        return f"Rerankkit{cls.__name__}"

    @abstractmethod
    def _reranker(self) -> rerankkit.Reranker:
        """Who ranks."""

    @_signed
    def _postprocess_nodes(self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None) -> list[NodeWithScore]:
        query, nodes = _checked(query_bundle), list(nodes)
        if not nodes:
            return []
        reranker = self._reranker()
        candidates = self._candidates(reranker, nodes)
        with self._reported(reranker, query, nodes) as report:
            response = reranker.rerank(query.query_str, candidates, top_n=self.top_n, timeout=self.timeout)
            return self._found(nodes, response, report)

    @dispatcher.span
    @_signed
    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        query, nodes = _checked(query_bundle), list(nodes)
        if not nodes:
            return []
        reranker = self._reranker()
        candidates = self._candidates(reranker, nodes)
        with self._reported(reranker, query, nodes) as report:
            response = await reranker.arerank(query.query_str, candidates, top_n=self.top_n, timeout=self.timeout)
            return self._found(nodes, response, report)

    def _candidates(self, reranker: rerankkit.Reranker, nodes: Sequence[NodeWithScore]) -> Sequence[str | rerankkit.Document]:
        """What is ranked of the nodes; one without text, such as an image, is left unscored at the end."""
        if not are_all(NodeWithScore, nodes):
            for index, node in enumerate(nodes):
                self._check(index, node)
        texts = _texts([node.node for node in nodes], self.metadata_mode)
        return self.candidates(reranker, texts, (node.node.metadata for node in nodes), (node.score for node in nodes))

    def _check(self, index: int, node: object) -> None:
        kind = type(node).__name__
        if not isinstance(node, NodeWithScore):
            raise rerankkit.InvalidRequestError(f"nodes[{index}] must be a NodeWithScore, got {kind}: wrap it in one")
        if self.keep_retrieval_score and type(node) is not NodeWithScore and not isinstance(node, RerankedNode):
            raise rerankkit.InvalidRequestError(
                f"nodes[{index}] is a {kind}, which has no place for its retrieval score: derive {kind} from RerankedNode, or "
                "leave out keep_retrieval_score"
            )

    def _reported(
        self, reranker: rerankkit.Reranker, query: QueryBundle, nodes: list[NodeWithScore]
    ) -> AbstractContextManager[Report]:
        def call() -> Call:
            label = label_of(reranker)
            return Call(query, nodes, self.top_n or len(nodes), model_name=label.partition(":")[2] or label)

        return reported(call, self.callback_manager)

    def _found(
        self, nodes: Sequence[NodeWithScore], response: rerankkit.RerankResponse[str | rerankkit.Document], report: Report
    ) -> list[NodeWithScore]:
        if response.status != "ok":
            served_by, attempts = response.served_by, response.attempts
            dispatcher.event(RerankDegradedEvent(status=response.status, served_by=served_by, attempts=attempts))
        spans = self.tells_spans(response)
        report.nodes = [self._scored(nodes[result.index], result, spans=spans) for result in self.kept(response)]
        report.tags = partial(answer, response)
        return report.nodes

    def _scored(
        self, given: NodeWithScore, result: rerankkit.RankedDocument[str | rerankkit.Document], *, spans: bool
    ) -> NodeWithScore:
        """The same node in a new wrapper; where nobody ranked, with the first stage's score."""
        score = given.score if result.skipped == "not_ranked" else result.relevance_score
        if type(given) is NodeWithScore:  # a copy, which keeps what subclasses add, takes twice as long
            if not self.keep_retrieval_score and not spans:
                return NodeWithScore(node=given.node, score=score)
            return RerankedNode(node=given.node, score=score, retrieval_score=given.score, spans=result.spans)
        if isinstance(given, RerankedNode):
            first = given.score if self.keep_retrieval_score and given.retrieval_score is None else given.retrieval_score
            known = {"retrieval_score": first, "spans": result.spans if spans else given.spans}
            return given.model_copy(update={"score": score, **known})
        return given.model_copy(update={"score": score})

    def __getstate__(self) -> dict[Any, Any]:
        """Without connections and callbacks; what else cannot be pickled is told, where BaseComponent leaves it out."""
        state = BaseModel.__getstate__(self)
        private: dict[str, Any] = state.get("__pydantic_private__") or {}
        fields = {**state["__dict__"], "callback_manager": CallbackManager()}
        return {**state, "__dict__": fields, "__pydantic_private__": dict.fromkeys(private)}

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """With the same callbacks: those of a copy would be told what nobody hears."""
        return super().__deepcopy__({**(memo or {}), id(self.callback_manager): self.callback_manager})


def _texts(nodes: Sequence[BaseNode], mode: MetadataMode) -> list[str]:
    """What `get_content` says of each; of LlamaIndex's own text nodes without metadata that is their `text`, at once."""
    if mode is not MetadataMode.NONE:
        return [node.get_content(metadata_mode=mode) for node in nodes]
    return [node.text if type(node) is TextNode else node.get_content(metadata_mode=mode) for node in nodes]


def _checked(query_bundle: QueryBundle | None) -> QueryBundle:
    if not isinstance(query_bundle, QueryBundle):
        got = "there is no query to rank by" if query_bundle is None else f"query_bundle is a {type(query_bundle).__name__}"
        raise rerankkit.InvalidRequestError(f"{got}: call postprocess_nodes(nodes, query_str=...) or pass a QueryBundle")
    return query_bundle


class RerankPostprocessor(RerankerSettings, BaseRerankPostprocessor):
    """Reranks with any reranker: ``RerankPostprocessor(reranker="cohere:rerank-v3.5", top_n=3)``."""
