"""The step machine itself, for hosts with a loop of their own and for the vectors. Advanced, and outside semantic versioning.

``Core(options).handle(event, now, entropy)`` takes an event and gives a step, both as the JSON that `tests/vectors` describes,
as Python dicts. ``now`` is both clocks in milliseconds, as `now` gives them; ``entropy`` is 32 fresh bytes.
"""

from remint._native import Core, Exchange, now

__all__ = ["Core", "Exchange", "now"]
