"""What LlamaIndex's instrumentation is told beside its own events."""

from __future__ import annotations

from llama_index_instrumentation.base import BaseEvent

from rerankkit.types import Attempt, Status


class RerankDegradedEvent(BaseEvent):
    """Nodes were ranked by a substitute, by some of several, or not at all.

    Attributes:
        status: ``"degraded"`` or ``"partial"``.
        served_by: Who ranked, such as ``"voyage:rerank-2.5"``; ``"passthrough"`` if nobody did.
        attempts: Everybody's turn at the call, in order.
    """

    status: Status
    served_by: str
    attempts: tuple[Attempt, ...] = ()

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex dumps it."""
        return cls.__name__
