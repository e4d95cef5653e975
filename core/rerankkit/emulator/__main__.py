"""The emulator on a free port of loopback; the first line it prints is its URL."""

from __future__ import annotations

from rerankkit.emulator.process import listen, serve


def main() -> None:
    sock = listen()
    host, port = sock.getsockname()
    print(f"http://{host}:{port}", flush=True)  # noqa: T201 -- read by the parent
    serve(sock)


if __name__ == "__main__":
    main()
