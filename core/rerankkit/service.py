"""A hosted service: how a request to it is authenticated, and what its error replies mean.  No I/O, no retry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Self
from urllib.parse import urlsplit

from rerankkit import errors
from rerankkit._wire import BOM, HttpRequest, HttpResponse, decode
from rerankkit.errors import ProviderError
from rerankkit.retry import RETRYABLE_STATUSES, forbids_retry, retry_after

MAX_ERROR_CHARACTERS = 500  # of a service's own error text; proxies answer with whole pages

ERROR_CLASSES: Mapping[int, type[ProviderError]] = {
    401: errors.AuthenticationError,
    402: errors.PaymentRequiredError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    407: errors.APIConnectionError,  # not the service's: a proxy's
    408: errors.ServerError,
    409: errors.ConflictError,
    413: errors.RequestTooLargeError,
    425: errors.ServerError,
    429: errors.RateLimitError,
}


class Service(ABC):
    """What the engine must know of a service to exchange a request and a reply with it.

    Attributes:
        name: As in ``connect("name:model")``, errors and responses.
        auth_waits: Whether `authenticate` may have to read files or ask other services.
        model: The model asked for; None where the service has no choice.
        base_url: Without a slash at its end.
    """

    name: ClassVar[str]
    auth_waits: ClassVar[bool] = False

    model: str | None
    base_url: str

    @property
    def is_at_home(self) -> bool:
        """Whether requests go to the service's own address, and not to a gateway's or an emulator's."""
        return True

    def __deepcopy__(self, memo: object) -> Self:
        return self  # it never changes

    @abstractmethod
    def authenticate(self, request: HttpRequest) -> HttpRequest:
        """*request* with its key or signature; made anew for each attempt."""

    @abstractmethod
    def error_message(self, answer: Mapping[str, object]) -> str | None:
        """The text of an error reply's JSON object; None if it has not the documented form."""

    def error_class(self, response: HttpResponse, message: str) -> type[ProviderError]:
        """Who is at fault: by the hundreds of the status, where it is none of those that say more."""
        default = {4: errors.BadRequestError, 5: errors.ServerError}.get(response.status // 100, errors.InvalidResponseError)
        return ERROR_CLASSES.get(response.status, default)

    def is_retryable(self, response: HttpResponse, message: str) -> bool:
        """Whether the same request can succeed later without a change."""
        return response.status in RETRYABLE_STATUSES

    def retry_after(self, response: HttpResponse) -> float | None:
        """Seconds the service asks to wait; None when it does not say."""
        return retry_after(response.headers)

    def request_id(self, response: HttpResponse) -> str | None:
        """The service's own id of the request."""
        return response.headers.get("x-request-id")

    def quoted_request_id(self, response: HttpResponse) -> str | None:
        """The same as it may stand in an error's text: whoever answers an error can write anything there."""
        found = self.request_id(response)
        return None if found is None else tidy(found)

    def mask(self, content: bytes) -> bytes:
        """*content* without any secret of this provider, should a service have echoed one."""
        return content

    def forget_credentials(self) -> None:
        """The service did not take them, and may take fresh ones: find them anew at the next request."""
        return

    def error(self, response: HttpResponse) -> ProviderError:
        """The exception that a reply with another status than 200 stands for."""
        message = self._describe(response)
        if response.status == 404:  # noqa: PLR2004 -- RFC 9110
            message = f"{message} (at {self.base_url})"  # a wrong address looks like a wrong model
        return self.error_class(response, message)(
            message,
            provider=self.name,
            model=self.model,
            status_code=response.status,
            request_id=self.quoted_request_id(response),
            retry_after=self.retry_after(response),
            retryable=self.is_retryable(response, message) and not forbids_retry(response.headers),
        )

    def _describe(self, response: HttpResponse) -> str:
        if response.status // 100 == 3 and "location" in response.headers:  # noqa: PLR2004 -- RFC 9110
            host = _host(response.headers["location"])
            return f"redirected to {host}; redirects are never followed, because keys would follow too: set base_url="
        if response.status == 407:  # noqa: PLR2004 -- RFC 9110
            return "a proxy on the way asks for a name and a password: put them into HTTP_PROXY, or the host into NO_PROXY"
        return tidy(self.error_message(decode(response.content)) or "") or tidy(_page_text(response))


def _host(url: str) -> str:
    try:
        return tidy(urlsplit(url).hostname or "another path")
    except ValueError:
        return "an address that is none"


def _page_text(response: HttpResponse) -> str:
    """What to say of an error reply that is not in the service's form, such as a proxy's HTML page."""
    text = tidy(response.content.removeprefix(BOM)[:MAX_ERROR_CHARACTERS].decode("utf-8", "replace"))
    kind = response.headers.get("content-type", "no content type")
    return f"answered {response.status} without an explanation ({kind})" if not text or text.startswith("<") else text


def tidy(text: str) -> str:
    """*text* on one line, without control characters, cut to a length one can read."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= MAX_ERROR_CHARACTERS else f"{line[:MAX_ERROR_CHARACTERS]} [...]"
