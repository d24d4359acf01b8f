"""A key that never leaves its PKCS #11 token signs assertions and proofs. SoftHSM plays the token; without it there is nothing to test."""

from __future__ import annotations

import json
import subprocess
from base64 import urlsafe_b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any, Iterator

import pkcs11
import pytest
import remint
import requests
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pkcs11.util.ec import encode_named_curve_parameters
from possession import Server, decoded
from remint.requests import Auth

PIN = "1234"
LIBRARIES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so", "/opt/homebrew/lib/softhsm/libsofthsm2.so")


class HardwareKey:
    """An EC key in the token, and its public half."""

    def __init__(self, session: Any) -> None:
        curve = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
        parameters = session.create_domain_parameters(pkcs11.KeyType.EC, curve, local=True)
        public, self._private = parameters.generate_keypair()
        # An octet string of DER's around the point.
        point = bytes(public[pkcs11.Attribute.EC_POINT])[-65:]
        self.public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        x, y = (urlsafe_b64encode(half).rstrip(b"=").decode() for half in (point[1:33], point[33:]))
        self.jwk = {"kty": "EC", "crv": "P-256", "x": x, "y": y}
        self.signatures = 0

    def sign(self, data: bytes, alg: str) -> bytes:
        assert alg == "ES256"
        self.signatures += 1
        return bytes(self._private.sign(sha256(data).digest(), mechanism=pkcs11.Mechanism.ECDSA))


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HardwareKey]:
    library = next((path for path in LIBRARIES if Path(path).exists()), None)
    assert library is not None, "SoftHSM is missing: install softhsm2"
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path / 'tokens'}\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    command = ["softhsm2-util", "--init-token", "--slot", "0", "--label", "t", "--pin", PIN, "--so-pin", PIN]
    subprocess.run(command, check=True, stdout=subprocess.PIPE)
    with pkcs11.lib(library).get_token(token_label="t").open(rw=True, user_pin=PIN) as session:
        yield HardwareKey(session)


def test_a_key_that_stays_in_its_token_signs_assertions_and_proofs(key: HardwareKey) -> None:
    server = Server()
    profile = server.profile(token={"endpoint": f"{server.url}/token", "client_auth": ["private_key_jwt"]})
    held = {"sign": key.sign, "alg": "ES256"}
    try:
        with remint.Client(
            profile,
            client_id="someone",
            allow_loopback_http=True,
            assertion_audience="https://auth.example",
            signing_key={**held, "name": "token/1", "kid": "1"},
            dpop={**held, "jwk": key.jwk},
        ) as client:
            for _ in range(2):
                assert requests.get(f"{server.url}/api/data", auth=Auth(client), timeout=10).status_code == 200
    finally:
        server.close()
    header, claims, signature = server.forms("/token")[0]["client_assertion"].split(".")
    raw = decoded(signature)
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    key.public.verify(der, f"{header}.{claims}".encode(), ec.ECDSA(hashes.SHA256()))
    assert json.loads(decoded(header))["kid"] == "1"
    # One assertion, and a proof for the token and each API request.
    assert key.signatures == 4
