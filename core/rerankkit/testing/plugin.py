"""Fixtures for pytest, which finds them by the entry point of this package; nothing heavy is imported before one is used.

| fixture | what it is |
|---|---|
| `rerank_emulator` | a running emulator, as at its start: inject faults, look at requests, move its clock |
| `rerank_environment` | the same, and the environment points all clients there |
| `rerank_clients` | a client of each service, by name, with the emulator behind it |
| `no_network` | whatever leaves this machine is an error |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import pytest

from rerankkit.testing import network

if TYPE_CHECKING:
    from rerankkit import BaseReranker
    from rerankkit.emulator import Emulator

FOREIGN = ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL", "COHERE_API_KEY")
"""Variables that would go before, or along with, those that point to the emulator."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        "rerankkit_emulator",
        "where the emulator of the fixtures runs: in a 'process' of its own, or a 'thread' of the tests'",
        default="process",
    )


@pytest.fixture(scope="session")
def _rerank_emulator(pytestconfig: pytest.Config) -> Iterator[Emulator]:
    """One for the whole session, or for each worker of it."""
    from rerankkit.emulator import Emulator  # noqa: PLC0415 -- not before a test asks for it

    where = pytestconfig.getini("rerankkit_emulator")
    if where not in ("process", "thread"):
        raise pytest.UsageError(f"rerankkit_emulator must be 'process' or 'thread', got {where!r}")
    with Emulator(in_process=where == "thread") as emulator:
        yield emulator


@pytest.fixture
def rerank_emulator(_rerank_emulator: Emulator) -> Emulator:
    """A running emulator, as at its start."""
    if not _rerank_emulator.url:  # a test has stopped it
        _rerank_emulator.start()
    _rerank_emulator.reset()
    return _rerank_emulator


@pytest.fixture
def rerank_environment(rerank_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """The environment variables that point clients at the emulator; they are set while the test runs.

    The services' own hosts are out of reach meanwhile: a client that was made before would go there.
    """
    network.guard(monkeypatch, only=network.SERVICES)
    for name in FOREIGN:
        monkeypatch.delenv(name, raising=False)
    for name, value in rerank_emulator.environment.items():
        monkeypatch.setenv(name, value)
    return rerank_emulator.environment


@pytest.fixture
def rerank_clients(
    rerank_emulator: Emulator,
    rerank_environment: Mapping[str, str],  # noqa: ARG001 -- the clients find their addresses there
) -> Iterator[Mapping[str, BaseReranker]]:
    """A client of each service, by its name; they are closed after the test."""
    clients = _Clients({"kendra": f"kendra:{rerank_emulator.plan_id}"})
    yield clients
    clients.close()


class _Clients(Mapping[str, "BaseReranker"]):
    """A client of each service, made when it is asked for: not everybody has what Kendra needs.

    Args:
        targets: What `connect` is told, where that is not the service's name.
    """

    def __init__(self, targets: Mapping[str, str]) -> None:
        self._targets = {**{name: name for name in ("cohere", "voyage", "pinecone", "kendra")}, **targets}
        self._made: dict[str, BaseReranker] = {}

    def __getitem__(self, name: str) -> BaseReranker:
        from rerankkit import connect  # noqa: PLC0415 -- not before a test asks for one

        if name not in self._made:
            self._made[name] = connect(self._targets[name])
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets)

    def __len__(self) -> int:
        return len(self._targets)

    def close(self) -> None:
        for client in self._made.values():
            client.close()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody leave this machine: names are not looked up, addresses other than loopback's are not connected to.

    It guards Python's own sockets; libraries that bring theirs, such as uvloop or gRPC, pass it by.
    """
    network.guard(monkeypatch)
