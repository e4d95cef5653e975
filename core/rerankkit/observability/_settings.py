"""What is to be told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """Which words, and how much.

    Attributes:
        gen_ai: OpenTelemetry's names for GenAI.
        openinference: OpenInference's names.
        inputs: Queries, documents and error texts.
        outputs: The texts of the answer.
        scores: The scores of the answer.
    """

    gen_ai: bool
    openinference: bool
    inputs: bool
    outputs: bool
    scores: bool
