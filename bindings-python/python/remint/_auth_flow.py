"""What the adapters for httpx and httpx2 share. It imports neither."""

from __future__ import annotations

from remint._async_client import AsyncClient
from remint._call import ApiCall, origin, readable_within
from remint._client import Client
from remint.errors import misuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from types import TracebackType
    from typing import Any, Callable


class AuthFlow:
    """Puts the client's token on each request, and repeats a request where another token or proof may help.

    Token requests never go through the flow: they would end up in ``response.history``, secrets and all.
    """

    _byte_stream: type = bytes

    def __init__(self, client: Client | AsyncClient) -> None:
        self._client = client

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """For a synchronous client."""
        client = self._client
        if not isinstance(client, Client):
            raise misuse("this HTTP client is synchronous: give its `Auth` a `remint.Client`")
        call = ApiCall(client)
        while True:
            _put(call, request, client._run(call.attach(request.method, str(request.url))))
            if not self._wants_another(call, request, (yield request)):
                return

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """For an asynchronous client."""
        client = self._client
        if not isinstance(client, AsyncClient):
            raise misuse("this HTTP client is asynchronous, and would be blocked: give its `Auth` a `remint.AsyncClient`")
        call = ApiCall(client)
        while True:
            _put(call, request, await client._run(call.attach(request.method, str(request.url))))
            if not self._wants_another(call, request, (yield request)):
                return

    def _wants_another(self, call: ApiCall, request: Any, response: Any) -> bool:
        if not _answered(call, request, response):
            return False
        if isinstance(request.stream, self._byte_stream) or _is_seekable(request.stream):
            return True
        call.cannot_be_repeated()
        return False


class StrippingTransport:
    """Takes off what `AuthFlow` put on where a redirect leads to another origin, and makes a proof anew where it stays within.

    Only a transport sees each hop.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def handle_request(self, request: Any) -> Any:
        _strip(request)
        if (hop := _hop(request)) is not None:
            request.headers.update(hop._client._run(hop.attach_hop(request.method, str(request.url)))["headers"])  # type: ignore[attr-defined]
        return self._inner.handle_request(request)

    async def handle_async_request(self, request: Any) -> Any:
        _strip(request)
        if (hop := _hop(request)) is not None:
            request.headers.update((await hop._client._run(hop.attach_hop(request.method, str(request.url))))["headers"])  # type: ignore[attr-defined]
        return await self._inner.handle_async_request(request)

    def close(self) -> None:
        self._inner.close()

    async def aclose(self) -> None:
        await self._inner.aclose()

    def __enter__(self) -> Any:
        self._inner.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._inner.__exit__(*error)

    async def __aenter__(self) -> Any:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._inner.__aexit__(*error)


def sync_transport(client: Any) -> Callable[..., Any]:
    def send(request: dict[str, Any], timeout: float, cap: int) -> Any:
        with client.stream(**_arguments(request, timeout)) as response:
            return response.status_code, response.headers.multi_items(), readable_within(response.iter_bytes(), timeout, cap)

    return send


def async_transport(factory: Callable[[], Any]) -> Callable[..., Any]:
    async def send(request: dict[str, Any], timeout: float, cap: int) -> Any:
        # A client belongs to one event loop. Token requests are rare: each has a client of its own.
        async with factory() as client, client.stream(**_arguments(request, timeout)) as response:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > cap:
                    break
            return response.status_code, response.headers.multi_items(), bytes(body)

    return send


def _arguments(request: dict[str, Any], timeout: float) -> dict[str, Any]:
    return {
        "method": request["method"],
        "url": request["url"],
        "headers": request["headers"],
        "content": request.get("body"),
        "auth": None,
        "timeout": timeout,
        "follow_redirects": False,
    }


def _put(call: ApiCall, request: Any, answer: dict[str, Any]) -> None:
    headers = dict(answer["headers"])
    request.headers.update(headers)
    sent = (origin(str(request.url)), tuple(headers), call, (request.method, str(request.url)))
    request.extensions = {**request.extensions, "remint": sent}


def _answered(call: ApiCall, request: Any, response: Any) -> bool:
    # What another origin says, after a redirect, is not about the token.
    if origin(str(response.url)) != origin(str(request.url)):
        return False
    return call.answered(str(response.url), response.status_code, response.headers.multi_items())


def _strip(request: Any) -> None:
    home, names, *_ = request.extensions.get("remint", (None, ()))
    if names and origin(str(request.url)) != home:
        for name in names:
            request.headers.pop(name, None)


def _hop(request: Any) -> ApiCall | None:
    """The call whose proof was made for another request than this one, to which a redirect has led."""
    _, _, call, proven = request.extensions.get("remint", (None, (), None, None))
    if "dpop" not in request.headers or proven == (request.method, str(request.url)):
        return None
    return call  # type: ignore[no-any-return]


def _is_seekable(stream: Any) -> bool:
    """Whether all files of a multipart body can be sent twice."""
    files = [getattr(field, "file", b"") for field in getattr(stream, "fields", ())]
    return bool(files) and all(isinstance(file, (str, bytes)) or file.seekable() for file in files)
