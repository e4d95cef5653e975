"""What a score is worth: thresholds and probabilities from judged pairs, for one served model and no other."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self, TypeAlias, cast

from rerankkit._checks import check_flag, check_integer, is_number, shown
from rerankkit._io import ASYNC, BLOCKING, check_loop, run
from rerankkit.calibration import _logistic
from rerankkit.calibration._measuring import Judged, Measured, check_enough, measured
from rerankkit.errors import InvalidRequestError
from rerankkit.reranker import Reranker
from rerankkit.types import label

JudgedScore: TypeAlias = tuple[float, bool]
"""A score, and whether the document that has it is relevant."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A score from which on documents are relevant, and whose scores it is for.

    Attributes:
        value: On the model's own scale.
        provider: Who scores, as a response says.
        model: The model that serves; None where there is no choice.
    """

    value: float
    provider: str
    model: str | None = None

    def __post_init__(self) -> None:
        check_finite("value", self.value)
        _check_served(self.provider, self.model)

    @classmethod
    def from_borderline(cls, scores: Iterable[float], *, provider: str, model: str | None = None) -> Self:
        """The mean score of documents that are only just relevant, one for each of 30 to 50 typical queries.

        So https://docs.cohere.com/docs/reranking-best-practices advises (read 2026-11-20).

        Raises:
            InvalidRequestError: There is no score, or one is no finite number.
        """
        found = [check_finite(f"scores[{place}]", score) for place, score in enumerate(scores)]
        if not found:
            raise InvalidRequestError("scores is empty: pass those of just relevant documents, of 30 to 50 typical queries")
        return cls(math.fsum(score / len(found) for score in found), provider, model)

    def check(self, provider: str, model: str | None) -> None:
        """Refuse another model's scores.

        Raises:
            InvalidRequestError: They are another model's.
        """
        if (provider, model) != (self.provider, self.model):
            raise InvalidRequestError(
                f"the threshold {self.value:g} was found for {label(self.provider, self.model)}, but "
                f"{label(provider, model)} served, whose scores mean something else: calibrate with that one"
            )


@dataclass(frozen=True, slots=True)
class Calibration:
    """How likely a document with a given score is to be relevant: ``1 / (1 + exp(-(slope * score + intercept)))``.

    A higher score is never less likely, so that no order changes.

    Attributes:
        provider: Who scored, as responses say.
        model: The model that served; None where there is no choice.
        slope: Above 0.
        pairs: Judged pairs that it was learned from.
        log_loss: Of these, the mean in nats: 0.0 for one who knows, 0.693 for a coin.
        wrong: How many of these lie on the wrong side of the threshold for a probability of 0.5.
    """

    provider: str
    model: str | None
    slope: float
    intercept: float
    pairs: int
    log_loss: float
    wrong: int

    def __post_init__(self) -> None:
        _check_served(self.provider, self.model)
        for name in ("slope", "intercept", "log_loss"):
            check_finite(name, getattr(self, name))
        if self.slope <= 0:
            raise InvalidRequestError(f"slope must be above 0, got {self.slope!r}: a higher score may not be worth less")
        check_integer("pairs", self.pairs, 1, None)
        check_integer("wrong", self.wrong, 0, self.pairs)

    @classmethod
    def fit(cls, judged: Iterable[JudgedScore], *, provider: str, model: str | None = None) -> Self:
        """Learn from scores, each with whether its document was relevant.

        Args:
            judged: At least 10, 3 of them relevant and 3 not; some hundreds are good.
            provider: Whose scores these are, as responses say.
            model: The model that served; None where there is no choice.

        Raises:
            InvalidRequestError: There are too few, all scores are equal, or they do not rise with relevance.
        """
        _check_served(provider, model)
        scores, labels = _checked_scores(judged)
        low, size = min(scores), max(scores) - min(scores)
        values = [(score - low) / size for score in scores]
        slope, intercept = _logistic.fit(values, labels)
        if slope <= 0:
            raise InvalidRequestError(
                f"of {len(scores)} judged scores, those of relevant documents are not the higher ones: look whether true and "
                "false are mixed up; otherwise no threshold on this model's scores helps"
            )
        line = (slope / size, intercept - slope / size * low)
        log_loss = _logistic.loss((slope, intercept), values, [float(is_relevant) for is_relevant in labels]) / len(scores)
        middle = -line[1] / line[0]
        wrong = sum((score >= middle) != is_relevant for score, is_relevant in zip(scores, labels, strict=True))
        return cls(provider, model, *line, len(scores), log_loss, wrong)

    @classmethod
    def measure(cls, reranker: Reranker, judged: Iterable[Judged], *, concurrency: int = 4) -> Self:
        """Learn from judged pairs, which *reranker* scores first: one call for each query, with its own timeout.

        Pairs that get no score are left out.

        Args:
            reranker: Whose scores are to be understood.
            judged: Each a query, a document, and whether it is relevant.
            concurrency: Calls under way at a time.

        Raises:
            InvalidRequestError: A pair is none, an answer was degraded or partial, or two models served; and as by `fit`.
            ProviderError: As by `BaseReranker.rerank`.
        """
        return cls._learnt(run(measured(BLOCKING, reranker, judged, concurrency)))

    @classmethod
    async def ameasure(cls, reranker: Reranker, judged: Iterable[Judged], *, concurrency: int = 4) -> Self:
        """The same in the running event loop."""
        check_loop()
        return cls._learnt(await measured(ASYNC, reranker, judged, concurrency))

    @classmethod
    def _learnt(cls, found: Measured) -> Self:
        return cls.fit(found.judged, provider=found.provider, model=found.model)

    def probability(self, score: float) -> float:
        """How likely a document with *score* is to be relevant, from 0.0 to 1.0."""
        return _logistic.probability(_logistic.log_odds((self.slope, self.intercept), check_finite("score", score)))

    def threshold(self, probability: float = 0.5) -> Threshold:
        """The score from which on documents are relevant with at least this *probability*, above 0 and below 1."""
        if not is_number(probability) or not 0 < probability < 1:
            raise InvalidRequestError(f"probability must be a number above 0 and below 1, got {shown(probability)}")
        odds = math.log(probability) - math.log1p(-probability)
        return Threshold((odds - self.intercept) / self.slope, self.provider, self.model)

    def to_dict(self) -> dict[str, str | float | None]:
        """For JSON and the like."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Self:
        """What `to_dict` gave.

        Raises:
            InvalidRequestError: It did not give this.
        """
        names = {field.name for field in fields(cls)}
        if not isinstance(data, Mapping) or set(data) != names:
            raise InvalidRequestError(f"a calibration has exactly {', '.join(sorted(names))}, got {shown(data)[:300]}")
        return cls(**cast("dict[str, Any]", dict(data)))


def _checked_scores(judged: Iterable[JudgedScore]) -> tuple[list[float], list[bool]]:
    pairs = [_checked_pair(place, pair) for place, pair in enumerate(judged)]
    scores, labels = [score for score, _ in pairs], [is_relevant for _, is_relevant in pairs]
    check_enough(labels)
    if not 0 < max(scores) - min(scores) < math.inf:
        raise InvalidRequestError(f"all {len(pairs)} judged scores are {scores[0]:g}: there is nothing to tell them apart by")
    return scores, labels


def _checked_pair(place: int, pair: object) -> JudgedScore:
    parts = tuple(cast("Sequence[object]", pair)) if isinstance(pair, tuple | list) else (pair,)
    if len(parts) != 2:  # noqa: PLR2004 -- a score and a judgement
        raise InvalidRequestError(f"judged[{place}] must be a score and whether it is relevant, got {shown(parts)[:100]}")
    score, is_relevant = parts
    return check_finite(f"judged[{place}][0]", score), check_flag(f"judged[{place}][1]", is_relevant)


def check_finite(name: str, value: object) -> float:
    """*value*, if it is a number that a float holds."""
    if not is_number(value) or not abs(value) <= sys.float_info.max:
        raise InvalidRequestError(f"{name} must be a finite number, got {shown(value)}")
    return float(value)


def _check_served(provider: object, model: object) -> None:
    if not isinstance(provider, str) or not provider or not (model is None or (isinstance(model, str) and model)):
        raise InvalidRequestError(
            f"provider and model must be as a response says, such as 'cohere' and 'rerank-v3.5', got {provider!r} and {model!r}"
        )
