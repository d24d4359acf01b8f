"""Keys for `private_key_jwt`: what is signed, by whom, and which keys are refused."""

from __future__ import annotations

import asyncio
import json
import traceback
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import remint
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from test_faults import _only_ours

PROFILE = {
    "name": "signed",
    "title": "Signed",
    "grants": ["client_credentials"],
    "token": {"endpoint": "https://auth.example.com/token", "client_auth": ["private_key_jwt"]},
    "api_origins": ["https://api.example.com"],
}
# RFC 8037 appendix A.1.
PUBLISHED = {
    "kty": "OKP",
    "crv": "Ed25519",
    "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}


def decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Wire:
    """Answers token requests, and keeps the assertions that they came with."""

    def __init__(self) -> None:
        self.assertions: list[str] = []

    def __call__(self, request: dict[str, Any], timeout: float, cap: int) -> tuple[int, list[tuple[str, str]], bytes]:
        form = parse_qs(request["body"])
        assert form["client_assertion_type"] == ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"]
        self.assertions += form["client_assertion"]
        answer = {"access_token": f"T{len(self.assertions)}", "token_type": "Bearer", "expires_in": 3600}
        return 200, [("content-type", "application/json")], json.dumps(answer).encode()


def client(wire: Any, **options: Any) -> remint.Client:
    return remint.Client(PROFILE, client_id="someone", http=wire, **options)


def signed(assertion: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    header, claims, signature = assertion.split(".")
    data = f"{header}.{claims}".encode()
    return json.loads(decoded(header)), json.loads(decoded(claims)), data, decoded(signature)


def pem(key: Any, form: Any) -> str:
    return str(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode())


def test_every_algorithm_signs_what_its_public_key_verifies() -> None:
    p256, p384 = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
    ed, big = ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048)

    def raw(key: Any, digest: Any) -> Any:
        def verify(signature: bytes, data: bytes) -> None:
            half = len(signature) // 2
            der = encode_dss_signature(int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))
            key.public_key().verify(der, data, ec.ECDSA(digest))

        return verify

    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    forms = serialization.PrivateFormat
    for key, alg, verify in (
        (p256, "ES256", raw(p256, hashes.SHA256())),
        (pem(p384, forms.TraditionalOpenSSL), "ES384", raw(p384, hashes.SHA384())),
        (pem(ed, forms.PKCS8), "EdDSA", ed.public_key().verify),
        (pem(big, forms.TraditionalOpenSSL), "RS256", lambda s, d: big.public_key().verify(s, d, padding.PKCS1v15(), hashes.SHA256())),
        (pem(big, forms.PKCS8), "PS256", lambda s, d: big.public_key().verify(s, d, pss, hashes.SHA256())),
    ):
        wire = Wire()
        with client(wire, signing_key={"key": key, "alg": alg, "kid": "k1"}, assertion_audience="https://auth.example.com") as wallet:
            wallet.token()
            wallet.token(force=True)
        first, second = map(signed, wire.assertions)
        assert first[0] == {"alg": alg, "typ": "client-authentication+jwt", "kid": "k1"}
        assert (first[1]["iss"], first[1]["sub"], first[1]["aud"]) == ("someone", "someone", "https://auth.example.com")
        assert first[1]["exp"] - first[1]["iat"] == 60 and first[1]["jti"] != second[1]["jti"]
        verify(first[3], first[2])


def test_a_key_alone_says_how_it_signs() -> None:
    big, small = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())
    for key, alg in ((big, "PS256"), (small, "ES384"), (PUBLISHED, "EdDSA"), ({**PUBLISHED, "alg": "EdDSA"}, "EdDSA"), (pem(small, serialization.PrivateFormat.PKCS8), "ES384")):
        wire = Wire()
        with client(wire, signing_key=key, assertion_audience="https://auth.example.com") as wallet:
            wallet.token()
        assert signed(wire.assertions[0])[0]["alg"] == alg


def test_a_key_is_replaced_without_a_restart() -> None:
    first, second = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()
    wire = Wire()
    with client(wire, signing_key={"key": first, "kid": "1"}, assertion_audience="https://auth.example.com") as wallet:
        wallet.token()
        wallet.renew(signing_key={"key": second, "kid": "2"})
        wallet.token(force=True)
    for assertion, key, kid in zip(wire.assertions, (first, second), "12"):
        header, _, data, signature = signed(assertion)
        key.public_key().verify(signature, data)
        assert header["kid"] == kid


def test_the_published_key_signs_as_published() -> None:
    from remint._signing import to_signer

    signer = to_signer({"key": PUBLISHED})
    # RFC 8037 appendix A.3 and A.4.
    assert signer.told == {"alg": "EdDSA", "name": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"}
    signature = signer.sign(b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc", "EdDSA")
    assert signature == decoded("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")


def test_a_key_held_elsewhere_signs_through_a_function() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    remote = {"alg": "EdDSA", "name": "kms/1"}

    async def later(data: bytes, alg: str) -> bytes:
        await asyncio.sleep(0)
        return key.sign(data)

    async def story() -> str:
        async with remint.AsyncClient(PROFILE, client_id="a", http=wire, signing_key={**remote, "sign": later}, assertion_audience="https://a") as wallet:
            return (await wallet.token()).access_token

    wire = Wire()
    assert asyncio.run(story()) == "T1"
    with client(wire, signing_key={**remote, "sign": lambda data, alg: key.sign(data)}, assertion_audience="https://a") as wallet:
        assert wallet.token().access_token == "T2"
    for assertion in wire.assertions:
        key.public_key().verify(*signed(assertion)[:1:-1])


def test_a_signer_that_fails_is_the_cause_of_the_error() -> None:
    def sign(data: bytes, alg: str) -> bytes:
        raise LookupError("the HSM is locked")

    with client(Wire(), signing_key={"sign": sign, "alg": "ES256", "name": "k"}, assertion_audience="https://a") as wallet:
        with pytest.raises(remint.TransportError) as failed:
            wallet.token(timeout=0.05)
    assert failed.value.code == "host_error"
    assert isinstance(failed.value.__cause__, LookupError)


def test_a_projected_token_is_read_again_for_each_request(tmp_path: Path) -> None:
    file, wire = tmp_path / "token", Wire()
    with client(wire, client_assertion=file.read_text) as wallet:
        for text in ("eyJhIjoxfQ.e30.c2ln", "eyJhIjoyfQ.e30.c2ln"):
            file.write_text(text)
            wallet.token(force=True)
    assert wire.assertions == ["eyJhIjoxfQ.e30.c2ln", "eyJhIjoyfQ.e30.c2ln"]


def test_what_does_not_fit_is_refused_before_anything_is_sent() -> None:
    p256 = ec.generate_private_key(ec.SECP256R1())
    for key, words in (
        ({"key": p256, "alg": "RS256"}, "use ES256"),
        ({"key": rsa.generate_private_key(65537, 1024), "alg": "RS256"}, "1024 bits"),
        ({**PUBLISHED, "alg": "ES256"}, "use EdDSA"),
        ({"key": ec.generate_private_key(ec.SECP256K1())}, "secp256k1"),
        ({"key": p256.public_key()}, "not a private key"),
        ({"key": "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----"}, "not a private key"),
        ({"key": p256, "pem": "x"}, "pem"),
        ({"sign": "x", "alg": "ES256", "name": "k"}, "function"),
        ({}, "`key` or `sign`"),
    ):
        with pytest.raises(remint.UsageError, match=words) as refused:
            client(Wire(), signing_key=key, assertion_audience="https://a")
        shown = traceback.TracebackException.from_exception(refused.value, capture_locals=True).format()
        assert not [line for line in _only_ours("".join(shown)) if "canary" in line or "PRIVATE" in line]
