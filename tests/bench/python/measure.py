"""Rounds: each measures everybody once, so that whatever else the machine does hits all alike, and only what was measured in
one round is compared."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import repeat
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Awaitable, Callable, Sequence

ROUNDS = 31
ROUND_SECONDS = 0.004


@dataclass
class Work:
    """Something to do. ``target``: how many times as long as ours it has to take at least."""

    name: str
    run: Callable[[], object]
    target: float | None = None

    def time(self, count: int) -> float:
        run, start = self.run, perf_counter()
        for _ in repeat(None, count):
            run()
        return (perf_counter() - start) / count


@dataclass
class AsyncWork:
    name: str
    run: Callable[[], Awaitable[object]]
    loop: AbstractEventLoop
    target: float | None = None

    def time(self, count: int) -> float:
        return self.loop.run_until_complete(self._time(count))

    async def _time(self, count: int) -> float:
        run, start = self.run, perf_counter()
        for _ in repeat(None, count):
            await run()
        return (perf_counter() - start) / count


def compare(title: str, ours: Work | AsyncWork, *others: Work | AsyncWork) -> None:
    """Prints how long we take, and how much longer the others do."""
    subjects = [(work, _enough(work)) for work in (ours, *others)]
    rounds = [[work.time(count) * 1e9 for work, count in subjects] for _ in range(ROUNDS)]
    report(title, "ns", rounds, ours, *others)


def report(title: str, unit: str, rounds: list[list[float]], ours: Work | AsyncWork, *others: Work | AsyncWork) -> None:
    """The same table for what was measured elsewhere: one number for each subject in each round."""
    own = median(times[0] for times in rounds)
    print(f"\n| {title} | {unit} | as long as ours | target | |\n|---|---:|---:|---:|---|\n| {ours.name} | {grouped(own)} | | | |")
    for at, other in enumerate(others, 1):
        ratio = median(times[at] / times[0] for times in rounds)
        verdict = " | "
        if other.target is not None:
            verdict = f"{other.target:g} × | {'met' if ratio >= other.target else 'missed'}"
        print(f"| {other.name} | {grouped(own * ratio)} | {ratio:.2f} × | {verdict} |")


def per_second(title: str, ours: Work, *others: Work) -> None:
    """Prints how many of us and of the others there are in a second, and how the others compare."""
    subjects = [(work, _enough(work)) for work in (ours, *others)]
    rounds = [[1 / work.time(count) for work, count in subjects] for _ in range(ROUNDS)]
    own = median(rates[0] for rates in rounds)
    print(f"\n| {title} | per second | as many as ours |\n|---|---:|---:|\n| {ours.name} | {grouped(own)} | |")
    for at, other in enumerate(others, 1):
        ratio = median(rates[at] / rates[0] for rates in rounds)
        print(f"| {other.name} | {grouped(own * ratio)} | {ratio:.2f} × |")


def limits(title: str, rows: Sequence[tuple[str, float, float | None, str]]) -> None:
    """Prints what has to stay below a limit."""
    print(f"\n| {title} | | target | |\n|---|---:|---:|---|")
    for name, value, limit, unit in rows:
        verdict = " | " if limit is None else f"{limit:g} {unit} | {'met' if value <= limit else 'missed'}"
        print(f"| {name} | {grouped(value)} {unit} | {verdict} |")


def grouped(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}"


def _enough(work: Work | AsyncWork) -> int:
    """How often something is done in one round; finding out warms it up."""
    count = 8
    while (seconds := work.time(count) * count) < ROUND_SECONDS:
        count *= 2
    return max(8, round(count * ROUND_SECONDS / seconds))
