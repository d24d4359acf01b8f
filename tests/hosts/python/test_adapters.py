"""requests, httpx, httpx2 and aiohttp with the token on: one behaviour, four libraries.

Each library is driven through a small `Caller`, so that every test below is about all of them, synchronous and asynchronous.
"""

from __future__ import annotations

import asyncio
import io
from typing import Any, Callable, Iterator

import aiohttp
import httpx
import httpx2
import pytest
import remint
import remint.aiohttp
import remint.httpx
import remint.httpx2
import remint.requests
import requests
from conftest import Lane

Answer = tuple[int, dict[str, Any], int]


class Caller:
    """Sends `(method, url, body)` requests one after the other, over one session: status, JSON, length of history."""

    def __init__(self, name: str, kind: type, send: Callable[[Any, list[tuple[str, str, Any]]], list[Answer]]) -> None:
        self.name, self.kind, self._send = name, kind, send

    def __repr__(self) -> str:
        return self.name

    def __call__(self, client: Any, *calls: tuple[str, str, Any]) -> list[Answer]:
        return self._send(client, list(calls))

    def stream(self) -> Any:
        """A body that can be sent only once."""
        if self.kind is remint.Client:
            return iter([b"once"])

        async def once() -> Any:
            yield b"once"

        return once()


def _json(text: bytes) -> dict[str, Any]:
    import json

    return json.loads(text) if text[:1] == b"{" else {}


def by_requests(client: Any, calls: list[tuple[str, str, Any]]) -> list[Answer]:
    answers = []
    with requests.Session() as session:
        session.auth = remint.requests.Auth(client)
        for method, url, body in calls:
            response = session.request(method, url, data=body)
            answers.append((response.status_code, _json(response.content), len(response.history)))
    return answers


def by_httpx(library: Any, adapter: Any) -> Callable[[Any, list[tuple[str, str, Any]]], list[Answer]]:
    def send(client: Any, calls: list[tuple[str, str, Any]]) -> list[Answer]:
        answers = []
        with library.Client(auth=adapter.Auth(client), transport=adapter.Transport(), follow_redirects=True) as session:
            for method, url, body in calls:
                response = session.request(method, url, content=body)
                answers.append((response.status_code, _json(response.content), len(response.history)))
        return answers

    return send


def by_async_httpx(library: Any, adapter: Any) -> Callable[[Any, list[tuple[str, str, Any]]], list[Answer]]:
    async def story(client: Any, calls: list[tuple[str, str, Any]]) -> list[Answer]:
        answers = []
        async with library.AsyncClient(
            auth=adapter.Auth(client), transport=adapter.AsyncTransport(), follow_redirects=True
        ) as session:
            for method, url, body in calls:
                response = await session.request(method, url, content=body)
                answers.append((response.status_code, _json(response.content), len(response.history)))
        return answers

    return lambda client, calls: asyncio.run(story(client, calls))


def by_aiohttp(client: Any, calls: list[tuple[str, str, Any]]) -> list[Answer]:
    async def story() -> list[Answer]:
        answers = []
        async with aiohttp.ClientSession(middlewares=(remint.aiohttp.Auth(client),)) as session:
            for method, url, body in calls:
                async with session.request(method, url, data=body) as response:
                    answers.append((response.status, _json(await response.read()), len(response.history)))
        return answers

    return asyncio.run(story())


CALLERS = [
    Caller("requests", remint.Client, by_requests),
    Caller("httpx", remint.Client, by_httpx(httpx, remint.httpx)),
    Caller("httpx2", remint.Client, by_httpx(httpx2, remint.httpx2)),
    Caller("httpx-async", remint.AsyncClient, by_async_httpx(httpx, remint.httpx)),
    Caller("httpx2-async", remint.AsyncClient, by_async_httpx(httpx2, remint.httpx2)),
    Caller("aiohttp", remint.AsyncClient, by_aiohttp),
]


@pytest.fixture(params=CALLERS, ids=repr)
def caller(request: pytest.FixtureRequest) -> Iterator[Caller]:
    yield request.param


def test_the_token_is_on_the_request(lane: Lane, caller: Caller) -> None:
    answers = caller(lane.wallet(caller.kind), ("GET", lane.api(), None), ("GET", lane.api(), None))
    assert [(status, json["credential"], json["token_number"]) for status, json, _ in answers] == [(200, "bearer", 1)] * 2
    assert lane.token_requests() == 1


def test_a_revoked_token_is_replaced_once_and_the_body_sent_again(lane: Lane, caller: Caller) -> None:
    client = lane.wallet(caller.kind, scope="wallets:write")
    caller(client, ("GET", lane.api("v1/any"), None))
    lane.control("POST", "revoke", {})
    body = b"x" * 20000
    ((status, json, _),) = caller(client, ("POST", lane.api(), body))
    assert (status, json["token_number"], json["body_bytes"]) == (200, 2, len(body))
    log = lane.control("GET", "log")
    assert [(entry["kind"], entry["status"]) for entry in log] == [
        ("token", "200"),
        ("api", "200"),
        ("api", "401"),
        ("token", "200"),
        ("api", "200"),
    ]


def test_a_seekable_file_is_sent_again(lane: Lane, caller: Caller) -> None:
    if "httpx" in caller.name:
        pytest.skip("httpx reads a file as a stream")
    client = lane.wallet(caller.kind, scope="wallets:write")
    caller(client, ("GET", lane.api("v1/any"), None))
    lane.control("POST", "revoke", {})
    ((status, json, _),) = caller(client, ("POST", lane.api(), io.BytesIO(b"file" * 100)))
    assert (status, json["body_bytes"]) == (200, 400)


def test_a_body_that_can_be_sent_only_once_is_not_repeated_and_that_is_said(lane: Lane, caller: Caller) -> None:
    notices: list[str] = []
    client = lane.wallet(caller.kind, scope="wallets:write", on_notice=lambda notice: notices.append(notice["notice"]))
    caller(client, ("GET", lane.api("v1/any"), None))
    lane.control("POST", "revoke", {})
    ((status, _, _),) = caller(client, ("POST", lane.api(), caller.stream()))
    assert status == 401 and "body_not_replayable" in notices
    # The refused token is gone all the same.
    ((status, _, _),) = caller(client, ("POST", lane.api(), b"again"))
    assert status == 200


def test_an_api_that_refuses_every_token_is_asked_twice_and_no_more(lane: Lane, caller: Caller) -> None:
    lane.faults(endpoint="api", status=401, count=None)
    client = lane.wallet(caller.kind)
    answers = caller(client, *[("GET", lane.api(), None)] * 6)
    assert [status for status, _, _ in answers] == [401] * 6
    assert lane.token_requests() <= 3
    assert lane.counters()["api"]["total"] <= 8


def test_insufficient_scope_is_the_callers(lane: Lane, caller: Caller) -> None:
    lane.settings(challenges=['Bearer error="insufficient_scope", scope="wallets:write"'])
    lane.faults(endpoint="api", status=401, headers={"WWW-Authenticate": 'Bearer error="insufficient_scope"'})
    ((status, _, _),) = caller(lane.wallet(caller.kind), ("GET", lane.api(), None))
    assert status == 401 and lane.token_requests() == 1


def test_other_errors_of_the_api_are_the_callers(lane: Lane, caller: Caller) -> None:
    lane.faults(endpoint="api", status=403, count=1)
    lane.faults(endpoint="api", status=500, count=1)
    answers = caller(lane.wallet(caller.kind), *[("GET", lane.api(), None)] * 3)
    assert [status for status, _, _ in answers] == [403, 500, 200]
    assert lane.token_requests() == 1


def _redirect(lane: Lane, to: str, provider: str = "rapidomize") -> str:
    from urllib.parse import quote

    return lane.url(f"{provider}/v1/redirect?status=307&to={quote(to, safe='')}")


def test_on_a_redirect_to_another_origin_every_header_of_ours_is_taken_off(lane: Lane, caller: Caller) -> None:
    for options in ({}, {"auth_header": "Authorization"}):
        minted = lane.control("POST", "mint", {"provider": "rapidomize", "subject": "bob"})
        bob = lane.rapidomize(caller.kind, **options).with_subject("bob", refresh_token=minted["refresh_token"])
        ((status, json, history),) = caller(bob, ("GET", _redirect(lane, lane.url("echo", "other")), None))
        assert (status, history) == (200, 1)
        assert not {"authorization", "x-rpz-auth"} & set(json["header_names"])


def test_all_of_a_profiles_headers_are_taken_off(lane: Lane, caller: Caller) -> None:
    client = caller.kind(
        "personify",
        client_id="demo-client",
        client_secret="s3cret+/%&: odd",
        tenant_id="demo-tenant",
        token_endpoint=lane.url("personify/connect/token"),
        base_url=lane.url("personify"),
        allow_loopback_http=True,
    )
    target = lane.url("echo", "other")
    answers = caller(client, ("GET", lane.url("personify/v1/x"), None), ("GET", _redirect(lane, target, "personify"), None))
    assert [status for status, _, _ in answers] == [200, 200]
    assert not {"authorization", "x-tenant-id"} & set(answers[1][1]["header_names"])


def test_a_redirect_within_the_origin_keeps_the_token(lane: Lane, caller: Caller) -> None:
    ((status, json, history),) = caller(
        lane.wallet(caller.kind), ("GET", _redirect(lane, lane.api(), "phoenix-wallet"), None)
    )
    assert (status, json.get("token_number"), history) == (200, 1, 1)


def test_after_a_detour_the_token_stays_off(lane: Lane, caller: Caller) -> None:
    from urllib.parse import quote

    home = lane.url("echo")
    away = lane.url(f"phoenix-wallet/v1/redirect?status=307&to={quote(home, safe='')}", "other")
    ((status, _, _),) = caller(lane.wallet(caller.kind), ("GET", _redirect(lane, away, "phoenix-wallet"), None))
    # The other origin's redirect wants a token, too, and gets none.
    assert status == 401
    log = lane.control("GET", "log?kind=api")
    assert "authorization" not in log[-1]["header_names"]


def test_a_token_is_put_on_no_undeclared_origin(lane: Lane, caller: Caller) -> None:
    with pytest.raises(remint.UsageError) as refused:
        caller(lane.wallet(caller.kind), ("GET", lane.url("echo", "other"), None))
    assert refused.value.code == "origin_not_allowed"
    assert lane.counters()["echo"]["total"] == 0


def test_a_failed_token_request_is_our_error_and_no_request_is_sent(lane: Lane, caller: Caller) -> None:
    lane.faults(error="invalid_client", count=None)
    with pytest.raises(remint.ServerError) as refused:
        caller(lane.wallet(caller.kind), ("GET", lane.api(), None))
    assert refused.value.code == "invalid_client" and lane.counters()["api"]["total"] == 0


def test_the_token_request_is_in_no_history(lane: Lane) -> None:
    wallet = lane.wallet()
    response = requests.get(lane.api(), auth=remint.requests.Auth(wallet), timeout=10)
    assert response.history == []
    assert httpx.get(lane.api(), auth=remint.httpx.Auth(wallet)).history == []


def test_the_wrong_kind_of_client_is_refused(lane: Lane) -> None:
    for kind, make in [
        (remint.AsyncClient, remint.requests.Auth),
        (remint.Client, remint.aiohttp.Auth),
        (remint.AsyncClient, lambda client: httpx.get(lane.api(), auth=remint.httpx.Auth(client))),
        (remint.AsyncClient, lambda client: httpx2.get(lane.api(), auth=remint.httpx2.Auth(client))),
    ]:
        with pytest.raises(remint.UsageError, match="remint"):
            make(lane.wallet(kind))
    # A client that were callable would be taken for an auth function, and fail silently.
    assert not callable(lane.wallet())


def test_multipart_bodies_of_httpx_are_sent_again(lane: Lane) -> None:
    client = lane.wallet(scope="wallets:write")
    with httpx.Client(auth=remint.httpx.Auth(client)) as session:
        assert session.get(lane.api("v1/any")).status_code == 200
        lane.control("POST", "revoke", {})
        response = session.post(lane.api(), files={"file": b"content"}, data={"a": "b"})
        assert response.status_code == 200 and response.json()["token_number"] == 2


TRANSPORTS = [
    ("requests", remint.Client, requests.Session),
    ("httpx", remint.Client, httpx.Client),
    ("httpx2", remint.Client, httpx2.Client),
    ("requests for tasks", remint.AsyncClient, requests.Session),
    ("httpx for tasks", remint.AsyncClient, lambda: remint.httpx.transport(httpx.AsyncClient)),
    ("httpx2 for tasks", remint.AsyncClient, lambda: remint.httpx2.transport(httpx2.AsyncClient)),
    ("aiohttp for tasks", remint.AsyncClient, lambda: remint.aiohttp.transport(aiohttp.ClientSession)),
]


@pytest.mark.parametrize(("kind", "http"), [case[1:] for case in TRANSPORTS], ids=[case[0] for case in TRANSPORTS])
def test_token_requests_go_over_the_users_own_client(lane: Lane, kind: type, http: Callable[[], Any]) -> None:
    def token(**options: Any) -> Any:
        client = lane.wallet(kind, http=http(), request_timeout=1, policy={"attempts": 1}, **options)

        async def story() -> Any:
            return await client.token(timeout=3)

        return client.token(timeout=3) if kind is remint.Client else asyncio.run(story())

    assert token().generation == 1
    for fault, code in [
        ({"body_bytes": 5000000}, "answer_too_large"),
        ({"redirect": "https://evil.example"}, "unexpected_answer"),
        ({"cut": "before"}, "transport_failed"),
        ({"delay_ms": 2000}, "timeout"),
        ({"status": 400, "error": "invalid_scope"}, "invalid_scope"),
    ]:
        lane.control("DELETE", "faults")
        lane.faults(count=1, **fault)
        with pytest.raises(remint.RemintError) as failed:
            token()
        assert failed.value.code == code
    with pytest.raises(remint.TransportError) as refused:
        token(token_endpoint="http://127.0.0.1:9/token")
    assert refused.value.code == "transport_failed"


def test_a_client_that_belongs_to_one_loop_is_refused_with_the_way_out(lane: Lane) -> None:
    async def story() -> None:
        async with httpx.AsyncClient() as one, httpx2.AsyncClient() as two, aiohttp.ClientSession() as three:
            for client in (one, two, three):
                with pytest.raises(remint.UsageError, match="function that makes one"):
                    lane.wallet(remint.AsyncClient, http=client)

    asyncio.run(story())
