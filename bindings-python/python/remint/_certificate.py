"""The client certificate of the default transport (RFC 8705): read, checked against its key, and read again when its files change."""

from __future__ import annotations

import os
import ssl
from _thread import allocate_lock
from base64 import urlsafe_b64encode
from contextlib import contextmanager
from hashlib import sha256

from remint._driver import Redacted
from remint.errors import misuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, Optional

    Source = tuple[Optional[str], "_Pem"]


class Certificate:
    """A certificate and its private key, in PEM. Printing it shows nothing of the key."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        given = _held(given)
        self.forked()
        self._take(given)

    def forked(self) -> None:
        """Another thread of the parent's may have held the lock."""
        self._lock = allocate_lock()

    def _take(self, given: Mapping[str, Any]) -> None:
        if set(given) - {"certificate", "key"} or not given.get("certificate"):
            raise misuse("option `client_certificate` must be a mapping with `certificate` and `key`: paths of PEM files, or PEM text")
        if not given.get("key"):
            raise misuse("option `client_certificate` has a certificate without its `key`: give the private key that belongs to it")
        sources = [_source(given["certificate"]), _source(given["key"])]
        seen = _stat(sources)
        self._pem, self.tls_id = _read(sources)
        self._sources, self._seen = sources, seen

    def __repr__(self) -> str:
        return "<remint client certificate (redacted)>"

    def renewed(self) -> str | None:
        """The thumbprint of what the files hold now, if that is another certificate than before.

        While the two files don't fit each other, because one of them is still to be written, the old ones stay.
        """
        with self._lock:
            seen = _stat(self._sources)
            if seen == self._seen:
                return None
            try:
                self._pem, tls_id = _read(self._sources)
            except ValueError:
                return None
            self._seen = seen
            if tls_id == self.tls_id:
                return None
            self.tls_id = tls_id
            return tls_id

    def replace(self, given: Mapping[str, Any]) -> str:
        """Takes another certificate and key in the place of these. Gives its thumbprint."""
        given = _held(given)
        with self._lock:
            self._take(given)
            return self.tls_id

    def install(self, context: ssl.SSLContext) -> str:
        """Has connections of this context present the certificate. Gives its thumbprint."""
        with self._lock:
            pem, tls_id = self._pem, self.tls_id
        _install(context, pem)
        return tls_id


class _Pem(bytes):
    """What may hold a private key: tracebacks show the locals of their frames by ``repr``."""

    def __repr__(self) -> str:
        return "<PEM (redacted)>"


def _held(given: Any) -> Redacted:
    """What was given, in a form that tracebacks with the locals of their frames don't show."""
    return Redacted(given) if hasattr(given, "keys") else Redacted()


def _stat(sources: list[Source]) -> list[Any]:
    """What tells one content of the files from another."""
    seen: list[Any] = []
    for path, _ in sources:
        try:
            about = os.stat(path) if path is not None else None
        except OSError:
            about = None
        seen.append(about and (about.st_mtime_ns, about.st_size, about.st_ino))
    return seen


def _read(sources: list[Source]) -> tuple[_Pem, str]:
    """Both as one PEM text, and the certificate's thumbprint (RFC 8705 section 3.1)."""
    certificate, key = (_Pem(text) if path is None else _Pem(_content(path)) for path, text in sources)
    begin, end = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
    first = certificate[certificate.find(begin) :].partition(end)[0] + end
    try:
        der = ssl.PEM_cert_to_DER_cert(first.decode("ascii"))
    except ValueError:
        raise misuse("option `client_certificate` holds no certificate: give PEM with `BEGIN CERTIFICATE`, or the path of such a file") from None
    if key.find(b"PRIVATE KEY-----") < 0:
        raise misuse("option `client_certificate` holds no private key: give PEM with `BEGIN PRIVATE KEY` as `key`, or the path of such a file")
    pem = _Pem(certificate + b"\n" + key + b"\n")
    _install(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), pem)
    return pem, urlsafe_b64encode(sha256(der).digest()).rstrip(b"=").decode()


def _source(given: Any) -> Source:
    """The path of a file, or PEM text."""
    text = given.encode() if isinstance(given, str) else given
    if isinstance(text, bytes) and b"-----BEGIN" in text:
        return None, _Pem(text)
    try:
        return os.fsdecode(given), _Pem()
    except TypeError:
        raise misuse("option `client_certificate` is neither PEM text nor the path of a PEM file") from None


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError):
        raise misuse(f"option `client_certificate` names the file `{path}`, which cannot be read: check that it is there, and may be read") from None


def _install(context: ssl.SSLContext, pem: bytes) -> None:
    try:
        with _as_file(pem) as path:
            # Without a password to try, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(path, password="")
    except ssl.SSLError as error:
        if "MISMATCH" in (error.reason or ""):
            raise misuse("option `client_certificate` has a certificate and a key that do not belong together: give the key of that certificate") from None
        raise misuse("option `client_certificate` cannot be used: give a PEM certificate and its private key without a password") from None


@contextmanager
def _as_file(pem: bytes) -> Iterator[str]:
    """OpenSSL reads keys from files only: one in memory where there are such, else one that only this user can read."""
    if hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd"):
        number = os.memfd_create("remint")
        path = f"/proc/self/fd/{number}"
    else:
        from tempfile import mkstemp

        number, path = mkstemp()
    try:
        with os.fdopen(number, "wb", closefd=False) as file:
            file.write(pem)
        yield path
    finally:
        os.close(number)
        if not path.startswith("/proc/"):
            os.unlink(path)
