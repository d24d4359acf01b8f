"""Keys and certificates of a run: made when it starts, gone when it ends."""

import datetime
import ipaddress
from base64 import b64encode, urlsafe_b64encode
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from clients import CLIENTS
from signer import Signer

KINDS = {
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "PS256": lambda: rsa.generate_private_key(65537, 2048),
}
PADDINGS = {"RS256": padding.PKCS1v15(), "PS256": padding.PSS(padding.MGF1(hashes.SHA256()), 32)}


class Key:
    """A private key, and how it is written."""

    def __init__(self, alg, kid):
        self.alg = alg
        self.kid = kid
        self.private = KINDS[alg]()

    @property
    def pem(self):
        return pem(self.private).decode()

    @property
    def public_pem(self):
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def sign(self, data):
        """The raw signature (RFC 7518 section 3)."""
        if self.alg == "EdDSA":
            return self.private.sign(data)
        if self.alg in PADDINGS:
            return self.private.sign(data, PADDINGS[self.alg], hashes.SHA256())
        size = self.private.key_size // 8
        r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256() if size == 32 else hashes.SHA384())))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    @property
    def jwk(self):
        """The public key (RFC 7517)."""
        return {**public_jwk(self.private.public_key()), "alg": self.alg, "kid": self.kid, "use": "sig"}


class Keys:
    """What clients sign and authenticate with, and what servers show for it, in files of one folder."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.signing = {name: Key(client["alg"], f"of {name}") for name, client in CLIENTS.items() if client.get("alg") in KINDS}
        # The keys of nobody, each with its algorithm.
        self.signing |= {f"stranger-{alg}": Key(alg, "of nobody") for alg in KINDS}
        self.signing["proofs"] = Key("ES256", "of proofs")
        self.certificates = {}
        self.authority = self.certificate("ca", "CN=remint peers", is_authority=True)
        self.server = self.certificate("server", "CN=127.0.0.1", self.authority)
        for name, client in CLIENTS.items():
            if client["method"].endswith("tls_client_auth"):
                issuer = None if client["method"].startswith("self_signed") else self.authority
                self.certificates[name] = self.certificate(name, f"CN={name}", issuer)
        # Whom a server trusts: a self-signed certificate is its own authority.
        self.trusted = self.folder / "trusted.pem"
        own = [certificate.path for certificate in self.certificates.values() if certificate.is_self_signed]
        self.trusted.write_bytes(b"".join(path.read_bytes() for path in [self.authority.path, *own]))

        self.signer = Signer(self.signing)

    def stop(self):
        self.signer.stop()

    def certificate(self, name, subject, issuer=None, is_authority=False):
        return Certificate(self.folder, name, subject, issuer, is_authority)

    def jwks(self, name):
        """A client's public keys, as a server reads them: with its certificate, if that is what it shows."""
        if name in self.certificates:
            certificate = self.certificates[name]
            return {"keys": [{**public_jwk(certificate.key.public_key()), "kid": name, "x5c": [certificate.x5c]}]}
        return {"keys": [self.signing[name].jwk]}


class Certificate:
    def __init__(self, folder, name, subject, issuer, is_authority):
        self.path = folder / f"{name}.pem"
        self.key_path = folder / f"{name}-key.pem"
        self.subject = subject
        self.is_self_signed = issuer is None
        self.key = KINDS["ES256"]()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject.removeprefix("CN="))])
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.parsed.subject if issuer else subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if not is_authority:
            address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            builder = builder.add_extension(x509.SubjectAlternativeName([address, x509.DNSName("localhost")]), critical=False)
            usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        self.parsed = builder.sign(issuer.key if issuer else self.key, hashes.SHA256())
        # With its issuer behind it: Spring takes a certificate that comes alone for a self-signed one.
        chain = [self.parsed, *([issuer.parsed] if issuer else [])]
        self.path.write_bytes(b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain))
        self.key_path.touch(0o600)
        self.key_path.write_bytes(pem(self.key))

    @property
    def x5c(self):
        """RFC 7517 section 4.7: base64 of the DER, not base64url."""
        return b64encode(self.parsed.public_bytes(Encoding.DER)).decode()

    @property
    def thumbprint(self):
        """`x5t#S256` (RFC 8705 section 3.1)."""
        return base64url(self.parsed.fingerprint(hashes.SHA256()))


def public_jwk(key):
    if isinstance(key, ed25519.Ed25519PublicKey):
        return {"kty": "OKP", "crv": "Ed25519", "x": base64url(key.public_bytes_raw())}
    numbers = key.public_numbers()
    if isinstance(key, rsa.RSAPublicKey):
        return {"kty": "RSA", "n": integer(numbers.n), "e": integer(numbers.e)}
    size = key.key_size // 8
    return {"kty": "EC", "crv": f"P-{key.key_size}", "x": integer(numbers.x, size), "y": integer(numbers.y, size)}


def pem(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def integer(number, size=None):
    return base64url(number.to_bytes(size or (number.bit_length() + 7) // 8, "big"))


def base64url(data):
    return urlsafe_b64encode(data).rstrip(b"=").decode()
