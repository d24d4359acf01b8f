"""A client that registers itself, by threads and by tasks (RFC 7591, RFC 7592)."""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import pickle
import socket
import ssl
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Callable

import aiohttp
import httpx
import httpx2
import pytest
import remint
import remint.aiohttp
import remint.core
import remint.httpx
import remint.httpx2
import requests

METADATA = {"redirect_uris": ["https://app.example/cb"], "client_name": "Zürich → 東京"}
TEXT = json.dumps(METADATA, ensure_ascii=False)
ACCESS: dict[str, Any] = {"registration_client_uri": "https://auth.example/clients/c1", "registration_access_token": "reg-s3cret"}


class Registry:
    """A server that registers whoever comes, and keeps what it saw."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, bytes, str | None]] = []
        self.changes: dict[str, Any] = {}
        self.refusal: tuple[int, Any] | None = None
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                registry.seen.append((self.command, self.path, body, self.headers["authorization"]))
                status, answer = registry.answer(self.command, self.path, body)
                text = b"" if answer is None else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_PUT = do_DELETE = do_POST

            def log_message(self, *_: object) -> None:
                """What came is in `seen`."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        if path == "/.well-known/oauth-authorization-server":
            return 404, None
        if path == "/.well-known/openid-configuration":
            return 200, {"issuer": self.url, "token_endpoint": f"{self.url}/token", "registration_endpoint": f"{self.url}/elsewhere"}
        if self.refusal is not None:
            return self.refusal
        if method == "DELETE":
            return 204, None
        client = {
            **(json.loads(body) if body else METADATA),
            "client_id": "c1",
            "client_secret": "cl-s3cret",
            "client_id_issued_at": 1_700_000_000,
            "client_secret_expires_at": 0,
            "registration_client_uri": f"{self.url}/clients/c1",
            "registration_access_token": "reg-s3cret",
            **self.changes,
        }
        return 201 if method == "POST" else 200, client

    def profile(self, **more: Any) -> dict[str, Any]:
        known: dict[str, Any] = {"endpoints": {"registration": f"{self.url}/register"}}
        return {
            "name": "registry",
            "title": "Registry",
            "grants": ["client_credentials"],
            "token": {"endpoint": f"{self.url}/token"},
            "api_origins": [],
            **(more or known),
        }

    def asks(self) -> list[tuple[str, str]]:
        return [(method, path) for method, path, _, _ in self.seen]


class ByTasks:
    """`AsyncRegistrar` with verbs that wait. Each call has an event loop of its own."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.registrar = remint.AsyncRegistrar(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self.registrar, name)
        assert inspect.iscoroutinefunction(verb)
        return lambda *arguments, **options: asyncio.run(verb(*arguments, **options))


Form = Callable[..., Any]


@pytest.fixture
def registry() -> Iterator[Registry]:
    registry = Registry()
    yield registry
    registry.server.shutdown()
    registry.server.server_close()


@pytest.fixture(params=[remint.Registrar, ByTasks], ids=["threads", "tasks"])
def form(request: pytest.FixtureRequest) -> Form:
    kind: Form = request.param
    return kind


def at(registry: Registry, form: Form, **options: Any) -> Any:
    return form(registry.profile(), allow_loopback_http=True, **options)


def shown(error: BaseException) -> str:
    """What a program may show of an error: itself, and the locals of the frames of ours that it came through."""
    package = str(Path(remint.__file__).parent)
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename.startswith(package)]
    assert frames and (error.__context__ is None or error.__suppress_context__)
    return "".join([repr(error), str(vars(error)), *(repr(frame.f_locals) for frame in frames)])


def test_a_client_registers_reads_updates_and_deletes_itself(registry: Registry, form: Form) -> None:
    registrar = at(registry, form)
    client = registrar.register(TEXT, initial_access_token="initial-s3cret", software_statement="a.b.c")
    assert (client.client_id, client.client_secret, client.registration_access_token) == ("c1", "cl-s3cret", "reg-s3cret")
    assert client.registration_client_uri == f"{registry.url}/clients/c1"
    # A secret that expires at 0 doesn't (RFC 7591 section 3.2.1).
    assert (client.client_id_issued_at, client.client_secret_expires_at) == (1_700_000_000, None)
    assert client.metadata == {**METADATA, "software_statement": "a.b.c"}

    registry.changes = {"registration_access_token": "next-s3cret", "client_secret_expires_at": 2_000_000_000}
    read = registrar.read(client)
    assert (read.registration_access_token, read.client_secret_expires_at) == ("next-s3cret", 2_000_000_000)
    updated = registrar.update(read, {**read.metadata, "client_name": "Bern"})
    assert updated.metadata["client_name"] == "Bern"
    assert registrar.delete(updated) is None

    assert registry.asks() == [("POST", "/register"), ("GET", "/clients/c1"), ("PUT", "/clients/c1"), ("DELETE", "/clients/c1")]
    # As it was given, as UTF-8.
    assert registry.seen[0][2].startswith(TEXT[:-1].encode())
    assert json.loads(registry.seen[2][2]) == {**METADATA, "client_name": "Bern", "client_id": "c1", "client_secret": "cl-s3cret"}
    assert [token for _, _, _, token in registry.seen] == [f"Bearer {name}-s3cret" for name in ("initial", "reg", "next", "next")]


def test_what_was_kept_is_made_a_client_again(registry: Registry, form: Form) -> None:
    place = f"{registry.url}/clients/c1"
    kept = remint.RegisteredClient(client_id="c1", registration_access_token="reg-s3cret", registration_client_uri=place)
    assert kept.metadata == {} and kept.client_secret is None
    registrar = at(registry, form)
    assert registrar.read(kept).client_secret == "cl-s3cret"
    registrar.update(kept, METADATA)
    assert json.loads(registry.seen[1][2]) == {**METADATA, "client_id": "c1"}


def test_the_endpoint_is_found_in_the_servers_metadata(registry: Registry, form: Form) -> None:
    registrar = form(registry.profile(discovery={"issuer": registry.url}), allow_loopback_http=True)
    assert registrar.register({}).client_id == "c1"
    assert registry.asks() == [
        ("GET", "/.well-known/oauth-authorization-server"),
        ("GET", "/.well-known/openid-configuration"),
        ("POST", "/elsewhere"),
    ]


def test_a_client_shows_no_secret_and_does_not_change(registry: Registry) -> None:
    client = at(registry, remint.Registrar).register(METADATA)
    assert "c1" in repr(client) and "s3cret" not in f"{client} {client!r} {[client]}"
    assert not hasattr(client, "__dict__")
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="keep its attributes"):
            attempt(client)
    with pytest.raises(AttributeError):
        client.client_secret = "other"  # what a type checker doesn't see
    with pytest.raises(AttributeError):
        del client.client_id
    client.metadata["redirect_uris"].append("https://evil.example")
    assert client.metadata == METADATA and client.client_secret == "cl-s3cret"


def test_what_the_server_refuses_is_a_typed_error_without_secrets(registry: Registry, form: Form) -> None:
    registrar = at(registry, form)
    client = registrar.register(METADATA)
    verbs: list[Callable[[], Any]] = [
        lambda: registrar.register(METADATA, initial_access_token="initial-s3cret"),
        lambda: registrar.read(client),
        lambda: registrar.update(client, {"jwks": "md-s3cret"}),
        lambda: registrar.delete(client),
    ]
    for status, answer, code in [
        (400, {"error": "invalid_client_metadata", "error_description": "reg-s3cret"}, "invalid_client_metadata"),
        (401, {"error": "invalid_token"}, "invalid_client"),
        (200, ["cl-s3cret"], "unexpected_answer"),
    ]:
        registry.refusal = status, answer
        # Whether it is gone, the status says.
        for verb in verbs[: 3 if status == 200 else 4]:
            with pytest.raises(remint.ServerError) as refused:
                verb()
            assert refused.value.code == code
            assert "s3cret" not in shown(refused.value)


def test_what_cannot_be_asked_for_is_refused_before_anything_is_sent(registry: Registry, form: Form) -> None:
    registrar = at(registry, form)
    unmanaged = remint.RegisteredClient(client_id="c1", client_secret="cl-s3cret")
    attempts: list[tuple[str, Callable[[], Any]]] = [
        ("JSON object", lambda: registrar.register("s3cret, not JSON", initial_access_token="initial-s3cret")),
        ("metadata", lambda: registrar.register(["s3cret"], initial_access_token="initial-s3cret")),
        ("metadata", lambda: registrar.register({"s3cret": object()}, initial_access_token="initial-s3cret")),
        ("metadata", lambda: registrar.update(remint.RegisteredClient(client_id="c1", **ACCESS), {"s3cret": object()})),
        ("metadata", lambda: remint.RegisteredClient(client_id="c1", client_secret="cl-s3cret", metadata={"s3cret": object()})),
        ("no management", lambda: registrar.read(unmanaged)),
        ("no management", lambda: registrar.update(unmanaged, METADATA)),
        ("no management", lambda: registrar.delete(unmanaged)),
        ("client_secret", lambda: at(registry, form, client_secret="cl-s3cret")),
        ("request_timeout", lambda: at(registry, form, request_timeout=0)),
        ("request_timeout", lambda: at(registry, form, request_timeout=float("nan"))),
        ("request_timeout", lambda: at(registry, form, request_timeout="10")),
        ("answer_cap", lambda: at(registry, form, policy={"answer_cap": 0})),
        ("`proxy` and `ca`", lambda: at(registry, form, http=requests.Session(), ca="ca.pem")),
        ("`ca`", lambda: at(registry, form, ca="no such file")),
        ("phoenix-wallet", lambda: form("phoenix-walet")),
    ]
    for named, attempt in attempts:
        with pytest.raises(remint.UsageError, match=named) as refused:
            attempt()
        assert "s3cret" not in shown(refused.value)
    assert registry.seen == []


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (ConnectionRefusedError("cl-s3cret"), "transport_failed", True),
        (ConnectionResetError("cl-s3cret"), "transport_failed", False),
        (TimeoutError("cl-s3cret"), "timeout", False),
        (ssl.SSLCertVerificationError("cl-s3cret"), "transport_failed", True),
    ],
    ids=["refused", "reset", "slow", "not trusted"],
)
def test_a_request_without_an_answer_is_not_sent_again(registry: Registry, form: Form, error: Exception, code: str, retryable: bool) -> None:
    sent = []

    def lost(request: dict[str, Any], timeout: float, cap: int) -> Any:
        sent.append((request["method"], timeout, cap))
        raise error

    with pytest.raises(remint.TransportError) as caught:
        at(registry, form, http=lost, request_timeout=7).register(METADATA, initial_access_token="initial-s3cret")
    assert (caught.value.code, caught.value.retryable) == (code, retryable)
    # What the user's function raised is the user's own, and the frames that it came through are not. Event loops copy some.
    cause = caught.value.__cause__
    assert cause is not None and (type(cause), cause.args, cause.__traceback__) == (type(error), error.args, None)
    assert caught.value.__context__ is None
    assert "initial-s3cret" not in shown(caught.value) and "cl-s3cret" not in str(caught.value)
    assert ("`ca`" in str(caught.value)) == isinstance(error, ssl.SSLCertVerificationError)
    assert sent == [("POST", 7, 262_144)]


def test_an_answer_is_no_longer_than_the_policy_says(registry: Registry, form: Form) -> None:
    long = {"client_name": "x" * 2000}
    assert at(registry, form).register(long).metadata == long
    policy = {"answer_cap": 1024}
    heedless: Any = lambda *_: (201, [], b"cl-s3cret" * 1000)
    for http in (None, heedless):
        with pytest.raises(remint.TransportError) as caught:
            at(registry, form, policy=policy, http=http).register(long)
        assert caught.value.code == "answer_too_large" and not caught.value.retryable
        assert "s3cret" not in shown(caught.value)


def test_the_default_transport_takes_a_proxy(registry: Registry, form: Form) -> None:
    elsewhere = registry.profile(endpoints={"registration": "http://localhost:1/register"})
    registrar = form(elsewhere, allow_loopback_http=True, proxy=registry.url)
    assert registrar.register(METADATA).client_id == "c1"
    assert registry.asks() == [("POST", "http://localhost:1/register")]


def test_the_servers_pause_counts_from_the_given_clock(registry: Registry, form: Form) -> None:
    class Clock:
        def wall(self) -> int:
            return 20_000

        boot = wall

    def busy(*_: object) -> Any:
        return 503, [("retry-after", "Thu, 01 Jan 1970 00:01:00 GMT")], b""

    with pytest.raises(remint.ServerError) as refused:
        at(registry, form, http=busy, clock=Clock()).register(METADATA)
    assert (refused.value.code, refused.value.status, refused.value.retry_after) == ("server_unavailable", 503, 40)


TRANSPORTS: list[tuple[str, Form, Callable[[], Any]]] = [
    ("requests", remint.Registrar, requests.Session),
    ("httpx", remint.Registrar, httpx.Client),
    ("httpx2", remint.Registrar, httpx2.Client),
    ("requests for tasks", ByTasks, requests.Session),
    ("httpx for tasks", ByTasks, lambda: remint.httpx.transport(httpx.AsyncClient)),
    ("httpx2 for tasks", ByTasks, lambda: remint.httpx2.transport(httpx2.AsyncClient)),
    ("aiohttp for tasks", ByTasks, lambda: remint.aiohttp.transport(aiohttp.ClientSession)),
]


@pytest.mark.parametrize(("kind", "http"), [case[1:] for case in TRANSPORTS], ids=[case[0] for case in TRANSPORTS])
def test_requests_go_over_the_users_own_client(registry: Registry, kind: Form, http: Callable[[], Any]) -> None:
    registrar = at(registry, kind, http=http())
    client = registrar.register(TEXT)
    assert client.metadata == METADATA
    registrar.update(client, TEXT)
    registrar.delete(client)
    assert registry.asks() == [("POST", "/register"), ("PUT", "/clients/c1"), ("DELETE", "/clients/c1")]
    # In UTF-8, whatever an HTTP library takes text for.
    assert registry.seen[0][2] == TEXT.encode()


def test_an_asynchronous_transport_is_for_tasks(registry: Registry) -> None:
    async def send(request: dict[str, Any], timeout: float, cap: int) -> Any:
        loops.append(asyncio.get_running_loop())
        status, answer = registry.answer(request["method"], request["url"], request["body"].encode())
        return status, [("content-type", "application/json")], json.dumps(answer).encode()

    async def story() -> None:
        registrar = at(registry, remint.AsyncRegistrar, http=send)
        clients = await asyncio.gather(*(registrar.register(METADATA) for _ in range(3)))
        assert [client.client_id for client in clients] == ["c1"] * 3
        assert loops == [asyncio.get_running_loop()] * 3

    loops: list[object] = []
    asyncio.run(story())
    with pytest.raises(remint.UsageError, match="AsyncRegistrar"):
        at(registry, remint.Registrar, http=send).register(METADATA)
    assert len(loops) == 3


def test_who_is_cancelled_takes_an_asynchronous_request_along(registry: Registry) -> None:
    async def story() -> None:
        begun, ended = asyncio.Event(), asyncio.Event()

        async def send(*_: object) -> Any:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        task = asyncio.ensure_future(at(registry, remint.AsyncRegistrar, http=send).register(METADATA))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()
        # One that takes longer than it may is given up the same way.
        ended.clear()
        with pytest.raises(remint.TransportError) as late:
            await at(registry, remint.AsyncRegistrar, http=send, request_timeout=0.05).register(METADATA)
        assert late.value.code == "timeout" and not late.value.retryable and ended.is_set()

    asyncio.run(story())


def test_who_is_cancelled_waits_for_no_thread(registry: Registry) -> None:
    # Takes connections, and answers nothing until the test ends.
    with socket.create_server(("127.0.0.1", 0)) as silent:

        async def story() -> None:
            profile = registry.profile(endpoints={"registration": f"http://127.0.0.1:{silent.getsockname()[1]}/register"})
            registrar = remint.AsyncRegistrar(profile, allow_loopback_http=True)
            loop = asyncio.get_running_loop()
            task = asyncio.ensure_future(registrar.register(METADATA))
            connection, _ = await loop.run_in_executor(None, silent.accept)
            assert await loop.run_in_executor(None, connection.recv, 1) == b"P"
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            # What had gone out was not called back: the thread ends with its connection.
            connection.close()
            assert (await at(registry, remint.AsyncRegistrar).register(METADATA)).client_id == "c1"

        asyncio.run(story())


def test_the_core_holds_the_pair_for_loops_of_ones_own(registry: Registry) -> None:
    registrar = remint.core.Registrar({"profile": registry.profile(), "allow_loopback_http": True})
    registration = registrar.build({"register": {"metadata": TEXT}})
    assert (registration.method, registration.url, registration.body) == ("POST", f"{registry.url}/register", TEXT)
    status, answer = registry.answer("POST", "/register", TEXT.encode())
    client: Any = registration.finish(status, [("content-type", "application/json")], json.dumps(answer).encode(), remint.core.now())
    assert client["client_id"] == "c1"
