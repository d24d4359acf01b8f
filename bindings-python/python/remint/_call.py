"""One API request, for the adapters: what to put on it, and what its answer says about the token."""

from __future__ import annotations

from remint.errors import TransportError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from remint._client import Base, Flow


class ApiCall:
    """One caller's request and what may repeat it: another token, or another proof of possession."""

    def __init__(self, client: Base) -> None:
        self._client = client
        self._call: str | None = None
        self._repeated: str | None = None
        # The token stays, and only its proof is made anew.
        self._keeps_token = False
        #: The names of the headers that are on the request, for adapters that take them off again.
        self.attached: set[str] = set()

    def attach(self, method: str, url: str, **more: Any) -> Flow[Any]:
        """What to put on the request. The client that runs the flow may have to wait for a token, or for a signature."""
        client = self._client
        # The token may be withdrawn between the two steps: then there is another.
        for attempt in range(3):
            if not self._keeps_token:
                token = client._fresh() if self._repeated is None and attempt == 0 else None
                if token is not None:
                    self._call = token._call
                else:
                    repeated: dict[str, Any] = {} if self._repeated is None else {"call": self._repeated}
                    lease = yield from client._obtain(**repeated)
                    self._call = lease["call"]
            self._keeps_token = False
            attach = {"want": client._want, "call": self._call, "method": method, "url": url, **more}
            answer = yield from client._settle("attach", attach)
            if answer != "retry":
                return answer
        message = "the token was withdrawn three times while this request was prepared: send it again"
        raise TransportError(message, code="transport_failed", retryable=True)

    def attach_hop(self, method: str, url: str) -> Flow[Any]:
        """What to put on the request to which a redirect leads. A proof is for one method and URL (RFC 9449 section 4.3)."""
        self._keeps_token = self._call is not None
        answer = yield from self.attach(method, url)
        return answer

    def answered(self, url: str, status: int, headers: Iterable[tuple[str, str]]) -> bool:
        """Whether to attach once more and repeat the request. Raises what the API wants of the person (RFC 9470)."""
        driver, want = self._client._driver, self._client._want
        headers = list(headers)
        if not driver.wants_to_hear(want, status, headers):
            return False
        answered = {"want": want, "call": self._call, "url": url, "status": status, "headers": headers}
        verdict = self._client._tell({"answered": answered})
        if isinstance(verdict, dict):
            self._call, self._keeps_token = verdict["again"], True
            return True
        if verdict != "retry":
            return False
        self._repeated = self._call
        return True

    def cannot_be_repeated(self) -> None:
        """The request's body can be sent only once: the answer stays the caller's."""
        self._client._driver.notify({"notice": "body_not_replayable"})


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port (RFC 6454 section 4)."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return parts.scheme.lower(), parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme.lower())


def readable_within(chunks: Iterable[bytes], timeout: float, cap: int) -> bytes:
    """A body, as far as it is wanted: one byte too many tells the core enough."""
    from time import monotonic

    end, body = monotonic() + timeout, bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > cap:
            break
        if monotonic() > end:
            raise TimeoutError("the answer took too long")
    return bytes(body[: cap + 1])
