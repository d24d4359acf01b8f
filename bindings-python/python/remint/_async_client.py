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
    from collections.abc import Awaitable, Mapping, Sequence
    from types import TracebackType
    from typing import Any, TypeVar

    from remint._client import Flow, Headers, OnRotated, Scope, Verdict
    from remint._flows import BackchannelAuthentication, DeviceAuthorization
    from remint._native import Token

    T = TypeVar("T")


class AsyncClient(Base):
    """Gets, keeps and renews one client's tokens. Make one, and share it between tasks and event loops.

    Like `Client`, with verbs that are awaited. ``client_secret``, ``on_rotated`` and a transport of your own may be
    async functions: they run on the event loop of whoever asked first. A caller that is cancelled just stops waiting.
    """

    _awaits = True

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
        self,
        redirect_uri: str | None = None,
        *,
        scope: Scope | None = None,
        parameters: Mapping[str, str] | None = None,
        authorization_details: Sequence[Mapping[str, Any]] | str | None = None,
        timeout: float | None = None,
    ) -> tuple[str, str]:
        """See `Client.authorization_url`."""
        return await self._run(self._authorization_url(redirect_uri, scope, parameters, authorization_details, timeout))

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

    async def device_authorization(
        self, *, scope: Scope | None = None, parameters: Mapping[str, str] | None = None, timeout: float | None = None
    ) -> DeviceAuthorization:
        """See `Client.device_authorization`."""
        return await self._run(self._device_authorization(scope, parameters, timeout))

    async def backchannel_authentication(
        self,
        *,
        login_hint: str | None = None,
        login_hint_token: str | None = None,
        id_token_hint: str | None = None,
        binding_message: str | None = None,
        user_code: str | None = None,
        requested_expiry: float | None = None,
        acr_values: str | None = None,
        scope: Scope | None = None,
        parameters: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> BackchannelAuthentication:
        """See `Client.backchannel_authentication`."""
        asked = Redacted(
            login_hint=login_hint,
            login_hint_token=login_hint_token,
            id_token_hint=id_token_hint,
            binding_message=binding_message,
            user_code=user_code,
            acr_values=acr_values,
        )
        login_hint_token = id_token_hint = user_code = None
        return await self._run(self._backchannel_authentication(asked, requested_expiry, scope, parameters, timeout))

    async def poll(
        self, session: str, subject: str | None = None, *, on_rotated: OnRotated | None = None, timeout: float | None = None
    ) -> Token:
        """See `Client.poll`. A caller that is cancelled ends the polls."""
        secrets, session = Redacted(session=session), ""
        token: Token = await self._run(self._poll(secrets, subject, on_rotated, timeout))
        return token

    async def introspect(self, token: str | Token, hint: str | None = None, *, timeout: float | None = None) -> dict[str, Any]:
        """See `Client.introspect`."""
        secrets, token = Redacted(token=token), ""
        return await self._run(self._introspect(secrets, hint, timeout))

    async def revoke(self, token: str | Token | None = None, hint: str | None = None, *, timeout: float | None = None) -> None:
        """See `Client.revoke`."""
        secrets, token = Redacted(token=token), None
        await self._run(self._revoke(secrets, hint, timeout))

    async def insecure_url(self, url: str) -> tuple[str, dict[str, str]]:
        """See `Client.insecure_url`."""
        return await self._run(self._insecure_url(url))

    async def invalidate(self) -> None:
        """See `Client.invalidate`."""
        await self._run(self._invalidate())

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
        finally:
            # Whoever is cancelled while it waits may have something to give up.
            flow.close()

    def _waiter(self) -> Any:
        return _AsyncWaiter()

    def _bridge(self) -> Any:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return None

        def bridge(awaitable: Awaitable[Any], seconds: float) -> Any:
            """Runs on a flight's thread: has the loop of the flight's first caller await something."""
            outcome = _outcome(awaitable)
            try:
                future = asyncio.run_coroutine_threadsafe(outcome, loop)
            except RuntimeError as error:
                outcome.close()
                getattr(awaitable, "close", bool)()
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
        self.woken = False
        self._future: asyncio.Future[None] | None = None

    def wake(self) -> None:
        self.woken = True
        future = self._future
        if future is not None:
            try:
                future.get_loop().call_soon_threadsafe(self._done)
            except RuntimeError:
                pass  # That loop is closed, and nobody waits there any more.

    async def wait(self, seconds: float, clock: Any) -> None:
        loop = asyncio.get_running_loop()
        future = self._future = loop.create_future()
        # Whoever wakes looks for the future after saying so: one of the two sees the other.
        if self.woken:
            return
        if hasattr(clock, "timer"):
            cancel = clock.timer(seconds * 1000, self.wake)
        else:
            cancel = loop.call_later(seconds, self._done).cancel
        try:
            await future
        finally:
            cancel()

    def _done(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)


async def _outcome(awaitable: Awaitable[T]) -> tuple[T | None, Exception | None]:
    """Never raises: nobody may be there any more to take an exception."""
    try:
        return await awaitable, None
    except Exception as error:
        return None, error
