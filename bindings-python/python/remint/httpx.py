"""httpx: ``httpx.Client(auth=Auth(client))``, ``httpx.AsyncClient(auth=Auth(async_client))``.

httpx strips no header but ``Authorization`` where a redirect leads to another origin, and shows ``auth`` only the last answer.
If you follow redirects, and your provider's token has a header or a proof of its own, wrap the transport: ``transport=Transport()``.
"""

from __future__ import annotations

from typing import Any, Callable

import httpx

from remint._auth_flow import AuthFlow, StrippingTransport, async_transport, sync_transport
from remint.errors import misuse

__all__ = ["AsyncTransport", "Auth", "Transport", "transport"]


class Auth(AuthFlow, httpx.Auth):
    """Puts the client's token on each request, and repeats a request where another token or proof may help."""

    _byte_stream = httpx.ByteStream


class Transport(StrippingTransport, httpx.BaseTransport):
    """A transport that takes off what `Auth` put on where a redirect leads to another origin, and makes a proof anew where it stays within."""

    def __init__(self, inner: httpx.BaseTransport | None = None) -> None:
        super().__init__(inner or httpx.HTTPTransport())


class AsyncTransport(StrippingTransport, httpx.AsyncBaseTransport):
    """`Transport` for `httpx.AsyncClient`."""

    def __init__(self, inner: httpx.AsyncBaseTransport | None = None) -> None:
        super().__init__(inner or httpx.AsyncHTTPTransport())


def transport(client: httpx.Client | Callable[[], httpx.AsyncClient]) -> Callable[..., Any]:
    """Sends token requests over a client of yours.

    For `remint.AsyncClient` also over asynchronous ones: give the function that makes them, since each belongs to one event loop.
    """
    if isinstance(client, httpx.AsyncClient):
        raise misuse("an httpx.AsyncClient belongs to one event loop: give `http=remint.httpx.transport(make)` a function that makes one")
    return sync_transport(client) if isinstance(client, httpx.Client) else async_transport(client)
