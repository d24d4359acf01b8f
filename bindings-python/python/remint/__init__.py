"""Gets, keeps and renews API access tokens. See `Client`, and `AsyncClient` for asyncio."""

from __future__ import annotations

from remint._client import Client
from remint._native import Token, __version__
from remint.errors import RemintError, ServerError, TransportError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remint._async_client import AsyncClient

__all__ = ["AsyncClient", "Client", "RemintError", "ServerError", "Token", "TransportError", "UsageError", "__version__"]


def __getattr__(name: str) -> object:
    # asyncio takes longer to import than all of remint.
    if name == "AsyncClient":
        from remint._async_client import AsyncClient

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
