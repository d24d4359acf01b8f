"""An authorization server with an API, on loopback, that checks each proof of possession as RFC 9449 section 4.3 has it."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

GRANTS = "client_credentials device_code ciba token_exchange jwt_bearer authorization_code".split()
CHALLENGE = 'Bearer error="insufficient_user_authentication", acr_values="urn:mfa", max_age="300"'


def decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def digest(text: str) -> str:
    return urlsafe_b64encode(sha256(text.encode()).digest()).rstrip(b"=").decode()


class Refused(Exception):
    """Why a request is not accepted: an error code."""


class Server:
    """What it demands is set from outside, and what it saw is read from `seen`."""

    def __init__(self) -> None:
        self.nonces: dict[str, str] = {}
        self.approved = False
        #: Paths with the form or the headers that came, in order.
        self.seen: list[tuple[str, dict[str, str]]] = []
        self._proofs: set[str] = set()
        #: The thumbprint of the key that each token is bound to; none for a bearer token.
        self.tokens: dict[str, str | None] = {}
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.answer(self)

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                """Its log is `seen`."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        Thread(target=self._http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def forms(self, path: str) -> list[dict[str, str]]:
        return [form for known, form in self.seen if known == path]

    def profile(self, **more: Any) -> dict[str, Any]:
        return {
            "name": "possession",
            "title": "Possession",
            "grants": GRANTS,
            "authorization": {"endpoint": f"{self.url}/authorize"},
            "token": {"endpoint": f"{self.url}/token", "client_auth": ["client_secret_basic"]},
            "endpoints": {
                "device_authorization": f"{self.url}/device",
                "backchannel_authentication": f"{self.url}/backchannel",
                "introspection": f"{self.url}/introspect",
                "revocation": f"{self.url}/revoke",
                "pushed_authorization_request": f"{self.url}/par",
            },
            "api_origins": [self.url],
            **more,
        }

    def client(self, kind: Any, **options: Any) -> Any:
        given = {"client_id": "someone", "client_secret": "a-secret", "allow_loopback_http": True, **options}
        return kind(self.profile(), **given)

    def answer(self, http: BaseHTTPRequestHandler) -> None:
        path = urlsplit(http.path).path
        in_chunks = "chunked" in http.headers.get("transfer-encoding", "")
        body = http.rfile.read(int(http.headers.get("content-length") or 0))
        form = {name: values[0] for name, values in parse_qs(body.decode("latin-1")).items()}
        self.seen.append((path, form if http.command == "POST" and not path.startswith("/api") else dict(http.headers)))
        headers: dict[str, str] = {}
        try:
            if path.startswith("/api"):
                status, said = self._api(http, path, headers)
            else:
                # Only a pushed request is something new (RFC 9126 section 2.2).
                status, said = 201 if path == "/par" else 200, getattr(self, "_" + path[1:])(http, form)
        except Refused as refused:
            status, said = 401 if path.startswith("/api") else 400, {"error": str(refused)}
            place = "api" if path.startswith("/api") else "token"
            if place == "api":
                headers["WWW-Authenticate"] = CHALLENGE if "authentication" in str(refused) else f'DPoP error="{refused}"'
            if "nonce" in str(refused):
                headers["DPoP-Nonce"] = self.nonces[place]
        text = json.dumps(said).encode()
        http.close_connection = in_chunks
        http.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(text)), **headers}.items():
            http.send_header(name, value)
        http.end_headers()
        http.wfile.write(text)
        # The answer to a body in chunks is there before all of it is sent.
        try:
            while in_chunks and int(http.rfile.readline() or b"0", 16):
                http.rfile.readline()
        except OSError:
            pass  # The client has gone with its answer.

    def _prove(self, http: BaseHTTPRequestHandler, place: str, token: str | None = None) -> str:
        """The thumbprint of the key whose possession the request proves."""
        proof = http.headers.get("dpop")
        if proof is None:
            raise Refused("invalid_dpop_proof")
        header, claims, signature = proof.split(".")
        said, about, raw = json.loads(decoded(header)), json.loads(decoded(claims)), decoded(signature)
        x, y = (int.from_bytes(decoded(said["jwk"][name]), "big") for name in "xy")
        key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        try:
            der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
            key.verify(der, f"{header}.{claims}".encode(), ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise Refused("invalid_dpop_proof") from None
        wanted = (http.command, self.url + urlsplit(http.path).path, None if token is None else digest(token))
        if (about["htm"], about["htu"], about.get("ath")) != wanted or about["jti"] in self._proofs or said["typ"] != "dpop+jwt":
            raise Refused("invalid_dpop_proof")
        self._proofs.add(about["jti"])
        if place in self.nonces and about.get("nonce") != self.nonces[place]:
            raise Refused("use_dpop_nonce")
        return digest(json.dumps(said["jwk"], separators=(",", ":"), sort_keys=True))

    def _api(self, http: BaseHTTPRequestHandler, path: str, headers: dict[str, str]) -> tuple[int, Any]:
        if path == "/api/step-up":
            raise Refused("insufficient_user_authentication")
        scheme, _, token = http.headers.get("authorization", "").partition(" ")
        if token not in self.tokens:
            raise Refused("invalid_token")
        bound = self.tokens[token]
        if bound is not None and (scheme != "DPoP" or self._prove(http, "api", token) != bound):
            raise Refused("invalid_dpop_proof")
        if path == "/api/redirect":
            headers["Location"] = "/api/data"
            return 307, {}
        return 200, {"method": http.command, "token": token}

    def _token(self, http: BaseHTTPRequestHandler, form: dict[str, str]) -> Any:
        bound = self._prove(http, "token") if http.headers.get("dpop") else None
        if form["grant_type"].endswith((":device_code", ":ciba")) and not self.approved:
            raise Refused("authorization_pending")
        token = f"T{len(self.tokens) + 1}"
        self.tokens[token] = bound
        kind = {"token_type": "Bearer" if bound is None else "DPoP"}
        if form["grant_type"].endswith("token-exchange"):
            kind["issued_token_type"] = "urn:ietf:params:oauth:token-type:access_token"
        return {"access_token": token, "expires_in": 3600, **kind}

    def _device(self, _http: BaseHTTPRequestHandler, form: dict[str, str]) -> Any:
        uri = f"{self.url}/activate"
        pair = {"verification_uri": uri, "verification_uri_complete": f"{uri}?user_code=WDJB"}
        return {"device_code": "kanari-device", "user_code": "WDJB", **pair, "expires_in": 600, "interval": 5}

    def _backchannel(self, _http: BaseHTTPRequestHandler, form: dict[str, str]) -> Any:
        return {"auth_req_id": "kanari-request", "expires_in": 120}

    def _introspect(self, _http: BaseHTTPRequestHandler, form: dict[str, str]) -> Any:
        return {"active": form["token"] in self.tokens, "sub": "alice"}

    def _revoke(self, _http: BaseHTTPRequestHandler, form: dict[str, str]) -> Any:
        self.tokens.pop(form["token"], None)
        return {}

    def _par(self, _http: BaseHTTPRequestHandler, form: dict[str, str]) -> Any:
        return {"request_uri": "urn:example:1", "expires_in": 60}
