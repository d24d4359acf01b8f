"""One API request, for the adapters: what to put on it, and what its answer says about the token."""

from __future__ import annotations

from remint.errors import TransportError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from remint._client import Base, Flow


class ApiCall:
    """One caller's request and its one possible repetition."""

    def __init__(self, client: Base) -> None:
        self._client = client
        self._call: str | None = None
        self._repeated: str | None = None
        #: The names of the headers that are on the request, for adapters that take them off again.
        self.attached: set[str] = set()

    def attach(self, method: str, url: str, **more: Any) -> Flow[Any]:
        """What to put on the request. The client that runs the flow may have to wait for a token."""
        client = self._client
        repeated: dict[str, Any] = {} if self._repeated is None else {"call": self._repeated}
        # The token may be withdrawn between the two steps: then there is another.
        for _ in range(3):
            lease = yield from client._obtain(**repeated)
            self._call = lease["call"]
            attach = {"want": client._want, "call": self._call, "method": method, "url": url, **more}
            answer = client._driver.handle({"attach": attach})
            if answer != "retry":
                return answer
        message = "the token was withdrawn three times while this request was prepared: send it again"
        raise TransportError(message, code="transport_failed", retryable=True)

    def answered(self, url: str, status: int, headers: Iterable[tuple[str, str]]) -> bool:
        """Whether to attach once more and repeat the request."""
        driver, want = self._client._driver, self._client._want
        # The core hears of every refusal, and of the first answer after one that is none.
        wish = repr(want)
        if status == 401:
            driver.refused.add(wish)
        elif wish in driver.refused:
            driver.refused.discard(wish)
        else:
            return False
        answered = {"want": want, "call": self._call, "url": url, "status": status, "headers": list(headers)}
        if driver.handle({"answered": answered}) != "retry":
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
