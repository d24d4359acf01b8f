"""What can go wrong: three families that are never mixed, and one closed list of stable codes."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


class RemintError(Exception):
    """The base of everything that remint raises. It never holds a token, a credential or a body.

    ``str(error)`` says what happened and what to do. Branch on ``code``, which stays the same in every version and
    language. Times are seconds.
    """

    family: str = "transport"

    def __init__(
        self,
        message: str,
        *,
        code: str,
        status: int | None = None,
        retryable: bool = False,
        retry_after: float | None = None,
        oauth_error: str | None = None,
        hint: str | None = None,
        pointer: str | None = None,
        lifetime: float | None = None,
        ambiguous: bool = False,
        acr_values: str | None = None,
        max_age: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        #: The stable code, as in ``"invalid_client"``.
        self.code = code
        #: The HTTP status of the answer, if there was one.
        self.status = status
        #: Whether the same call may succeed later without a change of program or configuration.
        self.retryable = retryable
        #: Seconds until a further attempt is made, where known.
        self.retry_after = retry_after
        #: The ``error`` of the server's answer (RFC 6749 section 5.2).
        self.oauth_error = oauth_error
        #: The likely cause, where one can be told.
        self.hint = hint
        #: A JSON pointer (RFC 6901) to the wrong field of a profile.
        self.pointer = pointer
        #: The lifetime that the server gives, for ``min_ttl_unavailable``.
        self.lifetime = lifetime
        #: Whether a refused refresh token may have been spent by an earlier request whose answer was lost.
        self.ambiguous = ambiguous
        #: The authentication that an API asks for, space-separated (RFC 9470 section 3).
        self.acr_values = acr_values
        #: How many seconds ago the person may have signed in at most, says an API (RFC 9470 section 3).
        self.max_age = max_age

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}: {self.hint}"

    def __reduce__(self) -> tuple[Callable[..., RemintError], tuple[Any, ...]]:
        return _restore, (type(self), self.message, {k: v for k, v in vars(self).items() if k in _FIELDS})


class UsageError(RemintError, ValueError):
    """You misused remint: change the program or its configuration."""

    family = "usage"


class ServerError(RemintError):
    """The authorization server, or what answered in its place, said no."""

    family = "server"


class TransportError(RemintError):
    """No usable answer arrived, or a function of yours failed. ``__cause__`` has the reason where there is one."""


_FAMILIES = {"usage": UsageError, "server": ServerError, "transport": TransportError}
_FIELDS = frozenset(
    ("code", "status", "retryable", "retry_after", "oauth_error", "hint", "pointer", "lifetime", "ambiguous", "acr_values", "max_age")
)


def from_record(record: Mapping[str, Any]) -> RemintError:
    """The exception for an error of the core's, whose durations are milliseconds."""
    fields = {name: value for name, value in record.items() if name in _FIELDS}
    for name in ("retry_after", "lifetime"):
        if name in fields:
            fields[name] /= 1000
    return _FAMILIES[record["family"]](record["message"], code=record["fail"], **fields)


def misuse(message: str, hint: str | None = None) -> UsageError:
    """An option or argument that the shell itself refuses."""
    return UsageError(message, code="invalid_option", hint=hint)


def _restore(kind: type[RemintError], message: str, fields: dict[str, Any]) -> RemintError:
    return kind(message, **fields)
