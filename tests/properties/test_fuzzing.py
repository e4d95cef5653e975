"""The fuzzer runs for as long as it is told, takes what services send, and would tell of what breaks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.__main__ import Session
from fuzz.targets import OK, Target, targets

ROOT = Path(__file__).parents[2]
TARGETS = targets()


@pytest.mark.parametrize("target", TARGETS[:8], ids=lambda target: target.name)
def test_what_services_send_is_understood(target: Target) -> None:
    assert {target.read(seed) for seed in target.seeds} == {OK}


def test_a_second_of_fuzzing_finds_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--plain", "--minutes", "0.02", "--folder", str(tmp_path / "new")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(target.name in done.stdout for target in TARGETS)
    assert "findings 0" in done.stdout


def test_a_finding_is_kept_once_and_counted_each_time(tmp_path: Path) -> None:
    def broken(content: bytes) -> str:
        return str(1 / len(content))

    session = Session([Target("broken", broken, (b"x",))], 1, tmp_path / "new")
    session.read(b"\0x")
    session.read(b"\0")
    session.read(b"\0")
    ((kind, path),) = session.findings.items()
    assert kind.startswith("broken: ZeroDivisionError in broken")
    assert path.read_bytes() == b"\0"
    assert session.outcomes["broken", "finding"] == 2
