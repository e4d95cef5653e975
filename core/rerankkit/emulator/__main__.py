"""The emulator on a free port of loopback; the first line it prints is its URL.

With ``--of-parent`` it reads its settings from the first line of standard input, and ends with it.
"""

from __future__ import annotations

import os
import sys
import threading

from rerankkit.emulator.app import create_app
from rerankkit.emulator.server import Server, listen
from rerankkit.emulator.settings import Settings


def main() -> None:
    settings = Settings()
    if "--of-parent" in sys.argv[1:]:
        settings = Settings.model_validate_json(sys.stdin.readline())
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    sock = listen()
    host, port = sock.getsockname()
    url = f"http://{host}:{port}"
    Server(create_app(settings), sock, lambda: print(url, flush=True)).serve_until_stopped()  # noqa: T201 -- for the parent


def _end_with_stdin() -> None:
    """End this process with the one that holds the other end of its standard input."""
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
