"""aiohttp (3.12 or later): ``aiohttp.ClientSession(middlewares=(Auth(client),))``."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Callable

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from aiohttp.payload import AsyncIterablePayload
from yarl import URL

from remint._async_client import AsyncClient
from remint._call import ApiCall
from remint.errors import misuse

__all__ = ["Auth", "transport"]


class Auth:
    """A middleware that puts the client's token on each request, and repeats a request where another token or proof may help.

    aiohttp makes each hop of a redirect a request of its own: at another origin, nothing is put on.
    """

    def __init__(self, client: AsyncClient) -> None:
        if not isinstance(client, AsyncClient):
            raise misuse("aiohttp is asynchronous: give its `Auth` a `remint.AsyncClient`")
        self._client = client

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        target, home = _next_hop.get()
        _next_hop.set((None, None))
        if target != request.url or home is None:
            home = request.url.origin()
        if home == request.url.origin():
            response = await self._send(request, handler)
        else:
            response = await handler(request)
        if response.status in REDIRECTS and "location" in response.headers:
            to = response.url.join(URL(response.headers["location"]))
            # What left its origin once stays without a token, however the redirects go on.
            _next_hop.set((to.with_fragment(None), home if home == response.url.origin() else NOWHERE))
        return response

    async def _send(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        call = ApiCall(self._client)
        while True:
            answer = await self._client._run(call.attach(request.method, str(request.url)))
            request.headers.update(answer["headers"])
            response = await handler(request)
            try:
                wants_another = call.answered(str(response.url), response.status, list(response.headers.items()))
            except BaseException:
                response.release()
                raise
            if not wants_another:
                return response
            if isinstance(request.body, AsyncIterablePayload) or getattr(request.body, "consumed", False):
                call.cannot_be_repeated()
                return response
            response.release()


def transport(factory: Callable[[], aiohttp.ClientSession]) -> Callable[..., Any]:
    """Sends token requests over sessions of yours: give the function that makes them, since each belongs to one event loop."""
    if isinstance(factory, aiohttp.ClientSession):
        raise misuse("a session belongs to one event loop: give `http=remint.aiohttp.transport(make)` a function that makes one")

    async def send(request: dict[str, Any], timeout: float, cap: int) -> tuple[int, list[tuple[str, str]], bytes]:
        # Token requests are rare: each has a session of its own.
        async with factory() as session, session.request(
            request["method"],
            URL(request["url"], encoded=True),
            headers=request["headers"],
            data=None if request.get("body") is None else request["body"].encode(),
            timeout=aiohttp.ClientTimeout(total=timeout),
            allow_redirects=False,
        ) as response:
            body = bytearray()
            async for chunk in response.content.iter_chunked(65536):
                body += chunk
                if len(body) > cap:
                    break
            return response.status, list(response.headers.items()), bytes(body)

    return send


REDIRECTS = frozenset((301, 302, 303, 307, 308))
#: The origin of a chain of redirects that has left its own.
NOWHERE = URL("http://invalid.")
#: Where the answer that this task had last redirects to, and the origin where the chain began.
_next_hop: ContextVar[tuple[URL | None, URL | None]] = ContextVar("remint_next_hop", default=(None, None))
