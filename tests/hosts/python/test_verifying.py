"""What the server has signed, and what only looks like it."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import Any

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
