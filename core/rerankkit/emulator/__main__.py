"""The emulator on a free port of loopback; the first line it prints is its URL."""

from __future__ import annotations

import os
import sys
import threading

from rerankkit.emulator.process import listen, serve


def main() -> None:
    if "--while-stdin-is-open" in sys.argv[1:]:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    sock = listen()
    host, port = sock.getsockname()
    print(f"http://{host}:{port}", flush=True)  # noqa: T201 -- read by the parent
    serve(sock)


def _end_with_stdin() -> None:
    """End this process with the one that holds the other end of its standard input."""
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
