"""`AsyncClient`: the same client for asyncio. Any number of event loops may share one."""

from __future__ import annotations

import asyncio
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeout

from remint._call import ApiCall
from remint._client import STATIC, Base, _query
from remint._driver import Redacted
from remint._transport import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping
    from types import TracebackType
    from typing import Any, TypeVar

    from remint._client import Flow, Headers, OnRotated, Scope, Verdict
    from remint._native import Token

    T = TypeVar("T")


class AsyncClient(Base):
    """Gets, keeps and renews one client's tokens. Make one, and share it between tasks and event loops.

    Like `Client`, with verbs that are awaited. ``client_secret``, ``on_rotated`` and a transport of your own may be
    async functions: they run on the event loop of whoever asked first. A caller that is cancelled just stops waiting.
    """

    @classmethod
    def static(cls, token: str, **options: Any) -> AsyncClient:
        """A client that has this token and requests none, for tests of your own."""
        return cls(STATIC, api_token=token, **options)

    async def token(self, min_ttl: float = 0, force: bool = False, timeout: float = 30) -> Token:
        """See `Client.token`."""
        token = None if min_ttl or force else self._fresh()
        if token is None:
            token = (await self._run(self._obtain(min_ttl, force, timeout)))["token"]
        return token

    async def headers(self, method: str, url: str) -> dict[str, str]:
        """See `Client.headers`."""
        return dict((await self._run(ApiCall(self).attach(method, str(url))))["headers"])

    async def reject(self, token: Token, method: str, url: str, status: int, headers: Headers = ()) -> Verdict:
        """See `Client.reject`."""
        return self._reject(token, url, status, headers)

    async def authorization_url(
        self, redirect_uri: str | None = None, *, scope: Scope | None = None, parameters: Mapping[str, str] | None = None
    ) -> tuple[str, str]:
        """See `Client.authorization_url`."""
        return self._authorization_url(redirect_uri, scope, parameters)

    async def exchange(
        self,
        callback: str | Mapping[str, Any],
        session: str,
        subject: str | None = None,
        *,
        on_rotated: OnRotated | None = None,
        timeout: float | None = None,
    ) -> Token:
        """See `Client.exchange`."""
        secrets, callback, session = Redacted(callback=_query(callback), session=session), "", ""
        token: Token = await self._run(self._exchange(secrets, subject, on_rotated, timeout))
        return token

    async def insecure_url(self, url: str) -> tuple[str, dict[str, str]]:
        """See `Client.insecure_url`."""
        return await self._run(self._insecure_url(url))

    async def invalidate(self) -> None:
        """See `Client.invalidate`."""
        self._driver.handle({"invalidate": {"want": self._want}})

    async def close(self) -> None:
        """See `Client.close`."""
        await self._run(self._close())

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def _run(self, flow: Flow[T]) -> T:
        try:
            while True:
                waiter, seconds = next(flow)
                await waiter.wait(seconds, self._driver.clock)
        except StopIteration as stop:
            result: T = stop.value
            return result

    def _waiter(self) -> Any:
        return _AsyncWaiter()

    def _bridge(self) -> Any:
        loop = asyncio.get_running_loop()

        def bridge(awaitable: Awaitable[Any], seconds: float) -> Any:
            """Runs on a flight's thread: has the loop of the flight's first caller await something."""
            outcome = _outcome(awaitable)
            try:
                future = asyncio.run_coroutine_threadsafe(outcome, loop)
            except RuntimeError as error:
                outcome.close()
                raise Failure("abandoned", error)
            try:
                result, failure = future.result(seconds)
            except FutureTimeout as error:
                future.cancel()
                raise Failure("timeout", error)
            except CancelledError as error:
                raise Failure("abandoned", error)
            if failure is not None:
                raise failure
            return result

        return bridge


class _AsyncWaiter:
    """A task that waits for a flight, or until its time is over. Any thread may wake it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._future = self._loop.create_future()

    def wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._done)
        except RuntimeError:
            pass  # That loop is closed, and nobody waits there any more.

    async def wait(self, seconds: float, clock: Any) -> None:
        if hasattr(clock, "timer"):
            cancel = clock.timer(seconds * 1000, self.wake)
        else:
            cancel = self._loop.call_later(seconds, self._done).cancel
        try:
            await self._future
        finally:
            cancel()

    def _done(self) -> None:
        if not self._future.done():
            self._future.set_result(None)


async def _outcome(awaitable: Awaitable[T]) -> tuple[T | None, Exception | None]:
    """Never raises: nobody may be there any more to take an exception."""
    try:
        return await awaitable, None
    except Exception as error:
        return None, error
