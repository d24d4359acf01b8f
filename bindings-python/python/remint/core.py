"""The step machine itself, for hosts with a loop of their own and for the vectors. Advanced, and outside semantic versioning.

``Core(options).handle(event, now, entropy)`` takes an event and gives a step, both as the JSON that `tests/vectors` describes,
as Python dicts. ``Registrar(options).build({"register": {"metadata": …}})`` gives a request to send, as UTF-8 and with redirects off;
its ``finish`` gives the client that was registered, or the next request (RFC 7591, RFC 7592): `register` does both. ``now`` is both
clocks in milliseconds, as `now` gives them; ``entropy`` is 32 fresh bytes.
"""

from __future__ import annotations

from remint._native import Core, Exchange, Registrar, Registration, now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["Core", "Exchange", "Registrar", "Registration", "now", "register"]


def register(
    registrar: Registrar,
    request: Mapping[str, Any],
    *,
    http: Any = None,
    proxy: str | None = None,
    ca: str | bytes | None = None,
    timeout: float = 10,
) -> dict[str, Any] | None:
    """Carries out a request about a registration: what `Registrar.build` takes. ``http``, ``proxy`` and ``ca`` are as for `Client`.

    Gives the client's information (printing it shows nothing, since there may be a secret in it), or ``None`` once it is deleted.
    ``timeout`` is in seconds, for each of up to three requests. Raises `RemintError`; what may have reached the server is not sent again.
    """
    from remint._client import _transport
    from remint._driver import Redacted, _failure_kind
    from remint.errors import TransportError

    send = _transport(http, proxy, ca, None)
    outcome: Any = registrar.build(request)
    while isinstance(outcome, Registration):
        asked = Redacted(method=outcome.method, url=outcome.url, headers=outcome.headers)
        if outcome.body is not None:
            asked["body"] = outcome.body
        try:
            status, headers, body = send(asked, timeout, MAX_ANSWER)
        except Exception as error:
            kind, error.__traceback__ = _failure_kind(error), None
            message = f"no answer came from {outcome.url.partition('?')[0]}: see the cause"
            raise TransportError(message, code="timeout" if kind == "timeout" else "transport_failed", retryable=kind == "not_sent") from error
        outcome = outcome.finish(status, [(str(name), str(value)) for name, value in headers], bytes(body), now())
    return None if outcome is None else Redacted(outcome)


#: No answer of a registration endpoint is longer, in bytes.
MAX_ANSWER = 262_144
