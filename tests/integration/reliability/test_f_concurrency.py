"""Group F: one object in many threads, event loops and processes, and calls that end before their answer."""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from typing import Any

import anyio
import pytest
import trio

from helpers.patience import happens
from helpers.processes import Held, fork
from helpers.services import COHERE, KENDRA, KEY, PINECONE, VOYAGE, Service
from helpers.ways import WAYS, Scope, Way, one_loop, run, within
from integration.reliability.cancelling import PACES, assert_whole, cancelled_after_turns, cancelled_at_step, storms
from integration.reliability.echo import (
    TEXTS,
    acheck,
    acheck_all,
    check,
    check_way,
    is_answered,
    is_answered_on,
    queries,
    ranking,
)
from integration.reliability.fault_server import Stage
from integration.reliability.faults import Later, Status, says_nothing
from integration.reliability.rows import row
from integration.reliability.trial import open_sockets, warm
from rerankkit import Client, DeadlineExceededError, InvalidRequestError, RerankError, _sigv4
from rerankkit._secret import hidden

ASYNC_WAYS = [way for way in WAYS if way.colour == "async"]
SYNC_WAYS = [way for way in WAYS if way.colour == "sync"]

F1 = row("F1", "one object in several event loops, one after the other or within each other", "works in each of them")
F2 = row("F2", "one object in six threads, each with an event loop of its own", "each call gets its own answer, and none hangs")
F3 = row("F3", "one object in forty threads", "each call gets its own answer")
F4 = row(
    "F4",
    "a fork with open connections: four children and their parent go on with the same object, five times; from a thread, "
    "within an event loop, during calls",
    "each call of each process gets its own answer",
)
F5 = row(
    "F5",
    "an object sent to a process that was spawned, or came from a fork server",
    "works with that process's own key, or says which variable it needs; the pickle holds no key",
)
F6 = row(
    "F6",
    "a call cancelled at any point: after each step, each turn of the event loop, and at random",
    "leaves the pool whole: as many calls at once as it has connections succeed next",
)
F7 = row(
    "F7",
    "asyncio.timeout, wait_for, anyio's cancel scopes and trio's around a call",
    "the caller's own exception, nothing is tried again; trio is refused in words",
)
F9 = row(
    "F9",
    "close during calls, twice, in another loop or after its end, and never",
    "calls end with their answer or an error that says so; nothing stays open, and nothing is said about closed loops",
)
F10 = row("F10", "1,000 objects made, used and dropped", "hold nothing open")
F12 = row("F12", "2,000 calls at once in one event loop", "all are answered before their deadline")
F14 = row(
    "F14",
    "threads that are switched every microsecond (builds without the GIL have not been tried)",
    "each call gets its own answer",
)


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def client(service: Service, stage: Stage) -> Iterator[Client]:
    with Client(service.make(stage.url), transport=service.transport) as made:
        yield made


@pytest.fixture(autouse=True)
def _nothing_is_said(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """asyncio logs what nobody waited for: tasks, exceptions, transports of closed loops."""
    yield
    gc.collect()
    assert [
        record.getMessage() for record in caplog.records if record.name == "asyncio" and record.levelno > logging.INFO
    ] == []


def fewer(service: Service, whole: str, count: int, divisor: int = 10) -> int:
    """The whole *count* for one service, which has the code under it in common with the others."""
    return count if service.name == whole else count // divisor


# Event loops


@F1
@pytest.mark.parametrize("way", ASYNC_WAYS, ids=str)
def test_an_object_works_in_one_event_loop_after_the_other(client: Client, way: Way) -> None:
    for number in range(4):
        with one_loop():
            for query in queries(f"loop {number}", 5):
                check_way(way, client, query)


@F1
def test_loops_one_after_the_other_each_run_many_calls_and_leave_nothing_open(client: Client) -> None:
    before = open_sockets()
    for number in range(4):
        asyncio.run(acheck_all(client, queries(f"loop {number}", 10)))
        assert open_sockets() == before


@F1
@pytest.mark.parametrize("way", SYNC_WAYS, ids=str)
def test_a_blocking_call_works_inside_a_running_loop_as_in_a_notebook(client: Client, way: Way) -> None:
    async def cell() -> None:
        check_way(way, client, "blocking")
        await acheck(client, "async")
        check_way(way, client, "blocking again")

    asyncio.run(cell())


@F1
def test_a_loop_in_a_thread_works_while_another_one_runs(client: Client) -> None:
    async def outer() -> None:
        inner = [asyncio.to_thread(asyncio.run, acheck_all(client, queries(f"inner {name}", 10))) for name in "ab"]
        await asyncio.gather(*inner, acheck_all(client, queries("outer", 10)))

    asyncio.run(outer())


@F1
def test_two_loops_that_take_turns_in_one_thread_keep_their_connections_apart(client: Client, stage: Stage) -> None:
    with asyncio.Runner() as one, asyncio.Runner() as other:
        for query in queries("turn", 10):
            one.run(acheck(client, query))
            other.run(acheck(client, query))
    assert stage.connections == 2


NESTED = """
import asyncio, nest_asyncio, sys
from rerankkit import Client, Cohere
asyncio.set_event_loop(loop := asyncio.new_event_loop())
nest_asyncio.apply(loop)
client = Client(Cohere(api_key="k", base_url=sys.argv[1]))
def rank():
    return [result.index for result in asyncio.get_event_loop().run_until_complete(client.arerank("q", ["a", "b", "c"]))]
async def cell():
    first = [result.index for result in await client.arerank("q", ["a", "b", "c"])]
    return [first, rank(), [result.index for result in client.rerank("q", ["a", "b", "c"])]]
orders = loop.run_until_complete(cell())
loop.run_until_complete(client.aclose())
loop.close()
print(orders == [orders[0]] * 3 and sorted(orders[0]) == [0, 1, 2])
"""


@F1
@pytest.mark.parametrize("service", [COHERE], indirect=True, ids=["cohere"])
def test_a_loop_that_is_entered_again_while_it_runs_works_as_under_nest_asyncio(stage: Stage) -> None:
    assert printed(NESTED, stage.url) == "True"


@F2
def test_six_threads_with_a_loop_each_share_an_object(client: Client, service: Service) -> None:
    calls = fewer(service, "voyage", 200)

    async def work(name: str) -> None:
        for number in range(0, calls, 10):
            await acheck_all(client, queries(f"{name} {number}", 10))

    with ThreadPoolExecutor(6) as threads:
        for done in [threads.submit(asyncio.run, work(f"thread {number}")) for number in range(6)]:
            done.result()


# Threads


@F3
def test_forty_threads_get_their_own_answers(client: Client, service: Service) -> None:
    all_queries = queries("query", 40 * fewer(service, "pinecone", 100))
    with ThreadPoolExecutor(40) as threads:
        assert all(threads.map(partial(is_answered, client), all_queries))


@F3
@pytest.mark.parametrize("way", [way for way in SYNC_WAYS if way.package != "core"], ids=str)
def test_threads_of_frameworks_get_their_own_answers(client: Client, way: Way) -> None:
    with ThreadPoolExecutor(20) as threads:
        assert all(threads.map(partial(is_answered_on, way, client), queries("query", 60)))


@F14
def test_threads_that_are_switched_all_the_time_get_their_own_answers(client: Client) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(16) as threads:
            assert all(threads.map(partial(is_answered, client), queries("query", 160)))
            list(threads.map(lambda query: asyncio.run(acheck(client, query)), queries("async", 16)))
    finally:
        sys.setswitchinterval(interval)


# Processes


def work(client: Client, name: str, colour: str, calls: int) -> None:
    """*calls* right answers."""
    if colour == "sync":
        for query in queries(name, calls):
            check(client, query)
        return

    async def all_of_them() -> None:
        for number in range(0, calls, 10):
            await acheck_all(client, queries(f"{name} {number}", 10))

    asyncio.run(all_of_them())


def assert_children_and_parent(client: Client, colour: str, calls: int, name: str) -> None:
    """Four children and their parent go on with one object."""
    children = [fork(partial(work, client, f"{name}, child {number}", colour, calls)) for number in range(4)]
    try:
        work(client, f"{name}, parent", colour, calls)
    finally:
        failures = [child.failure() for child in children]
    assert failures == [""] * 4


@F4
def test_children_and_their_parent_go_on_with_the_same_object(client: Client, service: Service, colour: str) -> None:
    calls = fewer(service, "cohere" if colour == "sync" else "kendra", 100)
    with one_loop() as loop:
        check(client, "the pool is warm")
        loop.run(acheck_all(client, queries("so is the loop's", 10)))
        for number in range(5):
            assert_children_and_parent(client, colour, calls, f"round {number}")
            loop.run(acheck_all(client, queries(f"after round {number}", 10)))


@F4
def test_a_thread_may_fork_too(client: Client, colour: str) -> None:
    check(client, "the pool is warm")
    with ThreadPoolExecutor(1) as thread:
        thread.submit(assert_children_and_parent, client, colour, 10, "from a thread").result()


@F4
def test_a_fork_during_blocking_calls_of_other_threads_disturbs_neither_side(client: Client, stage: Stage) -> None:
    stage.sometimes(0.5, [Later(0.002)])
    stop = threading.Event()

    def busy(name: str) -> int:
        count = 0
        while not stop.is_set():
            check(client, f"{name} {count}")
            count += 1
        return count

    check(client, "warm")
    with ThreadPoolExecutor(6) as threads:
        counts = [threads.submit(busy, f"busy {number}") for number in range(6)]
        try:
            for number in range(3):
                assert_children_and_parent(client, "sync", 10, f"round {number}")
        finally:
            stop.set()
        assert all(count.result() for count in counts)


COLD = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from helpers.processes import fork
from helpers.services import SERVICES
from integration.reliability.echo import check
from rerankkit import Client
service = next(service for service in SERVICES if service.name == sys.argv[1])
client = Client(service.make(sys.argv[2]), transport=service.transport)
started = threading.Barrier(5)
def first(number):
    started.wait()
    check(client, f"thread {number}")
with ThreadPoolExecutor(4) as threads:
    calls = [threads.submit(first, number) for number in range(4)]
    started.wait()
    children = [fork(lambda: check(client, "child")) for _ in range(6)]
    for call in calls:
        call.result()
print(*{child.failure() for child in children} - {""} or ["all answered"])
client.close()
"""


@F4
def test_a_fork_during_the_first_calls_of_all_disturbs_neither_side(service: Service, stage: Stage) -> None:
    """Those import what they need, and a child waits for ever for a module that was being imported."""
    assert printed(COLD, service.name, stage.url) == "all answered"


@F4
@pytest.mark.parametrize("service", [KENDRA], indirect=True, ids=["kendra"])
def test_a_fork_while_another_thread_looks_for_credentials_disturbs_neither_side(
    service: Service, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _sigv4._given(_sigv4.Keys.find("AKIDEXAMPLE", hidden(KEY), None))
    looking, go_on = threading.Event(), threading.Event()

    def chain(profile: str | None) -> Any:
        looking.set()
        go_on.wait()
        return found

    def in_child() -> None:
        go_on.set()
        check(client, "child")

    monkeypatch.setattr(_sigv4, "_chain", chain)
    with Client(service.make(stage.url, aws_access_key_id=None, aws_secret_access_key=None)) as client:
        with ThreadPoolExecutor(1) as thread:
            call = thread.submit(check, client, "parent")
            looking.wait()
            failure = fork(in_child).failure()
            go_on.set()
            call.result()
    assert failure == ""


@F4
def test_a_fork_within_a_running_loop_and_during_its_calls_disturbs_neither_side(client: Client, stage: Stage) -> None:
    stage.sometimes(0.5, [Later(0.005)])

    def in_child(number: int) -> None:
        work(client, f"child {number}", "sync", 5)
        work(client, f"child {number}, async", "async", 10)

    async def parent() -> list[str]:
        under_way = [asyncio.create_task(acheck(client, query)) for query in queries("under way", 40)]
        await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
        children = [fork(partial(in_child, number)) for number in range(2)]
        await asyncio.gather(*under_way)
        await acheck_all(client, queries("after", 10))
        return [await asyncio.to_thread(child.failure) for child in children]

    assert asyncio.run(parent()) == [""] * 2


@F4
def test_a_grandchild_has_connections_of_its_own_too(client: Client) -> None:
    def in_child() -> None:
        check(client, "child")
        assert fork(partial(check, client, "grandchild")).failure() == ""
        check(client, "child again")

    check(client, "parent")
    assert fork(in_child).failure() == ""
    check(client, "parent again")


@F4
def test_a_child_that_closes_its_object_closes_nothing_of_its_parents(client: Client, stage: Stage) -> None:
    async def close_in_loop() -> None:
        await client.aclose()

    with one_loop() as loop:
        check(client, "warm")
        loop.run(acheck(client, "warm"))
        assert fork(client.close).failure() == fork(lambda: asyncio.run(close_in_loop())).failure() == ""
        check(client, "still")
        loop.run(acheck(client, "still"))
    assert stage.connections == 2, "the parent's were not replaced"


def in_process(client: Client, colour: str, query: str, environment: dict[str, str]) -> list[tuple[int, float | None]]:
    """A ranking by a process with this environment."""
    os.environ.update(environment)
    return [(result.index, result.relevance_score) for result in run(colour, client, "rerank", query, TEXTS)]


def environment_for(service: Service, url: str) -> dict[str, str]:
    """What a process needs to know of a service, and of its address, which is not the service's own."""
    if service.name == "kendra":
        return {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": KEY, "AWS_EC2_METADATA_DISABLED": "true"}
    access = type(service.make(url)).access
    return {access.key_names[0]: KEY, access.url_name: url}


@F5
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_another_process_takes_its_own_key_or_says_what_it_needs(
    client: Client, service: Service, stage: Stage, method: str
) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as processes:
        with pytest.raises(InvalidRequestError, match="the key did not travel|key did not travel|AWS credentials") as caught:
            processes.submit(in_process, client, "sync", "q", {"AWS_EC2_METADATA_DISABLED": "true"}).result()
        assert stage.count == 0
        assert KEY not in str(caught.value)
        for colour in ("sync", "async"):
            found = processes.submit(in_process, client, colour, colour, environment_for(service, stage.url)).result()
            assert found == ranking(colour)


@F5
def test_a_pickle_holds_no_key_and_no_connection(client: Client) -> None:
    check(client, "warm")
    pickled = pickle.dumps(client)
    assert KEY.encode() not in pickled
    assert len(pickled) < 1_000


# Cancelling


@F6
def test_a_call_may_be_cancelled_after_any_turn_of_the_loop(client: Client, stage: Stage) -> None:
    stage.sometimes(0.7, PACES)

    warm(client)

    async def scenario() -> list[bool]:
        ended = [await cancelled_after_turns(partial(client.arerank, "q", TEXTS), turns) for turns in range(201)]
        await assert_whole(client, stage)
        return ended

    ended = asyncio.run(scenario())
    assert ended[0]
    assert sum(ended) > 20


@F6
def test_a_call_may_be_cancelled_before_any_of_its_steps(client: Client, stage: Stage) -> None:
    stage.sometimes(0.7, PACES)

    async def scenario() -> list[bool]:
        await acheck(client, "warm")
        ended = [await cancelled_at_step(partial(client.arerank, "q", TEXTS), step) for step in range(60)]
        await assert_whole(client, stage)
        return ended

    ended = asyncio.run(scenario())
    assert all(ended[:4])
    assert not ended[-1], "these are more steps than a call has"


@F6
def test_storms_of_cancelled_calls_leave_all_connections_usable(client: Client, stage: Stage) -> None:
    """All 10,000: ``python -m tests.soak --cancellations 10000``."""
    assert asyncio.run(storms(client, stage, 375, stage.service)) >= 375


@F6
@pytest.mark.parametrize("service", [VOYAGE, PINECONE], indirect=True, ids=["voyage", "pinecone"])
def test_a_call_in_batches_may_be_cancelled_at_any_time(service: Service, stage: Stage) -> None:
    texts = [f"text {number}" for number in range(2_000)]

    async def scenario(client: Client) -> None:
        for turns in range(0, 200, 10):
            await cancelled_after_turns(partial(client.arerank, "q", texts), turns)
            assert len(asyncio.all_tasks()) == 1
        await assert_whole(client, stage)

    with Client(service.make(stage.url), transport=service.transport) as client:
        asyncio.run(scenario(client))


@F6
def test_a_call_may_be_cancelled_between_two_attempts(client: Client, stage: Stage) -> None:
    stage.always(Status(503, {"Retry-After": "20"}))

    async def scenario() -> None:
        task = asyncio.create_task(client.arerank("q", TEXTS))
        assert await asyncio.to_thread(happens, lambda: stage.count, 20)
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert stage.count == 1
        await assert_whole(client, stage)

    asyncio.run(scenario())


# The caller's own time limits


async def in_asyncio_timeout(call: Coroutine[Any, Any, Any]) -> Any:
    async with asyncio.timeout(0.1):
        return await call


async def in_wait_for(call: Coroutine[Any, Any, Any]) -> Any:
    return await asyncio.wait_for(call, 0.1)


async def in_fail_after(call: Coroutine[Any, Any, Any]) -> Any:
    with anyio.fail_after(0.1):
        return await call


async def in_move_on_after(call: Coroutine[Any, Any, Any]) -> Any:
    with anyio.move_on_after(0.1):
        return await call
    raise TimeoutError


async def in_task_group(call: Coroutine[Any, Any, Any]) -> Any:
    """Another task of the group fails, which cancels the call."""

    async def fail() -> None:
        await asyncio.sleep(0.1)
        raise TimeoutError

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            await call
    except* TimeoutError:
        raise TimeoutError from None


SCOPES = [in_asyncio_timeout, in_wait_for, in_fail_after, in_move_on_after, in_task_group]


@F7
@pytest.mark.parametrize("scope", SCOPES, ids=lambda scope: scope.__name__)
@pytest.mark.parametrize("way", ASYNC_WAYS, ids=str)
def test_the_callers_own_time_limit_is_neither_swallowed_nor_tried_again(
    client: Client, stage: Stage, way: Way, scope: Scope
) -> None:
    with one_loop():
        check_way(way, client, "warm")
        stage.always(says_nothing)
        with within(scope), pytest.raises(TimeoutError) as caught:
            check_way(way, client, "q")
        assert not isinstance(caught.value, DeadlineExceededError), "that would be the client's"
        assert stage.count == 2
        stage.heal()
        check_way(way, client, "q")


@F7
def test_the_clients_deadline_within_the_callers_limit_is_the_clients(client: Client, stage: Stage) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(20):
            await client.arerank("q", TEXTS, timeout=0.1)

    stage.play(says_nothing)
    with pytest.raises(DeadlineExceededError):
        asyncio.run(scenario())


@F7
@pytest.mark.parametrize("way", ASYNC_WAYS, ids=str)
def test_trio_is_refused_in_words(client: Client, stage: Stage, way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    async def call_it(coroutine: Coroutine[Any, Any, Any]) -> Any:
        return await coroutine

    monkeypatch.setattr(asyncio, "run", lambda coroutine: trio.run(call_it, coroutine))
    with pytest.raises(InvalidRequestError, match=r"trio.*in a thread"):
        check_way(way, client, "q")
    assert stage.connections == 0


@F7
def test_blocking_calls_work_in_threads_of_trio_and_of_anyio(client: Client, backend: str) -> None:
    answered: list[bool] = []

    async def call(query: str) -> None:
        answered.append(await anyio.to_thread.run_sync(is_answered, client, query))

    async def scenario() -> None:
        async with anyio.create_task_group() as group:
            for query in queries(backend, 10):
                group.start_soon(call, query)

    anyio.run(scenario, backend=backend)
    assert answered == [True] * 10


@F7
@pytest.mark.parametrize("timeout", [trio.fail_after, trio.move_on_after], ids=lambda timeout: timeout.__name__)
def test_trios_scopes_leave_a_blocking_call_alone(client: Client, stage: Stage, timeout: Any) -> None:
    """A thread cannot be interrupted: the call ends by itself, and its answer is kept."""
    stage.always(Later(0.1))

    async def scenario() -> None:
        with timeout(0.02):
            await trio.to_thread.run_sync(check, client, "q")

    trio.run(scenario)
    check(client, "q")


# Closing


@F9
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_call_after_close_says_so(client: Client, stage: Stage, way: Way) -> None:
    check(client, "q")
    client.close()
    with pytest.raises(InvalidRequestError, match="this client is closed: make a new one"):
        check_way(way, client, "q")
    assert stage.count == 1


@F9
def test_closing_twice_in_all_ways_does_no_harm(client: Client) -> None:
    async def both() -> None:
        await acheck(client, "q")
        await asyncio.gather(client.aclose(), client.aclose())
        client.close()
        await client.aclose()

    check(client, "q")
    before = open_sockets()
    asyncio.run(both())
    client.close()
    asyncio.run(client.aclose())
    assert len(open_sockets()) == len(before) - 1


@F9
def test_closing_in_another_loop_or_thread_than_that_of_the_calls_does_no_harm(client: Client) -> None:
    before = open_sockets()
    with asyncio.Runner() as runner:
        runner.run(acheck(client, "q"))
        asyncio.run(client.aclose())
        threading.Thread(target=client.close).start()
        runner.run(asyncio.sleep(0.01))
    assert happens(lambda: open_sockets() == before)


@F9
def test_a_loop_that_was_closed_without_ending_anything_is_let_go(client: Client) -> None:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(acheck(client, "q"))
    loop.close()
    with pytest.warns(ResourceWarning, match="unclosed"):  # by that loop's own transports: nobody can close them now
        _let_go(client)
    asyncio.run(client.aclose())


def _let_go(client: Client) -> None:
    asyncio.run(acheck(client, "q"))
    gc.collect()


ENDED = ("this client is closed", "no complete answer from", "cannot connect to")


def ended(error: BaseException) -> bool:
    """Whether a call that was under way ended as it may."""
    return isinstance(error, RerankError) and any(text in str(error) for text in ENDED)


@F9
def test_closing_during_blocking_calls_ends_them_with_an_answer_or_an_error_that_says_so(client: Client, stage: Stage) -> None:
    stage.sometimes(1.0, PACES)
    before = open_sockets()

    def until_closed(name: str) -> BaseException:
        try:
            while True:
                check(client, name)
        except RerankError as error:
            return error

    with ThreadPoolExecutor(20) as threads:
        calls = [threads.submit(until_closed, f"thread {number}") for number in range(20)]
        assert happens(lambda: stage.count > 40, 20)
        client.close()
        errors = [call.result() for call in calls]
    assert [str(error) for error in errors if not ended(error)] == []
    assert happens(lambda: open_sockets() <= before)


@F9
def test_closing_during_async_calls_ends_them_with_an_answer_or_an_error_that_says_so(client: Client, stage: Stage) -> None:
    stage.sometimes(1.0, PACES)

    async def until_closed(name: str) -> BaseException:
        try:
            while True:
                await acheck(client, name)
        except RerankError as error:
            return error

    async def scenario() -> list[BaseException]:
        before = open_sockets()
        calls = [asyncio.create_task(until_closed(f"task {number}")) for number in range(20)]
        assert await asyncio.to_thread(happens, lambda: stage.count > 40, 20)
        await client.aclose()
        errors = await asyncio.gather(*calls)
        await asyncio.sleep(0.05)  # transports close in later turns of the loop
        assert open_sockets() <= before, "while the loop still runs"
        return errors

    errors = asyncio.run(scenario())
    assert [str(error) for error in errors if not ended(error)] == []


DROPPED = """
import asyncio, gc, sys
from rerankkit import *
from helpers.services import SERVICES
service = next(service for service in SERVICES if service.name == sys.argv[1])
def make():
    return Client(service.make(sys.argv[2]), transport=service.transport)
async def use(client):
    await asyncio.gather(*(client.arerank("q", ["a", "b"]) for _ in range(5)))
async def drop_in_loop():
    for _ in range(3):
        await use(make())
        gc.collect()
        await asyncio.sleep(0)
make().rerank("q", ["a", "b"])
asyncio.run(use(make()))
asyncio.run(drop_in_loop())
kept = make()
kept.rerank("q", ["a", "b"])
asyncio.run(use(kept))
runner = asyncio.Runner()
runner.run(use(kept))
runner.close()
print("done")
"""


@F9
def test_clients_that_nobody_closes_say_nothing_at_all(service: Service, stage: Stage) -> None:
    assert printed(DROPPED, service.name, stage.url) == "done"


def printed(program: str, *arguments: str) -> str:
    """What a program prints, which complains about nothing: sockets left open would show."""
    done = subprocess.run(
        [sys.executable, "-W", "always::ResourceWarning", "-c", program, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout.strip()


# Many objects, many calls


@F10
def test_objects_that_were_used_and_dropped_hold_nothing_open(service: Service, stage: Stage) -> None:
    before = Held.now()
    for query in queries("query", fewer(service, "kendra", 1_000)):
        check(Client(service.make(stage.url), transport=service.transport), query)
        assert Held.now().descriptors <= before.descriptors + 5
    assert happens(lambda: Held.now().descriptors <= before.descriptors)


@F10
def test_a_client_may_be_dropped_at_any_turn_of_a_loop_that_is_about_to_end(service: Service, stage: Stage) -> None:
    async def scenario(turns: int) -> None:
        await acheck_all(Client(service.make(stage.url), transport=service.transport), queries("query", 3))
        for _ in range(turns):
            await asyncio.sleep(0)

    before = open_sockets()
    for turns in range(12):
        asyncio.run(scenario(turns))
        assert open_sockets() == before


@F10
def test_objects_that_were_used_and_dropped_in_one_loop_hold_nothing_open(service: Service, stage: Stage) -> None:
    async def scenario() -> None:
        before = Held.now()
        for query in queries("query", fewer(service, "pinecone", 1_000)):
            await acheck(Client(service.make(stage.url), transport=service.transport), query)
            assert Held.now().descriptors <= before.descriptors + 5
        await asyncio.sleep(0.01)
        assert Held.now().descriptors == before.descriptors

    asyncio.run(scenario())


@F12
def test_thousands_of_calls_at_once_are_all_answered(client: Client, service: Service) -> None:
    asyncio.run(acheck_all(client, queries("query", fewer(service, "cohere", 2_000))))
