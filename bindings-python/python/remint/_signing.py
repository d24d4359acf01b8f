"""Keys that the client signs with: assertions (RFC 7523 section 2.2) and proofs of possession (RFC 9449).

The signing itself is ``cryptography``'s (``pip install remint[signing]``), or a function of the user's: a KMS, an HSM.
"""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from json import dumps, loads

from remint._driver import Redacted
from remint.errors import misuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Signer:
    """One key: what the core is told of it, and how to sign with it. Printing it shows nothing of the key."""

    def __init__(self, told: dict[str, Any], sign: Callable[[bytes, str], Any], key: Any = None) -> None:
        self.told, self.sign, self._key = told, sign, key
        #: Whether signing takes no other party: then it is quick enough for the caller's own thread.
        self.is_local = key is not None

    def encoded(self, signature: Any) -> str:
        """A signature as JOSE has it (RFC 7515 section 2)."""
        return _text(bytes(signature))

    def is_same(self, other: Signer) -> bool:
        """Whether both sign with one key, perhaps by another algorithm."""
        if self._key is None or other._key is None:
            return self.sign is other.sign
        numbers: bool = self._key.public_key() == other._key.public_key()
        return numbers

    def __repr__(self) -> str:
        return f"<remint.Signer {self.told.get('name') or ''}(redacted)>"


def to_signer(given: Any, option: str = "signing_key") -> Signer:
    """The signer for the option ``signing_key`` or ``dpop``. Checks that the key fits its algorithm."""
    is_dpop, given = option == "dpop", _mapped(given)
    if not is_dpop and "generate" in given or ("key" in given) + ("sign" in given) + ("generate" in given) != 1:
        raise misuse(f"`{option}` must be a key, or a mapping with `key` or `sign`")
    if given.pop("generate", False):
        given["key"] = generate_key(given.get("alg") or "ES256")
    allowed = ["name", "alg", *(("required", "jwk") if is_dpop else ("kid",))]
    told = {name: given[name] for name in allowed if given.get(name) is not None}
    unknown = sorted(set(given) - {"key", "sign", *allowed})
    if unknown:
        raise misuse(f"`{option}` has no member `{unknown[0]}`: there are key or sign, {', '.join(allowed)}")
    if "sign" in given:
        if not callable(given["sign"]):
            raise misuse(f"`{option}['sign']` must be a function")
        if is_dpop:
            if not hasattr(told.get("jwk"), "keys"):
                raise misuse("`dpop['jwk']` is missing: every proof shows the public key, and only its holder knows it")
            told["jwk"] = dict(told["jwk"])
            told.setdefault("name", "dpop")
        return Signer(told, given["sign"])
    try:
        key = _private_key(given["key"])
    except ImportError:
        raise misuse(f"`{option}` needs the package `cryptography`: run `pip install remint[signing]`, or give `sign`") from None
    except Exception:
        # The error's own text may hold a part of the key, and its frames do.
        raise misuse(f"`{option}['key']` is not a private key: give PEM (PKCS #8, SEC 1 or PKCS #1) without a password, a JWK, or a key of `cryptography`") from None
    # A JWK may say by itself what it is for (RFC 7517 sections 4.4 and 4.5).
    for name in ("alg",) if is_dpop else ("alg", "kid"):
        if hasattr(given["key"], "keys") and name in given["key"]:
            told.setdefault(name, given["key"][name])
    fits, public = _fitting(key, told.get("alg"), option)
    # The thumbprint (RFC 7638 section 3) tells this key's tokens from another's.
    thumbprint = sha256(dumps(public, separators=(",", ":"), sort_keys=True).encode()).digest()
    told.setdefault("name", _text(thumbprint))
    if is_dpop:
        told["jwk"] = public
    # Where the user doesn't say, the server's metadata chooses; proofs are made before there is any.
    told["alg"] = fits[0] if len(fits) == 1 or is_dpop else list(fits)
    return Signer(told, _signing(key), key)


def generate_key(alg: str = "ES256") -> Any:
    """A new private key of ``cryptography``'s, for ``signing_key`` or ``dpop``.

    ``alg`` is ``ES256``, ``ES384``, ``EdDSA``, ``RS256`` or ``PS256``. Export it with its own ``private_bytes``, and
    register its ``public_key()`` with the server.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    except ImportError:
        raise misuse("keys are made by the package `cryptography`: run `pip install remint[signing]`") from None
    if alg in ("ES256", "ES384"):
        return ec.generate_private_key(ec.SECP256R1() if alg == "ES256" else ec.SECP384R1())
    if alg == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if alg in ("RS256", "PS256"):
        return rsa.generate_private_key(65537, 3072)
    raise misuse(f"`{alg}` is no algorithm for a key: use ES256, ES384, EdDSA, RS256 or PS256")


def verify(jwk: str, alg: str, data: bytes, signature: str) -> bool:
    """Whether a signature of the server's (RFC 7515) is by this key, a public JWK as JSON text. What is malformed is none."""
    try:
        from cryptography.exceptions import InvalidSignature
    except ImportError:
        raise misuse("the server's signatures are checked by the package `cryptography`: run `pip install remint[signing]`") from None
    try:
        if not set(signature).isdisjoint("+/="):
            return False
        raw = b64decode(signature + "=" * (-len(signature) % 4), b"-_", validate=True)
        return _verified(loads(jwk), alg, data, raw)
    except (InvalidSignature, ValueError, KeyError, TypeError):
        return False


def _verified(jwk: dict[str, str], alg: str, data: bytes, signature: bytes) -> bool:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    number = {name: int.from_bytes(_bytes(jwk[name]), "big") for name in ("n", "e", "x", "y") if name in jwk}
    if alg in ("RS256", "PS256"):
        pad = padding.PKCS1v15() if alg == "RS256" else padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        rsa.RSAPublicNumbers(number["e"], number["n"]).public_key().verify(signature, data, pad, hashes.SHA256())
    elif alg in ("ES256", "ES384"):
        crv, curve, digest, size = ("P-256", ec.SECP256R1(), hashes.SHA256(), 32) if alg == "ES256" else ("P-384", ec.SECP384R1(), hashes.SHA384(), 48)
        if jwk["crv"] != crv or len(signature) != 2 * size:
            return False
        der = encode_dss_signature(int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big"))
        ec.EllipticCurvePublicNumbers(number["x"], number["y"], curve).public_key().verify(der, data, ec.ECDSA(digest))
    elif alg == "EdDSA" and jwk["crv"] == "Ed25519":
        ed25519.Ed25519PublicKey.from_public_bytes(_bytes(jwk["x"])).verify(signature, data)
    else:
        return False
    return True


def _mapped(given: Any) -> Redacted:
    """What was given as a mapping: a key may come alone."""
    if given is True or given == "generate":
        return Redacted(generate=True)
    if isinstance(given, (str, bytes)) or hasattr(given, "private_bytes") or hasattr(given, "keys") and "kty" in given:
        return Redacted(key=given)
    return Redacted(given) if hasattr(given, "keys") else Redacted()


def _private_key(key: Any) -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if hasattr(key, "private_bytes"):
        return key
    if isinstance(key, (str, bytes)):
        return load_pem_private_key(key.encode() if isinstance(key, str) else key, None)
    number = {name: int.from_bytes(_bytes(key[name]), "big") for name in ("n", "e", "d", "p", "q", "dp", "dq", "qi") if name in key}
    if key["kty"] == "OKP" and key["crv"] == "Ed25519":
        return ed25519.Ed25519PrivateKey.from_private_bytes(_bytes(key["d"]))
    if key["kty"] == "EC":
        return ec.derive_private_key(number["d"], {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1}[key["crv"]]())
    public = rsa.RSAPublicNumbers(number["e"], number["n"])
    return rsa.RSAPrivateNumbers(
        number["p"], number["q"], number["d"], number["dp"], number["dq"], number["qi"], public_numbers=public
    ).private_key()


def _fitting(key: Any, wanted: str | None, option: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """The algorithms for a key, the best one first, and the public JWK's required members."""
    kind = getattr(getattr(key, "curve", None), "name", type(key).__name__)
    fits: tuple[str, ...] = ("EdDSA",)
    public = key.public_key()
    if kind in ("secp256r1", "secp384r1"):
        numbers, size = public.public_numbers(), (key.key_size + 7) // 8
        fits, crv = (("ES256",), "P-256") if size == 32 else (("ES384",), "P-384")
        jwk = {"crv": crv, "kty": "EC", "x": _text(numbers.x.to_bytes(size, "big")), "y": _text(numbers.y.to_bytes(size, "big"))}
    elif "Ed25519PrivateKey" in kind:
        jwk = {"crv": "Ed25519", "kty": "OKP", "x": _text(public.public_bytes_raw())}
    elif hasattr(public, "public_numbers") and hasattr(public.public_numbers(), "n"):
        if key.key_size < 2048:
            raise misuse(f"`{option}['key']` is an RSA key of {key.key_size} bits: use one of 2048 or more")
        numbers = public.public_numbers()
        fits = ("PS256", "RS256")
        jwk = {"e": _integer(numbers.e), "kty": "RSA", "n": _integer(numbers.n)}
    else:
        raise misuse(f"`{option}['key']` is of the kind `{kind}`, which is not supported: use P-256, P-384, Ed25519 or RSA")
    if wanted is not None and wanted not in fits:
        raise misuse(f"`{option}['alg']` is `{wanted}`, but the key is of the kind `{kind}`: use {' or '.join(fits)}")
    return fits if wanted is None else (wanted,), jwk


def _signing(key: Any) -> Callable[[bytes, str], bytes]:
    """How to sign with a key whose algorithm fits."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    if hasattr(key, "curve"):
        size, ecdsa = (key.key_size + 7) // 8, ec.ECDSA(hashes.SHA256() if key.key_size == 256 else hashes.SHA384())

        def by_curve(data: bytes, _: str) -> bytes:
            # JOSE wants r and s as they are (RFC 7518 section 3.4), not DER.
            r, s = decode_dss_signature(key.sign(data, ecdsa))
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")

        return by_curve
    if hasattr(key, "private_bytes_raw"):
        return lambda data, _: bytes(key.sign(data))
    paddings = {"RS256": padding.PKCS1v15(), "PS256": padding.PSS(padding.MGF1(hashes.SHA256()), 32)}
    return lambda data, alg: bytes(key.sign(data, paddings[alg], hashes.SHA256()))


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _integer(number: int) -> str:
    return _text(number.to_bytes((number.bit_length() + 7) // 8, "big"))
