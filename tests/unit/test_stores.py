"""Where scores are kept: within bounds, for a time, and plainly."""

from __future__ import annotations

import copy
import logging
import pickle
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from helpers.caches import Scorer
from helpers.processes import Held, fork
from helpers.redis_server import is_installed, redis_server
from helpers.ways import run
from rerankkit import InvalidRequestError
from rerankkit._degrading import Notices
from rerankkit.resilience._caching import tiers
from rerankkit.resilience.cached import Cached
from rerankkit.resilience.stores import MemoryStore, RedisStore, SQLiteStore, Store
from rerankkit.resilience.stores import memory as memory_module
from rerankkit.resilience.stores import sqlite as sqlite_module
from rerankkit.types import CacheUse

needs_redis = pytest.mark.skipif(not is_installed(), reason="there is no redis-server: Debian's package redis-server has it")
SECRET = "hunter2-very-secret"
ITEMS = {"a" * 40: b"[1]", "b" * 40: b"[2]"}


def key(number: int) -> str:
    return f"{number:040x}"


@pytest.fixture(params=["memory", "sqlite", "redis"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """A store of each kind, always of the same place."""
    made: list[Any] = []
    kinds: dict[str, Callable[..., Any]] = {
        "memory": MemoryStore,
        "sqlite": lambda **options: SQLiteStore(tmp_path / "scores.sqlite", **options),
        "redis": lambda **options: RedisStore(request.getfixturevalue("redis_url"), prefix=f"{tmp_path}:", **options),
    }

    def made_one(**options: Any) -> Any:
        made.append(kinds[request.param](**options))
        return made[-1]

    yield made_one
    for store in made:
        store.close()


def test_what_is_set_is_got_and_nothing_else(make: Any) -> None:
    store = make()
    assert isinstance(store, Store)
    assert store.get_many(list(ITEMS)) == {}
    store.set_many(ITEMS)
    assert store.get_many([*ITEMS, "c" * 40]) == ITEMS
    store.set_many({"a" * 40: b"[3]"})
    assert store.get_many(["a" * 40]) == {"a" * 40: b"[3]"}


def test_many_at_once(make: Any) -> None:
    store = make()
    items = {key(number): b"[%d]" % number for number in range(2_500)}
    store.set_many(items)
    assert store.get_many(list(items)) == items


def test_after_its_time_an_entry_is_gone(make: Any) -> None:
    store = make(ttl=0.2)
    store.set_many(ITEMS)
    ends = time.monotonic() + 0.2
    while store.get_many(list(ITEMS)):
        assert time.monotonic() < ends + 10
        time.sleep(0.02)
    assert time.monotonic() >= ends - 0.05
    store.set_many(ITEMS)
    assert store.get_many(list(ITEMS)) == ITEMS


def test_threads_share_it(make: Any) -> None:
    store = make()

    def work(number: int) -> None:
        for step in range(20):
            store.set_many({key(1_000 * number + step): b"[%d]" % number, key(step): b"[0]"})
            assert store.get_many([key(1_000 * number + step)])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(1, 9)))
    assert len(store.get_many([key(1_000 * number + step) for number in range(1, 9) for step in range(20)])) == 160


def test_a_forked_child_uses_it_while_the_parents_threads_do(make: Any) -> None:
    store = make()
    store.set_many(ITEMS)
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            store.set_many({key(7): b"[7]"})
            store.get_many([key(7), *ITEMS])

    def in_child() -> None:
        assert store.get_many(list(ITEMS)) == ITEMS
        store.set_many({key(8): b"[8]"})
        assert store.get_many([key(8)]) == {key(8): b"[8]"}

    with ThreadPoolExecutor(4) as threads:
        workers = [threads.submit(work) for _ in range(4)]
        try:
            assert [fork(in_child).failure() for _ in range(5)] == [""] * 5
        finally:
            done.set()
        assert [worker.exception(20) for worker in workers] == [None] * 4
    assert store.get_many(list(ITEMS)) == ITEMS


def test_after_closing_it_opens_again(make: Any) -> None:
    store = make()
    store.set_many(ITEMS)
    store.close()
    store.close()
    assert store.get_many(list(ITEMS)) == ITEMS


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda store: pickle.loads(pickle.dumps(store))])
def test_a_copy_is_of_the_same_place(make: Any, copied: Any) -> None:
    store = make(ttl=60)
    store.set_many(ITEMS)
    twin = copied(store)
    assert repr(twin) == repr(store)
    assert twin.get_many(list(ITEMS)) == ({} if isinstance(store, MemoryStore) else ITEMS)
    twin.close()


@pytest.mark.parametrize("ttl", [0, -1, True, "1", float("nan"), float("inf")])
def test_a_time_to_live_that_is_none_is_refused(make: Any, ttl: Any) -> None:
    with pytest.raises(InvalidRequestError, match="ttl must be a number of seconds"):
        make(ttl=ttl)


# Memory


def test_memory_forgets_what_was_used_longest_ago() -> None:
    store = MemoryStore(entries=3)
    for number in range(3):
        store.set_many({key(number): b"[0]"})
    store.get_many([key(0)])
    store.set_many({key(3): b"[0]"})
    assert store.get_many([key(number) for number in range(4)]).keys() == {key(0), key(2), key(3)}
    assert len(store) == 3


def test_memory_is_bounded_by_bytes_as_well() -> None:
    store = MemoryStore(max_bytes=10 * (memory_module.OVERHEAD + 100))
    store.set_many({key(number): b"x" * 100 for number in range(50)})
    assert len(store) == 10
    store.set_many({key(45): b"x" * 1_200})
    assert key(45) in store.get_many([key(45)])
    assert len(store) < 10
    store.set_many({key(99): b"x" * 100_000})
    assert (len(store), store._bytes) == (0, 0)


def test_memory_counts_the_bytes_of_what_is_replaced_and_what_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(memory_module.time, "monotonic", lambda: now[0])
    store = MemoryStore(ttl=10)
    for size in (10, 1_000, 20):
        store.set_many({key(0): b"x" * size})
    assert store._bytes == memory_module.OVERHEAD + 20
    now[0] = 110.0
    assert store.get_many([key(0)]) == {}
    assert (len(store), store._bytes) == (0, 0)


def test_what_memory_says_an_entry_takes_is_about_right() -> None:
    program = """
import tracemalloc
from rerankkit.resilience.stores import MemoryStore
store = MemoryStore(entries=10**6, max_bytes=10**9)
tracemalloc.start()
store.set_many({f"{number:040x}": b'["cohere","rerank-v3.5",[[0,0.%06d,null]]]' % number for number in range(50_000)})
print(tracemalloc.get_traced_memory()[0] / store._bytes)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 0.6 < float(done.stdout) < 1.3


@pytest.mark.parametrize("options", [{"entries": 0}, {"entries": 1.5}, {"max_bytes": 0}, {"max_bytes": None}])
def test_bounds_that_are_none_are_refused(options: Any) -> None:
    with pytest.raises(InvalidRequestError, match="must be a whole number at least 1"):
        MemoryStore(**options)


# SQLite

OTHER_PROCESS = """
import sys
from rerankkit.resilience.stores import SQLiteStore
store = SQLiteStore(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for step in range(50):
    store.set_many({f"{int(sys.argv[2]) * 1000 + step:040x}": b"[1]"})
    store.get_many([f"{number:040x}" for number in range(100)])
store.close()
"""


def test_processes_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "scores.sqlite"
    commands = [[sys.executable, "-c", OTHER_PROCESS, str(path), str(number)] for number in (1, 2)]
    others = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for command in commands]
    for other in others:
        assert other.stdout
        assert other.stdout.readline() == "ready\n"
    for other in others:
        other.communicate("go\n", timeout=60)
    assert [other.returncode for other in others] == [0, 0]
    store = SQLiteStore(path)
    assert len(store.get_many([key(1_000 * number + step) for number in (1, 2) for step in range(50)])) == 100
    store.close()
    assert sorted(found.name for found in tmp_path.iterdir()) == ["scores.sqlite"]


def damaged(path: Path) -> None:
    store = SQLiteStore(path)
    store.set_many({key(number): b"x" * 100 for number in range(500)})
    store.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\x5a" * (len(content) - 4096)
    path.write_bytes(content)


def foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE entries (mine)")
    connection.close()


def of_tomorrow(path: Path) -> None:
    SQLiteStore(path).set_many(ITEMS)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()


def locked(path: Path) -> Any:
    SQLiteStore(path).set_many({})
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    return connection


UNFIT = {
    "text": lambda path: path.write_text("not a database, but long enough to look at" * 100),
    "damaged": damaged,
    "foreign": foreign,
    "of_tomorrow": of_tomorrow,
    "folder": lambda path: path.mkdir(),
    "locked": locked,
}
REASONS = {
    "text": "file is not a database",
    "damaged": "malformed",
    "foreign": "another program's database: give SQLiteStore a path of its own",
    "of_tomorrow": "schema 2, this version of rerankkit needs 1: delete it",
    "folder": "unable to open database file",
    "locked": "database is locked",
}


@pytest.mark.parametrize("what", UNFIT)
def test_a_file_that_does_not_serve_is_told_left_alone_and_never_a_failed_call(
    what: str, tmp_path: Path, colour: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiers, "NOTICES", Notices())
    monkeypatch.setattr(sqlite_module, "BUSY_SECONDS", 0.05)
    path = tmp_path / "scores.sqlite"
    holding = UNFIT[what](path)
    before = path.read_bytes() if path.is_file() else None
    cached = Cached(Scorer(), SQLiteStore(path))
    for _ in range(2):
        response = run(colour, cached, "rerank", "q", ["a"])
        assert (len(response), response.cache) == (1, CacheUse(0, 1, 0.0))
    cached.close()
    assert [REASONS[what] in record.message for record in caplog.records if record.levelname == "WARNING"] == [True]
    assert before is None or path.read_bytes() == before
    if what == "locked":
        holding.close()


def test_a_file_that_was_locked_or_lost_for_a_while_serves_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_module, "BUSY_SECONDS", 0.05)
    path = tmp_path / "scores.sqlite"
    holding = locked(path)
    store = SQLiteStore(path)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        store.set_many(ITEMS)
    holding.execute("ROLLBACK")
    holding.close()
    store.set_many(ITEMS)
    assert store.get_many(list(ITEMS)) == ITEMS
    store.close()


def test_a_full_file_loses_its_oldest_entries(tmp_path: Path) -> None:
    path = tmp_path / "scores.sqlite"
    store = SQLiteStore(path, max_bytes=1024 * 1024)
    for start in range(0, 10_000, 500):
        store.set_many({key(number): b"x" * 300 for number in range(start, start + 500)})
    newest = [key(number) for number in range(9_500, 10_000)]
    assert len(store.get_many(newest)) == 500
    assert len(store.get_many([key(number) for number in range(500)])) == 0
    store.close()
    assert path.stat().st_size <= 1024 * 1024


def test_what_has_ended_leaves_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_module, "SWEEP_INTERVAL", 0.0)
    store = SQLiteStore(tmp_path / "scores.sqlite", ttl=0.05)
    store.set_many({key(number): b"[0]" for number in range(100)})
    time.sleep(0.1)
    store.set_many({key(200): b"[0]"})
    store.close()
    connection = sqlite3.connect(tmp_path / "scores.sqlite")
    assert connection.execute("SELECT count(*) FROM entries").fetchone() == (1,)
    connection.close()


def test_a_connection_of_a_parent_that_python_did_not_see_fork_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "_FOREIGN", kept := [])
    store = SQLiteStore(tmp_path / "scores.sqlite")
    store.set_many(ITEMS)
    inherited = store._connection
    store._process = -1
    assert store.get_many(list(ITEMS)) == ITEMS
    assert kept == [inherited]
    assert store._connection is not inherited
    inherited.close()
    store.close()


def test_nothing_of_a_file_is_open_in_a_forked_child(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "scores.sqlite")
    store.set_many(ITEMS)

    def look() -> None:
        assert store._connection is None
        assert not any("sqlite" in str(found.readlink()) for found in Path("/proc/self/fd").iterdir() if found.exists())

    assert fork(look).failure() == ""
    assert store.get_many(list(ITEMS)) == ITEMS
    store.close()


def test_what_was_open_is_closed_with_the_object(tmp_path: Path) -> None:
    before = Held.now()
    for _ in range(10):
        store = SQLiteStore(tmp_path / "scores.sqlite")
        store.set_many(ITEMS)
        del store
    assert Held.now().descriptors <= before.descriptors


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "path must name a file"),
        (":memory:", r"MemoryStore\(\) needs none"),
        (7, "path must name a file"),
        ("missing/folder/scores.sqlite", "there is no folder .*missing/folder' for the cache"),
    ],
)
def test_a_path_that_is_none_is_refused(path: Any, reason: str) -> None:
    with pytest.raises(InvalidRequestError, match=reason):
        SQLiteStore(path)


def test_a_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = SQLiteStore("scores.sqlite")
    monkeypatch.chdir("/")
    store.set_many(ITEMS)
    store.close()
    assert (tmp_path / "scores.sqlite").exists()


# Redis


@needs_redis
def test_a_redis_that_goes_away_and_comes_back_costs_no_call(
    tmp_path: Path, colour: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiers, "NOTICES", Notices())
    monkeypatch.setattr(tiers, "REST_SECONDS", 0.0)
    service = Scorer()
    with redis_server(tmp_path) as url:
        cached = Cached(service, RedisStore(url))
        assert [run(colour, cached, "rerank", "q", ["a"]).cache.hits for _ in range(2)] == [0, 1]
    assert [run(colour, cached, "rerank", "q", ["a"]).cache.hits for _ in range(2)] == [0, 0]
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1
    with redis_server(tmp_path, urlsplit(url).port):
        assert [run(colour, cached, "rerank", "q", ["a"]).cache.hits for _ in range(2)] == [0, 1]
    cached.close()


def test_a_redis_that_does_not_answer_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = RedisStore(f"redis://127.0.0.1:{silent.getsockname()[1]}", timeout=0.1)
        started = time.monotonic()
        with pytest.raises(Exception, match="[Tt]imeout"):
            store.get_many(list(ITEMS))
        assert time.monotonic() - started < 5
        store.close()


def test_where_redis_is_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, redis_url: str) -> None:
    monkeypatch.setenv("RERANKKIT_REDIS_URL", redis_url)
    store = RedisStore(prefix="environment:")
    assert repr(store) == "RedisStore(prefix='environment:')"
    store.set_many(ITEMS)
    assert store.get_many(list(ITEMS)) == ITEMS
    store.close()
    monkeypatch.delenv("RERANKKIT_REDIS_URL")
    with pytest.raises(InvalidRequestError, match="set RERANKKIT_REDIS_URL, or pass url="):
        RedisStore()


@needs_redis
@pytest.mark.parametrize("given", ["url", "password", "environment"])
def test_a_password_serves_and_shows_itself_nowhere(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from redis import Redis

    caplog.set_level(logging.DEBUG)
    with redis_server(tmp_path) as url:
        Redis.from_url(url).config_set("requirepass", SECRET)
        whole = url.replace("//", f"//:{SECRET}@")
        if given == "environment":
            monkeypatch.setenv("RERANKKIT_REDIS_URL", whole)
        store = {
            "url": lambda: RedisStore(whole),
            "password": lambda: RedisStore(url, password=SECRET),
            "environment": RedisStore,
        }[given]()
        store.set_many(ITEMS)
        assert store.get_many(list(ITEMS)) == ITEMS
        told = [repr(store), str(vars(store)), repr(Cached(Scorer(), store)), str(store.arguments()), caplog.text]
        assert not any(SECRET in text for text in told)
        assert SECRET.encode() not in pickle.dumps(store)
        twin = pickle.loads(pickle.dumps(store))
        if given != "environment":
            with pytest.raises(Exception, match="[Aa]uthenticat") as caught:
                twin.get_many(list(ITEMS))
            assert SECRET not in repr(caught.value)
            monkeypatch.setenv("RERANKKIT_REDIS_URL", whole)
            twin = pickle.loads(pickle.dumps(store))
        assert twin.get_many(list(ITEMS)) == ITEMS
        monkeypatch.setenv("RERANKKIT_REDIS_URL", whole.replace("127.0.0.1", "localhost"))
        if given != "environment":
            assert pickle.loads(pickle.dumps(store))._server.address.password is None
        twin.close()
        store.close()


@pytest.mark.parametrize(
    "url",
    [
        f"http://:{SECRET}@host:6379",
        f"redis://:{SECRET}/x@host:6379",
        f"redis://:{SECRET}@x@host:6379",
        f"redis://:x:{SECRET}",
        f"redis://host:{SECRET}",
        f"redis://host/0?password={SECRET}",
        f"redis://host/0#{SECRET}",
        f"redis://host/0?credential={SECRET}",
        f"redis://{SECRET}@host",
        f"redis://:{SECRET}@:6379",
        f"redis://:{SECRET}\n@host",
        "redis://",
        "host:6379",
        7,
    ],
)
@pytest.mark.parametrize("given", ["url", "environment"])
def test_an_address_that_is_none_is_refused_without_showing_it(url: Any, given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if given == "environment":
        monkeypatch.setenv("RERANKKIT_REDIS_URL", str(url))
    with pytest.raises(InvalidRequestError, match="must be an address such as 'redis://host:6379/0'") as caught:
        RedisStore(url if given == "url" else None)
    assert SECRET not in str(caught.value)
    frame = caught.tb
    while frame:
        if "rerankkit" in frame.tb_frame.f_code.co_filename and "tests" not in frame.tb_frame.f_code.co_filename:
            assert SECRET not in repr({k: v for k, v in frame.tb_frame.f_locals.items() if k != "args"}), frame.tb_frame
        frame = frame.tb_next


def test_importing_the_stores_brings_neither_redis_nor_sqlite() -> None:
    program = "import rerankkit.resilience.cached, sys; print('redis' in sys.modules, 'sqlite3' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_without_redis_installed_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("redis", "redis.retry", "redis.backoff"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InvalidRequestError, match=r"pip install 'rerankkit\[redis\]'"):
        RedisStore("redis://localhost")
