"""Services that take one key in one header."""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import urlsplit

from rerankkit._endpoint import Access
from rerankkit._secret import Secret
from rerankkit._wire import HttpRequest
from rerankkit.provider import Limits, Provider


class KeyedProvider(Provider):
    """A provider with a key and a model.

    Attributes:
        access: How key and address are found.
        auth_header: The header that takes the key, and its form.
        default_limits: Of models that are not in `models`.
    """

    access: ClassVar[Access]
    auth_header: ClassVar[tuple[str, str]] = ("Authorization", "Bearer {key}")
    default_limits: ClassVar[Limits]

    _key: Secret

    @property
    def is_at_home(self) -> bool:
        """Whether requests go to one of the service's own hosts."""
        return self.access.owns(urlsplit(self.base_url).hostname or "")

    @property
    def limits(self) -> Limits:
        """What one request to `model` may hold."""
        known = self.models.get(self.model or "")
        return known.limits if known else self.default_limits

    def authenticate(self, request: HttpRequest) -> HttpRequest:
        """*request* with the key in its header."""
        name, form = self.auth_header
        return request.with_auth({name: form.format(key=self._key.reveal())})

    def mask(self, content: bytes) -> bytes:
        """*content* without the key."""
        return self._key.mask(content)
