"""What spans say of a call, in OpenTelemetry's words, OpenInference's and our own.  Pure; no texts of the caller's.

Conventions: open-telemetry/semantic-conventions-genai (Development; read 2026-11-20), with the rerank operation as its
issue 253 proposes it; OpenInference's semantic_conventions.md (read 2026-11-20).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from rerankkit._watching import was_cancelled
from rerankkit.client import Client
from rerankkit.errors import RerankError
from rerankkit.observability._settings import Settings
from rerankkit.reranker import BaseReranker
from rerankkit.resilience.wrapper import Wrapper
from rerankkit.service import tidy
from rerankkit.types import Attempt, RerankRequest, RerankResponse

Attributes: TypeAlias = Mapping[str, str | bool | int | float | Sequence[str] | Sequence[float]]

OPERATION = "rerank"
CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Subject:
    """Who is asked.

    Attributes:
        provider: As conventions call it; None: it is a wrapper, which ranks nothing itself.
        model: Asked for; None where there is no choice.
        server: Its address and port; none for what ranks in this process.
    """

    kind: str
    provider: str | None
    model: str | None
    server: Attributes

    @property
    def span_name(self) -> str:
        name = self.kind if self.provider is None else self.model
        return f"{OPERATION} {name}" if name else OPERATION


def subject_of(reranker: BaseReranker) -> Subject:
    kind = type(reranker).__name__
    if isinstance(reranker, Wrapper):
        return Subject(kind, None, None, {})
    if isinstance(reranker, Client):
        service = reranker.provider
        return Subject(kind, service.conventional_name or service.name, service.model, _server(service.base_url))
    provider, _, model = reranker.label.partition(":")
    return Subject(kind, provider, model or None, {})


def _server(url: str) -> Attributes:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return _known({"server.address": parts.hostname, "server.port": port})


def asked(subject: Subject, request: RerankRequest[Any], settings: Settings) -> Attributes:
    """What is known before the call."""
    count, top_n = len(request.items), request.top_n
    found: dict[str, Any] = {**subject.server}
    if subject.provider is None:
        found |= {"rerankkit.reranker": subject.kind, "rerankkit.candidate.count": count, "rerankkit.top_n": top_n}
    elif settings.gen_ai:
        found |= {**_operation(subject), "gen_ai.rerank.candidate.count": count, "gen_ai.rerank.top_n": top_n}
    if settings.openinference:
        found["openinference.span.kind"] = "RERANKER" if subject.provider else "CHAIN"
        if subject.provider:
            found |= {"reranker.model_name": subject.model or subject.provider, "reranker.top_k": top_n}
    return _known(found)


def _operation(subject: Subject) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": OPERATION,
        "gen_ai.provider.name": subject.provider,
        "gen_ai.request.model": subject.model,
    }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call.

    Attributes:
        error_type: The class of the error it ended with; None: it was answered.
        failed: Whether that was the reranker's fault; nobody is at fault if it was cancelled.
        why: The error in a line that holds no texts of the caller's.
    """

    attributes: Attributes
    tokens: int | None = None
    cost: float | None = None
    model: str | None = None
    error_type: str | None = None
    failed: bool = False
    why: str = ""


def answer(subject: Subject, response: RerankResponse[Any], settings: Settings) -> Outcome:
    """Of a call that was answered.  A client that answers without a ranking (`on_error`) tells why: its service failed."""
    hidden = _hidden_failure(response) if subject.provider else None
    found: dict[str, Any] = {**_ours(response), "error.type": hidden}
    if subject.provider and not hidden and settings.gen_ai:
        found |= {
            "gen_ai.response.model": _text(response.model),
            "gen_ai.response.id": _text(response.request_id),
            "gen_ai.usage.input_tokens": response.usage.total_tokens,
        }
    model = None if hidden else _text(response.model)
    return Outcome(_known(found), response.usage.total_tokens, response.cost, model, hidden, bool(hidden), hidden or "")


def _hidden_failure(response: RerankResponse[Any]) -> str | None:
    failed = [turn.error for turn in response.attempts if turn.outcome == "failed" and turn.error]
    return failed[-1].partition(":")[0] if failed and response.status == "degraded" else None


def _ours(response: RerankResponse[Any]) -> dict[str, Any]:
    usage, cache = response.usage, response.cache
    return {
        "rerankkit.status": response.status,
        "rerankkit.served_by": _text(response.served_by),
        "rerankkit.requests": usage.requests,
        "rerankkit.request_ids": [tidy(each) for each in response.request_ids] or None,
        "rerankkit.search_units": usage.search_units,
        "rerankkit.total_tokens": usage.total_tokens,
        "rerankkit.rerank_units": usage.rerank_units,
        "rerankkit.cost.usd": response.cost,
        "rerankkit.warnings": len(response.warnings) or None,
        "rerankkit.attempts": _turns(response.attempts),
        "rerankkit.hedged": any(turn.outcome == "cancelled" for turn in response.attempts) or None,
        "rerankkit.cache.hits": cache and cache.hits,
        "rerankkit.cache.misses": cache and cache.misses,
        "rerankkit.cache.saved.usd": cache and cache.saved,
    }


def failure(error: BaseException) -> Outcome:
    """Of a call that was not answered."""
    if was_cancelled(error):
        return Outcome({"rerankkit.status": CANCELLED, "error.type": CANCELLED}, error_type=CANCELLED)
    name, sent = type(error).__name__, getattr(error, "attempts", None)
    status, request_id = getattr(error, "status_code", None), getattr(error, "request_id", None)
    found = {
        "rerankkit.status": "failed",
        "error.type": name,
        "http.response.status_code": status,
        "rerankkit.requests": sent or None,
        "rerankkit.request_ids": [tidy(request_id)] if request_id else None,
        "rerankkit.attempts": _turns(error.history) if isinstance(error, RerankError) else None,
    }
    facts = {"status": status, "request id": request_id, "attempts": sent if sent != 1 else None}
    told = ", ".join(f"{fact} {tidy(str(value))}" for fact, value in facts.items() if value)
    return Outcome(_known(found), error_type=name, failed=True, why=f"{name} ({told})" if told else name)


def measured(subject: Subject, outcome: Outcome) -> Attributes:
    """By what metrics are told apart."""
    served = {"gen_ai.response.model": outcome.model, "error.type": outcome.error_type}
    return _known({**_operation(subject), **subject.server, **served})


def called(subject: Subject, outcome: Outcome) -> Attributes:
    """By what the application's calls are told apart."""
    names = ("rerankkit.status", "rerankkit.served_by", "error.type")
    return _known({"rerankkit.reranker": subject.kind, **{name: outcome.attributes.get(name) for name in names}})


def _turns(turns: Sequence[Attempt]) -> list[str] | None:
    return [f"{tidy(turn.reranker)} {turn.outcome}" for turn in turns] or None


def _text(value: str | None) -> str | None:
    return None if value is None else tidy(value)


def _known(found: Mapping[str, Any]) -> Attributes:
    return {name: value for name, value in found.items() if value is not None and value != ""}
