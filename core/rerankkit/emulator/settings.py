"""What can be switched in the emulator.  All of it can be changed while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

KEY = "emulator-key"
"""A key that clients of the emulator may use: any API key is accepted, but AWS keys are recomputed."""

ServiceName: TypeAlias = Literal["cohere", "voyage", "pinecone", "kendra"]
ScorerName: TypeAlias = Literal["bm25", "overlap", "order"]


class Switches(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RateLimit(Switches):
    """What a service answers 429 beyond; None: no limit.

    Attributes:
        requests_per_minute: Within any 60 seconds of the emulator's clock.
        tokens_per_minute: Tokens of queries and documents, as Voyage bills them.
        requests_per_month: Within any 30 days; waiting does not help.
    """

    requests_per_minute: int | None = Field(default=None, ge=0)
    tokens_per_minute: int | None = Field(default=None, ge=0)
    requests_per_month: int | None = Field(default=None, ge=0)


DOCUMENTED_LIMITS: Mapping[ServiceName, RateLimit] = {  # services.md of each vendor, read 2026-11-20
    "cohere": RateLimit(requests_per_minute=10, requests_per_month=1_000),  # trial keys
    "voyage": RateLimit(requests_per_minute=3, tokens_per_minute=10_000),  # no payment method
    "pinecone": RateLimit(requests_per_minute=60, requests_per_month=500),  # bge-reranker-v2-m3, Starter
}


class CohereSwitches(Switches):
    """Cohere.

    Attributes:
        v2: ``"2024"``: the form of mid-2024, with objects as documents, `rank_fields`, `return_documents` and
            `max_chunks_per_doc`, which today's service refuses.
        trial: The headers that a trial key's answers carry.
    """

    v2: Literal["today", "2024"] = "today"
    trial: bool = False


class PineconeSwitches(Switches):
    """Pinecone.

    Attributes:
        versions: The API versions that are served; None: any, and requests that name none.
    """

    versions: frozenset[str] | None = None


class KendraSwitches(Switches):
    """Amazon Kendra Intelligent Ranking.

    Attributes:
        statuses: ``"reference"``: 400 for every error of the caller, as its API reference says; ``"model"``: 402, 403,
            404, 409 and 429, as its service model says since 2026-07-23. Which of them the service sends is not known.
        message: The member that holds an error's text.
        namespaced: Whether an error's type comes with its namespace.
        create_seconds: How long a new plan is CREATING; the service takes minutes.
        update_seconds: How long a changed plan is UPDATING.
        delete_seconds: How long a plan is DELETING.
        fail: New and changed plans end as FAILED, with this as their error; None: they become ACTIVE.
        plans: Plans that an account may have.
        burst: Requests a plan answers at once before its capacity of 0.01 a second for each unit counts;
            None: the capacity is not enforced.
    """

    statuses: Literal["reference", "model"] = "reference"
    message: Literal["message", "Message"] = "message"
    namespaced: bool = True
    create_seconds: float = Field(default=0.5, ge=0)
    update_seconds: float = Field(default=0.5, ge=0)
    delete_seconds: float = Field(default=0.5, ge=0)
    fail: str | None = None
    plans: int = Field(default=50, ge=0)  # quotas page, April 2023
    burst: int | None = Field(default=None, ge=1)


class Settings(Switches):
    """All switches.

    Attributes:
        keys: API keys that are accepted; None: any.
        aws_secrets: AWS secret access keys by access key id; signatures are recomputed with them, others are unknown.
        expired_tokens: AWS session tokens that have expired; any other is accepted.
        scorer: Who ranks: ``"bm25"`` over the documents of a request, ``"overlap"`` counts the query's words, ``"order"``
            keeps the order.
        strict: Also Voyage, Pinecone and Kendra refuse members they do not document; what they do with them is not known.
        rate_limits: By service; `DOCUMENTED_LIMITS` are those of each service's free tier.
    """

    keys: frozenset[str] | None = None
    aws_secrets: dict[str, str] = Field(default_factory=lambda: {KEY: KEY})
    expired_tokens: frozenset[str] = frozenset()
    scorer: ScorerName = "bm25"
    strict: bool = False
    rate_limits: dict[ServiceName, RateLimit] = Field(default_factory=dict[ServiceName, RateLimit])
    cohere: CohereSwitches = CohereSwitches()
    pinecone: PineconeSwitches = PineconeSwitches()
    kendra: KendraSwitches = KendraSwitches()
