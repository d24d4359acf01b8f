"""What is more than one question for a token: people on other devices, tokens for tokens, and what a server knows of one."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import traceback
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
import remint
import remint.core
from conftest import ShiftedClock
from possession import Server, decoded
from test_faults import _only_ours


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


class Clock(ShiftedClock):
    """Sleeps pass as soon as somebody says so."""

    def __init__(self) -> None:
        super().__init__()
        self.timers: list[tuple[float, Callable[[], object]]] = []

    def timer(self, millis: float, run: Callable[[], object]) -> Callable[[], None]:
        timer = (self.boot() + millis, run)
        self.timers.append(timer)

        def cancel() -> None:
            if timer in self.timers:
                self.timers.remove(timer)

        return cancel

    def pass_by(self, seconds: float) -> None:
        self.advance(seconds)
        for timer in [timer for timer in self.timers if timer[0] <= self.boot()]:
            self.timers.remove(timer)
            timer[1]()


def seen(condition: Callable[[], object]) -> bool:
    """Waits for what another thread does."""
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return bool(condition())


async def timers(clock: Clock, count: int) -> None:
    """Waits until so many are set: that of the poll, and that of whoever waits for it."""
    for _ in range(2000):
        if len(clock.timers) >= count:
            break
        await asyncio.sleep(0.005)


class Waiting:
    """A caller in a thread."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self.result: Any = None
        self.thread = threading.Thread(target=self._run, args=(act,), daemon=True)
        self.thread.start()

    def _run(self, act: Callable[[], Any]) -> None:
        try:
            self.result = act()
        except Exception as error:
            self.result = error

    def end(self) -> Any:
        self.thread.join(10)
        return self.result


def test_a_person_authorizes_on_another_device(server: Server) -> None:
    clock = Clock()
    client = server.client(remint.Client, grant="device_code", clock=clock, scope="a b")
    device = client.device_authorization(parameters={"acr": "1"})
    assert server.forms("/device") == [{"scope": "a b", "acr": "1"}]
    assert device.user_code == "WDJB" and device.qr_text == device.verification_uri_complete == f"{server.url}/activate?user_code=WDJB"
    assert 590 < device.expires_in <= 600 and device.interval == 5
    assert "kanari" not in f"{device} {device!r}" and "WDJB" in repr(device)
    waiting = Waiting(lambda: client.poll(device.session, "alice"))
    assert seen(lambda: clock.timers)
    clock.pass_by(5)
    assert seen(lambda: len(server.forms("/token")) == 1 and len(clock.timers) > 1)
    server.approved = True
    clock.pass_by(5)
    token = waiting.end()
    assert isinstance(token, remint.Token), token
    assert [form["device_code"] for form in server.forms("/token")] == ["kanari-device"] * 2
    assert client.with_subject("alice").token().access_token == token.access_token


def test_a_poll_of_a_caller_who_gave_up_is_over(server: Server) -> None:
    clock = Clock()
    client = server.client(remint.Client, grant="device_code", clock=clock)
    device = client.device_authorization()
    waiting = Waiting(lambda: client.poll(device.session, "alice", timeout=2))
    assert seen(lambda: len(clock.timers) > 1)
    clock.pass_by(2)
    assert waiting.end().code == "timeout"
    # Nobody asks for a token that nobody waits for; whoever begins again gets it.
    clock.pass_by(10)
    server.approved = True
    again = Waiting(lambda: client.poll(device.session, "alice"))
    assert seen(lambda: clock.timers)
    clock.pass_by(5)
    assert isinstance(again.end(), remint.Token) and len(server.forms("/token")) == 1


def test_a_host_without_threads_gives_up_in_time(server: Server) -> None:
    client = server.client(remint.Client, grant="device_code", background_refresh=False)
    device = client.device_authorization()
    late = Waiting(lambda: client.poll(device.session, "alice", timeout=0.2)).end()
    assert isinstance(late, remint.TransportError) and late.code == "timeout" and server.forms("/token") == []


def test_a_cancelled_task_ends_its_polls(server: Server) -> None:
    notices: list[dict[str, Any]] = []

    async def story() -> None:
        clock = Clock()
        async with server.client(remint.AsyncClient, grant="device_code", clock=clock, on_notice=notices.append) as client:
            device = await client.device_authorization()
            first = asyncio.create_task(client.poll(device.session, "alice"))
            await timers(clock, 2)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            clock.pass_by(20)
            await asyncio.sleep(0.05)
            assert server.forms("/token") == []
            server.approved = True
            second = asyncio.create_task(client.poll(device.session, "alice"))
            await timers(clock, 2)
            clock.pass_by(5)
            assert (await second).access_token == "T1"

    asyncio.run(story())


def test_a_code_that_ran_out_is_said(server: Server) -> None:
    clock = Clock()
    client = server.client(remint.Client, grant="device_code", clock=clock)
    device = client.device_authorization()
    clock.advance(601)
    with pytest.raises(remint.ServerError) as expired:
        client.poll(device.session)
    assert expired.value.code == "authorization_expired"
    with pytest.raises(remint.UsageError, match="session"):
        client.poll("kanari")


def test_a_person_is_asked_on_a_device_of_their_own(server: Server) -> None:
    async def story() -> None:
        clock = Clock()
        async with server.client(remint.AsyncClient, grant="ciba", clock=clock, scope="openid") as client:
            asked = await client.backchannel_authentication(login_hint="alice", binding_message="W4SCT", requested_expiry=120)
            assert server.forms("/backchannel") == [
                {"scope": "openid", "login_hint": "alice", "binding_message": "W4SCT", "requested_expiry": "120"}
            ]
            assert 100 < asked.expires_in <= 120 and asked.interval == 5 and "session" not in repr(asked)
            server.approved = True
            waiting = asyncio.create_task(client.poll(asked.session, "alice"))
            await timers(clock, 2)
            clock.pass_by(5)
            assert (await waiting).access_token == "T1"
            assert server.forms("/token")[0]["auth_req_id"] == "kanari-request"
            with pytest.raises(remint.UsageError, match="exactly one"):
                await client.backchannel_authentication()

    asyncio.run(story())


def test_a_token_is_exchanged_with_functions_or_with_what_was_given(server: Server) -> None:
    async def actor(subject: str | None) -> str:
        await asyncio.sleep(0)
        return f"actor-of-{subject}"

    async def story() -> None:
        options = {"grant": "token_exchange", "subject_token": lambda subject: f"token-of-{subject}", "actor_token": actor}
        async with server.client(remint.AsyncClient, **options, requested_token_type="access_token") as client:
            await client.with_subject("alice").token()

    asyncio.run(story())
    with server.client(remint.Client, grant="token_exchange", subject_token_type="jwt") as client:
        bob = client.with_subject("bob", subject_token="kanari-1", actor_token="kanari-2")
        bob.token()
        client.with_subject("bob", subject_token="kanari-3").token(force=True)
    forms = server.forms("/token")
    assert [(form["subject_token"], form.get("actor_token")) for form in forms] == [
        ("token-of-alice", "actor-of-alice"),
        ("kanari-1", "kanari-2"),
        ("kanari-3", None),
    ]
    assert forms[1]["subject_token_type"] == "urn:ietf:params:oauth:token-type:jwt"


def test_files_are_read_again_each_time_and_a_missing_one_is_named(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "projected"
    file.write_text("first\n")
    with server.client(remint.Client, grant="token_exchange", subject_token_file=file) as client:
        client.token()
        file.write_text("second\r\n")
        client.token(force=True)
        file.unlink()
        with pytest.raises(remint.TransportError, match="projected") as missing:
            client.with_scope("other").token(timeout=0.2)
    assert missing.value.code == "host_error" and isinstance(missing.value.__cause__, FileNotFoundError)
    assert [form["subject_token"] for form in server.forms("/token")] == ["first", "second"]
    with pytest.raises(remint.UsageError, match="keep one of the two"):
        server.client(remint.Client, grant="token_exchange", subject_token_file=file, subject_token=str)


def test_an_assertion_is_the_grant(server: Server) -> None:
    with server.client(remint.Client, grant="jwt_bearer", assertion=lambda subject: f"eyJhIjoxfQ.{subject}.c2ln") as client:
        client.with_subject("alice").token()
    key = remint.generate_key("ES384")
    signed = {"signing_key": key, "assertion_audience": "https://auth.example", "assertion_claims": {"tenant": "t"}}
    with server.client(remint.Client, grant="jwt_bearer", **signed) as client:
        client.with_subject("bob").token()
    first, second = (form["assertion"] for form in server.forms("/token"))
    claims = json.loads(decoded(second.split(".")[1]))
    assert first == "eyJhIjoxfQ.alice.c2ln"
    assert (claims["sub"], claims["aud"], claims["tenant"]) == ("bob", "https://auth.example", "t")


def test_a_token_is_looked_up_and_revoked(server: Server) -> None:
    with server.client(remint.Client) as client:
        token = client.token()
        assert client.introspect(token) == {"active": True, "sub": "alice"}
        assert client.introspect("kanari", "refresh_token") == {"active": False, "sub": "alice"}
        client.revoke()
        assert client.peek() is None and server.tokens == {}
        client.revoke()
        client.revoke("kanari", "refresh_token")
        assert [(form["token"], form["token_type_hint"]) for form in server.forms("/revoke")] == [
            ("T1", "access_token"),
            ("kanari", "refresh_token"),
        ]

    async def story() -> None:
        async with server.client(remint.AsyncClient) as client:
            assert (await client.introspect(await client.token()))["active"]
            await client.revoke()
            assert not server.tokens

    asyncio.run(story())


def test_each_resource_has_a_token_of_its_own(server: Server) -> None:
    with server.client(remint.Client, resource="https://a.example") as client:
        b = client.with_resource("https://b.example", "https://c.example")
        tokens = [client.token(), b.token(), client.with_resource("https://a.example").token(), b.token()]
        assert [token.access_token for token in tokens] == ["T1", "T2", "T1", "T2"]
        with pytest.raises(remint.UsageError, match="fragment"):
            client.with_resource("https://b.example#x").token()


def test_an_authorization_request_is_pushed_with_its_details(server: Server) -> None:
    details = [{"type": "payment", "amount": "12"}]
    options = {"grant": "authorization_code", "pushed_authorization": True, "redirect_uri": "https://app.example/callback"}
    with server.client(remint.Client, **options) as client:
        url, session = client.authorization_url(authorization_details=details, scope="pay")
        assert url == f"{server.url}/authorize?client_id=someone&request_uri=urn%3Aexample%3A1" and session

    async def story() -> None:
        async with server.client(remint.AsyncClient, **options, dpop=True, authorization_details=details) as client:
            url, _ = await client.authorization_url("https://app.example/other")
            assert "request_uri=" in url

    asyncio.run(story())
    first, second = server.forms("/par")
    assert json.loads(first["authorization_details"]) == details and first["scope"] == "pay"
    assert json.loads(second["authorization_details"]) == details and second["dpop_jkt"]
    assert [form["redirect_uri"] for form in (first, second)] == ["https://app.example/callback", "https://app.example/other"]


def test_what_a_server_that_is_not_there_leaves_behind_is_no_secret(server: Server) -> None:
    server.close()
    client = server.client(remint.Client)
    acts = (
        lambda: client.introspect("kanari"),
        lambda: client.revoke("kanari"),
        lambda: client.backchannel_authentication(login_hint_token="kanari", timeout=5),
        lambda: server.client(remint.Client, grant="token_exchange").with_subject("a", subject_token="kanari").token(),
        lambda: server.client(remint.Client, dpop=True).poll("kanari"),
    )
    for act in acts:
        with pytest.raises(remint.RemintError) as failed:
            act()
        shown = traceback.TracebackException.from_exception(failed.value, capture_locals=True).format()
        assert [line for line in _only_ours("".join(shown)) if "kanari" in line or "a-secret" in line] == []
        assert isinstance(failed.value, remint.UsageError) or isinstance(failed.value.__cause__, ConnectionRefusedError)
