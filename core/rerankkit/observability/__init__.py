"""Spans and metrics of all calls, by OpenTelemetry (extra: otel).  Off until `instrument` is called.

Each call of a service is a span ``rerank {model}`` with the attributes of OpenTelemetry's conventions for GenAI, or of
OpenInference; a wrapper's call is one around them where it says something. What is only this package's is named
``rerankkit.*``. Texts are left out unless asked for, keys in any case. Nothing is added to what services are sent.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Collection
from typing import TYPE_CHECKING, Literal, TypeAlias

from rerankkit._checks import check_flag, shown
from rerankkit._watching import WATCH
from rerankkit.errors import InvalidRequestError
from rerankkit.observability._settings import Settings

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

__all__ = ["Convention", "instrument", "uninstrument"]

Convention: TypeAlias = Literal["gen_ai", "openinference"]
"""In whose words a span says what it is: OpenTelemetry's for GenAI, or OpenInference's (Phoenix, Arize)."""

CONVENTIONS = ("gen_ai", "openinference")
DEFAULT: tuple[Convention, ...] = ("gen_ai",)
CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"  # opentelemetry-util-genai; read 2026-11-20
CAPTURING = ("true", "span_only", "span_and_event")  # its older and newer values; there are no events here
HIDE_INPUTS = "OPENINFERENCE_HIDE_INPUTS"  # openinference-instrumentation's TraceConfig; read 2026-11-20
HIDE_OUTPUTS = "OPENINFERENCE_HIDE_OUTPUTS"


def instrument(
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    conventions: Collection[Convention] = DEFAULT,
    capture_content: bool | None = None,
    capture_scores: bool = False,
) -> bool:
    """From now on, tell OpenTelemetry of all calls in this process; False, and nothing happens, where it is not installed.

    Calling it again replaces what was said before.

    Args:
        tracer_provider: Where spans go; None: the global one, also if that is set later.
        meter_provider: Where metrics go; None: as above.
        conventions: In whose words; both may stand side by side.
        capture_content: Put queries, documents and error texts into spans; None: as
            OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT says, which is no unless it says so. Where
            OPENINFERENCE_HIDE_INPUTS or OPENINFERENCE_HIDE_OUTPUTS is true, those stay out in any case.
        capture_scores: Put the scores into spans, best first.

    Raises:
        InvalidRequestError: An argument is none of these.
    """
    if isinstance(conventions, str):
        raise InvalidRequestError(f"conventions must be a list, got one str: pass [{conventions!r}]")
    for convention in conventions:
        if convention not in CONVENTIONS:
            raise InvalidRequestError(f"conventions must be some of {', '.join(CONVENTIONS)}, got {shown(convention)}")
    wants = _environment_wants() if capture_content is None else check_flag("capture_content", capture_content)
    settings = Settings(
        gen_ai="gen_ai" in conventions,
        openinference="openinference" in conventions,
        inputs=wants and not _is_true(HIDE_INPUTS),
        outputs=wants and not _is_true(HIDE_OUTPUTS),
        scores=check_flag("capture_scores", capture_scores),
    )
    try:
        importlib.import_module("opentelemetry.metrics")
    except ModuleNotFoundError:
        return False
    from rerankkit.observability._telemetry import Telemetry  # noqa: PLC0415 -- it imports OpenTelemetry

    WATCH.begin = Telemetry(settings, tracer_provider, meter_provider).begin
    return True


def uninstrument() -> None:
    """Tell nobody any more; calls under way are told to their end."""
    WATCH.begin = None


def _environment_wants() -> bool:
    return os.environ.get(CAPTURE, "").strip().lower() in CAPTURING


def _is_true(name: str) -> bool:
    return os.environ.get(name, "").strip().lower() == "true"
