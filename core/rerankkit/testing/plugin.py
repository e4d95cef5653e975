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
    from rerankkit import Client
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
) -> Iterator[Mapping[str, Client]]:
    """A client of each service, by its name; they are closed after the test."""
    from rerankkit import Client, Cohere, Kendra, Pinecone, Voyage  # noqa: PLC0415 -- not before a test asks for them

    clients = {
        provider.name: Client(provider) for provider in (Cohere(), Voyage(), Pinecone(), Kendra(rerank_emulator.plan_id))
    }
    yield clients
    for client in clients.values():
        client.close()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody leave this machine: names are not looked up, addresses other than loopback's are not connected to.

    It guards Python's own sockets; libraries that bring theirs, such as uvloop or gRPC, pass it by.
    """
    network.guard(monkeypatch)
