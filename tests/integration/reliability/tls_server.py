"""HTTPS servers in threads: with certificates of all kinds, and old forms of TLS; they count what reaches them.

Certificates are made by a CA of the test session's own.
"""

from __future__ import annotations

import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import trustme

from helpers.server import Received, Reply
from integration.reliability.faults import Fault, Gone, Talk, good

HOST = "127.0.0.1"
WEAK = "ALL:eNULL:@SECLEVEL=0"  # OpenSSL's own words for everything it ever knew


@dataclass
class TlsServer:
    """What a server has seen.

    Attributes:
        fault: What happens to each request.
        handshakes: Those that were completed.
        application_bytes: What was read after them.
        connections: How often somebody came.
    """

    port: int
    answer: Callable[[Received], Reply]
    fault: Fault = good
    handshakes: int = 0
    application_bytes: int = 0
    connections: int = 0
    requests: list[Received] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.port}"

    def serve(self, listener: socket.socket, context: ssl.SSLContext) -> None:
        """Accept until the listener is closed."""
        with suppress(OSError):
            while True:
                raw, _ = listener.accept()
                self.connections += 1
                threading.Thread(target=self._talk, args=(raw, context), daemon=True).start()

    def _talk(self, raw: socket.socket, context: ssl.SSLContext) -> None:
        raw.settimeout(10)
        with suppress(OSError, Gone, ValueError), context.wrap_socket(raw, server_side=True) as connection:
            self.handshakes += 1
            while head := connection.recv(65_536):
                self.application_bytes += len(head)
                self.fault(Talk(connection, self.answer, Random(7), head, note=self.requests.append))


@contextmanager
def tls_server(context: ssl.SSLContext, answer: Callable[[Received], Reply]) -> Iterator[TlsServer]:
    listener = socket.create_server((HOST, 0), backlog=64)
    server = TlsServer(listener.getsockname()[1], answer)
    thread = threading.Thread(target=server.serve, args=(listener, context), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


class Certificates:
    """A CA, and servers' contexts with good and bad certificates."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ca = trustme.CA()
        self.ca_file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(self.ca_file)
        yesterday = datetime.now(UTC) - timedelta(days=1)
        self.good = self._of(self._ca.issue_cert(HOST))
        self.expired = self._of(self._ca.issue_cert(HOST, not_before=yesterday - timedelta(days=9), not_after=yesterday))
        self.not_yet = self._of(self._ca.issue_cert(HOST, not_before=datetime.now(UTC) + timedelta(days=1)))
        self.of_another_host = self._of(self._ca.issue_cert("api.example.com"))
        self.of_another_ca = self._of(trustme.CA().issue_cert(HOST))
        self.self_signed = self._self_signed()

    def _of(self, certificate: trustme.LeafCert) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        return context

    def _self_signed(self) -> ssl.SSLContext:
        """A CA's own certificate in the place of a server's."""
        ca = trustme.CA()
        path = self._folder / "self-signed.pem"
        path.write_bytes(ca.private_key_pem.bytes() + ca.cert_pem.bytes())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def old(self, version: ssl.TLSVersion) -> ssl.SSLContext:
        """A good certificate, and nothing newer than *version*."""
        context = self._of(self._ca.issue_cert(HOST))
        context.set_ciphers(WEAK)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that is the point
            context.minimum_version = context.maximum_version = version
        return context

    def unencrypted(self) -> ssl.SSLContext:
        """A good certificate, and ciphers that encrypt nothing."""
        context = self._of(self._ca.issue_cert(HOST))
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("eNULL:@SECLEVEL=0")
        return context
