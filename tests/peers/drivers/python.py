"""Does to `remint.Client` (or, told `asyncio`, to `remint.AsyncClient`) what it reads, one JSON object per line. See ../README.md."""

import asyncio
import inspect
import json
import logging
import sys
import traceback
import urllib.error
import urllib.request

import remint

ASYNC = sys.argv[1:] == ["asyncio"]


class Transport:
    """The user's own transport, which can lose an answer that has arrived."""

    def __init__(self):
        self.losses = 0

    def __call__(self, request, seconds, cap):
        body = request.get("body")
        outgoing = urllib.request.Request(request["url"], body and body.encode(), dict(request["headers"]), method=request["method"])
        try:
            answer = urllib.request.urlopen(outgoing, timeout=seconds)
        except urllib.error.HTTPError as refusal:
            answer = refusal
        with answer:
            result = answer.status, answer.headers.items(), answer.read(cap)
        if self.losses:
            self.losses -= 1
            raise ConnectionResetError("the answer was lost on its way")
        return result


class Driver:
    def __init__(self):
        self.clients = {}
        self.notices = {}
        self.rotated = {}
        self.transports = {}

    def client(self, name, profile, options, lossy):
        if lossy:
            self.transports[name] = options["http"] = Transport()
        self.notices[name] = []
        kind = remint.AsyncClient if ASYNC else remint.Client
        self.clients[name] = kind(profile, on_notice=self.notices[name].append, **options)

    async def token(self, client, **arguments):
        return shown(await settled(self.clients[client].token(**arguments)))

    async def tokens(self, client, callers):
        client = self.clients[client]
        if ASYNC:
            tokens = await asyncio.gather(*(client.token() for _ in range(callers)))
        else:
            tokens = await asyncio.gather(*(asyncio.to_thread(client.token) for _ in range(callers)))
        return [shown(token) for token in tokens]

    async def call(self, client, url):
        client = self.clients[client]
        for _ in range(2):
            token = await settled(client.token())
            headers = await settled(client.headers("GET", url))
            try:
                answer = await asyncio.to_thread(urllib.request.urlopen, urllib.request.Request(url, headers=headers), timeout=10)
            except urllib.error.HTTPError as refusal:
                answer = refusal
            with answer:
                status = answer.status
                verdict = await settled(client.reject(token, "GET", url, status, answer.headers.items()))
            if verdict != "retry":
                break
        return status

    async def authorization_url(self, client, redirect_uri, scope=None):
        url, session = await settled(self.clients[client].authorization_url(redirect_uri, scope=scope))
        return {"url": url, "session": session}

    async def exchange(self, client, view, callback, session, subject):
        on_rotated = self.derive(client, view)
        token = await settled(self.clients[client].exchange(callback, session, subject, on_rotated=on_rotated))
        self.clients[view] = self.clients[client].with_subject(subject)
        return shown(token)

    def adopt(self, client, view, subject, refresh_token):
        on_rotated = self.derive(client, view)
        self.clients[view] = self.clients[client].with_subject(subject, refresh_token=refresh_token, on_rotated=on_rotated)

    def derive(self, client, view):
        self.rotated[view] = []
        self.notices[view] = self.notices[client]
        self.transports[view] = self.transports.get(client)
        return self.rotated[view].append

    def rotated_tokens(self, client):
        return self.rotated[client]

    def lose_answers(self, client, count):
        self.transports[client].losses = count

    def notices_so_far(self, client):
        notices = self.notices[client][:]
        self.notices[client].clear()
        return notices

    async def close(self):
        for client in self.clients.values():
            await settled(client.close())


VERBS = {"rotated": Driver.rotated_tokens, "notices": Driver.notices_so_far}


async def settled(result):
    return await result if inspect.isawaitable(result) else result


def shown(token):
    return {
        "access_token": token.access_token,
        "token_type": token.token_type,
        "expires_in": token.expires_in(),
        "scope": token.scope,
        "shown": f"{token} {token!r}",
    }


async def obey(driver, verb, **arguments):
    try:
        run = VERBS.get(verb) or getattr(Driver, verb)
        return {"ok": await settled(run(driver, **arguments))}
    except remint.RemintError as error:
        names = ("code", "family", "status", "retryable", "oauth_error", "hint", "ambiguous")
        facts = {name: getattr(error, name) for name in names}
        return {"error": {**facts, "message": str(error), "shown": "".join(traceback.format_exception(type(error), error, error.__traceback__)) + repr(error)}}
    except Exception:
        return {"broken": traceback.format_exc()}


async def main():
    logging.basicConfig(level=logging.DEBUG)
    driver = Driver()
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await obey(driver, **json.loads(line))), flush=True)
    await driver.close()


asyncio.run(main())
