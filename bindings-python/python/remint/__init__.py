"""Gets, keeps and renews API access tokens. See `Client`, and `AsyncClient` for asyncio."""

from __future__ import annotations

from remint._client import Client
from remint._native import Token, __version__
from remint.errors import RemintError, ServerError, TransportError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remint._async_client import AsyncClient
    from remint._flows import BackchannelAuthentication, DeviceAuthorization
    from remint._registration import AsyncRegistrar, RegisteredClient, Registrar
    from remint._signing import generate_key

__all__ = [
    "AsyncClient",
    "AsyncRegistrar",
    "BackchannelAuthentication",
    "Client",
    "DeviceAuthorization",
    "RegisteredClient",
    "Registrar",
    "RemintError",
    "ServerError",
    "Token",
    "TransportError",
    "UsageError",
    "__version__",
    "generate_key",
]


def __getattr__(name: str) -> object:
    # asyncio takes longer to import than all of remint, and few need what else is here.
    if name in _LATER:
        from importlib import import_module

        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_LATER = {
    "AsyncClient": "remint._async_client",
    "AsyncRegistrar": "remint._registration",
    "BackchannelAuthentication": "remint._flows",
    "DeviceAuthorization": "remint._flows",
    "RegisteredClient": "remint._registration",
    "Registrar": "remint._registration",
    "generate_key": "remint._signing",
}
