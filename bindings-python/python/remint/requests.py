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
    """Puts the client's token on each request, and repeats a request where another token or proof may help.

    What was put on is taken off where a redirect leads to another origin. Within the origin, a proof of possession is made anew.
    """

    def __init__(self, client: Client) -> None:
        if not isinstance(client, Client):
            raise misuse("requests is synchronous: give its `Auth` a `remint.Client`")
        self._client = client

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        call = ApiCall(self._client)
        self._attach(call, request)
        request.register_hook("response", partial(self._answered, call))  # type: ignore[no-untyped-call]
        return request

    def _attach(self, call: ApiCall, *requests: PreparedRequest) -> None:
        first = requests[0]
        headers = self._client._run(call.attach(first.method or "GET", first.url or ""))["headers"]
        call.attached = {name for name, _ in headers}
        for request in requests:
            request.headers.update(headers)

    def _answered(self, call: ApiCall, response: Response, **kwargs: Any) -> Response:
        if not call.attached:
            return response
        sent = response.request
        while self._wants_another(call, response):
            if not _rewind(response.request):
                call.cannot_be_repeated()
                break
            response = self._repeat(call, sent, response, kwargs)
        if response.is_redirect:
            self._redirected(call, sent, response)
        return response

    def _redirected(self, call: ApiCall, sent: PreparedRequest, response: Response) -> None:
        """requests builds the next request from the one that it sent itself, and knows of no header but `Authorization`."""
        target = urljoin(response.url, response.headers["location"])
        if origin(response.url) != origin(target):
            for name in call.attached:
                sent.headers.pop(name, None)
            call.attached = set()
        elif "DPoP" in call.attached:
            sent.headers.update(self._client._run(call.attach_hop(_method_after(response), target))["headers"])

    def _wants_another(self, call: ApiCall, response: Response) -> bool:
        lines = getattr(response.raw, "headers", response.headers)
        try:
            return call.answered(response.url, response.status_code, [(str(name), str(value)) for name, value in lines.items()])
        except BaseException:
            response.close()
            raise

    def _repeat(self, call: ApiCall, sent: PreparedRequest, response: Response, kwargs: dict[str, Any]) -> Response:
        # The connection goes back to its pool only when the answer is read.
        _ = response.content
        response.close()
        request = response.request.copy()
        extract_cookies_to_jar(request._cookies, response.request, response.raw)  # type: ignore[attr-defined, no-untyped-call]
        request.prepare_cookies(request._cookies)  # type: ignore[attr-defined]
        self._attach(call, request, sent)
        repeated: Response = response.connection.send(request, **kwargs)
        repeated.history = [*response.history, response]
        repeated.request = request
        return repeated


def transport(session: requests.Session) -> Callable[..., Any]:
    """Sends token requests over a session of yours: its proxies, certificates and adapters. Turn its retries off."""

    def send(request: dict[str, Any], timeout: float, cap: int) -> tuple[int, list[tuple[str, str]], bytes]:
        with session.request(
            request["method"],
            request["url"],
            headers=dict(request["headers"]),
            data=None if request.get("body") is None else request["body"].encode(),
            auth=lambda prepared: prepared,  # Neither the session's nor netrc's.
            timeout=timeout,
            allow_redirects=False,
            stream=True,
        ) as response:
            body = readable_within(response.iter_content(65536), timeout, cap)
            return response.status_code, list(response.headers.items()), body

    return send


def _method_after(response: Response) -> str:
    """The method of the request that follows a redirect, as requests has it (RFC 9110 section 15.4)."""
    method, status = response.request.method or "GET", response.status_code
    changes = status == 301 and method == "POST" or status in (302, 303) and method != "HEAD"
    return "GET" if changes else method


def _rewind(request: PreparedRequest) -> bool:
    if request.body is None or isinstance(request.body, (str, bytes)):
        return True
    try:
        rewind_body(request)
    except requests.exceptions.UnrewindableBodyError:
        return False
    return True
