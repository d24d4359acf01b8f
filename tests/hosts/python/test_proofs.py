"""Tokens that are bound to a key (RFC 9449), and what else an API may say about them, through each library."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Iterator

import pytest
import remint
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from possession import Server
from test_adapters import Caller, caller

__all__ = ["caller"]


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def test_each_request_has_a_proof_of_its_own(server: Server, caller: Caller) -> None:
    client = server.client(caller.kind, dpop=True)
    calls = [("GET", f"{server.url}/api/data?page=1", None), ("POST", f"{server.url}/api/data", b"body")] * 2
    answers = caller(client, *calls)
    assert [(status, json["method"]) for status, json, _ in answers] == [(200, "GET"), (200, "POST")] * 2
    assert len(server.tokens) == 1


def test_a_nonce_is_learned_and_used_at_once(server: Server, caller: Caller) -> None:
    server.nonces.update(token="n1", api="n2")
    client = server.client(caller.kind, dpop=True)
    url = f"{server.url}/api/data"
    answers = caller(client, ("POST", url, b"x" * 5000), ("GET", url, None))
    assert [status for status, _, _ in answers] == [200, 200]
    assert [path for path, _ in server.seen] == ["/token", "/token", "/api/data", "/api/data", "/api/data"]
    server.nonces["api"] = "n3"
    assert caller(client, ("GET", url, None))[0][0] == 200
    assert len(server.tokens) == 1


def test_the_nonces_retry_is_not_the_one_for_another_token(server: Server, caller: Caller) -> None:
    client = server.client(caller.kind, dpop=True)
    caller(client, ("GET", f"{server.url}/api/data", None))
    server.tokens = {}
    server.nonces["api"] = "n1"
    ((status, json, _),) = caller(client, ("GET", f"{server.url}/api/data", None))
    assert (status, json["token"], len(server.forms("/token"))) == (200, "T1", 2)


def test_a_body_that_can_be_sent_only_once_is_not_repeated_for_a_nonce(server: Server, caller: Caller) -> None:
    server.nonces["api"] = "n1"
    notices: list[str] = []
    client = server.client(caller.kind, dpop=True, on_notice=lambda notice: notices.append(notice["notice"]))
    ((status, _, _),) = caller(client, ("POST", f"{server.url}/api/data", caller.stream()))
    assert status == 401 and "body_not_replayable" in notices


def test_a_redirect_within_the_origin_gets_a_new_proof(server: Server, caller: Caller) -> None:
    ((status, _, history),) = caller(server.client(caller.kind, dpop=True), ("GET", f"{server.url}/api/redirect", None))
    assert (status, history) == (200, 1)


def test_step_up_is_a_typed_error_and_no_request_for_a_token(server: Server, caller: Caller) -> None:
    for options in ({}, {"dpop": True}):
        with pytest.raises(remint.ServerError) as refused:
            caller(server.client(caller.kind, **options), ("GET", f"{server.url}/api/step-up", None))
        assert (refused.value.code, refused.value.acr_values, refused.value.max_age) == (
            "insufficient_user_authentication",
            "urn:mfa",
            300,
        )
    assert len(server.forms("/token")) == 2


def test_those_who_send_requests_themselves_get_a_proof_each(server: Server) -> None:
    server.nonces["api"] = "n1"
    client, url = server.client(remint.Client, dpop=True), f"{server.url}/api/data"
    import requests

    first = client.headers("GET", url)
    answer = requests.get(url, headers=first, timeout=10)
    assert client.reject(client.token(), "GET", url, answer.status_code, answer.headers) == "retry"
    second = client.headers("GET", url)
    assert second["Authorization"] == first["Authorization"] and second["DPoP"] != first["DPoP"]
    assert requests.get(url, headers=second, timeout=10).status_code == 200


def test_a_local_key_signs_in_the_callers_own_thread(server: Server) -> None:
    client, url = server.client(remint.Client, dpop=True), f"{server.url}/api/data"
    client.headers("GET", url)
    started: list[str] = []
    start = threading.Thread.start
    try:
        threading.Thread.start = lambda thread: (started.append(thread.name), start(thread))[1]  # type: ignore[method-assign]
        proofs = {client.headers("GET", url)["DPoP"] for _ in range(50)}
    finally:
        threading.Thread.start = start  # type: ignore[method-assign]
    assert len(proofs) == 50 and started == []


def test_keys_in_every_form_and_one_held_elsewhere(server: Server) -> None:
    key = remint.generate_key("ES256")
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    numbers = key.public_key().public_numbers()

    def coordinate(number: int) -> str:
        from base64 import urlsafe_b64encode

        return urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()

    def sign(data: bytes, alg: str) -> bytes:
        assert alg == "ES256"
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    async def sign_later(data: bytes, alg: str) -> bytes:
        await asyncio.sleep(0)
        return sign(data, alg)

    jwk = {"kty": "EC", "crv": "P-256", "x": coordinate(numbers.x), "y": coordinate(numbers.y)}
    private = {**jwk, "d": coordinate(key.private_numbers().private_value)}
    url, bound = f"{server.url}/api/data", []
    for dpop in (key, key.private_bytes(*form), private, {"key": key, "alg": "ES256"}, {"sign": sign, "alg": "ES256", "jwk": jwk}):
        client = server.client(remint.Client, dpop=dpop)
        bound.append(server.tokens[client.headers("GET", url)["Authorization"].partition(" ")[2]])
        assert "PRIVATE" not in repr(client._driver.signers)

    async def story() -> None:
        async with server.client(remint.AsyncClient, dpop={"sign": sign_later, "alg": "ES256", "jwk": jwk}) as client:
            bound.append(server.tokens[(await client.headers("GET", url))["Authorization"].partition(" ")[2]])

    asyncio.run(story())
    assert len(set(bound)) == 1 and len(bound) == 6


def test_a_key_is_replaced_without_a_restart(server: Server, caller: Caller) -> None:
    client = server.client(caller.kind, dpop=remint.generate_key())
    url = f"{server.url}/api/data"
    caller(client, ("GET", url, None))
    client.renew(dpop="generate")
    ((status, _, _),) = caller(client, ("GET", url, None))
    assert status == 200 and len(set(server.tokens.values())) == 2


def test_a_key_that_does_not_fit_is_refused_before_anything_is_sent(server: Server) -> None:
    for dpop, words in (
        ({"key": ec.generate_private_key(ec.SECP256R1()), "alg": "RS256"}, "use ES256"),
        (rsa.generate_private_key(65537, 1024), "1024 bits"),
        ({"sign": print, "alg": "ES256"}, "jwk"),
        ({"sign": print, "alg": "ES256", "jwk": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "d": "kanari"}}, "private"),
        ({"key": remint.generate_key(), "kid": "k"}, "kid"),
        ("-----BEGIN PRIVATE KEY-----\nkanari\n-----END PRIVATE KEY-----", "not a private key"),
    ):
        with pytest.raises(remint.UsageError, match=words) as refused:
            server.client(remint.Client, dpop=dpop)
        assert "kanari" not in str(refused.value)
    # No key is no proof.
    assert list(server.client(remint.Client, dpop=False).headers("GET", f"{server.url}/api/data")) == ["Authorization"]
    assert [key.key_size for key in map(remint.generate_key, ("ES384", "PS256"))] == [384, 3072]
    with pytest.raises(remint.UsageError, match="HS256"):
        remint.generate_key("HS256")


def test_two_keys_with_one_name_are_refused(server: Server) -> None:
    profile: dict[str, Any] = server.profile(token={"endpoint": f"{server.url}/token", "client_auth": ["private_key_jwt"]})
    with pytest.raises(remint.UsageError, match="names of their own"):
        remint.Client(
            profile,
            client_id="a",
            allow_loopback_http=True,
            assertion_audience="https://a",
            signing_key={"key": remint.generate_key(), "name": "k"},
            dpop={"key": remint.generate_key(), "name": "k"},
        )
