"""The default transport: one request over the standard library, under one deadline for all of it.

It follows no redirect, repeats nothing, and reads neither netrc nor the environment's proxy variables.
"""

from __future__ import annotations

import socket
import ssl
from http.client import HTTPConnection, HTTPException, HTTPResponse
from io import BufferedReader, RawIOBase
from time import monotonic
from urllib.parse import SplitResult, urlsplit

from remint.errors import misuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from remint._certificate import Certificate


class Failure(Exception):
    """A request that ended without an answer, and how: see ``kind`` in ``remint.core``."""

    def __init__(self, kind: str, cause: BaseException | None = None) -> None:
        super().__init__(kind)
        self.kind = kind
        self.__cause__ = cause


class Transport:
    """Sends one request. A transport of your own is a function with the arguments and the result of ``__call__``."""

    def __init__(self, proxy: str | None = None, ca: str | bytes | None = None, certificate: Certificate | None = None) -> None:
        self._proxy = None if proxy is None else urlsplit(proxy)
        if self._proxy is not None and (self._proxy.scheme != "http" or not self._proxy.hostname):
            raise misuse("option `proxy` is not of the form `http://host:port`")
        self._ca = ca.decode("latin-1") if isinstance(ca, bytes) else ca
        self._certificate = certificate
        self._tls, self._tls_id = self._context()

    def _context(self) -> tuple[ssl.SSLContext, str | None]:
        is_pem = self._ca is not None and "-----BEGIN" in self._ca
        try:
            tls = ssl.create_default_context(**{"cadata" if is_pem else "cafile": self._ca})  # type: ignore[arg-type]
        except (OSError, ValueError):
            raise misuse("option `ca` is neither PEM text nor the path of a PEM file") from None
        tls.minimum_version = ssl.TLSVersion.TLSv1_2
        return tls, None if self._certificate is None else self._certificate.install(tls)

    def _tls_now(self) -> ssl.SSLContext:
        """With the certificate as it is now. Every request has a connection of its own: none outlives its certificate."""
        if self._certificate is not None and self._certificate.tls_id != self._tls_id:
            self._tls, self._tls_id = self._context()
        return self._tls

    def __call__(self, request: dict[str, Any], timeout: float, cap: int) -> tuple[int, list[tuple[str, str]], bytes]:
        url, deadline = urlsplit(request["url"]), _Deadline(timeout)
        try:
            stream = self._connect(url, deadline)
        except Exception as error:
            # Not a byte of the request has left.
            raise Failure("not_sent", error)
        try:
            return self._exchange(stream, url, request, cap)
        except TIMEOUTS as error:
            raise Failure("timeout", error)
        except (OSError, HTTPException) as error:
            raise Failure("maybe_sent", error)
        finally:
            stream.sock.close()

    def _exchange(self, stream: _Stream, url: SplitResult, request: dict[str, Any], cap: int) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = HTTPConnection(url.hostname or "")
        connection.sock = stream
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        headers = {"host": url.netloc, "accept-encoding": "identity", "connection": "close", **dict(request["headers"])}
        if self._proxy is not None and url.scheme == "http":
            target, headers = request["url"], {**headers, **self._credentials()}
        body = request.get("body")
        connection.request(request["method"], target, None if body is None else body.encode(), headers)
        response = connection.getresponse()
        answer = bytearray()
        while len(answer) <= cap and (chunk := response.read(min(65536, cap + 1 - len(answer)))):
            answer += chunk
        if len(answer) > cap:
            raise Failure("too_large")
        if response.length:
            raise Failure("maybe_sent", HTTPException("the answer ended early"))
        return response.status, response.getheaders(), bytes(answer)

    def _connect(self, url: SplitResult, deadline: _Deadline) -> _Stream:
        to, secure = self._proxy or url, url.scheme == "https"
        error: OSError = OSError("the host has no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(
            to.hostname, to.port or (443 if secure and to is url else 80), type=socket.SOCK_STREAM
        ):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(deadline.left())
                sock.connect(address)
                if secure and self._proxy is not None:
                    self._tunnel(_Stream(sock, deadline), url)
                if secure:
                    sock.settimeout(deadline.left())
                    sock = self._tls_now().wrap_socket(sock, server_hostname=url.hostname)
                return _Stream(sock, deadline)
            except OSError as reason:
                error = reason
                sock.close()
            except BaseException:
                sock.close()
                raise
        raise error

    def _tunnel(self, stream: _Stream, url: SplitResult) -> None:
        """RFC 9110 section 9.3.6."""
        host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
        lines = [f"CONNECT {host}:{url.port or 443} HTTP/1.1", f"Host: {host}:{url.port or 443}"]
        lines += [f"{name}: {value}" for name, value in self._credentials().items()]
        stream.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
        response = HTTPResponse(stream, method="CONNECT")  # type: ignore[arg-type]
        response.begin()
        if response.status != 200:
            raise OSError(f"the proxy answered {response.status} to CONNECT")

    def _credentials(self) -> dict[str, str]:
        if self._proxy is None or self._proxy.username is None:
            return {}
        from base64 import b64encode
        from urllib.parse import unquote

        pair = f"{unquote(self._proxy.username)}:{unquote(self._proxy.password or '')}"
        return {"proxy-authorization": "Basic " + b64encode(pair.encode()).decode()}


class _Deadline:
    def __init__(self, timeout: float) -> None:
        self._end = monotonic() + timeout

    def left(self) -> float:
        left = self._end - monotonic()
        if left <= 0:
            raise TimeoutError("the time for this request is over")
        return left


class _Stream:
    """A socket whose every read and write counts against one deadline: a socket's own timeout starts anew with each."""

    def __init__(self, sock: socket.socket, deadline: _Deadline) -> None:
        self.sock, self.deadline = sock, deadline

    def sendall(self, data: bytes) -> None:
        self.sock.settimeout(self.deadline.left())
        self.sock.sendall(data)

    def makefile(self, *_: object) -> BufferedReader:
        return BufferedReader(_Reader(self))

    def close(self) -> None:
        """`HTTPConnection` closes before the body is read. The transport closes the socket."""


class _Reader(RawIOBase):
    def __init__(self, stream: _Stream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._stream.sock.settimeout(self._stream.deadline.left())
        return self._stream.sock.recv_into(buffer)


#: Before Python 3.10 a socket's timeout was not a `TimeoutError`.
TIMEOUTS = (TimeoutError, socket.timeout)
