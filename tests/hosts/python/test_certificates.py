"""Client certificates (RFC 8705): presented by the default transport, checked against their keys, and renewed on disk."""

from __future__ import annotations

import json
import os
import ssl
import traceback
from base64 import urlsafe_b64encode
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from threading import Thread
from typing import Any, Iterator
from urllib.parse import parse_qs

import pytest
import remint
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from test_faults import _only_ours

PEM = serialization.Encoding.PEM


class Pair:
    """A self-signed certificate and its key, in PEM."""

    def __init__(self, name: str, password: bytes | None = None) -> None:
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(timezone.utc)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        alternative = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        certificate = (
            x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(1))
            .not_valid_after(now + timedelta(1))
            .add_extension(alternative, critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.certificate = certificate.public_bytes(PEM).decode()
        closing = serialization.NoEncryption() if password is None else serialization.BestAvailableEncryption(password)
        self.key = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, closing).decode()
        self.tls_id = urlsafe_b64encode(sha256(certificate.public_bytes(serialization.Encoding.DER)).digest()).rstrip(b"=").decode()

    def write(self, folder: Path) -> dict[str, Any]:
        """Replaces the files as whoever renews certificates does: under another name first."""
        for name, text in (("certificate", self.certificate), ("key", self.key)):
            (folder / "new").write_text(text)
            os.replace(folder / "new", folder / f"{name}.pem")
        return {"certificate": folder / "certificate.pem", "key": str(folder / "key.pem")}


class Server:
    """A token endpoint that takes only the certificates that it trusts, and says which one came."""

    def __init__(self, folder: Path, trusted: list[Pair]) -> None:
        own, server = Pair("server"), self
        self.ca = own.certificate
        #: The thumbprint of the certificate and the form of each request.
        self.seen: list[tuple[str, dict[str, str]]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                certificate = self.connection.getpeercert(True)  # type: ignore[attr-defined]
                form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
                shown = urlsafe_b64encode(sha256(certificate).digest()).rstrip(b"=").decode()
                server.seen.append((shown, {name: values[0] for name, values in form.items()}))
                text = json.dumps({"access_token": f"T{len(server.seen)}", "token_type": "Bearer", "expires_in": 3600}).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                """Its log is `seen`."""

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """A handshake that fails is what some tests are about."""

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        paths = own.write(folder)
        context.load_cert_chain(paths["certificate"], paths["key"])
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata="".join(pair.certificate for pair in trusted))
        self._http = Quiet(("127.0.0.1", 0), Handler)
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True, do_handshake_on_connect=False)
        Thread(target=self._http.serve_forever, daemon=True).start()
        self.url = f"https://127.0.0.1:{self._http.server_port}"

    def client(self, kind: Any = remint.Client, **options: Any) -> Any:
        profile = {
            "name": "certified",
            "title": "Certified",
            "grants": ["client_credentials"],
            "token": {"endpoint": f"{self.url}/token", "client_auth": ["self_signed_tls_client_auth", "client_secret_basic"]},
            "api_origins": [self.url],
        }
        return kind(profile, client_id="someone", ca=self.ca, **options)

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    return [Pair("first"), Pair("second")]


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory, pairs: list[Pair]) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"), pairs)
    yield server
    server.close()


def test_the_certificate_is_who_the_client_is(server: Server, pairs: list[Pair], tmp_path: Path) -> None:
    texts = {"certificate": pairs[0].certificate, "key": pairs[0].key}
    for given in (pairs[0].write(tmp_path), texts, {"certificate": texts["certificate"].encode(), "key": tmp_path / "key.pem"}):
        with server.client(client_certificate=given, certificate_bound=True) as client:
            client.token()
    import asyncio

    async def story() -> None:
        async with server.client(remint.AsyncClient, client_certificate=texts) as client:
            await client.token()

    asyncio.run(story())
    assert server.seen == [(pairs[0].tls_id, {"grant_type": "client_credentials", "client_id": "someone"})] * 4


def test_a_certificate_that_is_renewed_on_disk_is_used_from_then_on(server: Server, pairs: list[Pair], tmp_path: Path) -> None:
    with server.client(client_certificate=pairs[0].write(tmp_path), certificate_bound=True) as client:
        client.token()
        first = client.peek()
        # Half of the change is none.
        (tmp_path / "certificate.pem").write_text(pairs[1].certificate)
        client.token(force=True)
        assert first is not None and client.peek() is not None
        pairs[1].write(tmp_path)
        last = client.token(force=True)
        # What was bound to the old certificate is not handed out any more.
        assert client.token().access_token == last.access_token == client.peek().access_token
    shown = [thumbprint for thumbprint, _ in server.seen]
    assert shown[:2] == [pairs[0].tls_id] * 2 and set(shown[2:]) == {pairs[1].tls_id}


def test_a_certificate_is_replaced_without_a_restart(server: Server, pairs: list[Pair]) -> None:
    texts = [{"certificate": pair.certificate, "key": pair.key} for pair in pairs]
    with server.client(client_certificate=texts[0], certificate_bound=True) as client:
        client.token()
        with pytest.raises(remint.UsageError, match="belong together"):
            client.renew(client_certificate={**texts[0], "key": pairs[1].key})
        client.token(force=True)
        client.renew(client_certificate=texts[1])
        assert client.peek() is None
        client.token()
    assert [shown for shown, _ in server.seen] == [pairs[0].tls_id, pairs[0].tls_id, pairs[1].tls_id]
    with server.client(client_secret="s") as client, pytest.raises(remint.UsageError, match="client_certificate"):
        client.renew(client_certificate=texts[0])


def test_a_certificate_that_the_server_does_not_trust_is_a_failed_request(server: Server) -> None:
    other = Pair("other")
    with server.client(client_certificate={"certificate": other.certificate, "key": other.key}) as client:
        with pytest.raises(remint.TransportError) as refused:
            client.token(timeout=2)
    assert refused.value.code in ("transport_failed", "timeout") and server.seen == []


def test_what_is_no_pair_is_refused_before_anything_is_sent(server: Server, pairs: list[Pair], tmp_path: Path) -> None:
    certificate, key, closed = pairs[0].certificate, pairs[0].key, Pair("closed", b"kanari").key
    for given, words in (
        ({"certificate": certificate}, "without its `key`"),
        ({"certificate": certificate, "key": pairs[1].key}, "do not belong together"),
        ({"certificate": certificate, "key": closed}, "password"),
        ({"certificate": certificate, "key": certificate}, "no private key"),
        ({"certificate": key, "key": key}, "no certificate"),
        ({"certificate": tmp_path / "nothing.pem", "key": key}, "nothing.pem"),
        ({"certificate": certificate, "key": key, "password": "x"}, "mapping with"),
        (certificate, "mapping with"),
    ):
        with pytest.raises(remint.UsageError, match=words) as refused:
            server.client(client_certificate=given)
        assert refused.value.code == "invalid_option"
        shown = traceback.TracebackException.from_exception(refused.value, capture_locals=True).format()
        assert not [line for line in _only_ours("".join(shown)) if "END PRIVATE KEY" in line]
    with pytest.raises(remint.UsageError, match="certificate"):
        server.client(client_secret="s", certificate_bound=True)


def test_a_certificate_shows_nothing_of_its_key(pairs: list[Pair]) -> None:
    from remint._certificate import Certificate

    certificate = Certificate({"certificate": pairs[0].certificate, "key": pairs[0].key})
    assert "PRIVATE" not in repr(certificate) and certificate.tls_id == pairs[0].tls_id
