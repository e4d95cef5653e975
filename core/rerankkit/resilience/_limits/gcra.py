"""Places in the line of a steady rate (the generic cell rate algorithm, with reservations): computing, no waiting.

A rate is a line of time on which *n* requests or tokens take ``n / rate`` seconds. A call reserves a stretch of it that
nobody else has, and begins at its start, or before it by as much as the burst is larger than the call. So within any t
seconds calls begin that take at most ``burst + rate * t`` together, where one call above the burst counts as the burst.
The moment is handed in, on any clock; `shared_lines.py` has the same in Redis' language.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Unit: TypeAlias = Literal["requests", "tokens"]
Amounts: TypeAlias = Mapping[Unit, float]
Stretch: TypeAlias = tuple[float, float]

NONE: Amounts = {"requests": 0, "tokens": 0}
SLACK = 1e-6  # seconds; a clock that counts from 1970 is no finer in floating point
MOST_GAPS = 64  # of a line; what is given back beyond them is lost, and the rate not reached for a moment


@dataclass(frozen=True, slots=True)
class Rate:
    """So many a second, and so many at once after a pause."""

    name: str
    unit: Unit
    per_second: float
    burst: int

    def length(self, amount: float) -> float:
        """Seconds of the line that *amount* takes."""
        return amount / self.per_second

    def lead(self, amount: float) -> float:
        """Seconds by which *amount* may begin before its stretch."""
        return max(0.0, self.burst - amount) / self.per_second


@dataclass(frozen=True, slots=True)
class Correction:
    """What is put right on one line: a stretch that is free after all, or the end of the line moved by *seconds*."""

    line: str
    free: Stretch | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Reservation:
    """A call's place.

    Attributes:
        wait: Seconds until it may begin; without `stretches`: until it might have begun, for nothing was reserved.
        amounts: What it is for.
        stretches: Its part of each line, by the name of the rate; empty if it was refused.
    """

    wait: float
    amounts: Amounts
    stretches: Mapping[str, Stretch]

    def corrections(self, rates: Sequence[Rate], used: Amounts) -> list[Correction]:
        """What is to be put right, because *used* was used and not `amounts`."""
        return [
            _correction(rate, self.stretches[rate.name], used[rate.unit] - self.amounts[rate.unit], used[rate.unit])
            for rate in rates
            if rate.name in self.stretches and used[rate.unit] != self.amounts[rate.unit]
        ]


def _correction(rate: Rate, stretch: Stretch, surplus: float, used: float) -> Correction:
    """Requests that were not sent leave their place to others.  Tokens, which are estimated all the time, are settled by the
    end of the line: a gap of what one call took less would be too short for the next.
    """
    seconds = rate.length(surplus)
    if surplus > 0 or (used and rate.unit == "tokens"):
        return Correction(rate.name, seconds=seconds)
    return Correction(rate.name, free=(stretch[1] + seconds, stretch[1]))


@dataclass(slots=True)
class Line:
    """One rate's time.

    Attributes:
        end: From here on nothing is reserved.
        gaps: What was given back before it, in order.
    """

    end: float = -math.inf
    gaps: list[Stretch] = field(default_factory=list[Stretch])

    def first(self, moment: float, length: float) -> float:
        """The start of the first free stretch of *length*, not before *moment*."""
        starts = (max(start, moment) for start, end in self.gaps if max(start, moment) + length <= end + SLACK)
        return next(starts, max(self.end, moment))

    def take(self, stretch: Stretch, now: float) -> None:
        """Reserve what `first` found; what it leaves before itself stays free."""
        start, end = stretch
        if start >= self.end:
            self.gaps.append((max(self.end, now), start))
            self.end = end
        else:
            self.gaps = [part for gap in self.gaps for part in _without(gap, stretch)]
        self.tidy(now)

    def free(self, stretch: Stretch, now: float) -> None:
        """Give *stretch* to others."""
        self.gaps = _joined(sorted([*self.gaps, stretch]))
        self.tidy(now)

    def move(self, seconds: float, now: float) -> None:
        """Have the line end later, or earlier."""
        self.end += seconds
        self.tidy(now)

    def tidy(self, now: float) -> None:
        """Forget what is over, and what is behind the end."""
        while self.gaps and self.gaps[-1][1] >= self.end - SLACK:
            self.end = min(self.end, self.gaps.pop()[0])
        self.gaps = [gap for gap in self.gaps if gap[1] > max(now, gap[0]) + SLACK][-MOST_GAPS:]


def _without(gap: Stretch, taken: Stretch) -> list[Stretch]:
    """What is left of *gap*."""
    if taken[1] <= gap[0] or gap[1] <= taken[0]:
        return [gap]
    return [(gap[0], taken[0]), (taken[1], gap[1])]


def _joined(gaps: Sequence[Stretch]) -> list[Stretch]:
    """*gaps*, in order, those made one that touch."""
    found: list[Stretch] = []
    for start, end in gaps:
        if found and start <= found[-1][1] + SLACK:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


class Lines:
    """The lines of several rates, all of which a call has to keep."""

    def __init__(self, rates: Sequence[Rate]) -> None:
        self._rates = rates
        self._lines = {rate.name: Line() for rate in rates}

    def reserve(self, amounts: Amounts, now: float, longest: float) -> Reservation:
        """A place for a call, unless it would begin more than *longest* seconds from *now*."""
        rates = [rate for rate in self._rates if amounts[rate.unit]]
        begin, stretches = now, self._stretches(rates, amounts, now)
        while (later := _begin(rates, amounts, stretches, begin)) > begin:
            begin, stretches = later, self._stretches(rates, amounts, later)
        if begin - now >= longest:
            return Reservation(begin - now, amounts, {})
        for name, stretch in stretches.items():
            self._lines[name].take(stretch, now)
        return Reservation(begin - now, amounts, stretches)

    def _stretches(self, rates: Sequence[Rate], amounts: Amounts, moment: float) -> dict[str, Stretch]:
        """Where each line is free from *moment* on."""
        found: dict[str, Stretch] = {}
        for rate in rates:
            length = rate.length(amounts[rate.unit])
            start = self._lines[rate.name].first(moment, length)
            found[rate.name] = (start, start + length)
        return found

    def correct(self, corrections: Sequence[Correction], now: float) -> None:
        """Put right what was reserved."""
        for correction in corrections:
            line = self._lines[correction.line]
            if correction.free:
                line.free(correction.free, now)
            else:
                line.move(correction.seconds, now)


def _begin(rates: Sequence[Rate], amounts: Amounts, stretches: Mapping[str, Stretch], moment: float) -> float:
    """When a call with these stretches may begin, at *moment* or later."""
    return max([moment, *(stretches[rate.name][0] - rate.lead(amounts[rate.unit]) for rate in rates)])
