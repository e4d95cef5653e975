"""What went wrong between a request and its reply, told without what the HTTP library was holding at the time."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator


class TransportError(Exception):
    """No complete reply arrived; its cause is the library's own exception, or the operating system's.

    Attributes:
        can_heal: Whether another attempt may fare better.
        stale: Whether the connection had been kept open, and was closed before it could serve this request.
        sent: Whether some of the request may have been sent.
    """

    def __init__(self, message: str, *, can_heal: bool = True, stale: bool = False, sent: bool = True) -> None:
        super().__init__(message)
        self.can_heal = can_heal
        self.stale = stale
        self.sent = sent


def drop_frames(error: BaseException, stop: BaseException | None) -> None:
    """Forget where in the library *error* and its causes arose, up to *stop*, which the caller was handling before.

    A frame there may hold the bytes that were being sent, key and all, and error trackers record what frames hold.
    """
    left: list[BaseException | None] = [error]
    seen = {id(stop)}
    while left:
        found = left.pop()
        if found is not None and id(found) not in seen:
            seen.add(id(found))
            found.__traceback__ = None
            left += [found.__cause__, found.__context__]


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """*error*, what it came from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def system_reason(found: Iterable[BaseException]) -> str | None:
    """What the operating system said, where it did; the libraries' own words are vaguer."""
    return next((str(cause) for cause in found if isinstance(cause, OSError) and cause.strerror), None)


_TLS_CUT = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
"""How a connection ends during the greetings of TLS, in contrast to one that either side refuses."""


def is_refused(found: Iterable[BaseException]) -> bool:
    """Whether a certificate, or old TLS, stands in the way: another attempt would fare no better."""
    return any(isinstance(cause, ssl.SSLError) and not isinstance(cause, _TLS_CUT) for cause in found)
