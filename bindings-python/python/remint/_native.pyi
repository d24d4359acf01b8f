from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

from typing_extensions import Self, disjoint_base

__all__ = ["Core", "Exchange", "LeaseCell", "Registrar", "Registration", "Token", "__version__", "now"]

__version__: str

def now() -> tuple[int, int]:
    """Unix time, and a clock that never goes back: milliseconds."""

@final
class Core:
    """The step machine of one client: events in, steps out. See `remint.core`."""
    def __new__(cls, options: Mapping[str, Any] | str) -> Core: ...
    def handle(
        self,
        event: Mapping[str, Any] | str,
        now: tuple[int, int],
        entropy: bytes,
        wake: Callable[[], object] | None = None,
        cell: LeaseCell | None = None,
    ) -> dict[str, Any]: ...
    def received(
        self,
        op: str,
        status: int,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        now: tuple[int, int],
        entropy: bytes,
    ) -> dict[str, Any]: ...
    def build(self, token_request: Mapping[str, Any] | str) -> Exchange: ...
    def survived_fork(self) -> bool: ...

@final
class Exchange:
    """A request to send once, and the one thing that can read its answer."""
    @property
    def method(self) -> str:
        """The HTTP method."""
    @property
    def url(self) -> str:
        """The absolute URL."""
    @property
    def headers(self) -> list[tuple[str, str]]:
        """The header lines."""
    @property
    def body(self) -> str | None:
        """The body; none for a GET."""
    def finish(
        self, status: int, headers: Sequence[tuple[str, str]], body: bytes, started: tuple[int, int]
    ) -> dict[str, Any]:
        """Reads the answer. `started` is what both clocks showed when the request was started."""

@final
class Registrar:
    """What registers clients (RFC 7591) and looks after registrations (RFC 7592). See `remint.core`."""
    def __new__(cls, options: Mapping[str, Any] | str) -> Registrar: ...
    def build(self, request: Mapping[str, Any] | str) -> Registration:
        """Builds one request, and what reads its answer."""

@final
class Registration:
    """A request to send once, and the one thing that can read its answer."""
    @property
    def method(self) -> str:
        """The HTTP method."""
    @property
    def url(self) -> str:
        """The absolute URL."""
    @property
    def headers(self) -> list[tuple[str, str]]:
        """The header lines."""
    @property
    def body(self) -> str | None:
        """The body, to be sent as UTF-8; none for a GET and a DELETE."""
    def finish(
        self, status: int, headers: Sequence[tuple[str, str]], body: bytes, now: tuple[int, int]
    ) -> dict[str, Any] | Registration | None:
        """Reads the answer: the client, None once it is deleted, or another `Registration` to send first."""

@final
class Token:
    """A token that can be put on requests. Printing it shows no secret."""
    @property
    def access_token(self) -> str:
        """The token itself."""
    @property
    def token_type(self) -> str:
        """Its type, as in `Bearer`."""
    @property
    def authorization(self) -> str:
        """The value of the header that carries it."""
    @property
    def scope(self) -> str | None:
        """The scope that was granted, space-separated."""
    @property
    def expires_at(self) -> float:
        """When it runs out, in Unix seconds."""
    @property
    def generation(self) -> int:
        """Counts the tokens of one cache key, from 1."""
    @property
    def _call(self) -> str: ...
    def expires_in(self) -> float:
        """Seconds of life left, by whichever clock says less; 0 when it has run out."""

@disjoint_base
class LeaseCell:
    """What a client holds for the hot path."""
    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self: ...
    def peek(self) -> Token | None:
        """The token that was handed out here last, if it is still good. Never a request."""
    # `Client` answers at once, `AsyncClient` is awaited.
    def token(self, min_ttl: float = 0, force: bool = False, timeout: float = 30) -> Any:
        """A valid token: the cached one, or a new one."""
    def _fresh(self) -> Token | None: ...
    def _bind(self, core: Core, clock: Any = None) -> None: ...
