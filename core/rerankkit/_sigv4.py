"""AWS Signature Version 4, by botocore: signing and finding credentials are not ours to own (extra: kendra)."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from rerankkit._forking import UNDIVIDED
from rerankkit._secret import Hidden, Secret, SecretValue, check_key, key_problem, masked
from rerankkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from rerankkit._wire import HttpRequest

SERVICE = "kendra-ranking"


@dataclass(frozen=True, slots=True)
class Keys:
    """Credentials the caller gave."""

    access_key_id: str
    secret_access_key: Secret
    session_token: Secret | None = None

    @classmethod
    def find(
        cls, access_key_id: str | None, secret_access_key: SecretValue | None, session_token: SecretValue | None
    ) -> Keys | None:
        """The caller's keys; None if there are none, and the chain is to be asked.

        Raises:
            InvalidRequestError: There is a part of them only, or one has not the form of a key.
        """
        if access_key_id is None and secret_access_key is None and session_token is None:
            return None
        if not access_key_id or secret_access_key is None:
            raise InvalidRequestError("kendra needs aws_access_key_id and aws_secret_access_key together, or neither of them")
        token = None if session_token is None else Secret.find(session_token, "kendra", ("AWS_SESSION_TOKEN",))
        return cls(
            check_key("kendra", access_key_id), Secret.find(secret_access_key, "kendra", ("AWS_SECRET_ACCESS_KEY",)), token
        )


class Signer:
    """Signs requests for one region, with the caller's keys or with those of botocore's credential chain.

    The chain (environment, files, profiles, single sign-on, containers, instance roles) is asked at the first
    request and may wait for files and for other services; what expires is refreshed in time.
    """

    def __init__(self, region: str, keys: Keys | None, profile: str | None) -> None:
        self.region = region
        self._keys = keys
        self._profile = profile
        self._locks: dict[int, threading.Lock] = {}  # by process: a forked child finds its own free
        self._credentials: Any = None
        self._used: list[Hidden] = []

    def __repr__(self) -> str:
        return f"Signer({self.region!r})"

    def __reduce__(self) -> tuple[type[Signer], tuple[str, None, str | None]]:
        return (Signer, (self.region, None, self._profile))  # whoever loads a pickle asks the chain

    def sign(self, request: HttpRequest) -> Mapping[str, str]:
        """The headers that authenticate *request*, dated now.

        Raises:
            InvalidRequestError: There are no credentials.
        """
        botocore = _botocore()
        unsigned = botocore.awsrequest.AWSRequest(
            request.method, request.url, headers=dict(request.headers), data=request.content
        )
        with _unlogged():
            botocore.auth.SigV4Auth(self._find(), SERVICE, self.region).add_auth(unsigned)
        return {name: value for name, value in unsigned.headers.items() if name not in request.headers}

    @property
    def refreshes(self) -> bool:
        """Whether others may be found: the chain's, not the caller's."""
        return self._keys is None

    def forget(self) -> None:
        """Drop the credentials that were found."""
        self._credentials = None

    def mask(self, content: bytes) -> bytes:
        """*content* without the secrets that were last signed with."""
        for secret in self._used:
            content = masked(content, secret.get_secret_value())
        return content

    def _find(self) -> Any:  # noqa: ANN401 -- botocore is untyped
        """What to sign with now.

        Raises:
            InvalidRequestError: There is nothing, it cannot be read, or it has not the form of keys.
        """
        with _translated():
            found = self._credentials
            if found is None:
                with self._locks.setdefault(os.getpid(), threading.Lock()):
                    found = self._credentials or (_chain(self._profile) if self._keys is None else _given(self._keys))
                    self._credentials = found
            frozen = found.get_frozen_credentials()
        parts = [frozen.access_key, frozen.secret_key, *([] if frozen.token is None else [frozen.token])]
        problem = next(filter(None, (key_problem("kendra", part) for part in parts)), None)
        if problem is None:
            self._used = [Hidden(part) for part in parts[1:]]
            return frozen
        del frozen, parts
        raise InvalidRequestError(problem)


class _NotWhileSigning(logging.Filter):
    """Keeps botocore from logging, at DEBUG, the session token and what else it signs."""

    def __init__(self) -> None:
        super().__init__()
        self.here = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(self.here, "signing", False)


_FILTER = _NotWhileSigning()


@contextmanager
def _unlogged() -> Generator[None]:
    """No log of botocore's from this thread."""
    logging.getLogger("botocore.auth").addFilter(_FILTER)  # once: a logger knows the filters it has
    _FILTER.here.signing = True
    try:
        yield
    finally:
        _FILTER.here.signing = False


@contextmanager
def _translated() -> Generator[None]:
    """Whatever botocore cannot read of configuration and credentials is the caller's to mend."""
    botocore = _botocore()
    try:
        yield
    except (botocore.exceptions.BotoCoreError, ValueError, OSError) as error:
        if isinstance(error, InvalidRequestError):
            raise
        raise InvalidRequestError(f"kendra cannot get AWS credentials or settings ({type(error).__name__}): {error}") from error


def _botocore() -> ModuleType:
    """botocore, with the modules used here: imported when a request is signed, it takes a quarter of a second."""
    try:
        with UNDIVIDED:
            for name in ("auth", "awsrequest", "credentials", "exceptions", "session"):
                importlib.import_module(f"botocore.{name}")
    except ModuleNotFoundError as error:
        raise InvalidRequestError("kendra signs its requests with botocore: pip install 'rerankkit[kendra]'") from error
    return importlib.import_module("botocore")


def _given(keys: Keys) -> Any:  # noqa: ANN401 -- botocore is untyped
    token = keys.session_token.reveal() if keys.session_token else None
    return _botocore().credentials.Credentials(keys.access_key_id, keys.secret_access_key.reveal(), token)


def _chain(profile: str | None) -> Any:  # noqa: ANN401 -- botocore is untyped
    found = _session(profile).get_credentials()
    if found is None:
        raise InvalidRequestError(
            "kendra found no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile=, "
            "or pass aws_access_key_id= and aws_secret_access_key="
        )
    return found


def _session(profile: str | None) -> Any:  # noqa: ANN401 -- botocore is untyped
    botocore = _botocore()
    session = botocore.session.Session(profile=profile)
    if profile is not None and profile not in session.available_profiles:
        known = ", ".join(session.available_profiles) or "none"
        raise InvalidRequestError(f"there is no AWS profile {profile!r}; the configuration files hold {known}")
    return session


def profile_region(profile: str | None) -> str | None:
    """The region that the AWS configuration files name; None where botocore or the entry is missing."""
    if importlib.util.find_spec("botocore") is None:
        return None
    with _translated():
        region = _session(profile).get_config_variable("region")
    return region if isinstance(region, str) else None
