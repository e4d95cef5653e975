"""Places in the line of a steady rate, on a clock of the test's own; Redis computes the same."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rerankkit.resilience._limits.gcra import MOST_GAPS, NONE, SLACK, Amounts, Correction, Line, Lines, Rate, Reservation
from rerankkit.resilience._limits.lines_script import SCRIPT

ONE: Amounts = {"requests": 1, "tokens": 1}


def rate(per_second: float = 1.0, burst: int = 1, unit: str = "requests", name: str = "r") -> Rate:
    return Rate(name, unit, per_second, burst)


def of(requests: float = 1, tokens: float = 1) -> Amounts:
    return {"requests": requests, "tokens": tokens}


def waits(lines: Lines, now: float, *sizes: float, longest: float = 1e6) -> list[float]:
    return [round(lines.reserve(of(size), now, longest).wait, 6) for size in sizes]


def test_calls_begin_one_interval_apart() -> None:
    assert waits(Lines([rate(100)]), 5.0, 1, 1, 1, 1) == [0.0, 0.01, 0.02, 0.03]


def test_a_rate_below_one_a_second_has_long_intervals() -> None:
    lines = Lines([rate(0.01)])
    assert waits(lines, 0.0, 1, 1, 1) == [0.0, 100.0, 200.0]
    assert waits(lines, 250.0, 1) == [50.0]


def test_after_a_pause_a_burst_begins_at_once() -> None:
    lines = Lines([rate(10, burst=3)])
    assert waits(lines, 0.0, 1, 1, 1, 1, 1) == [0.0, 0.0, 0.0, 0.1, 0.2]
    assert waits(lines, 100.0, 1, 1, 1, 1) == [0.0, 0.0, 0.0, 0.1]


def test_a_pause_saves_no_more_than_the_burst() -> None:
    lines = Lines([rate(1, burst=2)])
    waits(lines, 0.0, 1)
    assert waits(lines, 1e6, 1, 1, 1) == [0.0, 0.0, 1.0]


def test_a_call_of_several_requests_takes_several_places() -> None:
    assert waits(Lines([rate(10)]), 0.0, 3, 1, 2, 1) == [0.0, 0.3, 0.4, 0.6]


def test_a_call_within_the_burst_waits_until_all_of_it_fits() -> None:
    assert waits(Lines([rate(10, burst=4)]), 0.0, 3, 2, 4) == [0.0, 0.1, 0.5]


def test_a_call_above_the_burst_waits_until_nothing_is_owed() -> None:
    assert waits(Lines([rate(10, burst=2)]), 0.0, 1, 5, 1) == [0.0, 0.1, 0.5]


def test_what_would_begin_too_late_reserves_nothing() -> None:
    lines = Lines([rate(1)])
    assert waits(lines, 0.0, 1) == [0.0]
    refused = lines.reserve(ONE, 0.0, 1.0)
    assert refused == Reservation(1.0, ONE, {})
    assert lines.reserve(ONE, 0.0, 0.5).stretches == {}
    assert waits(lines, 0.0, 1) == [1.0]


def test_every_rate_is_kept() -> None:
    lines = Lines([rate(10, burst=2), rate(1.0, burst=3, name="slow"), rate(100, unit="tokens", name="t")])
    found = [lines.reserve(of(1, tokens), 0.0, 1e6).wait for tokens in (10, 10, 50, 1, 1)]
    assert found == pytest.approx([0.0, 0.1, 0.2, 1.0, 2.0])


def test_a_place_that_one_rate_leaves_empty_is_there_for_calls_that_another_does_not_hold_back() -> None:
    """A call of many tokens waits; a small one behind it goes in between only where both rates allow it."""
    requests, tokens = rate(10), rate(10, unit="tokens", name="t")
    lines = Lines([requests, tokens])
    assert lines.reserve(of(1, 10), 0.0, 1e6).wait == 0.0
    assert lines.reserve(of(1, 10), 0.0, 1e6).wait == 1.0
    assert lines.reserve(of(1, 1), 0.0, 1e6).wait == 2.0
    assert Lines([requests]).reserve(of(1, 1), 0.0, 1e6).wait == 0.0


def test_a_place_given_back_goes_to_the_next_one() -> None:
    rates = [rate(0.01)]
    lines = Lines(rates)
    _, second, _ = (lines.reserve(ONE, 0.0, 1e6) for _ in range(3))
    lines.correct(second.corrections(rates, NONE), 10.0)
    assert waits(lines, 10.0, 1, 1) == [90.0, 290.0]


def test_the_last_places_given_back_leave_nothing_behind() -> None:
    rates = [rate(1)]
    lines = Lines(rates)
    kept, *left = [lines.reserve(ONE, 0.0, 1e6) for _ in range(50)]
    random.Random(7).shuffle(left)
    for reservation in left:
        lines.correct(reservation.corrections(rates, NONE), 0.5)
    assert waits(lines, 0.5, 1, 1) == [0.5, 1.5]
    assert kept.corrections(rates, ONE) == []


def test_a_place_given_back_too_late_is_lost() -> None:
    rates = [rate(1)]
    lines = Lines(rates)
    _, second, _ = (lines.reserve(ONE, 0.0, 1e6) for _ in range(3))
    lines.correct(second.corrections(rates, NONE), 1.5)
    assert waits(lines, 1.5, 1) == [1.5]


def test_of_several_requests_those_that_were_not_sent_leave_their_places() -> None:
    rates = [rate(1)]
    lines = Lines(rates)
    large = lines.reserve(of(3), 0.0, 1e6)
    assert waits(lines, 0.0, 1) == [3.0]
    lines.correct(large.corrections(rates, of(1)), 0.5)
    assert waits(lines, 0.5, 1, 1, 1) == [0.5, 1.5, 3.5]


def test_retries_are_charged_to_those_who_come() -> None:
    rates = [rate(1)]
    lines = Lines(rates)
    first = lines.reserve(ONE, 0.0, 1e6)
    lines.correct(first.corrections(rates, of(3)), 0.5)
    assert waits(lines, 0.5, 1, 1) == [2.5, 3.5]


def test_tokens_are_settled_by_what_was_really_used() -> None:
    rates = [rate(10, unit="tokens")]
    lines = Lines(rates)
    first, _ = (lines.reserve(of(1, 100), 0.0, 1e6) for _ in range(2))
    lines.correct(first.corrections(rates, of(1, 60)), 1.0)
    assert lines.reserve(of(1, 100), 1.0, 1e6).wait == 15.0
    lines.correct(first.corrections(rates, of(1, 130)), 1.0)
    assert lines.reserve(of(1, 100), 1.0, 1e6).wait == 28.0


def test_gaps_are_forgotten_when_they_are_over_and_never_too_many() -> None:
    line = Line()
    for number in range(1_000):
        line.take((2.0 * number, 2.0 * number + 1), 0.0)
    assert len(line.gaps) == MOST_GAPS
    line.tidy(1_996.5)
    assert line.gaps == [(1_997.0, 1_998.0)]


BETWEEN = 0.0057  # seconds: no moment of the test's own lies so near to another
ACTION = st.tuples(
    st.sampled_from(["reserve", "reserve", "reserve", "leave", "finish"]),
    st.integers(0, 40),  # tenths of a second that pass before
    st.integers(1, 4),  # requests
    st.integers(1, 300),  # tokens
    st.integers(0, 50),  # which of the reservations
)
RATES = st.lists(
    st.sampled_from(
        [rate(1.0), rate(3.0, burst=2, name="b"), rate(0.25, burst=5, name="c"), rate(100, unit="tokens", burst=50, name="t")]
    ),
    min_size=1,
    unique=True,
)


def carried_out(
    rates: Sequence[Rate], actions: Sequence[Any], lines: Any, *, precisely: bool
) -> list[tuple[float, Reservation]]:
    """The reservations that stood in the end, each with the moment at which its call began."""
    now, waiting, begun = 0.0, [], []
    for kind, tenths, requests, tokens, which in actions:
        now += tenths / 10
        begun += [each for each in waiting if each[0] <= now + BETWEEN]
        waiting = [each for each in waiting if each[0] > now + BETWEEN]
        if kind == "reserve":
            reservation = lines.reserve(of(requests, tokens), now, 30 + BETWEEN)
            if reservation.stretches:
                waiting.append((now + reservation.wait, reservation))
        elif kind == "leave" and waiting:
            _, left = waiting.pop(which % len(waiting))
            lines.correct(left.corrections(rates, NONE), now)
        elif kind == "finish" and begun and not precisely:
            _, done = begun.pop(which % len(begun))
            lines.correct(done.corrections(rates, of(requests, tokens)), now)
    return sorted([*begun, *waiting], key=lambda each: each[0])


@given(RATES, st.lists(ACTION, max_size=60))
@settings(deadline=None, max_examples=200)
def test_no_window_holds_more_than_the_burst_and_the_rate(rates: list[Rate], actions: list[Any]) -> None:
    """Also when calls leave the line, wherever they stand in it."""
    begun = carried_out(rates, actions, Lines(rates), precisely=True)
    for each in rates:
        for first, (start, _) in enumerate(begun):
            taken, most = 0.0, float(each.burst)
            for moment, reservation in begun[first:]:
                taken += reservation.amounts[each.unit]
                most = max(most, reservation.amounts[each.unit])
                assert taken <= most + each.per_second * (moment - start + 10 * SLACK * len(begun)) + 1e-6


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 5)), max_size=60), st.integers(1, 6))
@settings(deadline=None, max_examples=200)
def test_who_comes_first_begins_first(calls: list[tuple[int, int]], burst: int) -> None:
    lines, now, begun = Lines([rate(2.0, burst=burst)]), 0.0, [-math.inf]
    for tenths, size in calls:
        now += tenths / 10
        begun.append(now + lines.reserve(of(size), now, 1e6).wait)
    assert begun == sorted(begun)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=30), st.integers(1, 6))
@settings(deadline=None, max_examples=100)
def test_with_calls_waiting_the_rate_is_reached(sizes: list[int], burst: int) -> None:
    """The line has no holes: the next call begins when the others are paid for, less what the burst allows."""
    lines = Lines([rate(2.0, burst=burst)])
    for size in sizes:
        lines.reserve(of(size), 0.0, 1e6)
    assert lines.reserve(of(1), 0.0, 1e6).wait == pytest.approx(max(0.0, (sum(sizes) - burst + 1) / 2.0))


class InRedis:
    """`Lines`, computed by Redis on the clock of the test."""

    def __init__(self, redis_url: str, rates: Sequence[Rate]) -> None:
        import redis

        self.redis = redis.Redis.from_url(redis_url)
        self.redis.delete("lines")
        moment = "local time = redis.call('TIME')\nlocal now = tonumber(time[1]) + tonumber(time[2]) / 1e6\n"
        assert moment in SCRIPT
        self.script = self.redis.register_script(SCRIPT.replace(moment, "local now = tonumber(ARGV[2])\n"))
        self.rates = rates

    def ask(self, corrections: Any, rates: Any, now: float, longest: float) -> list[bytes]:
        asked = json.dumps({"corrections": corrections, "rates": rates, "longest": longest})
        return self.script(keys=["lines"], args=[asked, now + 1e9])

    def reserve(self, amounts: Amounts, now: float, longest: float) -> Reservation:
        written = [
            {"name": each.name, "length": each.length(amounts[each.unit]), "lead": each.lead(amounts[each.unit])}
            for each in self.rates
        ]
        granted, wait, *starts = self.ask([], written, now, longest)
        if not granted:
            return Reservation(float(wait), amounts, {})
        stretches = {
            each.name: (float(start) - 1e9, float(start) - 1e9 + each.length(amounts[each.unit]))
            for each, start in zip(self.rates, starts, strict=True)
        }
        return Reservation(float(wait), amounts, stretches)

    def correct(self, corrections: Sequence[Correction], now: float) -> None:
        written = [
            {"line": each.line, "free": [moment + 1e9 for moment in each.free]}
            if each.free
            else {"line": each.line, "seconds": each.seconds}
            for each in corrections
        ]
        self.ask(written, [], now, 0.0)


def test_redis_computes_the_same(redis_url: str) -> None:
    """Both get the same calls; moments may differ by what a float can tell apart in seconds since 1970."""

    @given(RATES, st.lists(ACTION, max_size=30))
    @settings(deadline=None, max_examples=60, derandomize=True)
    def compared(rates: list[Rate], actions: list[Any]) -> None:
        own = carried_out(rates, actions, Lines(rates), precisely=False)
        shared_lines = InRedis(redis_url, rates)
        shared = carried_out(rates, actions, shared_lines, precisely=False)
        shared_lines.redis.close()
        assert [moment for moment, _ in shared] == pytest.approx([moment for moment, _ in own], abs=1e-4)

    compared()
