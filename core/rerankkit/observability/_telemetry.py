"""Calls as OpenTelemetry's spans and metrics: the only module that imports it."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider, get_tracer

from rerankkit._version import __version__
from rerankkit._watching import Watched
from rerankkit.observability._attributes import (
    Attributes,
    Outcome,
    Subject,
    answer,
    asked,
    called,
    failure,
    measured,
    subject_of,
)
from rerankkit.observability._documents import given, ranked
from rerankkit.observability._settings import Settings
from rerankkit.reranker import BaseReranker
from rerankkit.resilience.passthrough import Passthrough
from rerankkit.resilience.wrapper import Wrapper
from rerankkit.types import RerankRequest, RerankResponse

SECONDS = [0.01 * 2**power for power in range(14)]  # the conventions' bucket boundaries for durations, read 2026-11-20
TOKENS = [4.0**power for power in range(14)]  # and for tokens


class _Untold:
    """A call that nobody is told of."""

    def answered(self, response: RerankResponse[Any]) -> None:
        return


UNTOLD = nullcontext(_Untold())


class Telemetry:
    """Tells OpenTelemetry of calls."""

    def __init__(
        self, settings: Settings, tracer_provider: TracerProvider | None, meter_provider: MeterProvider | None
    ) -> None:
        self._settings = settings
        self._tracer = get_tracer("rerankkit", __version__, tracer_provider)
        self._meters = _Meters(meter_provider)

    def begin(self, reranker: BaseReranker, request: RerankRequest[Any], is_own: bool) -> AbstractContextManager[Watched]:  # noqa: FBT001 -- as in `Begin`
        """A span for the caller's own call, for who ranks, and for who chooses among several."""
        ranks = not isinstance(reranker, Wrapper | Passthrough)
        chooses = isinstance(reranker, Wrapper) and len(reranker.rerankers) > 1
        return self._told(reranker, request, is_own=is_own) if is_own or ranks or chooses else UNTOLD

    @contextmanager
    def _told(self, reranker: BaseReranker, request: RerankRequest[Any], *, is_own: bool) -> Generator[Watched]:
        subject = subject_of(reranker)
        known = asked(subject, request, self._settings)
        with self._tracer.start_as_current_span(
            subject.span_name,
            kind=SpanKind.CLIENT if subject.server else SpanKind.INTERNAL,
            attributes=known,
            record_exception=False,  # its message may quote what was sent, and so may the status that is made of it
            set_status_on_exception=False,
        ) as span:
            call = _Call(span, self._meters, self._settings, subject, request, known, is_own)
            try:
                yield call
            except BaseException as error:
                call.failed(error)
                raise


@dataclass(frozen=True, slots=True)
class _Call:
    """A call under way: its span, and what is known of it.

    Attributes:
        known: The attributes that its span began with.
    """

    span: Span
    meters: _Meters
    settings: Settings
    subject: Subject
    request: RerankRequest[Any]
    known: Attributes
    is_own: bool
    started: float = field(default_factory=time.perf_counter)

    def answered(self, response: RerankResponse[Any]) -> None:
        self._end(answer(self.subject, response, self.settings), response)

    def failed(self, error: BaseException) -> None:
        outcome = failure(error)
        self._end(outcome)
        if outcome.failed and self.settings.inputs:
            self.span.record_exception(error)

    def _end(self, outcome: Outcome, response: RerankResponse[Any] | None = None) -> None:
        seconds = time.perf_counter() - self.started
        if self.span.is_recording():
            # Where there are too many attributes, those that were set first are lost: let it be documents.
            self.span.set_attributes({**self._documents(response), **self.known, **outcome.attributes})
            if outcome.failed:
                self.span.set_status(Status(StatusCode.ERROR, outcome.why))
        self.meters.record(self.subject, outcome, seconds, is_own=self.is_own)

    def _documents(self, response: RerankResponse[Any] | None) -> Attributes:
        """Texts and scores, with who ranks: once."""
        if self.subject.provider is None:
            return {}
        found = given(self.request, self.settings)
        return found if response is None else {**found, **ranked(self.request, response, self.settings)}


class _Meters:
    """What is counted."""

    def __init__(self, provider: MeterProvider | None) -> None:
        meter = get_meter("rerankkit", __version__, provider)
        self._durations = meter.create_histogram(
            "gen_ai.client.operation.duration", "s", "GenAI operation duration.", explicit_bucket_boundaries_advisory=SECONDS
        )
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage", "{token}", "Number of tokens used.", explicit_bucket_boundaries_advisory=TOKENS
        )
        self._costs = meter.create_counter("rerankkit.cost", "{USD}", "Price of the calls that were answered.")
        self._calls = meter.create_counter("rerankkit.calls", "{call}", "The application's calls, by what came of them.")

    def record(self, subject: Subject, outcome: Outcome, seconds: float, *, is_own: bool) -> None:
        """Count a call: once what its services did, however many wrappers there are, and once what the caller got."""
        if subject.provider is not None:
            told = measured(subject, outcome)
            self._durations.record(seconds, told)
            if outcome.tokens is not None:
                self._tokens.record(outcome.tokens, {**told, "gen_ai.token.type": "input"})
            if outcome.cost:
                self._costs.add(outcome.cost, told)
        if is_own:
            self._calls.add(1, called(subject, outcome))
