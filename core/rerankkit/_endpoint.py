"""Where requests go: neither texts nor keys may reach a place the caller did not name."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from rerankkit._secret import Secret, SecretValue, environment
from rerankkit.errors import InvalidRequestError

LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
ALLOWED_HOSTS = "RERANKKIT_ALLOWED_HOSTS"
BRACKETED_FORM = re.compile(r"\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\](:\d*)?")  # urlsplit overlooks what stands beside the brackets
HOST_FORM = re.compile(rf"(?=.{{1,253}}\Z){LABEL}(\.{LABEL})*")


@dataclass(frozen=True, slots=True)
class Access:
    """How a service's key and address are found.

    Attributes:
        name: In error texts.
        key_names: Environment variables that may hold the key, first come first served.
        url_name: The environment variable that may hold another base URL.
        domains: The service's own.
    """

    name: str
    key_names: Sequence[str]
    url_name: str
    domains: Sequence[str]

    def key(self, api_key: SecretValue | None) -> Secret:
        """The caller's key, or else the environment's."""
        return Secret.find(api_key, self.name, self.key_names)

    def url(self, base_url: str | None, default: str, key: Secret, *, allow_http: bool) -> str:
        """The base URL to use: the caller's, the environment's, or *default*; without a slash at its end.

        Raises:
            InvalidRequestError: It is malformed or unencrypted, or it is the caller's and another's than the
                service's while *key* is the environment's: who set the key did not mean it for that host, unless he named
                it there, too.
        """
        named = environment([self.url_name])
        url = check_url(base_url or named or default, allow_http=allow_http)
        host = urlsplit(url).hostname or ""
        if self.owns(host):
            return url
        if base_url and key.from_environment and host != _host_of(named or ""):
            raise InvalidRequestError(
                f"base_url points to {host}, which is not {self.name}'s own, and the key comes from the environment: "
                f"pass api_key= as well if that host may have it, or set {self.url_name} beside the key"
            )
        key.bind(host, self.url_name)
        return url

    def owns(self, host: str) -> bool:
        """Whether *host* is the service's own."""
        return any(host == domain or host.endswith(f".{domain}") for domain in self.domains)


def _host_of(url: str) -> str | None:
    """The host of *url*, if it has one; the address itself is checked where it is used."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def check_url(url: object, *, allow_http: bool) -> str:
    """*url* without a slash at its end, if it is a plain http(s) address.

    Raises:
        InvalidRequestError: It is not, or it is unencrypted and leaves this machine.
    """
    if not isinstance(url, str) or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise InvalidRequestError(f"base_url must be an address such as 'https://api.example.com', got {url!r}")
    parts = _split(url)
    if parts.username is not None or parts.password is not None:
        raise InvalidRequestError("base_url must not hold a user name or password; it is not shown here")
    host = parts.hostname or ""
    is_odd = "[" in parts.netloc and not BRACKETED_FORM.fullmatch(parts.netloc)
    if parts.scheme not in ("http", "https") or is_odd or not _is_host(host) or "?" in url or "#" in url:
        raise InvalidRequestError(f"base_url must be http(s)://host[:port][/path] and nothing more, got {url!r}")
    _check_place(url, host)
    if parts.scheme == "http" and not is_loopback(host) and not allow_http:
        raise InvalidRequestError(
            f"base_url {url!r} is unencrypted: key and texts could be read on the way; use https, or pass allow_http=True"
        )
    return url.rstrip("/")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port  # raises for one that is no number
    except ValueError as error:
        raise InvalidRequestError(f"base_url is malformed: {error}") from None
    if port == 0:
        raise InvalidRequestError("base_url is malformed: port 0 is none")
    return parts


def _is_host(host: str) -> bool:
    """Whether *host* is a name or an address, and to everyone the same: 2130706433 and 0x7f.1 are names to some."""
    is_name = bool(HOST_FORM.fullmatch(host)) and not NUMBER.fullmatch(host.rpartition(".")[2])
    return is_name or is_address(host)


def _check_place(url: str, host: str) -> None:
    """Refuse places where no service can be, or that whoever runs this process did not allow.

    Raises:
        InvalidRequestError: It is one.
    """
    address = _address(host)
    if address is not None and (address.is_link_local or address.is_unspecified or address.is_multicast):
        raise InvalidRequestError(
            f"base_url {url!r} is no service's address: link-local, unspecified and multicast ones are not"
        )
    allowed = [name.strip().lower() for name in (environment([ALLOWED_HOSTS]) or host).split(",")]
    if not any(host == name or (name.startswith("*.") and host.endswith(name[1:])) for name in allowed):
        raise InvalidRequestError(f"base_url {url!r} is not among the hosts that {ALLOWED_HOSTS} allows: {', '.join(allowed)}")


def is_address(host: str) -> bool:
    return _address(host) is not None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that *host* is by its form; an IPv4 address in IPv6's clothes is the former."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return None
    return found if isinstance(found, ipaddress.IPv4Address) else found.ipv4_mapped or found


def is_loopback(host: str) -> bool:
    """Whether *host* is this machine by its very form, without asking a name server."""
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback
