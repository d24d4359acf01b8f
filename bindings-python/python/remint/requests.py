"""requests: ``requests.get(url, auth=Auth(client))``, or ``session.auth = Auth(client)``."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable
from urllib.parse import urljoin

import requests
from requests.auth import AuthBase
from requests.cookies import extract_cookies_to_jar
from requests.models import PreparedRequest, Response
from requests.utils import rewind_body

from remint._call import ApiCall, origin, readable_within
from remint._client import Client
from remint.errors import misuse

__all__ = ["Auth", "transport"]


class Auth(AuthBase):
    """Puts the client's token on each request, and repeats a request once where a new token may help.

    What was put on is taken off where a redirect leads to another origin.
    """

    def __init__(self, client: Client) -> None:
        if not isinstance(client, Client):
            raise misuse("requests is synchronous: give its `Auth` a `remint.Client`")
        self._client = client

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        call = ApiCall(self._client)
        self._attach(call, request)
        request.register_hook("response", partial(self._answered, call, request))  # type: ignore[no-untyped-call]
        return request

    def _attach(self, call: ApiCall, *requests: PreparedRequest) -> None:
        first = requests[0]
        headers = self._client._run(call.attach(first.method or "GET", first.url or ""))["headers"]
        call.attached = {name for name, _ in headers}
        for request in requests:
            request.headers.update(headers)

    def _answered(self, call: ApiCall, original: PreparedRequest, response: Response, **kwargs: Any) -> Response:
        if not call.attached:
            return response
        if self._wants_another(call, response):
            if _rewind(response.request):
                response = self._repeat(call, original, response, kwargs)
            else:
                call.cannot_be_repeated()
        if response.is_redirect and origin(response.url) != origin(urljoin(response.url, response.headers["location"])):
            # requests builds the next request from the original one, and knows of no header but `Authorization`.
            for name in call.attached:
                original.headers.pop(name, None)
                response.request.headers.pop(name, None)
            call.attached = set()
        return response

    def _wants_another(self, call: ApiCall, response: Response) -> bool:
        lines = getattr(response.raw, "headers", response.headers)
        return call.answered(response.url, response.status_code, [(str(name), str(value)) for name, value in lines.items()])

    def _repeat(self, call: ApiCall, original: PreparedRequest, response: Response, kwargs: dict[str, Any]) -> Response:
        # The connection goes back to its pool only when the answer is read.
        _ = response.content
        response.close()
        request = response.request.copy()
        extract_cookies_to_jar(request._cookies, response.request, response.raw)  # type: ignore[attr-defined, no-untyped-call]
        request.prepare_cookies(request._cookies)  # type: ignore[attr-defined]
        self._attach(call, request, original)
        repeated: Response = response.connection.send(request, **kwargs)
        repeated.history.append(response)
        repeated.request = request
        self._wants_another(call, repeated)
        return repeated


def transport(session: requests.Session) -> Callable[..., Any]:
    """Sends token requests over a session of yours: its proxies, certificates and adapters. Turn its retries off."""

    def send(request: dict[str, Any], timeout: float, cap: int) -> tuple[int, list[tuple[str, str]], bytes]:
        with session.request(
            request["method"],
            request["url"],
            headers=dict(request["headers"]),
            data=request.get("body"),
            auth=lambda prepared: prepared,  # Neither the session's nor netrc's.
            timeout=timeout,
            allow_redirects=False,
            stream=True,
        ) as response:
            body = readable_within(response.iter_content(65536), timeout, cap)
            return response.status_code, list(response.headers.items()), body

    return send


def _rewind(request: PreparedRequest) -> bool:
    if request.body is None or isinstance(request.body, (str, bytes)):
        return True
    try:
        rewind_body(request)
    except requests.exceptions.UnrewindableBodyError:
        return False
    return True
