"""What `Client` and `AsyncClient` have in common, and `Client`."""

from __future__ import annotations

from remint._call import ApiCall
from remint._driver import Driver, Redacted, Waiter
from remint._native import Core, LeaseCell
from remint.errors import misuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
    from os import PathLike
    from types import TracebackType
    from typing import Any, Literal, TypeVar, Union

    from remint._certificate import Certificate
    from remint._flows import BackchannelAuthentication, DeviceAuthorization
    from remint._native import Token
    from remint._shared import Shared
    from remint._signing import Signer
    from remint.store import AsyncStore, Store

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
    # Whether functions of the user's may be asynchronous.
    _awaits = False

    def __init__(
        self,
        profile: str | Mapping[str, Any],
        *,
        client_id: str | None = None,
        client_secret: str | Callable[[], Any] | None = None,
        signing_key: Any = None,
        dpop: Any = None,
        client_certificate: Mapping[str, Any] | None = None,
        client_assertion: Callable[[], Any] | None = None,
        client_assertion_file: str | PathLike[str] | None = None,
        subject_token: Callable[[str | None], Any] | None = None,
        subject_token_file: str | PathLike[str] | None = None,
        actor_token: Callable[[str | None], Any] | None = None,
        assertion: Callable[[str | None], Any] | None = None,
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
        store: Store | AsyncStore | None = None,
        store_keys: Sequence[Mapping[str, Any]] | None = None,
        on_notice: Callable[[dict[str, Any]], object] | None = None,
        clock: Any = None,
        random: Callable[[int], bytes] | None = None,
        **variables: Any,
    ) -> None:
        options = Redacted(variables)
        # Tracebacks may show the locals of this frame.
        keys, signing_key = Redacted(signing_key=signing_key, dpop=dpop, client_certificate=client_certificate), None
        keys["store_keys"] = None if store_keys is None else _store_keys(store_keys)
        dpop = client_certificate = store_keys = None
        shared = None if store is None else _shared(store, awaits=self._awaits)
        functions = _functions(
            client_secret=client_secret if callable(client_secret) else None,
            client_assertion=(client_assertion, client_assertion_file),
            subject_token=(subject_token, subject_token_file),
            actor_token=actor_token,
            assertion=assertion,
        )
        options.update(
            profile=profile if isinstance(profile, str) else dict(profile),
            client_id=client_id,
            client_secret=None if "client_secret" in functions else client_secret,
            scope=scope if scope is None or isinstance(scope, str) else list(scope),
            api_token=api_token,
            parameters=None if parameters is None else dict(parameters),
            api_origins=None if api_origins is None else list(api_origins),
            allow_loopback_http=allow_loopback_http,
            request_timeout=request_timeout,
            policy=_policy(policy, shared),
            aside=background_refresh,
            store=None if shared is None else True,
            store_keys=keys["store_keys"],
            **{f"{name}_provided": True for name in functions},
        )
        client_secret = api_token = None
        signers = _signers(keys)
        options.update((option, signer.told) for option, signer in signers.items())
        certificate = None
        if keys["client_certificate"] is not None:
            from remint._certificate import Certificate

            certificate = Certificate(keys["client_certificate"])
            options["tls_id"] = certificate.tls_id
        core = Core(_encode(options))
        send = _transport(http, proxy, ca, certificate)
        driver = Driver(
            core,
            send=send,
            functions=functions,
            signers=_by_name(signers),
            certificate=certificate,
            proves="dpop" in signers,
            store=shared,
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

    def with_resource(self: V, *resource: str) -> V:
        """The same client for other resources (absolute URIs, RFC 8707 section 2), with a token of its own."""
        return self._view(resource=list(resource))

    def with_subject(
        self: V,
        subject: str,
        *,
        refresh_token: str | None = None,
        subject_token: str | None = None,
        actor_token: str | None = None,
        on_rotated: OnRotated | None = None,
    ) -> V:
        """The same client for a user, with the refresh token that your database has for them.

        ``on_rotated(refresh_token)`` is called with every new refresh token before the access token that came with
        it is handed out: save it there. With the grant ``token_exchange`` (RFC 8693) it is ``subject_token`` that is given,
        and ``actor_token`` where somebody acts for the user; a later one takes the place of an earlier one.
        """
        secrets = Redacted(refresh_token=refresh_token, subject_token=subject_token, actor_token=actor_token)
        refresh_token = subject_token = actor_token = None
        view = self._view(subject=subject)
        view._adopt(secrets, on_rotated)
        return view

    def renew(self, *, signing_key: Any = None, dpop: Any = None, client_certificate: Mapping[str, Any] | None = None) -> None:
        """Goes on with another key or certificate, without a restart: as in the options of the same names.

        Tokens that are bound to the old ones are not used any more. Certificates that were given as files need no call.
        """
        driver, keys = self._driver, Redacted(signing_key=signing_key, dpop=dpop, client_certificate=client_certificate)
        signing_key = dpop = client_certificate = None
        signers = _signers(keys)
        renewed = {option: _json(signer.told) for option, signer in signers.items()}
        if keys["client_certificate"] is not None:
            if driver.certificate is None:
                raise misuse("this client was made without `client_certificate`: make another with one")
            renewed["tls_id"] = driver.certificate.replace(keys["client_certificate"])
        # What is under way may still ask for the key that was there before.
        driver.signers = {**driver.signers, **_by_name(signers)}
        self._tell({"renewed": renewed})

    def _adopt(self, secrets: dict[str, Any], on_rotated: OnRotated | None) -> None:
        if on_rotated is not None:
            self._driver.rotated[self._want.get("subject")] = on_rotated
        if any(secret is not None for secret in secrets.values()):
            adopt = Redacted(secrets, want=self._want, on_rotated=on_rotated is not None)
            self._tell({"start": {"flow": {"adopt": adopt}}})

    # The flows: each yields what to wait for, and for how long at most. `Client` and `AsyncClient` run them.

    def _obtain(
        self, min_ttl: float | None = None, force: bool | None = None, timeout: float | None = None, **ask: Any
    ) -> Flow[Any]:
        driver, bridge = self._driver, self._bridge()
        ask.update(want=self._want, min_ttl=_millis("min_ttl", min_ttl or 0), force=bool(force))
        if timeout is not None:
            ask["deadline"] = driver.now()[1] + _millis("timeout", timeout)
        while True:
            waiter = self._waiter()
            answer = driver.handle({"ask": ask}, waiter.wake, self, bridge)
            if "use" in answer:
                return answer
            yield from self._wait(waiter, answer)
            ask["after"] = answer["wait"]

    def _tell(self, event: dict[str, Any]) -> Any:
        """Something that needs no waiting for. What follows from it may all the same."""
        return self._driver.handle(event, bridge=self._bridge())

    def _wait(self, waiter: Any, answer: dict[str, Any]) -> Flow[None]:
        if not waiter.woken:
            yield waiter, self._driver.seconds_until(answer["until"], answer["wait"])

    def _settle(self, name: str, question: dict[str, Any]) -> Flow[Any]:
        """Asks, waits as long as it takes, and asks the same once more, until there is an answer."""
        while True:
            waiter = self._waiter()
            answer = self._driver.handle({name: question}, waiter.wake, None, self._bridge())
            if not isinstance(answer, dict) or "wait" not in answer:
                return answer
            yield from self._wait(waiter, answer)
            question["after"] = answer["wait"]

    def _begin(self, name: str, flow: dict[str, Any], timeout: float | None) -> dict[str, Any]:
        start: dict[str, Any] = {"flow": {name: flow}}
        if timeout is not None:
            start["deadline"] = self._driver.now()[1] + _millis("timeout", timeout)
        return start

    def _done(self, name: str, flow: dict[str, Any], timeout: float | None) -> Flow[dict[str, Any]]:
        """A flow that ends in something other than a token."""
        given = Redacted((name, value) for name, value in flow.items() if value is not None)
        answer = yield from self._settle("start", self._begin(name, given, timeout))
        done: dict[str, Any] = answer["done"]
        return done

    def _exchange(self, secrets: dict[str, Any], subject: str | None, on_rotated: OnRotated | None, timeout: float | None) -> Flow[Any]:
        view = self._view(subject=subject) if subject is not None else self._view()
        view._adopt({}, on_rotated)
        flow = Redacted(secrets, subject=subject, on_rotated=on_rotated is not None)
        start, waiter = self._begin("exchange", flow, timeout), self._waiter()
        answer = self._driver.handle({"start": start}, waiter.wake, None, self._bridge())
        yield from self._wait(waiter, answer)
        lease = yield from view._obtain(timeout=timeout, after=answer["wait"])
        return lease["token"]

    def _poll(self, secrets: dict[str, Any], subject: str | None, on_rotated: OnRotated | None, timeout: float | None) -> Flow[Any]:
        view = self._view(subject=subject) if subject is not None else self._view()
        view._adopt({}, on_rotated)
        flow = Redacted(secrets, subject=subject, on_rotated=on_rotated is not None)
        start, waiter = self._begin("poll", flow, timeout), self._waiter()
        answer = self._driver.handle({"start": start}, waiter.wake, None, self._bridge())
        # Without a time of the caller's own it is the flight that ends in time, and says why.
        deadline = start.get("deadline", answer["until"] + LAST_ANSWER)
        try:
            yield from self._wait(waiter, answer)
            lease = yield from view._obtain(after=answer["wait"], deadline=deadline)
            return lease["token"]
        except BaseException:
            # Nobody waits for the person's answer any more.
            self._tell({"cancel": {"flight": answer["wait"]}})
            raise

    def _authorization_url(
        self,
        redirect_uri: str | None,
        scope: Scope | None,
        parameters: Mapping[str, str] | None,
        details: Sequence[Mapping[str, Any]] | str | None,
        timeout: float | None,
    ) -> Flow[tuple[str, str]]:
        flow = _asked(scope, parameters)
        if details is not None:
            flow["authorization_details"] = details if isinstance(details, str) else _json(list(details))
        done = yield from self._done("authorization_url", {"redirect_uri": redirect_uri or "", **flow}, timeout)
        return done["url"], done["session"]

    def _device_authorization(
        self, scope: Scope | None, parameters: Mapping[str, str] | None, timeout: float | None
    ) -> Flow[DeviceAuthorization]:
        from remint._flows import DeviceAuthorization

        done = yield from self._done("device", _asked(scope, parameters), timeout)
        return DeviceAuthorization(**{"verification_uri_complete": None, **_in_seconds(done)})

    def _backchannel_authentication(
        self,
        asked: dict[str, Any],
        requested_expiry: float | None,
        scope: Scope | None,
        parameters: Mapping[str, str] | None,
        timeout: float | None,
    ) -> Flow[BackchannelAuthentication]:
        from remint._flows import BackchannelAuthentication

        if requested_expiry is not None:
            asked["requested_expiry"] = _millis("requested_expiry", requested_expiry)
        done = yield from self._done("backchannel", Redacted(asked, **_asked(scope, parameters)), timeout)
        return BackchannelAuthentication(**_in_seconds(done))

    def _introspect(self, secrets: dict[str, Any], hint: str | None, timeout: float | None) -> Flow[dict[str, Any]]:
        from json import loads

        secrets["token"] = getattr(secrets["token"], "access_token", secrets["token"])
        done = yield from self._done("introspect", Redacted(secrets, hint=hint), timeout)
        return {**loads(done["introspection"]), "active": done["active"]}

    def _revoke(self, secrets: dict[str, Any], hint: str | None, timeout: float | None) -> Flow[None]:
        secrets["token"] = getattr(secrets["token"], "access_token", secrets["token"])
        yield from self._done("revoke", Redacted(secrets, want=self._want, hint=hint), timeout)

    def _insecure_url(self, url: str) -> Flow[tuple[str, dict[str, str]]]:
        answer = yield from ApiCall(self).attach("GET", str(url), insecure_query=True)
        return answer["done"]["url"], dict(answer["done"]["headers"])

    def _reject(self, token: Token, url: str, status: int, headers: Headers) -> Verdict:
        lines = list(getattr(headers, "items", lambda: headers)())
        answered = {"want": self._want, "call": token._call, "url": str(url), "status": status, "headers": lines}
        verdict: Any = self._tell({"answered": answered})
        # The next proof is another one whether or not the token is.
        told: Verdict = "retry" if isinstance(verdict, dict) else verdict
        return told

    def _invalidate(self) -> Flow[None]:
        begun: list[object] = []
        self._driver.handle({"invalidate": {"want": self._want}}, bridge=self._bridge(), begun=begun)
        # Whoever asked for this may be about to end the process, or its event loop.
        while self._driver.is_under_way(begun):
            yield _Pause(self._waiter()), 0.005

    def _close(self) -> Flow[None]:
        self._tell({"close": {}})
        while (seconds := self._driver.busy()) > 0:
            yield _Pause(self._waiter()), min(seconds, 0.02)
        self._driver.unsubscribe()

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
        self,
        redirect_uri: str | None = None,
        *,
        scope: Scope | None = None,
        parameters: Mapping[str, str] | None = None,
        authorization_details: Sequence[Mapping[str, Any]] | str | None = None,
        timeout: float | None = None,
    ) -> tuple[str, str]:
        """Where to send the browser, and the session to keep until it is back: a secret, and a string.

        ``authorization_details`` asks for something in detail (RFC 9396 section 2). ``timeout`` (seconds; 30 unless told) is for
        providers whose metadata is read first, or to whom the request is pushed (RFC 9126).
        """
        return self._run(self._authorization_url(redirect_uri, scope, parameters, authorization_details, timeout))

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

    def device_authorization(
        self, *, scope: Scope | None = None, parameters: Mapping[str, str] | None = None, timeout: float | None = None
    ) -> DeviceAuthorization:
        """Begins an authorization on another device (RFC 8628). Show the person what it gives, and ``poll`` its session.

        ``timeout`` is how many seconds to wait for the server; 30 unless told.
        """
        return self._run(self._device_authorization(scope, parameters, timeout))

    def backchannel_authentication(
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
        """Has the server ask a person on a device of their own (CIBA section 7.1). Go on with ``poll``.

        Exactly one of the three hints says who is asked. ``binding_message`` is shown on both devices. ``requested_expiry``
        is how many seconds they may take, ``timeout`` how many to wait for the server (30 unless told).
        """
        asked = Redacted(
            login_hint=login_hint,
            login_hint_token=login_hint_token,
            id_token_hint=id_token_hint,
            binding_message=binding_message,
            user_code=user_code,
            acr_values=acr_values,
        )
        login_hint_token = id_token_hint = user_code = None
        return self._run(self._backchannel_authentication(asked, requested_expiry, scope, parameters, timeout))

    def poll(
        self, session: str, subject: str | None = None, *, on_rotated: OnRotated | None = None, timeout: float | None = None
    ) -> Token:
        """Waits until the person has answered, as often as the server likes to be asked (RFC 8628 section 3.4).

        ``timeout`` is in seconds; without one it ends when the code runs out, with ``authorization_expired``. Whoever gives
        up waiting ends the polls; the session can be polled again.
        """
        secrets, session = Redacted(session=session), ""
        token: Token = self._run(self._poll(secrets, subject, on_rotated, timeout))
        return token

    def introspect(self, token: str | Token, hint: str | None = None, *, timeout: float | None = None) -> dict[str, Any]:
        """What the server knows about a token (RFC 7662): ``active``, and the other members of its answer.

        ``hint`` is ``access_token`` or ``refresh_token``. ``timeout`` is in seconds; 30 unless told.
        """
        secrets, token = Redacted(token=token), ""
        return self._run(self._introspect(secrets, hint, timeout))

    def revoke(self, token: str | Token | None = None, hint: str | None = None, *, timeout: float | None = None) -> None:
        """Has the server forget a token (RFC 7009); without one, what this client holds: it is forgotten here, too.

        With a refresh token go the access tokens that came of it. ``timeout`` is in seconds; 30 unless told.
        """
        secrets, token = Redacted(token=token), None
        self._run(self._revoke(secrets, hint, timeout))

    def insecure_url(self, url: str) -> tuple[str, dict[str, str]]:
        """The URL with the token in its query, which logs and histories keep; and headers that keep it out of caches."""
        return self._run(self._insecure_url(url))

    def invalidate(self) -> None:
        """Forgets the access token: the next caller gets another. A shared store has been told when this returns, unless it is down."""
        self._run(self._invalidate())

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
        finally:
            # Whoever is interrupted while it waits may have something to give up.
            flow.close()


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


class _Pause:
    """What other threads do takes time of its own, whatever the clock of a test says."""

    def __init__(self, waiter: Any) -> None:
        self._waiter = waiter

    def wait(self, seconds: float, _clock: Any) -> Any:
        return self._waiter.wait(seconds, None)


def _asked(scope: Scope | None, parameters: Mapping[str, str] | None) -> dict[str, Any]:
    return {
        "scope": scope.split() if isinstance(scope, str) else None if scope is None else list(scope),
        "parameters": dict(parameters or {}),
    }


def _in_seconds(done: dict[str, Any]) -> dict[str, Any]:
    return {**done, "expires_in": done["expires_in"] / 1000, "interval": done["interval"] / 1000}


def _functions(**given: Any) -> dict[str, Callable[..., Any]]:
    """The functions that the core may ask for; a file is one that reads it."""
    functions: dict[str, Callable[..., Any]] = {}
    for name, function in given.items():
        function, file = function if isinstance(function, tuple) else (function, None)
        if function is not None and file is not None:
            raise misuse(f"option `{name}` stands beside `{name}_file`: keep one of the two")
        if file is not None:
            from os import fspath

            function = _File(fspath(file))
        if function is not None:
            if not callable(function):
                raise misuse(f"option `{name}` must be a function: it is asked before each token request")
            functions[name] = function
    return functions


class _File:
    """Reads a file each time: what projects tokens into files replaces them."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __call__(self, *_: object) -> str:
        with open(self._path, encoding="utf-8") as file:
            return file.read().rstrip("\r\n")


def _signers(keys: dict[str, Any]) -> dict[str, Signer]:
    signers: dict[str, Signer] = {}
    for option in ("signing_key", "dpop"):
        if keys[option] is not None and keys[option] is not False:
            from remint._signing import to_signer

            signers[option] = to_signer(keys[option], option)
    return signers


def _by_name(signers: dict[str, Signer]) -> dict[str, Signer]:
    """The keys by the names that the core asks for them by. Two keys with one name could not be told apart."""
    named: dict[str, Signer] = {}
    for signer in signers.values():
        other = named.setdefault(signer.told.get("name", ""), signer)
        if not other.is_same(signer):
            raise misuse("`signing_key` and `dpop` are two keys with the same `name`: give them names of their own")
    return named


def _shared(store: Any, *, awaits: bool) -> Shared:
    from remint._shared import Shared

    return Shared(store, awaits=awaits)


def _policy(policy: Mapping[str, Any] | None, shared: Shared | None) -> dict[str, Any] | None:
    """The user's policy, and what the store wants of it."""
    check = None if shared is None else shared.check
    if check is None:
        return None if policy is None else dict(policy)
    return {"store_check": check, **(policy or {})}


def _store_keys(given: Any) -> Any:
    """The keys as the core takes them. What is wrong with them it says itself."""
    from base64 import urlsafe_b64encode

    keys = []
    for one in given:
        if not hasattr(one, "keys"):
            raise misuse("option `store_keys` must be a list of mappings with `id` and `key`")
        key = Redacted(one)
        if isinstance(key.get("key"), (bytes, bytearray)):
            key["key"] = urlsafe_b64encode(key["key"]).rstrip(b"=").decode()
        keys.append(key)
    return keys


def _transport(http: Any, proxy: str | None, ca: str | bytes | None, certificate: Certificate | None) -> Callable[..., Any]:
    if http is None:
        return _DefaultTransport(proxy, ca, certificate)
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

    def __init__(self, proxy: str | None, ca: str | bytes | None, certificate: Certificate | None) -> None:
        self._arguments, self._send = (proxy, ca, certificate), None
        if proxy is not None or ca is not None or certificate is not None:
            self._build()

    def _build(self) -> Any:
        from remint._transport import Transport

        self._send = Transport(*self._arguments)  # type: ignore[assignment]
        return self._send

    def __call__(self, request: dict[str, Any], timeout: float, cap: int) -> Any:
        return (self._send or self._build())(request, timeout, cap)


#: How long after a code has run out the last answer about it may be on its way, in milliseconds.
LAST_ANSWER = 60_000
#: A profile whose tokens are what the user says.
STATIC = {
    "name": "static",
    "title": "A token of your own",
    "grants": ["api_token"],
    "attach": {"header": "Authorization", "scheme": "Bearer"},
    "api_token": {"scheme": "Bearer"},
    "api_origins": [],
}
