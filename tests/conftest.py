"""What all tests share: no key of the developer's, no proxy, no network but loopback."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import Iterator

import pytest

from helpers.redis_server import is_installed, redis_server
from helpers.services import SERVICES, Service
from helpers.ways import COLOURS
from rerankkit.emulator import Emulator

pytest_plugins = ("pytester",)

FOREIGN = (
    "AWS_",
    "CO_API",
    "COHERE_",
    "VOYAGE_",
    "PINECONE_",
    "LANGSMITH_",
    "LANGCHAIN_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "OTEL_",
    "OPENINFERENCE_",
    "TIKTOKEN_",
    "NLTK_",
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: half of the tests' time is waiting."""
    return len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1) + 1


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith(FOREIGN):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")  # botocore would ask for an instance role
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)


@pytest.fixture(autouse=True)
def _only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else "a local socket"
        assert not isinstance(address, tuple) or host in ("127.0.0.1", "::1", "localhost"), f"a test connects to {host}"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session", autouse=True)
def _no_event_loop_by_the_way() -> None:
    """LlamaIndex asks for the thread's loop: in a process that had none it would be given one, which nobody closes."""
    asyncio.set_event_loop(None)


@pytest.fixture(params=COLOURS)
def colour(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=SERVICES, ids=lambda service: service.name)
def service(request: pytest.FixtureRequest) -> Service:
    return request.param


@pytest.fixture(params=["httpx", "httpx2"])
def blocking_transport(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(request.param, reason="this environment tests the other transport")
    return request.param


@pytest.fixture(params=["httpx", "httpx2", "aiohttp"])
def transport(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(request.param, reason="this environment tests the other transports")
    return request.param


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out blocking calls over aiohttp: they go over another transport, and were tried."""
    items[:] = [item for item in items if not {("transport", "aiohttp"), ("colour", "sync")} <= set(_chosen(item))]


def pytest_collection_finish() -> None:
    _look_away()


@pytest.fixture(scope="module", autouse=True)
def _no_long_looks_for_garbage() -> Iterator[None]:
    yield
    _look_away()


def _look_away() -> None:
    """Have Python look for garbage in what comes from now on alone.

    Among what pytest keeps of 22,000 tests it takes a second, in the midst of somebody's call.
    """
    gc.collect()
    gc.freeze()


def _chosen(item: pytest.Item) -> list[tuple[str, object]]:
    callspec = getattr(item, "callspec", None)
    return [(name, value) for name, value in callspec.params.items() if isinstance(value, str)] if callspec else []


@pytest.fixture(scope="session")
def running() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis server of this process's own."""
    if not is_installed():
        pytest.skip("there is no redis-server: Debian's package redis-server has it")
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
def emulator(running: Emulator) -> Emulator:
    """A running emulator, as at its start."""
    running.reset()
    return running
