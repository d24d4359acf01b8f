"""The step machine itself, for hosts with a loop of their own and for the vectors. Advanced, and outside semantic versioning.

``Core(options).handle(event, now, entropy)`` takes an event and gives a step, both as the JSON that `tests/vectors` describes,
as Python dicts. ``now`` is both clocks in milliseconds, as `now` gives them; ``entropy`` is 32 fresh bytes.
"""

from __future__ import annotations

from json import dumps
from typing import TYPE_CHECKING, Any

from remint._native import Core as _Core
from remint._native import Exchange, now

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Core", "Exchange", "now"]


class Core:
    """Events in, steps out. No I/O, no clock, no randomness."""

    def __init__(self, options: Mapping[str, Any] | str) -> None:
        self._core = _Core(_text(options))

    def handle(self, event: Mapping[str, Any] | str, now: tuple[int, int], entropy: bytes) -> dict[str, Any]:
        """What follows from an event: any but `received`."""
        return self._core.handle(_text(event), now, entropy)

    def received(
        self, op: str, status: int, headers: Sequence[tuple[str, str]], body: bytes, now: tuple[int, int], entropy: bytes
    ) -> dict[str, Any]:
        """What follows from the answer to a `send`."""
        return self._core.received(op, status, headers, body, now, entropy)

    def build(self, token_request: Mapping[str, Any] | str) -> Exchange:
        """One request to the token endpoint, and what reads its answer; without the cache."""
        return self._core.build(_text(token_request))


def _text(document: Mapping[str, Any] | str) -> str:
    return document if isinstance(document, str) else dumps(document)
