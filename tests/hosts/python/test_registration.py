"""A client that registers itself, over the default transport and over a function (RFC 7591, RFC 7592)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
import remint
from remint.core import Registrar, register

METADATA = json.dumps({"redirect_uris": ["https://app.example/cb"], "client_name": "Zürich"}, ensure_ascii=False)


class Registry:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str, bytes, str | None]] = []
        self.refuses = False
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                registry.seen.append((self.command, self.path, body, self.headers["authorization"]))
                status, answer = registry.answer(self.command, body)
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
        Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, method: str, body: bytes) -> tuple[int, Any]:
        if self.refuses:
            return 400, {"error": "invalid_client_metadata"}
        if method == "DELETE":
            return 204, None
        metadata = json.loads(body) if body else {}
        place = {"registration_client_uri": f"{self.url}/clients/c1", "registration_access_token": "reg-s3cret"}
        return 201 if method == "POST" else 200, {**metadata, "client_id": "c1", "client_secret": "cl-s3cret", "client_secret_expires_at": 0, **place}

    def registrar(self) -> Registrar:
        profile = {
            "name": "registry",
            "title": "Registry",
            "grants": ["client_credentials"],
            "token": {"endpoint": f"{self.url}/token"},
            "endpoints": {"registration": f"{self.url}/register"},
            "api_origins": [],
        }
        return Registrar({"profile": profile, "allow_loopback_http": True})


@pytest.fixture
def registry() -> Iterator[Registry]:
    registry = Registry()
    yield registry
    registry.server.shutdown()
    registry.server.server_close()


def test_a_client_registers_reads_and_deletes_itself(registry: Registry) -> None:
    registrar = registry.registrar()
    client = register(registrar, {"register": {"metadata": METADATA, "initial_access_token": "initial-s3cret"}})
    assert client is not None and client["client_id"] == "c1" and client["client_secret"] == "cl-s3cret"
    assert "s3cret" not in f"{client} {client!r}"
    held = {name: client[name] for name in ("registration_client_uri", "registration_access_token")}
    again = register(registrar, {"read": held})
    assert again is not None and again["client_id"] == "c1"
    assert register(registrar, {"delete": held}) is None
    assert [(method, path) for method, path, _, _ in registry.seen] == [("POST", "/register"), ("GET", "/clients/c1"), ("DELETE", "/clients/c1")]
    # To the byte, as UTF-8.
    assert registry.seen[0][2] == METADATA.encode()
    assert [token for _, _, _, token in registry.seen] == ["Bearer initial-s3cret", "Bearer reg-s3cret", "Bearer reg-s3cret"]


def test_what_goes_wrong_is_a_typed_error(registry: Registry) -> None:
    registrar, request = registry.registrar(), {"register": {"metadata": METADATA}}
    registry.refuses = True
    with pytest.raises(remint.ServerError) as refused:
        register(registrar, request)
    assert refused.value.code == "invalid_client_metadata"
    with pytest.raises(remint.UsageError):
        register(registrar, {"register": {"metadata": "no JSON"}})

    def lost(*_: object) -> Any:
        raise ConnectionResetError("gone")

    for http, retryable in ((lost, False), (lambda *_: (_ for _ in ()).throw(ConnectionRefusedError()), True)):
        with pytest.raises(remint.TransportError) as caught:
            register(registrar, request, http=http)
        assert caught.value.code == "transport_failed" and caught.value.retryable is retryable
        assert isinstance(caught.value.__cause__, ConnectionError)
