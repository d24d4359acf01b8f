"""What the server has signed, and what only looks like it."""

from __future__ import annotations

import json
import sys
import traceback
from base64 import urlsafe_b64encode
from time import time
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import remint
from cryptography.hazmat.primitives.asymmetric import rsa
from remint._signing import to_signer, verify

DATA = b"eyJhbGciOiJFUzI1NiJ9.eyJjb2RlIjoiYyJ9"


def encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(alg: str) -> tuple[dict[str, Any], str]:
    """A public key, and what its private half has signed."""
    key = rsa.generate_private_key(65537, 2048) if alg.endswith("S256") and alg[0] in "RP" else remint.generate_key(alg)
    signer = to_signer({"key": key, "alg": alg}, "dpop")
    return signer.told["jwk"], encoded(signer.sign(DATA, alg))


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256", "ES384", "EdDSA"])
def test_only_the_servers_own_signature_is_one(alg: str) -> None:
    jwk, signature = signed(alg)
    key = json.dumps(jwk)
    assert verify(key, alg, DATA, signature)
    assert not verify(key, alg, DATA + b"x", signature)
    assert not verify(json.dumps(signed(alg)[0]), alg, DATA, signature)
    assert not verify(key, "none", DATA, signature)
    for other in {"RS256", "PS256", "ES256", "ES384", "EdDSA"} - {alg}:
        assert not verify(key, other, DATA, signature)
    for malformed in ("", "A", signature[:-4], signature + "AAAA", f"{signature}=", f"{signature[:-1]}!", f"{signature[:-1]}é", f" {signature}"):
        assert not verify(key, alg, DATA, malformed)
    for name in jwk:
        if name != "kty":
            assert not verify(json.dumps({**jwk, name: "AAAA"}), alg, DATA, signature)
            assert not verify(json.dumps({member: value for member, value in jwk.items() if member != name}), alg, DATA, signature)


def test_a_signature_in_der_is_none() -> None:
    jwk, _ = signed("ES256")
    der = bytes.fromhex("3006020101020101")
    assert not verify(json.dumps(jwk), "ES256", DATA, encoded(der))


class Signing:
    """A server that signs its authorization responses (JARM): what it answers to token requests, and the responses themselves."""

    def __init__(self, alg: str) -> None:
        self.signer = to_signer({"key": remint.generate_key(alg), "alg": alg}, "dpop")
        self.asked: list[str] = []
        self.profile = {
            "name": "jarm",
            "title": "JARM",
            "grants": ["authorization_code"],
            "token": {"endpoint": f"{ISSUER}/token", "client_auth": ["none"]},
            "authorization": {"endpoint": f"{ISSUER}/authorize", "issuer": ISSUER},
            "endpoints": {"jwks": f"{ISSUER}/jwks"},
            "api_origins": [],
        }

    def __call__(self, request: dict[str, Any], timeout: float, cap: int) -> tuple[int, list[tuple[str, str]], bytes]:
        self.asked.append(urlsplit(request["url"]).path)
        keys = {"keys": [{**self.signer.told["jwk"], "use": "sig", "alg": self.signer.told["alg"]}]}
        body = keys if self.asked[-1] == "/jwks" else {"access_token": "T", "token_type": "Bearer", "expires_in": 60}
        return 200, [("content-type", "application/json")], json.dumps(body).encode()

    def response(self, url: str, **more: Any) -> str:
        """What the browser comes back with."""
        sent = dict(parse_qsl(urlsplit(url).query))
        claims = {"iss": ISSUER, "aud": "someone", "exp": int(time()) + 60, "code": "C", "state": sent["state"], **more}
        signed = ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": self.signer.told["alg"]}, claims))
        return f"{signed}.{encoded(self.signer.sign(signed.encode(), self.signer.told['alg']))}"


ISSUER = "https://auth.example"


@pytest.mark.parametrize("alg", ["ES256", "PS256", "EdDSA"])
@pytest.mark.parametrize("mode", ["jwt", "form_post.jwt"])
def test_a_signed_response_is_checked_with_the_servers_key(alg: str, mode: str) -> None:
    server = Signing(alg)
    client = remint.Client(server.profile, client_id="someone", response_mode=mode, http=server)
    url, session = client.authorization_url("https://app.example/cb")
    assert f"response_mode={mode}" in url
    response = server.response(url)
    callback: Any = f"https://app.example/cb?response={response}" if mode == "jwt" else {"response": response}
    assert client.exchange(callback, session, "ann").access_token == "T"
    assert server.asked == ["/jwks", "/token"]


def test_a_response_that_another_has_signed_is_not_taken() -> None:
    server, other = Signing("ES256"), Signing("ES256")
    client = remint.Client(server.profile, client_id="someone", response_mode="jwt", http=server)
    url, session = client.authorization_url("https://app.example/cb")
    for response in (other.response(url), server.response(url)[:-4] + "AAAA", server.response(url, aud="another")):
        with pytest.raises(remint.RemintError) as caught:
            client.exchange(f"https://app.example/cb?response={response}", session, "ann")
        assert response not in "".join(traceback.format_exception(caught.value))
    assert "/token" not in server.asked


def test_without_cryptography_it_is_said_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Signing("ES256")
    client = remint.Client(server.profile, client_id="someone", response_mode="jwt", http=server)
    url, session = client.authorization_url("https://app.example/cb")
    response = server.response(url)
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    with pytest.raises(remint.TransportError, match=r"pip install remint\[signing\]") as caught:
        client.exchange(f"https://app.example/cb?response={response}", session, "ann")
    assert caught.value.code == "host_error"
