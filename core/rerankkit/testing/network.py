"""Keeps tests on this machine."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from rerankkit._endpoint import is_loopback

if TYPE_CHECKING:
    import pytest

SERVICES = ("cohere.com", "cohere.ai", "voyageai.com", "ai.mongodb.com", "pinecone.io", "api.aws")
"""Domains of the services that this package speaks to."""


class NetworkBlockedError(Exception):
    """A test tried to leave this machine.  It is no `OSError`, so that nobody takes it for a failed connection."""


def guard(monkeypatch: pytest.MonkeyPatch, *, only: Sequence[str] = ()) -> None:
    """Refuse to look up names and to send to addresses beyond this machine; with *only*, those of these domains alone."""

    def check(host: object) -> None:
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
        if isinstance(name, str) and _leaves(name, only):
            raise NetworkBlockedError(_explained(name, only))

    _guard_lookups(monkeypatch, check)
    if not only:
        _guard_sockets(monkeypatch, check)


def _guard_lookups(monkeypatch: pytest.MonkeyPatch, check: Callable[[object], None]) -> None:
    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr"):
        monkeypatch.setattr(socket, name, _guarded_lookup(getattr(socket, name), check))


def _guarded_lookup(look_up: Callable[..., object], check: Callable[[object], None]) -> Callable[..., object]:
    """*look_up*, whose first argument is the name."""

    def guarded(host: object, *args: Any, **kwargs: Any) -> object:  # noqa: ANN401 -- handed on as they come
        check(host)
        return look_up(host, *args, **kwargs)

    return guarded


def _guard_sockets(monkeypatch: pytest.MonkeyPatch, check: Callable[[object], None]) -> None:
    for name in ("connect", "connect_ex", "sendto", "sendmsg"):
        monkeypatch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name), check))


def _guarded(method: Callable[..., Any], check: Callable[[object], None]) -> Callable[..., object]:
    """*method* of a socket, whose last argument is the address."""

    def guarded(self: socket.socket, *args: Any) -> object:  # noqa: ANN401 -- handed on as they come
        if self.family in (socket.AF_INET, socket.AF_INET6) and args and isinstance(args[-1], tuple):
            check(cast("tuple[object, ...]", args[-1])[0])
        return method(self, *args)

    return guarded


def _leaves(name: str, only: Sequence[str]) -> bool:
    name = name.lower().rstrip(".")
    if only:
        return any(name == domain or name.endswith(f".{domain}") for domain in only)
    return name != "" and not is_loopback(name)


def _explained(name: str, only: Sequence[str]) -> str:
    if only:
        return (
            f"a client would go to {name}, past the emulator: if it was made before this test, make it inside, or in a fixture "
            "that asks for rerank_environment; if it reads no environment, as Voyage's own SDK does not, give it one of "
            "rerank_emulator.urls"
        )
    return f"this test tried to reach {name}: point its client at rerank_emulator, or leave out no_network if it may"
