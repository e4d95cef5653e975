"""The fault server, a trial before it, and the table of all rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.services import Service
from helpers.ways import WAYS, Way
from integration.reliability.fault_server import FaultServer, Stage
from integration.reliability.rows import counted, table
from integration.reliability.trial import Trial

BEGIN, END = "<!-- rows -->\n", "<!-- end of rows -->\n"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-rows", type=Path, help="put the table of all rows into this page")


def pytest_collection_finish(session: pytest.Session) -> None:
    page: Path | None = session.config.getoption("--write-rows", None)
    if page is not None:
        text = page.read_text("utf-8")
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        page.write_text(f"{before}{BEGIN}{table(counted(session.items))}{END}{after}", "utf-8")


@pytest.fixture(scope="session")
def fault_server() -> Iterator[FaultServer]:
    server = FaultServer()
    yield server
    server.stop()


@pytest.fixture
def stage(fault_server: FaultServer, service: Service) -> Iterator[Stage]:
    """An address that answers in the way of *service*, without faults until it is told of some."""
    with fault_server.stage(service.name) as found:
        yield found


@pytest.fixture(params=WAYS, ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    request.param.prepare()
    return request.param


@pytest.fixture
def core(service: Service, colour: str, stage: Stage, caplog: pytest.LogCaptureFixture) -> Trial:
    """A trial in both colours, not through the adapters: where they cannot matter, or time does."""
    return Trial(service, Way("core", colour), stage, caplog)


@pytest.fixture
def trial(service: Service, way: Way, stage: Stage, caplog: pytest.LogCaptureFixture) -> Trial:
    return Trial(service, way, stage, caplog)
