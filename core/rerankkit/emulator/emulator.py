"""An emulator of one's own: in a process, or in a thread of this one."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import IO, Protocol, Self, cast

from rerankkit.emulator.remote import RemoteEmulator
from rerankkit.emulator.scorers import Scorer
from rerankkit.emulator.settings import Settings
from rerankkit.errors import InvalidRequestError


class Emulator(RemoteEmulator):
    """A running emulator on a free port: ``with Emulator() as emulator: ...``.

    Args:
        settings: How it is at the start, and after each `reset`.
        in_process: Runs it in a thread of this process, which starts faster but shares this interpreter's one lock;
            the default is a process of its own.
        scorer: Scores of texts for a query, at least 0; needs `in_process`. None: the one that the settings name.

    Raises:
        InvalidRequestError: A scorer is given to another process.
    """

    def __init__(self, settings: Settings | None = None, *, in_process: bool = False, scorer: Scorer | None = None) -> None:
        super().__init__("")
        if scorer is not None and not in_process:
            raise InvalidRequestError("a scorer cannot be handed to another process: pass in_process=True as well")
        given = settings or Settings()
        self._host: _Host = _Thread(given, scorer) if in_process else _Process(given)

    def start(self) -> None:
        """Start it; it takes calls when this returns.

        Raises:
            InvalidRequestError: It runs already.
            RuntimeError: It cannot start.
        """
        if self.url:
            raise InvalidRequestError(f"this emulator runs already, at {self.url}: stop it first, or make another")
        self.url = self._host.start()

    def stop(self) -> None:
        """End it, and the connections to it; it may be started again."""
        self._host.stop()
        self.url = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


class _Host(Protocol):
    """Where an emulator runs."""

    def start(self) -> str:
        """Its URL, once it takes calls."""
        ...

    def stop(self) -> None: ...


class _Process:
    """A child process, which ends with this one, however that ends."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> str:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rerankkit.emulator", "--of-parent"],
            stdin=subprocess.PIPE,  # brings the settings, and closes with this process
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,  # Ctrl-C is for the parent, which ends this one
        )
        settings, output = cast("IO[str]", self._process.stdin), cast("IO[str]", self._process.stdout)
        settings.write(self._settings.model_dump_json() + "\n")
        settings.flush()
        url = output.readline().strip()
        if not url:
            self.stop()
            raise RuntimeError("the emulator did not start; run `python -m rerankkit.emulator` to see why")
        return url

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.communicate()  # closes the pipes and waits
            self._process = None


class _Thread:
    """A thread with an event loop of its own."""

    def __init__(self, settings: Settings, scorer: Scorer | None) -> None:
        self._settings = settings
        self._scorer = scorer
        self._stop: Callable[[], None] = _nothing

    def start(self) -> str:
        from rerankkit.emulator.app import create_app  # noqa: PLC0415 -- the parent of a process needs neither
        from rerankkit.emulator.server import Server, listen  # noqa: PLC0415 -- as above

        started = threading.Event()
        sock = listen()
        server = Server(create_app(self._settings, self._scorer), sock, started.set)

        failures: list[BaseException] = []

        def serve() -> None:
            try:
                server.serve_until_stopped()
            except BaseException as error:  # noqa: BLE001 -- told to whoever waits for the start
                failures.append(error)
            started.set()

        thread = threading.Thread(target=serve, name="rerankkit-emulator", daemon=True)

        def stop() -> None:
            server.should_exit = True
            thread.join()
            sock.close()

        self._stop = stop
        thread.start()
        started.wait()
        host, port = sock.getsockname()
        if not server.started:
            self.stop()
            raise RuntimeError("the emulator did not start") from next(iter(failures), None)
        return f"http://{host}:{port}"

    def stop(self) -> None:
        self._stop()
        self._stop = _nothing


def _nothing() -> None:
    """What there is to stop of an emulator that does not run."""
