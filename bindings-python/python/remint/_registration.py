"""A client that registers itself, and looks after that: `Registrar`, and `AsyncRegistrar` for asyncio (RFC 7591, RFC 7592)."""

from __future__ import annotations

from remint import _native
from remint._client import _encode, _json, _transport
from remint._driver import Redacted, _failure_kind, hint_of, without_frames
from remint.errors import TransportError, UsageError, misuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NoReturn, Union

    Metadata = Union[Mapping[str, Any], str]


class RegisteredClient:
    """A client as the server has registered it (RFC 7591 section 3.2.1). It doesn't change; an update gives another one.

    Keep what it holds where you keep secrets, since some servers show them once, and make one of what you have kept to go on with it:
    ``client_id``, ``registration_access_token`` and ``registration_client_uri``. Printing it shows no secret, and it can't be pickled.
    """

    __slots__ = (
        "_metadata",
        "client_id",
        "client_id_issued_at",
        "client_secret",
        "client_secret_expires_at",
        "registration_access_token",
        "registration_client_uri",
    )

    #: The client's identifier.
    client_id: str
    #: Its secret, if it has one.
    client_secret: str | None
    #: When it was registered, in Unix seconds, where the server says so.
    client_id_issued_at: int | None
    #: When the secret ends, in Unix seconds; ``None`` if it does not.
    client_secret_expires_at: int | None
    #: What permits to look after the registration (RFC 7592 section 3), where the server offers that: a secret.
    registration_access_token: str | None
    #: Where the registration is (RFC 7592 section 3).
    registration_client_uri: str | None
    _metadata: str

    def __init__(
        self,
        *,
        client_id: str,
        client_secret: str | None = None,
        client_id_issued_at: int | None = None,
        client_secret_expires_at: int | None = None,
        registration_access_token: str | None = None,
        registration_client_uri: str | None = None,
        metadata: Metadata | None = None,
    ) -> None:
        given = Redacted(
            client_id=client_id,
            client_secret=client_secret,
            client_id_issued_at=client_id_issued_at,
            client_secret_expires_at=client_secret_expires_at,
            registration_access_token=registration_access_token,
            registration_client_uri=registration_client_uri,
        )
        told = Redacted(metadata={} if metadata is None else metadata)
        # Tracebacks may show the locals of this frame.
        client_secret = registration_access_token = metadata = None
        for name in given:
            object.__setattr__(self, name, given[name])
        object.__setattr__(self, "_metadata", _told(told)["metadata"])

    @property
    def metadata(self) -> dict[str, Any]:
        """What the server registered, which may differ from what was asked for; a copy for each who asks.

        The members that are attributes here are not in it.
        """
        from json import loads

        metadata: dict[str, Any] = loads(self._metadata)
        return metadata

    def __repr__(self) -> str:
        return f"<remint.RegisteredClient {self.client_id} (redacted)>"

    def __setattr__(self, name: str, _value: object) -> NoReturn:
        raise AttributeError(f"a RegisteredClient does not change: `{name}` can't be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a RegisteredClient does not change: `{name}` can't be deleted")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a remint RegisteredClient can't be pickled or copied: keep its attributes where you keep secrets")


class _Base:
    """What `Registrar` and `AsyncRegistrar` have in common."""

    def __init__(
        self,
        profile: str | Mapping[str, Any],
        *,
        allow_loopback_http: bool = False,
        http: Any = None,
        request_timeout: float | None = None,
        policy: Mapping[str, Any] | None = None,
        proxy: str | None = None,
        ca: str | bytes | None = None,
        clock: Any = None,
        **variables: Any,
    ) -> None:
        options = Redacted(variables)
        options.update(
            profile=profile if isinstance(profile, str) else dict(profile),
            allow_loopback_http=allow_loopback_http,
            policy=None if policy is None else dict(policy),
        )
        # Tracebacks may show the locals of this frame, and there may be a client's options among them.
        variables = {}
        self._core = _native.Registrar(_encode(options))
        self._send, self._timeout, self._clock = _transport(http, proxy, ca, None), _seconds(request_timeout), clock
        self._cap = int((policy or {}).get("answer_cap", ANSWER_CAP))

    def _finish(self, registration: _native.Registration, answer: dict[str, Any]) -> Any:
        now = _native.now() if self._clock is None else (self._clock.wall(), self._clock.boot())
        return registration.finish(answer["status"], answer["headers"], answer["body"], now)

    def _read(self, answer: Any) -> dict[str, Any]:
        """What a transport gave. There may be secrets in it."""
        status, headers, body = answer
        if len(body) > self._cap:
            from remint._transport import Failure

            raise Failure("too_large")
        return Redacted(status=status, headers=[(str(name), str(value)) for name, value in headers], body=bytes(body))


class Registrar(_Base):
    """Registers clients at one server (RFC 7591), and looks after what was registered (RFC 7592). Any number of threads may share one.

    ``profile`` is as for `Client`: the name of a built-in one or a document, with ``endpoints.registration``, or with ``discovery``
    of a server whose metadata names the endpoint. Of the options of `Client` there are those of use before there is a client: the
    profile's variables, ``allow_loopback_http``, ``policy``, ``http``, ``proxy``, ``ca``, ``clock``, and ``request_timeout``: how many
    seconds each request may take, from 0.001 to 600, and 10 unless given. Where the server's metadata is read first there are up to
    three requests. Raises `UsageError` with the code ``invalid_option`` or ``invalid_profile``, and requests nothing.

    Each request is sent once, in the caller's thread. After a `TransportError` that is not ``retryable`` the server may have done what
    was asked. What the server refuses is a `ServerError`: ``invalid_redirect_uri``, ``invalid_client_metadata``,
    ``invalid_software_statement`` and ``unapproved_software_statement`` (RFC 7591 section 3.2.2), ``invalid_client`` where it does
    not accept the token.
    """

    def register(
        self, metadata: Metadata, *, initial_access_token: str | None = None, software_statement: str | None = None
    ) -> RegisteredClient:
        """Registers a new client (RFC 7591 section 3.1).

        ``metadata`` is the client's (section 2): a mapping, or the text of a JSON object, which is sent as it is.
        ``initial_access_token`` permits the registration, where the server wants that; ``software_statement`` is what somebody whom
        the server trusts says about the client, a JWT (section 2.3). Raises `RemintError`.
        """
        given = Redacted(metadata=metadata, initial_access_token=initial_access_token, software_statement=software_statement)
        metadata, initial_access_token, software_statement = "", None, None
        client: RegisteredClient = self._run(Redacted(register=_told(given)))
        return client

    def read(self, client: RegisteredClient) -> RegisteredClient:
        """What the server has registered (RFC 7592 section 2.1).

        Go on with what it gives: the server may have replaced the secret and the token. Raises `RemintError`; ``invalid_option`` if
        ``client`` came without ``registration_access_token`` and ``registration_client_uri``, because the server offers no management.
        """
        found: RegisteredClient = self._run(_held("read", client))
        return found

    def update(self, client: RegisteredClient, metadata: Metadata) -> RegisteredClient:
        """Puts other metadata in the place of all that was registered (RFC 7592 section 2.2).

        ``metadata`` is all of it, not only what is new: ``{**client.metadata, "client_name": "…"}``. ``client_id`` and, if there is
        one, ``client_secret`` are sent along. Go on with what it gives. Raises `RemintError`, as `read` does.
        """
        given, metadata = Redacted(metadata=metadata), ""
        updated: RegisteredClient = self._run(_changed(client, given))
        return updated

    def delete(self, client: RegisteredClient) -> None:
        """Ends the registration (RFC 7592 section 2.3). Raises `RemintError`, as `read` does."""
        self._run(_held("delete", client))

    def _run(self, asked: dict[str, Any]) -> Any:
        outcome: Any = self._core.build(asked)
        while isinstance(outcome, _native.Registration):
            try:
                answer = self._read(self._resolved(self._send(_request(outcome), self._timeout, self._cap)))
            except Exception as error:
                lost = _lost(error)
            else:
                outcome = self._finish(outcome, answer)
                continue
            raise lost
        return _client(outcome)

    def _resolved(self, answer: Any) -> Any:
        if hasattr(answer, "__await__"):
            getattr(answer, "close", bool)()
            raise misuse("option `http` is an async function: use `remint.AsyncRegistrar`")
        return answer


class AsyncRegistrar(_Base):
    """`Registrar` for asyncio, with verbs that are awaited: any number of event loops may share one.

    A transport of your own may be an async function; others, and the default one, run in the threads of the event loop's executor. A
    caller who is cancelled gives up waiting, and the server may have done what was asked: an async function is cancelled, too, and a
    thread goes on until its request ends.
    """

    async def register(
        self, metadata: Metadata, *, initial_access_token: str | None = None, software_statement: str | None = None
    ) -> RegisteredClient:
        """See `Registrar.register`."""
        given = Redacted(metadata=metadata, initial_access_token=initial_access_token, software_statement=software_statement)
        metadata, initial_access_token, software_statement = "", None, None
        client: RegisteredClient = await self._run(Redacted(register=_told(given)))
        return client

    async def read(self, client: RegisteredClient) -> RegisteredClient:
        """See `Registrar.read`."""
        found: RegisteredClient = await self._run(_held("read", client))
        return found

    async def update(self, client: RegisteredClient, metadata: Metadata) -> RegisteredClient:
        """See `Registrar.update`."""
        given, metadata = Redacted(metadata=metadata), ""
        updated: RegisteredClient = await self._run(_changed(client, given))
        return updated

    async def delete(self, client: RegisteredClient) -> None:
        """See `Registrar.delete`."""
        await self._run(_held("delete", client))

    async def _run(self, asked: dict[str, Any]) -> Any:
        outcome: Any = self._core.build(asked)
        while isinstance(outcome, _native.Registration):
            try:
                answer = self._read(await self._sent(_request(outcome)))
            except Exception as error:
                lost = _lost(error)
            else:
                outcome = self._finish(outcome, answer)
                continue
            raise lost
        return _client(outcome)

    async def _sent(self, request: dict[str, Any]) -> Any:
        from asyncio import to_thread, wait_for

        # Only a call tells whether a function is asynchronous, and one that isn't would block the event loop.
        answer = await to_thread(self._send, request, self._timeout, self._cap)
        return await wait_for(answer, self._timeout) if hasattr(answer, "__await__") else answer


def _changed(client: RegisteredClient, given: dict[str, Any]) -> dict[str, Any]:
    asked = _held("update", client)
    asked["update"].update(_told(given), client_id=client.client_id, client_secret=client.client_secret)
    return asked


def _held(verb: str, client: RegisteredClient) -> dict[str, Any]:
    """A request about this client, with what permits it."""
    access = Redacted((name, getattr(client, name)) for name in ("registration_client_uri", "registration_access_token"))
    if None in access.values():
        raise misuse("this client has no `registration_client_uri` and `registration_access_token`: the server offers no management (RFC 7592)")
    return Redacted({verb: access})


def _told(given: dict[str, Any]) -> dict[str, Any]:
    """What was given, with the metadata as the core takes it. Whether a text is a JSON object it says itself."""
    text = _text(given["metadata"])
    if text is None:
        raise misuse("`metadata` must be a mapping of what JSON has (strings, numbers, booleans, lists and dicts), or the text of a JSON object")
    return Redacted(given, metadata=text)


def _text(metadata: Any) -> str | None:
    if isinstance(metadata, str):
        return metadata
    return _json(dict(metadata)) if hasattr(metadata, "keys") else None


def _seconds(timeout: float | None) -> float:
    if timeout is None:
        return 10
    try:
        if 0.001 <= timeout <= 600:
            return timeout
    except TypeError:
        pass
    raise misuse(f"option `request_timeout` is `{timeout}`: a number of seconds from 0.001 to 600 is allowed")


def _request(registration: _native.Registration) -> dict[str, Any]:
    request = Redacted(method=registration.method, url=registration.url, headers=registration.headers)
    if registration.body is not None:
        request["body"] = registration.body
    return request


def _client(information: dict[str, Any] | None) -> RegisteredClient | None:
    return None if information is None else RegisteredClient(**information)


def _lost(error: Exception) -> Exception:
    """There is no answer. Only what surely did not leave may be sent again."""
    cause, kind = without_frames(error), _failure_kind(error)
    if isinstance(cause, UsageError):
        return cause
    code, message = LOST.get(kind, LOST["maybe_sent"])
    lost = TransportError(message, code=code, retryable=kind == "not_sent", hint=hint_of(cause))
    lost.__cause__ = cause
    return lost


#: No answer of a registration endpoint is longer, in bytes, unless the policy says so.
ANSWER_CAP = 262_144
#: The code and the message, by how a request ended.
LOST = {
    "not_sent": ("transport_failed", "the server can't be reached"),
    "maybe_sent": ("transport_failed", "the connection ended before the answer: the server may have done what was asked"),
    "timeout": ("timeout", "there was no answer in time: the server may have done what was asked"),
    "too_large": ("answer_too_large", "the answer is too long to be one of a registration"),
}
