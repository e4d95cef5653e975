"""Which connection a request gets, and which are closed: told without a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import TypeAlias

import pytest

from rerankkit._connections import Connections

HERE, ELSEWHERE = "https://here", "https://elsewhere"


class Connection:
    """One of a library's, in whatever state a test says."""

    def __init__(self, number: int, origin: str) -> None:
        self.number = number
        self.origin = origin
        self.is_spent = False
        self.is_broken = False

    def __repr__(self) -> str:
        return f"<{self.number}>"

    def can_handle_request(self, origin: str) -> bool:
        return origin == self.origin

    def has_expired(self) -> bool:
        return self.is_spent

    def is_idle(self) -> bool:
        return not self.is_broken


class Pool:
    """Makes connections, numbered from 0."""

    def __init__(self) -> None:
        self.numbers: Iterator[int] = count()

    def create_connection(self, origin: str) -> Connection:
        return Connection(next(self.numbers), origin)


Kept: TypeAlias = Connections[Connection]


@pytest.fixture
def connections() -> Kept:
    return Connections(Pool().create_connection, most_kept=3)


def taken(connections: Kept, number: int) -> Sequence[Connection]:
    return [connections.take(HERE)[0] for _ in range(number)]


def test_requests_at_the_same_time_have_one_each_and_the_one_used_last_is_used_first(
    connections: Kept,
) -> None:
    first, second = taken(connections, 2)
    assert connections.taken == {first, second}
    assert (connections.give_back(first), connections.give_back(second)) == ([], [])
    assert connections.take(HERE) == (second, [])
    assert connections.take(HERE) == (first, [])
    assert connections.take(HERE)[0].number == 2


def test_what_expired_or_leads_elsewhere_is_closed_in_the_place_of_being_used(connections: Kept) -> None:
    first, second, third = taken(connections, 3)
    for each in (first, second, third):
        connections.give_back(each)
    third.is_spent = True
    assert connections.take(HERE) == (second, [third])
    other, spent = connections.take(ELSEWHERE)
    assert (other.number, other.origin, spent) == (3, ELSEWHERE, [first])


def test_more_than_so_many_are_not_kept_and_the_one_that_has_waited_longest_goes(connections: Kept) -> None:
    given = taken(connections, 4)
    assert [connections.give_back(each) for each in given] == [[], [], [], [given[0]]]
    assert list(connections.kept) == given[1:]


def test_those_of_a_burst_go_once_they_have_expired(connections: Kept) -> None:
    first, second, third = taken(connections, 3)
    for each in (first, second, third):
        connections.give_back(each)
    first.is_spent = second.is_spent = True
    closed = [connections.give_back(connections.take(HERE)[0]) for _ in range(3)]
    assert closed == [[first], [second], []]
    assert list(connections.kept) == [third]


def test_a_broken_one_is_closed_and_not_kept(connections: Kept) -> None:
    (only,) = taken(connections, 1)
    only.is_broken = True
    assert connections.give_back(only) == [only]
    assert not connections.kept
    assert not connections.taken


def test_a_failed_one_is_closed_alone_until_one_was_found_closed_by_the_other_side(
    connections: Kept,
) -> None:
    first, second, third = taken(connections, 3)
    connections.give_back(first)
    assert connections.drop(second) == [second]
    assert connections.taken == {third}
    assert list(connections.kept) == [first]
    connections.distrust_kept()
    assert not connections.kept
    assert connections.give_back(third) == []
    assert connections.take(HERE) == (third, [first])


def test_those_that_are_distrusted_are_closed_with_the_others(connections: Kept) -> None:
    first, second = taken(connections, 2)
    connections.give_back(first)
    connections.distrust_kept()
    connections.give_back(second)
    assert set(connections.close()) == {first, second}


def test_closing_closes_those_under_way_as_well_and_keeps_none_that_come_back(connections: Kept) -> None:
    first, second = taken(connections, 2)
    connections.give_back(first)
    assert set(connections.close()) == {first, second}
    assert connections.give_back(second) == [second]
    assert not connections.kept
