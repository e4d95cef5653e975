"""Compositions as data: read, written, and refused where they are wrong."""

from __future__ import annotations

import copy
import json
import pickle
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Protocol

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from helpers.canaries import KEY as CANARY
from helpers.canaries import assert_silent, held_in_frames, key_options, shown_of
from helpers.properties import any_text, tries
from helpers.services import KENDRA, PLAN_ID, SERVICES, Service
from helpers.ways import run
from rerankkit import BM25, Client, Cohere, InvalidRequestError, Reranker, Retry, ServerError, connect, providers, resilience
from rerankkit._described import Described, parameters
from rerankkit._turns import call
from rerankkit.config import from_config, load_config, to_config
from rerankkit.config._kinds import hints, is_ranking, kinds, name_of
from rerankkit.resilience import Fallback, Passthrough
from rerankkit.resilience.wrapper import Wrapper
from rerankkit.testing import FakeReranker

ENVIRONMENT = {
    "CO_API_KEY": CANARY,
    "VOYAGE_API_KEY": CANARY,
    "PINECONE_API_KEY": CANARY,
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": CANARY,
    "AWS_REGION": "us-east-1",
}


class Mood(Enum):
    CALM = "calm"
    WILD = "wild"


class Shelf(Protocol):
    def get(self, key: str) -> str: ...


class SQLiteShelf(Described):
    """A value type with arguments."""

    def __init__(self, path: str | Path = "shelf.db", *, entries: int | None = 100) -> None:
        self.path = path
        if entries is not None and entries < 1:
            raise InvalidRequestError(f"entries must be at least 1, got {entries}")

    def __repr__(self) -> str:
        return f"SQLiteShelf({dict(self.arguments())})"


@dataclass(frozen=True)
class Curve:
    """A value type that is a dataclass."""

    points: tuple[tuple[float, float], ...]
    model: str | None = None


class TwoStep(Wrapper):
    """A wrapper with an argument of each kind."""

    def __init__(
        self,
        reranker: Reranker,
        *,
        second: Reranker | None = None,
        mode: Literal["fast", "slow"] = "fast",
        mood: Mood = Mood.CALM,
        retry: Retry | None = None,
        limits: Mapping[str, Retry] | None = None,
        weights: Sequence[float] | None = None,
        shelf: Shelf | None = None,
        curve: Curve | None = None,
        window: int | None = 512,
        others: Sequence[Reranker] = (),
        on: Collection[type[ServerError]] | type[ServerError] = ServerError,
        tokenizer: Callable[[str], int] | None = None,
        password: str | None = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(reranker, *([second] if second else []), *others, timeout=timeout)
        self.made_of = (mode, mood, retry, limits, weights, shelf, curve, window, on)

    async def _rerank(self, io: Any, request: Any) -> Any:
        return await call(io, self.rerankers[0], request)


OWN = (SQLiteShelf, Curve, TwoStep)


@pytest.fixture(autouse=True, scope="module")
def _own_classes() -> Iterator[None]:
    """As if the package had them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resilience, "__all__", [*resilience.__all__, *(kind.__name__ for kind in OWN)])
        for kind in OWN:
            patch.setattr(resilience, kind.__name__, kind, raising=False)
        yield


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def client(service: Service, **options: Any) -> dict[str, Any]:
    """The table of a client for *service*."""
    plan = {"plan_id": PLAN_ID} if service is KENDRA else {}
    return {"type": "client", "service": service.name, **plan, **options}


def test_of_everything_that_can_be_named_it_is_known_what_it_is_made_of() -> None:
    for kind in (*kinds().values(), *map(providers.load, providers.REGISTRY)):
        assert set(parameters(kind)) <= set(hints(kind)), kind


# Reading


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("cohere:rerank-v3.5", "Client(Cohere('rerank-v3.5'), timeout=30)"),
        ("local:bm25", "BM25()"),
        ("passthrough", "Passthrough()"),
        ("bm25", "BM25()"),
        ({"type": "bm25", "timeout": 2}, "BM25()"),
        (
            {"type": "fallback", "rerankers": ["voyage", "passthrough"]},
            "Fallback(Client(Voyage('rerank-2.5'), timeout=30), Passthrough())",
        ),
        ({"type": "fallback", "rerankers": ["bm25"], "on": ["ServerError"]}, "Fallback(BM25(), on=[ServerError])"),
    ],
    ids=str,
)
def test_a_description_is_made_into_what_it_says(description: Any, expected: str) -> None:
    assert repr(from_config(description)) == expected


def test_a_clients_table_holds_its_options_and_its_services(service: Service) -> None:
    retry = {"attempts": 5, "budget": "none"}
    made = from_config(client(service, timeout=2.5, concurrency=2, transport="httpx", on_error="passthrough", retry=retry))
    assert isinstance(made, Client)
    assert (made.provider.name, made.timeout, made.on_error) == (service.name, 2.5, "passthrough")
    assert made._policy.retry == Retry(attempts=5, budget=None)
    assert made._policy.concurrency == 2


@pytest.mark.parametrize(("written", "attempts"), [({"attempts": "none"}, None), ({}, None), ({"attempts": 3}, 3)])
def test_three_attempts_are_not_the_usual_ones(written: dict[str, Any], attempts: int | None) -> None:
    made = from_config({"type": "client", "service": "cohere", "retry": {"budget": 7, **written}})
    assert isinstance(made, Client)
    assert made._policy.retry == Retry(attempts=attempts, budget=7)
    kept = {} if attempts is None else {"attempts": attempts}
    assert to_config(made) == {"type": "client", "service": "cohere", "retry": {**kept, "budget": 7}}


def test_a_services_own_options_reach_it() -> None:
    made = from_config({"type": "client", "service": "cohere", "model": "rerank-v4.0-pro", "rank_fields": ["title", "text"]})
    assert isinstance(made, Client)
    assert isinstance(made.provider, Cohere)
    assert (made.provider.model, made.provider.rank_fields) == ("rerank-v4.0-pro", ("title", "text"))


def test_arguments_are_what_their_types_say() -> None:
    made = from_config(
        {
            "type": "two_step",
            "reranker": "bm25",
            "second": {"type": "fallback", "rerankers": ["passthrough"]},
            "mode": "slow",
            "mood": "wild",
            "retry": {"attempts": 1},
            "limits": {"cohere": {"attempts": 2}},
            "weights": [0.5, 1],
            "shelf": {"type": "sqlite_shelf", "path": "a.db", "entries": "none"},
            "curve": {"type": "curve", "points": [[0, 0.5], [1, 1]]},
            "window": "none",
            "others": ["passthrough"],
            "on": ["ServerError"],
            "timeout": 3,
        }
    )
    assert isinstance(made, TwoStep)
    assert [type(each) for each in made.rerankers] == [BM25, Fallback, Passthrough]
    mode, mood, retry, limits, weights, shelf, curve, window, on = made.made_of
    assert (mode, mood, retry, limits) == ("slow", Mood.WILD, Retry(attempts=1), {"cohere": Retry(attempts=2)})
    assert (weights, window, on) == ((0.5, 1), None, (ServerError,))
    assert isinstance(shelf, SQLiteShelf)
    assert shelf.arguments() == {"path": "a.db", "entries": None}
    assert curve == Curve(((0, 0.5), (1, 1)))
    assert made.timeout == 3


def test_null_stands_for_what_was_not_told() -> None:
    assert "timeout" not in from_config({"type": "fallback", "rerankers": ["bm25"], "timeout": None}).arguments()
    assert to_config(from_config({"type": "client", "service": "cohere", "retry": {"budget": None}, "transport": None})) == {
        "type": "client",
        "service": "cohere",
        "retry": {"budget": "none"},
    }


def test_a_described_reranker_ranks(colour: str) -> None:
    made = from_config({"type": "two_step", "reranker": {"type": "fallback", "rerankers": ["local:bm25", "passthrough"]}})
    response = run(colour, made, "rerank", "ferry", ["a car", "a ferry"])
    assert (response.documents, response.status, response.served_by) == (["a ferry", "a car"], "ok", "local:bm25")


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (None, "must be a target such as 'cohere:rerank-v3.5', or a table with a 'type', got None"),
        (["cohere"], "got a list"),
        ({}, "a 'type' is missing: 'client', 'bm25', "),
        ({"type": 3}, "type: 3 is not known"),
        ({"type": "falback"}, "type: 'falback' is not known: did you mean 'fallback'?"),
        ({"type": "curve", "points": []}, "type: 'curve' is no reranker: 'client', 'bm25', "),
        ("cohre", "'cohre' names no service: did you mean 'cohere'?"),
        ("client", "a 'service' is missing: one of 'cohere', 'voyage', 'pinecone', 'kendra'"),
        ("fallback", "Fallback needs at least one reranker"),
        ("two_step", "'reranker' is missing"),
        ({"type": "fallback", "rerankers": "cohere"}, "rerankers: must be a list, got 'cohere'"),
        ({"type": "fallback", "rerankers": ["bm25", 7]}, "rerankers[1]: must be a target such as"),
        ({"type": "fallback", "rerankers": ["bm25"], "timout": 1}, "timout: is not known: did you mean 'timeout'?"),
        (
            {"type": "fallback", "rerankers": ["bm25"], "on": ["ServrError"]},
            "on[0]: 'ServrError' is no error: did you mean 'ServerError'?",
        ),
        ({"type": "fallback", "rerankers": ["bm25"], "on": [3]}, "on: must hold error classes"),
        (
            {"type": "fallback", "rerankers": ["bm25", {"type": "bm25", "timeout": -1}]},
            "rerankers[1].timeout: must be a number of seconds",
        ),
        ({"type": "client", "service": "coher"}, "service: 'coher' is not known: did you mean 'cohere'?"),
        ({"type": "client", "service": ["cohere"]}, "service: a list is not known"),
        ({"type": "client", "service": "kendra"}, "'plan_id' is missing"),
        ({"type": "client", "service": "cohere", "prority": 1}, "prority: is not known: did you mean 'priority'?"),
        ({"type": "client", "service": "cohere", "priority": "x"}, "priority: must be a whole number from 0 to 999, got 'x'"),
        ({"type": "client", "service": "cohere", "provider": "x"}, "provider: is not known"),
        ({"type": "client", "service": "cohere", "retry": 3}, "retry: must be a table, got 3"),
        ({"type": "client", "service": "cohere", "retry": "often"}, "retry: must be a table, got 'often'"),
        (
            {"type": "client", "service": "cohere", "retry": {"attempts": 0}},
            "retry.attempts: must be a whole number at least 1, got 0",
        ),
        (
            {"type": "client", "service": "cohere", "retry": {"atempts": 1}},
            "retry.atempts: is not known: did you mean 'attempts'?",
        ),
        ({"type": "client", "service": "cohere", "timeout": {"seconds": 1}}, "timeout: must not be a table"),
        ({"type": "client", "service": "cohere", "timeout": float("nan")}, "timeout: must be a number of seconds"),
        ({"type": "two_step", "reranker": "bm25", "shelf": {"path": "x"}}, "shelf: a 'type' is missing"),
        (
            {"type": "two_step", "reranker": "bm25", "shelf": {"type": "sqlite_shelf", "entries": 0}},
            "shelf.entries: must be at least 1",
        ),
        (
            {"type": "two_step", "reranker": "bm25", "weights": [object()]},
            "weights[0]: must be a text, a number, true or false, a list, or a table, got an object of type object",
        ),
        (
            {"type": "fallback", "rerankers": [{"type": "fallback", "rerankers": ["coher"]}]},
            "rerankers[0].rerankers[0]: 'coher' names no service",
        ),
        (
            {"type": "two_step", "reranker": "bm25", "shelf": {"type": "sqlite_shelf", "entries": "x"}},
            "shelf: '<' not supported",
        ),
        ({3: "x"}, "the key 3 is no text"),
        (
            {"type": "fallback", True: "ServerError", "rerankers": ["bm25"]},
            "the key True is no text: YAML takes on, off, yes and no for truth values, write it in quotes",
        ),
        ({"type": "cohere"}, "type: 'cohere' is not known: 'cohere' is a 'service' of the type 'client'; there are 'client', "),
        ({"service": "cohere"}, "a 'type' is missing: 'client' goes with a 'service'; there are 'client', "),
        ("rerank.yaml", "'rerank.yaml' is the name of a file: load_config(...) reads the description in it"),
        ({"type": "cached", "reranker": "bm25", "stores": ["sqlite_store"]}, "stores[0]: 'path' is missing"),
        (
            {"type": "cached", "reranker": "bm25", "stores": ["memory"]},
            "stores[0].type: 'memory' is not known: did you mean 'memory",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_told_with_its_place(description: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        from_config(description)
    assert message in str(caught.value)


def test_a_store_that_needs_nothing_may_be_named_alone() -> None:
    cached = from_config({"type": "cached", "reranker": "bm25", "stores": ["memory_store"]})
    assert to_config(cached)["stores"] == [{"type": "memory_store"}]


def test_a_description_that_holds_itself_is_refused() -> None:
    endless: dict[str, Any] = {"type": "fallback"}
    endless["rerankers"] = [endless, endless]
    with pytest.raises(InvalidRequestError, match="a description has at most 32 levels"):
        from_config(endless)
    deep: Any = "bm25"
    for _ in range(2_000):
        deep = [deep]
    with pytest.raises(InvalidRequestError):
        from_config({"type": "fallback", "rerankers": deep})


# Secrets


@pytest.mark.parametrize("nested", [False, True])
def test_a_key_in_a_description_is_refused_and_shown_nowhere(service: Service, nested: bool) -> None:
    table = client(service, **key_options(service))
    with pytest.raises(
        InvalidRequestError, match=r"keys and passwords are not written down, and this one is not shown here; leave it out: "
    ) as caught:
        from_config({"type": "fallback", "rerankers": ["bm25", table]} if nested else table)
    assert str(caught.value).startswith("rerankers[1]." if nested else ("api_key", "aws_"))
    assert ("set " in str(caught.value)) == (service is not KENDRA), "which variable, where it is one"
    assert_silent(*shown_of(caught.value), *held_in_frames(caught.value))


def test_a_password_among_a_wrappers_arguments_is_refused_as_well() -> None:
    with pytest.raises(InvalidRequestError, match="password: keys and passwords are not written down"):
        from_config({"type": "two_step", "reranker": "bm25", "password": CANARY})
    for address, place in (
        (f"redis://:{CANARY}@localhost", r"shelf\.path: "),
        (f"https://me:{CANARY}@x.test", r"shelf\.path: "),
        (f"redis://localhost/0?password={CANARY}", r"shelf\.path: "),
    ):
        with pytest.raises(InvalidRequestError, match=f"^{place}keys and passwords are not written down") as caught:
            from_config({"type": "two_step", "reranker": "bm25", "shelf": {"type": "sqlite_shelf", "path": address}})
        assert_silent(*shown_of(caught.value), *held_in_frames(caught.value))
    with pytest.raises(InvalidRequestError, match="^keys and passwords"):
        from_config(f"https://me:{CANARY}@x.test")


def test_keys_are_neither_in_descriptions_nor_in_pickles(service: Service) -> None:
    one = Fallback(Client(service.make("https://gateway.test", **key_options(service))), Passthrough())
    assert_silent(json.dumps(to_config(one)), pickle.dumps(one), repr(one), str(dict(one.arguments())))


def test_an_address_with_a_password_is_not_written_down() -> None:
    with pytest.raises(InvalidRequestError, match=r"shelf\.path: an address with a password is not written down") as caught:
        to_config(TwoStep(BM25(), shelf=SQLiteShelf(f"redis://:{CANARY}@localhost:6379")))
    assert CANARY not in str(caught.value)


# Writing


def test_what_was_given_is_written_and_nothing_else() -> None:
    assert to_config(BM25()) == {"type": "bm25"}
    assert to_config(Passthrough()) == {"type": "passthrough"}
    assert to_config(connect("local:bm25")) == {"type": "bm25"}
    assert to_config(connect("voyage", timeout=2.5)) == {"type": "client", "service": "voyage", "timeout": 2.5}
    assert to_config(Client(Cohere("rerank-v3.5", rank_fields=("title",)), retry=Retry(attempts=1, budget=None))) == {
        "type": "client",
        "service": "cohere",
        "model": "rerank-v3.5",
        "rank_fields": ["title"],
        "retry": {"attempts": 1, "budget": "none"},
    }
    assert to_config(Fallback(BM25(), Passthrough(), on={ServerError}, timeout=None)) == {
        "type": "fallback",
        "rerankers": [{"type": "bm25"}, {"type": "passthrough"}],
        "on": ["ServerError"],
    }
    assert to_config(TwoStep(BM25(), mood=Mood.WILD, shelf=SQLiteShelf(Path("a.db")), curve=Curve(((0.0, 1.0),)))) == {
        "type": "two_step",
        "reranker": {"type": "bm25"},
        "mood": "wild",
        "shelf": {"type": "sqlite_shelf", "path": "a.db"},
        "curve": {"type": "curve", "points": [[0.0, 1.0]]},
    }


class OwnCohere(Cohere):
    pass


class OwnFallback(Fallback):
    pass


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (FakeReranker, "FakeReranker cannot be written down: a description holds clients and rerankkit's own"),
        (object, "object cannot be written down"),
        (lambda: Fallback(BM25(), FakeReranker()), "rerankers[1]: FakeReranker cannot be written down"),
        (lambda: OwnFallback(BM25()), "OwnFallback cannot be written down"),
        (lambda: Client(OwnCohere()), "a provider of your own (OwnCohere) cannot be written down"),
        (lambda: TwoStep(BM25(), tokenizer=len), "tokenizer: a function cannot be written down"),
        (lambda: TwoStep(BM25(), weights=[0.5, float("inf")]), "weights[1]: inf cannot be written down"),
        (lambda: TwoStep(BM25(), limits={3: Retry()}), "limits: the key 3 cannot be written down"),
        (lambda: TwoStep(BM25(), mode=None), "mode: None cannot be written down here"),
        (lambda: TwoStep(BM25(), shelf=object()), "shelf: object cannot be written down"),
    ],
)
def test_what_cannot_be_written_down_is_told_with_its_place(make: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        to_config(make())
    assert message in str(caught.value)


# There and back

names = st.sampled_from(["title", "text", "a key", "é", 'quo"ted', "back\\slash"])
timeouts = st.floats(0.01, 1e6) | st.integers(1, 1000)
retries = st.fixed_dictionaries({}, optional={"attempts": st.integers(1, 9), "budget": st.integers(1, 9) | st.just("none")})
clients = st.one_of(
    st.sampled_from(["cohere", "voyage", "pinecone"]).flatmap(
        lambda name: st.fixed_dictionaries(
            {"type": st.just("client"), "service": st.just(name)},
            optional={
                "timeout": timeouts,
                "retry": retries,
                "concurrency": st.integers(1, 99),
                "on_error": st.sampled_from(["raise", "passthrough"]),
                "return_documents": st.booleans() if name != "cohere" else st.just(False),
            },
        )
    ),
    st.fixed_dictionaries({"type": st.just("client"), "service": st.just("kendra"), "plan_id": st.just(PLAN_ID)}),
    st.fixed_dictionaries(
        {"type": st.just("client"), "service": st.just("cohere"), "rank_fields": st.lists(names, min_size=1, unique=True)}
    ),
)
leaves = clients | st.sampled_from(["cohere", "voyage:rerank-2.5", "local:bm25", "passthrough", {"type": "passthrough"}])
errors = st.lists(st.sampled_from(["ServerError", "RateLimitError", "RerankError"]), min_size=1, unique=True)


def wrapped(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    fallbacks = st.fixed_dictionaries(
        {"type": st.just("fallback"), "rerankers": st.lists(inner, min_size=1, max_size=3)},
        optional={"timeout": timeouts, "on": errors | st.just("ServerError")},
    )
    two_steps = st.fixed_dictionaries(
        {"type": st.just("two_step"), "reranker": inner},
        optional={
            "second": inner,
            "mode": st.sampled_from(["fast", "slow"]),
            "mood": st.sampled_from(["calm", "wild"]),
            "limits": st.dictionaries(names, retries, max_size=2),
            "weights": st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=3),
            "shelf": st.fixed_dictionaries({"type": st.just("sqlite_shelf")}, optional={"path": names}),
            "curve": st.fixed_dictionaries({"points": st.just([[0, 1]])}, optional={"model": names}),
            "window": st.integers() | st.just("none"),
            "others": st.lists(inner, max_size=2),
        },
    )
    return fallbacks | two_steps


compositions = st.recursive(leaves, wrapped, max_leaves=6)


def as_toml(value: Any) -> str:
    """*value* in one line of TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key, ensure_ascii=False)} = {as_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


@tries(150)
@given(compositions)
def test_any_composition_goes_there_and_back(description: Any) -> None:
    made = from_config(description)
    written = to_config(made)
    again = from_config(written)
    assert repr(again) == repr(made)
    assert to_config(again) == written
    assert json.loads(json.dumps(written)) == yaml.safe_load(yaml.safe_dump(written)) == written
    assert tomllib.loads(f"x = {as_toml(written)}")["x"] == written


@tries(60)
@given(compositions)
def test_copies_and_pickles_are_of_the_same_arguments(description: Any) -> None:
    made = from_config(description)
    expected = to_config(made)
    for twin in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert type(twin) is type(made)
        assert to_config(twin) == expected
    assert_silent(pickle.dumps(made))


keys = (
    st.sampled_from(["type", "service", "model", "rerankers", "timeout", "on", "retry", "reranker", "shelf", "others"])
    | any_text
)
words = st.sampled_from(["client", "fallback", "two_step", "cohere", "bm25", "curve", "sqlite_shelf", "none", "kendra:x"])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | any_text | words | st.binary(max_size=3)
junk = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(keys, inner, max_size=4)
        | st.fixed_dictionaries(
            {"type": words}, optional={"rerankers": inner, "reranker": inner, "timeout": inner, "on": inner}
        )
        | st.fixed_dictionaries({"type": words, "service": words}, optional={"retry": inner, "timeout": inner, "model": inner})
    ),
    max_leaves=8,
)


@tries(400)
@given(junk)
def test_junk_is_refused_by_no_other_error(description: Any) -> None:
    try:
        made = from_config(description)
    except InvalidRequestError:
        return
    assert from_config(to_config(made)) is not None


OF_EACH_KIND: dict[str, dict[str, Any]] = {
    "client": {
        "service": "cohere",
        "prices": {"a-model": {"dollars": 2.0, "per": 1000, "unit": "search unit"}},
    },
    "bm25": {"timeout": 2},
    "passthrough": {},
    "first_stage": {},
    "fallback": {"rerankers": ["cohere", "passthrough"], "on": ["ServerError"]},
    "hedged": {"first": "cohere", "second": "voyage", "delay": 0.5},
    "circuit_breaker": {"reranker": "cohere", "slow_after": 1},
    "rate_limited": {"reranker": "cohere", "requests_per_minute": 10},
    "concurrency_limited": {"reranker": "cohere", "most": 4, "adaptive": True},
    "budget": {"reranker": "cohere", "per_call": 0.01},
    "ensemble": {"rerankers": ["cohere", "voyage", "first_stage"], "weights": [1, 2, 1]},
    "windowed": {"reranker": "cohere", "tokens": 100, "overlap": 10},
    "min_score": {"reranker": "cohere", "min_score": {"value": 0.3, "provider": "cohere", "model": "rerank-v3.5"}},
    "cached": {
        "reranker": "cohere",
        "stores": [{"type": "memory_store", "ttl": 60}, {"type": "sqlite_store", "path": "scores.db", "max_bytes": "none"}],
    },
}


@pytest.mark.parametrize("name", sorted(OF_EACH_KIND.keys() & kinds().keys()))
def test_every_wrapper_goes_there_and_back(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = from_config({"type": name, **OF_EACH_KIND[name]})
    written = to_config(made)
    assert {"type": name, **OF_EACH_KIND[name]}.keys() == written.keys()
    assert repr(from_config(written)) == repr(made)
    assert to_config(from_config(json.loads(json.dumps(written)))) == written
    assert to_config(pickle.loads(pickle.dumps(made))) == written


def test_no_kind_of_reranker_is_forgotten_here() -> None:
    own = {name_of(kind) for kind in OWN}
    assert {name for name, kind in kinds().items() if is_ranking(kind)} - own <= set(OF_EACH_KIND)


# Files

COMPOSITION = {"type": "fallback", "rerankers": [{"type": "client", "service": "voyage", "timeout": 2}, "local:bm25"]}
FILES = {
    "rerank.toml": (
        'type = "fallback"\nrerankers = [\n  { type = "client", service = "voyage", timeout = 2 },\n  "local:bm25",\n]\n'
    ),
    "rerank.yaml": "type: fallback\nrerankers:\n  - {type: client, service: voyage, timeout: 2}\n  - local:bm25\n",
    "RERANK.YML": "\ufefftype: fallback\nrerankers: [{type: client, service: voyage, timeout: 2}, 'local:bm25']\n",
    "rerank.json": json.dumps(COMPOSITION),
}


@pytest.mark.parametrize("name", FILES)
def test_a_description_is_loaded_from_a_file_of_any_form(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(FILES[name], "utf-8")
    assert load_config(tmp_path / name) == COMPOSITION
    assert load_config(str(tmp_path / name)) == COMPOSITION


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rerank.ini", b"", "rerank.ini must end in one of .toml, .yaml, .yml, .json"),
        ("rerank.toml", b"type = ", "rerank.toml cannot be read: "),
        (
            "rerank.yaml",
            b"a: b: " + CANARY.encode(),
            "rerank.yaml cannot be read: mapping values are not allowed here (line 1, column 5)",
        ),
        ("rerank.yaml", b"\x07", "rerank.yaml cannot be read"),
        ("rerank.yaml", b"", "must hold the description of a reranker, it is empty"),
        ("rerank.json", b'{"api_key": "' + CANARY.encode() + b'", }', "rerank.json cannot be read"),
        ("rerank.json", b"[1]", "must hold the description of a reranker, it holds a list"),
        ("rerank.json", b"\xff", "rerank.json cannot be read"),
        ("rerank.json", b"[" * 100_000, "rerank.json cannot be read"),
        ("rerank.json", None, "No such file"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidRequestError) as caught:
        load_config(tmp_path / name)
    assert message in str(caught.value)
    assert_silent(*shown_of(caught.value), *held_in_frames(caught.value))


def test_on_is_a_key_in_yaml_too(tmp_path: Path) -> None:
    """YAML 1.1 takes it for a truth value."""
    (tmp_path / "rerank.yaml").write_text("type: fallback\non: [ServerError]\nrerankers: [bm25]\n", "utf-8")
    found = load_config(tmp_path / "rerank.yaml")
    assert found == {"type": "fallback", "on": ["ServerError"], "rerankers": ["bm25"]}
    assert to_config(from_config(found))["on"] == ["ServerError"]


def test_values_in_yaml_are_what_yaml_says_they_are(tmp_path: Path) -> None:
    text = "base: &base {most: 4}\nlimited: {<<: *base, adaptive: yes, 3: 0.5}\n"
    (tmp_path / "rerank.yaml").write_text(text, "utf-8")
    assert load_config(tmp_path / "rerank.yaml") == {
        "base": {"most": 4},
        "limited": {"most": 4, "adaptive": True, "3": 0.5},
    }


def test_every_service_can_be_described() -> None:
    for service in SERVICES:
        made = from_config(client(service))
        assert to_config(made) == client(service)
        assert made.label.startswith(service.name)
