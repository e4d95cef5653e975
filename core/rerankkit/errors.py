"""The error tree.  Who is at fault is the class; the message has the value, the limit and the way out.

RerankError
├── InvalidRequestError           the caller, before anything was sent (also a ValueError)
├── DeadlineExceededError         the time the caller allowed is over (also a TimeoutError)
├── CircuitOpenError              a breaker lets nothing through for now
├── BudgetExceededError           the call would cost more than was allowed; nothing was sent
└── ProviderError                 the service, or the way to it
    ├── APIConnectionError        no complete answer arrived
    ├── BadRequestError           400, 422 and every other refusal of the request
    │   └── RequestTooLargeError  413, or a 400 that says so: fewer documents may pass
    ├── AuthenticationError       401: the key or the signature
    ├── PaymentRequiredError      402
    ├── PermissionDeniedError     403
    ├── NotFoundError             404: the model, the plan or the address
    ├── ConflictError             409: the resource is in another state
    ├── RateLimitError            429: `retryable` is False where waiting does not help
    ├── ServerError               5xx, 408 and 425
    └── InvalidResponseError      an answer that is not what the service documents
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from rerankkit.types import Attempt


class RerankError(Exception):
    """Everything this package raises on purpose.

    Attributes:
        history: Whose turns at the call led to it, in order, where more than one reranker was behind it.
    """

    history: tuple[Attempt, ...] = ()


class InvalidRequestError(RerankError, ValueError):
    """The call cannot be right as it stands; nothing was sent."""


class DeadlineExceededError(RerankError, TimeoutError):
    """The call's `timeout` is over; `__cause__` is the last failure before, where there was one.

    Attributes:
        provider: The service that was waited for; empty where none was.
        model: The model asked for; None for services that have none.
        attempts: Requests that were begun.
        sent: Something may have been sent, and be billed; False: the time was over before.
    """

    sent = True

    def __init__(self, message: str, *, provider: str = "", model: str | None = None, attempts: int = 0) -> None:
        super().__init__(message)
        self.provider = provider
        self.model = model
        self.attempts = attempts


class CircuitOpenError(RerankError):
    """The reranker failed, or was slow, too often lately: it is left alone.

    Attributes:
        retry_after: Seconds until it is tried again.
    """

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Callable[..., CircuitOpenError], tuple[str, float], dict[str, object]]:
        return (_circuit_open, (str(self), self.retry_after), self.__dict__)


def _circuit_open(message: str, retry_after: float) -> CircuitOpenError:
    return CircuitOpenError(message, retry_after=retry_after)


class BudgetExceededError(RerankError):
    """The call might cost more than a budget allows; nothing was sent."""


class ProviderError(RerankError):
    """The service refused, failed, or could not be reached.

    Attributes:
        provider: The service's name, such as ``"cohere"``.
        model: The model asked for; None for services that have none.
        status_code: The HTTP status; None when no answer came.
        request_id: The service's own id of the request, to quote to its support.
        retry_after: Seconds the service asked to wait; None when it did not say.
        retryable: Whether the same request can succeed later without a change.
        attempts: Requests that were sent before this error was raised.
        partial: They were for a part of the call; others of its requests may have been answered, and be billed.
    """

    partial = False

    retryable_by_default: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        model: str | None = None,
        status_code: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.model = model
        self.status_code = status_code
        self.request_id = request_id
        self.retry_after = retry_after
        self.retryable = self.retryable_by_default if retryable is None else retryable
        self.attempts = 1

    def __str__(self) -> str:
        """The message, then the figures one is asked for at two in the morning."""
        known = {
            "model": self.model,
            "status": self.status_code,
            "request id": self.request_id,
            "retry after": None if self.retry_after is None else f"{self.retry_after:g} s",
            "attempts": self.attempts if self.attempts > 1 else None,
        }
        facts = ", ".join(f"{name} {value}" for name, value in known.items() if value is not None)
        text = f"{self.provider}: {super().__str__()}" if self.provider else super().__str__()
        return f"{text} ({facts})" if facts else text


class APIConnectionError(ProviderError):
    """No complete answer arrived: refused, reset, cut off, or not HTTP.

    Attributes:
        stale: The connection had been kept open since an earlier call, and was closed before it could serve this one.
        sent: The service may have received the request, and bill it; False: there was no connection.
    """

    retryable_by_default = True
    stale = False
    sent = True


class BadRequestError(ProviderError):
    """The service says the request is wrong."""


class RequestTooLargeError(BadRequestError):
    """The service says the request is too large; the engine halves what can be halved."""


class AuthenticationError(ProviderError):
    """The service does not accept the key or the signature."""


class PaymentRequiredError(ProviderError):
    """The service wants a payment method, or a quota is bought out."""


class PermissionDeniedError(ProviderError):
    """The key is known and not allowed to do this."""


class NotFoundError(ProviderError):
    """The service knows no such model, plan or address."""


class ConflictError(ProviderError):
    """The resource is in a state that does not allow this."""


class RateLimitError(ProviderError):
    """Too many requests or tokens for now, or, where `retryable` is False, for the month."""

    retryable_by_default = True


class ServerError(ProviderError):
    """The service failed."""

    retryable_by_default = True


class InvalidResponseError(ProviderError):
    """The answer is not what the service documents; its scores were not used."""
