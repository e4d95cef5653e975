"""OpenTelemetry with its exporters in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from rerankkit.observability import instrument, uninstrument


@dataclass(frozen=True)
class Seen:
    """What an application's telemetry has seen."""

    provider: TracerProvider
    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader

    @property
    def tracer(self) -> Any:
        return self.provider.get_tracer("application")

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """Those that have ended, in that order."""
        return self.exporter.get_finished_spans()

    @property
    def only(self) -> ReadableSpan:
        (span,) = self.spans
        return span

    def named(self, name: str) -> ReadableSpan:
        (span,) = [span for span in self.spans if span.name == name]
        return span

    def tree(self) -> dict[str, Any]:
        """The names of all spans below those of their parents, in the order in which they began."""
        ordered = sorted(self.spans, key=lambda span: span.start_time)
        found: dict[Any, dict[str, Any]] = {None: {}}
        for span in ordered:
            found[span.context.span_id] = {}
        for span in ordered:
            parent = found.get(span.parent.span_id if span.parent else None, found[None])
            parent[span.name] = found[span.context.span_id]
        return found[None]

    def points(self) -> dict[str, list[tuple[Mapping[str, Any], Any]]]:
        """The attributes and the sum of each point of each metric."""
        data = self.reader.get_metrics_data()
        metrics = [metric for each in data.resource_metrics for scope in each.scope_metrics for metric in scope.metrics]
        return {
            metric.name: [
                (dict(point.attributes), getattr(point, "sum", getattr(point, "value", None)))
                for point in metric.data.data_points
            ]
            for metric in metrics
        }

    def shown(self) -> str:
        """All that there is to be seen."""
        data = self.reader.get_metrics_data()
        return "\n".join([*(span.to_json() for span in self.spans), json.dumps(data and json.loads(data.to_json()))])


@contextmanager
def telemetry(**options: Any) -> Iterator[Seen]:
    """Within it, calls are told of as *options* of `instrument` say."""
    sampler = options.pop("sampler", None)
    provider, reader, exporter = TracerProvider(sampler=sampler), InMemoryMetricReader(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    meters = MeterProvider([reader])
    assert instrument(tracer_provider=provider, meter_provider=meters, **options)
    try:
        yield Seen(provider, exporter, reader)
    finally:
        uninstrument()
        provider.shutdown()
        meters.shutdown()
