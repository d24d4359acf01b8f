"""The step machine itself, for hosts with a loop of their own and for the vectors. Advanced, and outside semantic versioning.

``Core(options).handle(event, now, entropy)`` takes an event and gives a step, both as the JSON that `tests/vectors` describes,
as Python dicts. ``Registrar(options).build({"register": {"metadata": …}})`` gives a request to send, as UTF-8 and with redirects off;
its ``finish`` gives the client that was registered, or the next request (RFC 7591, RFC 7592): `remint.Registrar` does both. ``now`` is
both clocks in milliseconds, as `now` gives them; ``entropy`` is 32 fresh bytes.
"""

from __future__ import annotations

from remint._native import Core, Exchange, Registrar, Registration, now

__all__ = ["Core", "Exchange", "Registrar", "Registration", "now"]
