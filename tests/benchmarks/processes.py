"""The service's process and the contestants': started, spoken to, ended."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from benchmarks.behaviour import Behaviour
from benchmarks.contestants.contestant import Contestant

TESTS = Path(__file__).parents[1]
QUIET = {"LANGSMITH_TRACING": "false", "HF_HUB_OFFLINE": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # no calls home
LONGEST = 300.0  # seconds for one order; who takes longer hangs
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class WorkerError(Exception):
    """A contestant that cannot be measured, and why."""


def cores() -> tuple[str, str]:
    """One for the contestants, one for the service; empty where there are none to choose from."""
    if not hasattr(os, "sched_setaffinity") or len(found := sorted(os.sched_getaffinity(0))) < 2:
        return "", ""
    return str(found[0]), str(found[-1])


def environment() -> dict[str, str]:
    """Compiled modules are kept, as an installation has them: cold starts would measure the compiler otherwise."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, **QUIET, "PYTHONHASHSEED": "0"}


class Service:
    """The service on loopback, in a process of its own."""

    def __init__(self) -> None:
        command = [sys.executable, "-P", "-c", run("service"), *filter(None, [cores()[1]])]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
        assert self.process.stdout
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}"

    def behave(self, lane: str, behaviour: Behaviour) -> str:
        """The lane's URL; its counts begin anew."""
        OPENER.open(f"{self.url}/-/{lane}", json.dumps(asdict(behaviour)).encode()).close()
        return f"{self.url}/{lane}"

    def counts(self, lane: str) -> dict[str, int]:
        with OPENER.open(f"{self.url}/-/{lane}") as reply:
            return json.load(reply)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.communicate()


class Process:
    """A contestant's process."""

    def __init__(self, contestant: type[Contestant], python: str = sys.executable) -> None:
        self.contestant = contestant
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 -- closed with the process
        self.process = subprocess.Popen(
            [python, "-P", "-c", run("worker"), contestant.module, contestant.name, cores()[0]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            bufsize=1,
            env=environment(),
        )

    def tell(self, order: str, **options: Any) -> dict[str, Any]:
        """What the worker answers.

        Raises:
            WorkerError: It could not do it.
        """
        assert self.process.stdin
        assert self.process.stdout
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps({"order": order, **options}) + "\n")
        hangs = threading.Timer(LONGEST, self.process.kill)
        hangs.start()
        line = self.process.stdout.readline()
        hangs.cancel()
        if not line:
            self.errors.seek(0)
            raise WorkerError(f"its process ended: {self.errors.read().strip()[-300:] or 'no word'}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def close(self) -> None:
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
        assert self.process.stdout
        self.process.stdout.close()
        self.errors.close()
        self.process.wait()


def run(module: str) -> str:
    """Python that runs *module* of this folder, in whatever environment: what is installed there comes first."""
    return f"import sys; sys.path.append({str(TESTS)!r}); from benchmarks.{module} import main; main()"


def cold(contestant: type[Contestant], url: str, python: str = sys.executable) -> Mapping[str, float]:
    """One cold start, from a new process.

    Raises:
        WorkerError: It could not start.
    """
    words = [contestant.module, contestant.name, url, contestant.framework, contestant.imports, cores()[0]]
    done = subprocess.run(
        [python, "-P", "-W", "ignore", "-c", run("probe"), *words],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    if done.returncode or not done.stdout.strip():
        raise WorkerError(done.stderr.strip()[-300:])
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
