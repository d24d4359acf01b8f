"""What `Client` and `AsyncClient` have in common, and `Client`."""

from __future__ import annotations

from remint._call import ApiCall
from remint._driver import Driver, Redacted, Waiter
from remint._native import Core, LeaseCell
from remint.errors import misuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
    from types import TracebackType
    from typing import Any, Literal, Optional, TypeVar, Union

    from remint._native import Token

    T = TypeVar("T")
    Flow = Generator[tuple[Any, float], None, T]
    Scope = Union[str, Sequence[str]]
    OnRotated = Callable[[str], Any]
    Verdict = Literal["pass", "retry", "give_up"]
    Headers = Union[Mapping[str, str], Iterable[tuple[str, str]]]


class Base(LeaseCell):
    """A client's tokens: those of one subject and scope set. Views of one client share its core, cache and flights."""

    _driver: Driver
    _want: dict[str, Any] = {}
    _threads = True

    def __init__(
        self,
        profile: str | Mapping[str, Any],
        *,
        client_id: str | None = None,
        client_secret: str | Callable[[], Any] | None = None,
        signing_key: Mapping[str, Any] | None = None,
        client_assertion: Callable[[], Any] | None = None,
        scope: Scope | None = None,
        api_token: str | None = None,
        parameters: Mapping[str, str] | None = None,
        api_origins: Sequence[str] | None = None,
        allow_loopback_http: bool = False,
        http: Any = None,
        request_timeout: float | None = None,
        policy: Mapping[str, Any] | None = None,
        proxy: str | None = None,
        ca: str | bytes | None = None,
        background_refresh: bool = True,
        store: Any = None,
        on_notice: Callable[[dict[str, Any]], object] | None = None,
        clock: Any = None,
        random: Callable[[int], bytes] | None = None,
        **variables: Any,
    ) -> None:
        options = Redacted(variables)
        secret = client_secret if callable(client_secret) else None
        options.update(
            profile=profile if isinstance(profile, str) else dict(profile),
            client_id=client_id,
            client_secret=client_secret if secret is None else None,
            client_secret_provided=None if secret is None else True,
            client_assertion_provided=None if client_assertion is None else True,
            scope=scope if scope is None or isinstance(scope, str) else list(scope),
            api_token=api_token,
            parameters=None if parameters is None else dict(parameters),
            api_origins=None if api_origins is None else list(api_origins),
            allow_loopback_http=allow_loopback_http,
            request_timeout=request_timeout,
            policy=None if policy is None else dict(policy),
            aside=background_refresh,
            store=None if store is None else True,
        )
        sign = None
        if signing_key is not None:
            from remint._signing import to_signer

            options["signing_key"], sign = to_signer(signing_key)
        # Tracebacks may show the locals of this frame.
        client_secret = api_token = signing_key = None
        core = Core(_encode(options))
        send = _transport(http, proxy, ca)
        driver = Driver(
            core,
            send=send,
            secret=secret,
            assertion=client_assertion,
            sign=sign,
            store=store,
            on_notice=on_notice,
            clock=clock,
            random=random,
            threads=background_refresh or self._threads,
        )
        self._share(driver, {})

    def __repr__(self) -> str:
        return f"<remint.{type(self).__name__} {self._want.get('subject') or ''}(redacted)>"

    def _share(self, driver: Driver, want: dict[str, Any]) -> None:
        self._driver, self._want = driver, want
        self._bind(driver.core, driver.clock)

    def _view(self: V, **want: Any) -> V:
        view: V = LeaseCell.__new__(type(self))
        view._share(self._driver, {**self._want, **want})
        return view

    def with_scope(self: V, scope: Scope) -> V:
        """The same client for another set of scopes, with a token of its own."""
        return self._view(scope=scope.split() if isinstance(scope, str) else list(scope))

    def with_subject(self: V, subject: str, *, refresh_token: str | None = None, on_rotated: OnRotated | None = None) -> V:
        """The same client for a user, with the refresh token that your database has for them.

        ``on_rotated(refresh_token)`` is called with every new refresh token before the access token that came with
        it is handed out: save it there.
        """
        secrets, refresh_token = Redacted(refresh_token=refresh_token), None
        view = self._view(subject=subject)
        view._adopt(secrets, on_rotated)
        return view

    def _adopt(self, secrets: dict[str, Any], on_rotated: OnRotated | None) -> None:
        if on_rotated is not None:
            self._driver.rotated[self._want.get("subject")] = on_rotated
        if secrets.get("refresh_token") is not None:
            adopt = Redacted(secrets, want=self._want, on_rotated=on_rotated is not None)
            self._driver.handle({"start": {"flow": {"adopt": adopt}}})

    # The flows: each yields what to wait for, and for how long at most. `Client` and `AsyncClient` run them.

    def _obtain(self, min_ttl: float | None = None, force: bool | None = None, timeout: float | None = None, **ask: Any) -> Flow[Any]:
        driver, bridge = self._driver, self._bridge()
        ask.update(want=self._want, min_ttl=_millis("min_ttl", min_ttl or 0), force=bool(force))
        if timeout is not None:
            ask["deadline"] = driver.now()[1] + _millis("timeout", timeout)
        while True:
            waiter = self._waiter()
            answer = driver.handle({"ask": ask}, waiter.wake, self, bridge)
            if "use" in answer:
                return answer
            yield waiter, driver.seconds_until(answer["until"], answer["wait"])
            ask["after"] = answer["wait"]

    def _exchange(self, secrets: dict[str, Any], subject: str | None, on_rotated: OnRotated | None, timeout: float | None) -> Flow[Any]:
        driver, waiter = self._driver, self._waiter()
        view = self._view(subject=subject) if subject is not None else self._view()
        view._adopt({}, on_rotated)
        flow = Redacted(secrets, subject=subject, on_rotated=on_rotated is not None)
        start: dict[str, Any] = {"flow": {"exchange": flow}}
        if timeout is not None:
            start["deadline"] = driver.now()[1] + _millis("timeout", timeout)
        answer = driver.handle({"start": start}, waiter.wake, None, self._bridge())
        yield waiter, driver.seconds_until(answer["until"], answer["wait"])
        lease = yield from view._obtain(timeout=timeout, after=answer["wait"])
        return lease["token"]

    def _authorization_url(self, redirect_uri: str | None, scope: Scope | None, parameters: Mapping[str, str] | None) -> tuple[str, str]:
        flow: dict[str, Any] = {"parameters": dict(parameters or {})}
        if redirect_uri is not None:
            flow["redirect_uri"] = redirect_uri
        if scope is not None:
            flow["scope"] = scope.split() if isinstance(scope, str) else list(scope)
        done = self._driver.handle({"start": {"flow": {"authorization_url": flow}}})["done"]
        return done["url"], done["session"]

    def _insecure_url(self, url: str) -> Flow[tuple[str, dict[str, str]]]:
        answer = yield from ApiCall(self).attach("GET", str(url), insecure_query=True)
        return answer["done"]["url"], dict(answer["done"]["headers"])

    def _reject(self, token: Token, url: str, status: int, headers: Headers) -> Verdict:
        lines = list(getattr(headers, "items", lambda: headers)())
        answered = {"want": self._want, "call": token._call, "url": str(url), "status": status, "headers": lines}
        verdict: Verdict = self._driver.handle({"answered": answered})
        return verdict

    def _close(self) -> Flow[None]:
        self._driver.handle({"close": {}})
        while (seconds := self._driver.busy()) > 0:
            yield self._waiter(), min(seconds, 0.02)

    def _waiter(self) -> Any:
        return Waiter()

    def _bridge(self) -> Any:
        return None


class Client(Base):
    """Gets, keeps and renews one client's tokens. Make one, and share it between threads.

    ``profile`` is the name of a built-in one or a document; the options are in the package's README. Nothing is
    requested before somebody asks for a token.
    """

    # A host without background refreshes may be one without threads.
    _threads = False

    if TYPE_CHECKING:

        def token(self, min_ttl: float = 0, force: bool = False, timeout: float = 30) -> Token:
            """A valid token: the cached one, or a new one. One request serves however many callers wait for it.

            ``min_ttl`` is how many seconds of life it must have left. ``force`` asks for another than the cached one.
            ``timeout`` is how many seconds to wait. Raises `RemintError`.
            """
            raise NotImplementedError

    @classmethod
    def static(cls, token: str, **options: Any) -> Client:
        """A client that has this token and requests none, for tests of your own."""
        return cls(STATIC, api_token=token, **options)

    def headers(self, method: str, url: str) -> dict[str, str]:
        """What to put on this one request."""
        return dict(self._run(ApiCall(self).attach(method, str(url)))["headers"])

    def reject(self, token: Token, method: str, url: str, status: int, headers: Headers = ()) -> Verdict:
        """Reports what an API answered to a request with this token, for those who send it themselves.

        ``"retry"``: ask for a token again, and send the request once more.
        """
        return self._reject(token, url, status, headers)

    def authorization_url(
        self, redirect_uri: str | None = None, *, scope: Scope | None = None, parameters: Mapping[str, str] | None = None
    ) -> tuple[str, str]:
        """Where to send the browser, and the session to keep until it is back: a secret, and a string."""
        return self._authorization_url(redirect_uri, scope, parameters)

    def exchange(
        self,
        callback: str | Mapping[str, Any],
        session: str,
        subject: str | None = None,
        *,
        on_rotated: OnRotated | None = None,
        timeout: float | None = None,
    ) -> Token:
        """Ends what `authorization_url` began. ``callback`` is the URL that the browser came back with, its query, or its parameters."""
        secrets, callback, session = Redacted(callback=_query(callback), session=session), "", ""
        token: Token = self._run(self._exchange(secrets, subject, on_rotated, timeout))
        return token

    def insecure_url(self, url: str) -> tuple[str, dict[str, str]]:
        """The URL with the token in its query, which logs and histories keep; and headers that keep it out of caches."""
        return self._run(self._insecure_url(url))

    def invalidate(self) -> None:
        """Forgets the access token: the next caller gets another."""
        self._driver.handle({"invalidate": {"want": self._want}})

    def close(self) -> None:
        """Refuses new work, and waits for the requests that are under way. All views of the client are closed with it."""
        self._run(self._close())

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _acquire(self, min_ttl: float | None, force: bool | None, timeout: float | None) -> Any:
        return self._run(self._obtain(min_ttl, force, timeout))["token"]

    def _run(self, flow: Flow[T]) -> T:
        try:
            while True:
                waiter, seconds = next(flow)
                waiter.wait(seconds, self._driver.clock)
        except StopIteration as stop:
            result: T = stop.value
            return result


if TYPE_CHECKING:
    V = TypeVar("V", bound=Base)


def _encode(options: dict[str, Any]) -> str:
    """The options as the core takes them: one JSON object, without those that were not given."""
    unfit = [name for name, value in options.items() if _json(value) is None]
    if unfit:
        raise misuse(f"option `{unfit[0]}` holds a value that JSON does not have: use strings, numbers, booleans, lists and dicts")
    return "{" + ",".join(f"{_json(name)}:{_json(value)}" for name, value in options.items() if value is not None) + "}"


def _json(value: object) -> str | None:
    from json import dumps

    try:
        text = dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError, RecursionError):
        return None
    return text


def _millis(name: str, seconds: float) -> int:
    try:
        millis = round(seconds * 1000)
    except (TypeError, ValueError, OverflowError):
        raise misuse(f"`{name}` is not a finite number of seconds") from None
    if millis < 0:
        raise misuse(f"`{name}` is negative: give a number of seconds from 0")
    return min(millis, 2**53)


def _query(callback: str | Mapping[str, Any]) -> str:
    """The callback as a URL or query. A repeated parameter stays repeated: the core refuses it."""
    if isinstance(callback, str):
        return callback
    from urllib.parse import urlencode

    # Starlette and httpx, Django and Werkzeug, and plain dicts.
    items = getattr(callback, "multi_items", None) or getattr(callback, "lists", None) or callback.items
    return urlencode(list(items()), doseq=True)


def _transport(http: Any, proxy: str | None, ca: str | bytes | None) -> Callable[..., Any]:
    if http is None:
        return _DefaultTransport(proxy, ca)
    if proxy is not None or ca is not None:
        raise misuse("options `proxy` and `ca` are for the default transport: set them up in what you pass as `http`")
    for library in {kind.__module__.partition(".")[0] for kind in type(http).__mro__} & {"requests", "httpx", "httpx2", "aiohttp"}:
        from importlib import import_module

        send: Callable[..., Any] = import_module(f"remint.{library}").transport(http)
        return send
    if not callable(http):
        raise misuse("option `http` is neither a client that remint has an adapter for nor a function")
    return http  # type: ignore[no-any-return]


class _DefaultTransport:
    """The standard library's HTTP and TLS, imported at the first request."""

    def __init__(self, proxy: str | None, ca: str | bytes | None) -> None:
        self._arguments, self._send = (proxy, ca), None
        if proxy is not None or ca is not None:
            self._build()

    def _build(self) -> Any:
        from remint._transport import Transport

        self._send = Transport(*self._arguments)  # type: ignore[assignment]
        return self._send

    def __call__(self, request: dict[str, Any], timeout: float, cap: int) -> Any:
        return (self._send or self._build())(request, timeout, cap)


#: A profile whose tokens are what the user says.
STATIC = {
    "name": "static",
    "title": "A token of your own",
    "grants": ["api_token"],
    "attach": {"header": "Authorization", "scheme": "Bearer"},
    "api_token": {"scheme": "Bearer"},
    "api_origins": [],
}
