"""Keys that the client signs with (``private_key_jwt``, RFC 7523 section 2.2).

The signing itself is ``cryptography``'s (``pip install remint[signing]``), or a function of the user's: a KMS, an HSM.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from json import dumps

from remint.errors import misuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    Sign = Callable[[bytes, str], Any]


def to_signer(given: Mapping[str, Any]) -> tuple[dict[str, str], Sign]:
    """What the core is told of a key, and how to sign with it. Checks that the key fits its algorithm."""
    if not hasattr(given, "keys") or ("key" in given) == ("sign" in given):
        raise misuse("`signing_key` must be a mapping with `key` or `sign`")
    told = {name: given[name] for name in ("name", "alg", "kid") if given.get(name) is not None}
    unknown = sorted(set(given) - {"key", "sign", "name", "alg", "kid"})
    if unknown:
        raise misuse(f"`signing_key` has no member `{unknown[0]}`: there are key or sign, alg, kid and name")
    if "sign" in given:
        if not callable(given["sign"]):
            raise misuse("`signing_key['sign']` must be a function")
        return told, given["sign"]
    key = _private_key(given["key"])
    alg, public = _fitting(key, told.get("alg"))
    if isinstance(given["key"], dict) and "kid" in given["key"]:
        told.setdefault("kid", given["key"]["kid"])
    # The thumbprint (RFC 7638 section 3) tells this key's tokens from another's.
    thumbprint = sha256(dumps(public, separators=(",", ":"), sort_keys=True).encode()).digest()
    told.setdefault("name", _text(thumbprint))
    return {**told, "alg": alg}, lambda data, _: _sign(key, alg, data)


def _private_key(key: Any) -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        raise misuse("`signing_key` needs the package `cryptography`: run `pip install remint[signing]`, or give `sign`") from None
    if hasattr(key, "private_bytes"):
        return key
    try:
        if isinstance(key, (str, bytes)):
            return load_pem_private_key(key.encode() if isinstance(key, str) else key, None)
        number = {name: int.from_bytes(_bytes(key[name]), "big") for name in ("n", "e", "d", "p", "q", "dp", "dq", "qi") if name in key}
        if key["kty"] == "OKP" and key["crv"] == "Ed25519":
            return ed25519.Ed25519PrivateKey.from_private_bytes(_bytes(key["d"]))
        if key["kty"] == "EC":
            return ec.derive_private_key(number["d"], {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1}[key["crv"]]())
        public = rsa.RSAPublicNumbers(number["e"], number["n"])
        return rsa.RSAPrivateNumbers(*(number[name] for name in ("p", "q", "d", "dp", "dq", "qi")), public).private_key()
    except Exception:
        # The error's own text may hold a part of the key.
        raise misuse("`signing_key['key']` is not a private key: give PEM (PKCS #8, SEC 1 or PKCS #1) without a password, a JWK, or a key of `cryptography`") from None


def _fitting(key: Any, wanted: str | None) -> tuple[str, dict[str, str]]:
    """The algorithm for a key, and the public JWK's required members."""
    kind, numbers = getattr(getattr(key, "curve", None), "name", type(key).__name__), None
    public = key.public_key()
    if kind in ("secp256r1", "secp384r1"):
        numbers, size = public.public_numbers(), (key.key_size + 7) // 8
        fits, crv = (("ES256",), "P-256") if size == 32 else (("ES384",), "P-384")
        jwk = {"crv": crv, "kty": "EC", "x": _text(numbers.x.to_bytes(size, "big")), "y": _text(numbers.y.to_bytes(size, "big"))}
    elif kind == "Ed25519PrivateKey":
        fits, jwk = ("EdDSA",), {"crv": "Ed25519", "kty": "OKP", "x": _text(public.public_bytes_raw())}
    elif hasattr(public, "public_numbers") and hasattr(public.public_numbers(), "n"):
        if key.key_size < 2048:
            raise misuse(f"`signing_key['key']` is an RSA key of {key.key_size} bits: use one of 2048 or more")
        numbers, fits = public.public_numbers(), ("RS256", "PS256")
        jwk = {"e": _integer(numbers.e), "kty": "RSA", "n": _integer(numbers.n)}
    else:
        raise misuse(f"`signing_key['key']` is of the kind `{kind}`, which is not supported: use P-256, P-384, Ed25519 or RSA")
    if wanted is None and len(fits) > 1:
        raise misuse(f"`signing_key['alg']` is missing: an RSA key can sign with {' and '.join(fits)}")
    if wanted is not None and wanted not in fits:
        raise misuse(f"`signing_key['alg']` is `{wanted}`, but the key is of the kind `{kind}`: use {' or '.join(fits)}")
    return wanted or fits[0], jwk


def _sign(key: Any, alg: str, data: bytes) -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    if alg == "EdDSA":
        return bytes(key.sign(data))
    if alg == "RS256":
        return bytes(key.sign(data, padding.PKCS1v15(), hashes.SHA256()))
    if alg == "PS256":
        return bytes(key.sign(data, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256()))
    size, digest = (32, hashes.SHA256()) if alg == "ES256" else (48, hashes.SHA384())
    # JOSE wants r and s as they are (RFC 7518 section 3.4), not DER.
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(digest)))
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _integer(number: int) -> str:
    return _text(number.to_bytes((number.bit_length() + 7) // 8, "big"))
