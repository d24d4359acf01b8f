import assert from "node:assert/strict";
import { test } from "node:test";
import { Client, ServerError, Token, TransportError, UsageError } from "remint";
import { quiet, tokenAnswer, world } from "./world.mjs";

test("the first caller gets a token, and the next ones get the same without a request", async () => {
  const { client, requests } = world();
  const token = await client.token();
  assert.ok(token instanceof Token);
  assert.equal(token.accessToken, "token-1");
  assert.equal(token.tokenType, "Bearer");
  assert.equal(token.authorization, "Bearer token-1");
  assert.equal(token.scope, "wallets:read");
  assert.equal(token.expiresAt, 1_700_003_600);
  assert.equal(token.expiresIn(), 3600);
  assert.equal(token.generation, 1);
  assert.equal((await client.token()).accessToken, "token-1");
  assert.equal(client.peek().accessToken, "token-1");
  assert.equal(requests.length, 1);
});

test("a thousand callers of a cold client cost one token request", async () => {
  const { client, requests } = world();
  const tokens = await Promise.all(Array.from({ length: 1000 }, () => client.token()));
  assert.ok(tokens.every((token) => token.accessToken === "token-1"));
  assert.equal(requests.length, 1);
});

test("peek never sends a request, and has nothing before there is a token", async () => {
  const { client, requests } = world();
  assert.equal(client.peek(), undefined);
  await quiet();
  assert.equal(requests.length, 0);
});

test("in the soft margin callers go on with the old token while one request renews it", async () => {
  const { client, clock, requests } = world();
  await client.token();
  await clock.advance(3_350_000);
  const tokens = await Promise.all(Array.from({ length: 100 }, () => client.token()));
  assert.ok(tokens.every((token) => token.accessToken === "token-1"));
  await quiet();
  assert.equal((await client.token()).accessToken, "token-2");
  assert.equal(requests.length, 2);
});

test("an expired token is never handed out", async () => {
  const { client, clock } = world();
  const token = await client.token();
  await clock.advance(3_600_000);
  assert.equal(client.peek(), undefined);
  assert.equal(token.expiresIn(), 0);
  assert.equal((await client.token()).accessToken, "token-2");
});

test("minTtl gets a token with that much life, or says what the server gives", async () => {
  const { client, clock, requests } = world();
  await client.token();
  await clock.advance(3_000_000);
  assert.equal((await client.token({ minTtl: 1200 })).accessToken, "token-2");
  assert.equal(requests.length, 2);
  await assert.rejects(client.token({ minTtl: 7200 }), (error) => {
    assert.ok(error instanceof ServerError);
    assert.deepEqual([error.code, error.lifetime], ["min_ttl_unavailable", 3600]);
    return true;
  });
});

test("force asks for another token", async () => {
  const { client, requests } = world();
  await client.token();
  assert.equal((await client.token({ force: true })).accessToken, "token-2");
  assert.equal(client.peek().accessToken, "token-2");
  assert.equal(requests.length, 2);
});

test("invalidate forgets the token everywhere", async () => {
  const { client } = world();
  const view = client.withScope(["wallets:read"]);
  await client.token();
  await view.token();
  await client.invalidate();
  assert.equal(client.peek(), undefined);
  assert.equal(view.peek(), undefined);
  assert.equal((await client.token()).accessToken, "token-2");
});

test("a signal ends the waiting of its caller and of nobody else", async () => {
  let release;
  const { client, requests } = world({ answer: (n) => new Promise((resolve) => (release = () => resolve(tokenAnswer(`token-${n}`)))) });
  const controller = new AbortController();
  const reason = new Error("the user went away");
  const gone = client.token({ signal: controller.signal });
  const stays = client.token();
  await quiet();
  controller.abort(reason);
  await assert.rejects(gone, reason);
  release();
  assert.equal((await stays).accessToken, "token-1");
  assert.equal(requests.length, 1);
  await assert.rejects(client.token({ signal: AbortSignal.abort(reason) }), reason);
});

test("the request of a caller who went away still fills the cache", async () => {
  let release;
  const { client, requests } = world({ answer: () => new Promise((resolve) => (release = () => resolve(tokenAnswer("kept")))) });
  const controller = new AbortController();
  const gone = client.token({ signal: controller.signal });
  controller.abort();
  await assert.rejects(gone, { name: "AbortError" });
  release();
  await quiet();
  assert.equal((await client.token()).accessToken, "kept");
  assert.equal(requests.length, 1);
});

test("a caller waits no longer than its timeout, and the flight goes on", async () => {
  let release;
  const { client, clock, requests } = world({ answer: () => new Promise((resolve) => (release = () => resolve(tokenAnswer("late")))) });
  const impatient = client.token({ timeout: 2 });
  const failed = assert.rejects(impatient, (error) => error instanceof TransportError && error.code === "timeout");
  await clock.advance(2_000);
  await failed;
  release();
  await quiet();
  assert.equal((await client.token()).accessToken, "late");
  assert.equal(requests.length, 1);
});

test("another scope set has a token and a flight of its own", async () => {
  const { client, requests } = world({ answer: (n, request) => tokenAnswer(new URLSearchParams(request.body).get("scope").replace(/\W/g, "-")) });
  const [own, other] = await Promise.all([client.token(), client.withScope("policies:read wallets:read").token()]);
  assert.equal(own.accessToken, "wallets-read");
  assert.equal(other.accessToken, "policies-read-wallets-read");
  assert.equal(requests.length, 2);
});

test("a failed request fails all who waited, with one error each and one request", async () => {
  const { client, requests } = world({ answer: () => Response.json({ error: "invalid_client" }, { status: 401 }) });
  const results = await Promise.allSettled(Array.from({ length: 50 }, () => client.token()));
  assert.equal(requests.length, 1);
  for (const { reason } of results) {
    assert.ok(reason instanceof ServerError);
    assert.deepEqual(
      { code: reason.code, status: reason.status, oauthError: reason.oauthError, retryable: reason.retryable },
      { code: "invalid_client", status: 401, oauthError: "invalid_client", retryable: false },
    );
  }
});

test("after a passing failure the next attempt waits its turn and succeeds", async () => {
  const { client, clock, requests } = world({ answer: (n) => (n === 1 ? new Response("", { status: 503 }) : tokenAnswer("second")) });
  const token = client.token();
  await clock.advance(1_000);
  assert.equal((await token).accessToken, "second");
  assert.equal(requests.length, 2);
});

test("a client secret that is a function is asked before each request", async () => {
  const secrets = ["first", "second"];
  const { client, clock, requests } = world({ clientSecret: async () => secrets.shift() });
  await client.token();
  await clock.advance(3_600_000);
  await client.token();
  const sent = requests.map(({ body }) => new URLSearchParams(body).get("client_secret"));
  assert.deepEqual(sent, ["first", "second"]);
});

test("a client secret that can't be had is the host's error, with its cause", async () => {
  const cause = new Error("the vault is sealed");
  const { client, clock, requests } = world({ clientSecret: () => Promise.reject(cause) });
  const failed = assert.rejects(client.token({ timeout: 0.05 }), (error) => {
    assert.ok(error instanceof TransportError);
    assert.equal(error.code, "host_error");
    assert.equal(error.cause, cause);
    return true;
  });
  await clock.advance(60_000);
  await failed;
  assert.equal(requests.length, 0);
});

test("onNotice is told what happened, and harms nobody by throwing", async () => {
  const seen = [];
  const { client } = world({
    onNotice: (notice) => {
      seen.push(notice.notice);
      if (seen.length === 1) throw new Error("no");
      return Promise.reject(new Error("neither"));
    },
  });
  await Promise.all([client.token(), client.token()]);
  await quiet();
  assert.deepEqual(seen, ["joined", "fetched"]);
});

test("a closed client refuses new work, and close waits for what was under way", async () => {
  let release;
  const { client } = world({ answer: () => new Promise((resolve) => (release = () => resolve(tokenAnswer("late")))) });
  const waiting = client.token();
  const settled = Promise.allSettled([waiting]);
  await quiet();
  const closed = client.close();
  release();
  await closed;
  await settled;
  await assert.rejects(client.token(), (error) => error instanceof UsageError && error.code === "closed");
});

test("a request that never ends is over after requestTimeout, whether or not the transport listens", async () => {
  const { client, clock, requests } = world({ answer: () => new Promise(() => {}), requestTimeout: 3 });
  const failed = assert.rejects(client.token({ timeout: 3.01 }), { code: "timeout" });
  await clock.advance(3_500);
  await failed;
  assert.equal(requests[0].signal.aborted, true);
});

test("only the timers of those who wait hold the process", async () => {
  const { client, clock } = world({ answer: () => new Promise(() => {}) });
  void client.token().catch(() => {});
  await quiet();
  assert.deepEqual(clock.timers.map(({ hold }) => hold).sort(), [false, true]);
});

test("a client made for tests has its token and asks for none", async () => {
  const client = Client.static("made-up", { apiOrigins: ["https://api.example"] });
  assert.equal((await client.token()).accessToken, "made-up");
  assert.deepEqual(await client.headers("GET", "https://api.example/"), { Authorization: "Bearer made-up" });
});

test("reject tells whether another token is worth a second try", async () => {
  const { client, requests } = world();
  await client.token();
  const token = await client.token();
  const url = "https://api.phoenixwallet.io/v1/wallets";
  assert.equal(await client.reject(token, "GET", url, 200), "pass");
  assert.equal(await client.reject(token, "GET", url, 401, new Headers()), "retry");
  assert.equal(client.peek(), undefined);
  const next = await client.token();
  assert.equal(next.accessToken, "token-2");
  assert.equal(requests.length, 2);
});

test("arguments of the wrong kind are refused by name", async () => {
  const { client } = world();
  for (const [call, name] of [
    [() => client.token({ minTtl: "soon" }), "minTtl"],
    [() => client.token({ timeout: -1 }), "timeout"],
    [() => client.token({ timeout: Number.NaN }), "timeout"],
    [() => client.token({ timeout: "5" }), "timeout"],
    [() => client.token({ force: 1 }), "force"],
    [async () => client.withScope(7), "scope"],
    [async () => client.withScope([7]), "scope"],
    [async () => client.withSubject(7), "subject"],
    [async () => client.withSubject("a", { refreshToken: 7 }), "refreshToken"],
    [async () => client.withSubject("a", { onRotated: 7 }), "onRotated"],
    [() => client.exchange("?", undefined), "session"],
    [() => client.authorizationUrl({ parameters: { prompt: 1 } }), "parameters.prompt"],
    [() => client.reject({}, "GET", "https://a.example/", 401), "token"],
  ]) {
    await assert.rejects(call, (error) => error instanceof UsageError && error.message.includes(`\`${name}\``));
  }
});

test("options of the wrong kind are refused by name", () => {
  const circular = {};
  circular.circular = circular;
  for (const [options, name] of [
    [{ http: "https://proxy.example" }, "http"],
    [{ onNotice: {} }, "onNotice"],
    [{ proxy: "proxy.example:8080" }, "proxy"],
    [{ proxy: "socks5://proxy.example" }, "proxy"],
    [{ http: fetch, ca: "x" }, "`ca`"],
    [{ tenantId: () => "x" }, "tenantId"],
    [{ scope: 12n }, "scope"],
    [{ colour: "red" }, "colour"],
    [{ requestTimeout: -1 }, "requestTimeout"],
    [{ policy: { softMargin: "x" } }, "softMargin"],
    [{ policy: circular }, "refers to itself"],
  ]) {
    assert.throws(
      () => new Client("phoenix-wallet", { clientId: "a", clientSecret: "b", ...options }),
      (error) => error instanceof UsageError && error.code === "invalid_option" && error.message.includes(name),
      name,
    );
  }
});

test("options that are no object, and a profile that is no profile, are refused", () => {
  for (const [profile, options] of [["phoenix-wallet", null], ["phoenix-wallet", "x"], [undefined, {}], [7, {}], ["{", {}]]) {
    assert.throws(() => new Client(profile, options), UsageError);
  }
});
