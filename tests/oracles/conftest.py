"""The emulator that the official SDKs are let loose on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rerankkit.emulator import Emulator


@pytest.fixture(scope="session")
def _running() -> Iterator[Emulator]:
    with Emulator(in_process=True) as running:
        yield running


@pytest.fixture
def emulator(_running: Emulator) -> Emulator:
    _running.reset()
    return _running
