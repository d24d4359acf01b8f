import assert from "node:assert/strict";
import { test } from "node:test";
import { UsageError } from "remint";
import { API, quiet, tokenAnswer, world } from "./world.mjs";

const unauthorized = () => new Response("the API's own words", { status: 401, headers: { "www-authenticate": 'Bearer error="invalid_token"' } });
const redirect = (location, status = 302) => new Response(null, { status, headers: { location } });
const sent = ({ headers }) => headers.get("authorization");

test("fetch puts the token on the request and hands the answer over", async () => {
  const { client, calls } = world({ api: () => Response.json({ ok: true }) });
  const { fetch } = client;
  const response = await fetch(API, { headers: { "x-request-id": "7" } });
  assert.deepEqual(await response.json(), { ok: true });
  assert.equal(sent(calls[0]), "Bearer token-1");
  assert.equal(calls[0].headers.get("x-request-id"), "7");
  assert.equal(calls[0].method, "GET");
});

test("fetch takes a URL and a Request, whose members an init overrides", async () => {
  const { client, calls } = world();
  await client.fetch(new URL(API));
  await client.fetch(new Request(API, { method: "PUT", body: "one", headers: { "x-a": "1" } }));
  await client.fetch(new Request(API, { method: "PUT", body: "one" }), { method: "patch", headers: { "x-b": "2" }, body: "two" });
  assert.deepEqual(calls.map(({ method }) => method), ["GET", "PUT", "PATCH"]);
  assert.equal(await new Response(calls[1].body).text(), "one");
  assert.equal(calls[1].headers.get("x-a"), "1");
  assert.equal(calls[2].body, "two");
  assert.equal(calls[2].headers.get("x-b"), "2");
});

test("a Request's own Content-Type stays on it", async () => {
  const { client, calls } = world();
  await client.fetch(new Request(API, { method: "POST", body: new URLSearchParams({ a: "1" }) }));
  assert.equal(calls[0].headers.get("content-type"), "application/x-www-form-urlencoded;charset=UTF-8");
});

test("no token leaves for an origin that nobody declared", async () => {
  const { client, calls } = world();
  for (const url of ["https://evil.example/", "http://api.phoenixwallet.io/v1", "https://api.phoenixwallet.io:8443/"]) {
    await assert.rejects(client.fetch(url), (error) => error instanceof UsageError && error.code === "origin_not_allowed");
  }
  await assert.rejects(client.fetch("https://evil.example/"), /`apiOrigins`/);
  assert.equal(calls.length, 0);
});

for (const [kind, body, expected] of [
  ["string", () => "text", "text"],
  ["URLSearchParams", () => new URLSearchParams({ a: "b" }), "a=b"],
  ["Uint8Array", () => new TextEncoder().encode("bytes"), "bytes"],
  ["ArrayBuffer", () => new TextEncoder().encode("buffer").buffer, "buffer"],
  ["Blob", () => new Blob(["blob"]), "blob"],
]) {
  test(`after a 401 a request with a ${kind} is sent once more with a new token`, async () => {
    const bodies = [];
    const { client, calls, requests } = world({
      api: async (request, n) => {
        bodies.push(await new Response(request.body).text());
        return n === 1 ? unauthorized() : new Response("ok");
      },
    });
    await client.token();
    assert.equal(await (await client.fetch(API, { method: "POST", body: body() })).text(), "ok");
    assert.deepEqual(bodies, [expected, expected]);
    assert.deepEqual(calls.map(sent), ["Bearer token-1", "Bearer token-2"]);
    assert.equal(requests.length, 2);
  });
}

test("a Request made of something small is sent with its length, and once more after a 401", async () => {
  const bodies = [];
  const { client, calls } = world({
    api: (request, n) => {
      bodies.push(request.body);
      return n === 1 ? unauthorized() : new Response("ok");
    },
  });
  await client.token();
  const request = new Request(API, { method: "POST", body: JSON.stringify({ a: 1 }), headers: { "content-type": "application/json" } });
  assert.equal((await client.fetch(request)).status, 200);
  assert.deepEqual(bodies.map(String), ['{"a":1}', '{"a":1}']);
  assert.ok(bodies.every((body) => body instanceof Uint8Array));
  assert.deepEqual(calls.map(({ headers }) => headers.get("content-type")), ["application/json", "application/json"]);
  await assert.rejects(client.fetch(request), TypeError);
});

test("a Request with a long or slow body is passed on as a stream, whole and once", async () => {
  const slow = new ReadableStream({
    async pull(controller) {
      await new Promise((resolve) => setTimeout(resolve, 40));
      controller.enqueue(new TextEncoder().encode("x"));
      if (++slow.count === 4) controller.close();
    },
  });
  slow.count = 0;
  for (const [body, expected] of [["y".repeat(200_000), 200_000], [slow, 4]]) {
    let received;
    const { client, calls } = world({
      api: async (request) => {
        received = (await new Response(request.body).text()).length;
        return unauthorized();
      },
    });
    await client.token();
    assert.equal((await client.fetch(new Request(API, { method: "POST", body, duplex: "half" }))).status, 401);
    assert.equal(received, expected);
    assert.equal(calls.length, 1);
    assert.equal(calls[0].duplex, "half");
  }
});

test("a FormData is sent once more with its fields", async () => {
  const fields = [];
  const { client } = world({
    api: async (request, n) => {
      fields.push((await new Response(request.body).formData()).get("file"));
      return n === 1 ? unauthorized() : new Response("ok");
    },
  });
  const body = new FormData();
  body.set("file", "content");
  await client.token();
  assert.equal((await client.fetch(API, { method: "POST", body })).status, 200);
  assert.deepEqual(fields, ["content", "content"]);
});

test("a stream is not sent twice: the 401 is the caller's, with a notice, and the token is gone", async () => {
  const { client, calls, names } = world({ api: unauthorized });
  await client.token();
  const body = new Blob(["stream"]).stream();
  const response = await client.fetch(API, { method: "POST", body });
  assert.equal(response.status, 401);
  assert.equal(await response.text(), "the API's own words");
  assert.equal(calls.length, 1);
  assert.equal(calls[0].duplex, "half");
  assert.ok(names().includes("body_not_replayable"));
  assert.equal(client.peek(), undefined);
});

test("a second 401 is the caller's, and costs no third request", async () => {
  const { client, calls, requests } = world({ api: unauthorized });
  await client.token();
  const response = await client.fetch(API);
  assert.equal(response.status, 401);
  assert.equal(await response.text(), "the API's own words");
  assert.equal(calls.length, 2);
  assert.equal(requests.length, 2);
});

test("a token that was minted in this very call is not asked for again", async () => {
  const { client, calls, requests } = world({ api: unauthorized });
  assert.equal((await client.fetch(API)).status, 401);
  assert.equal(calls.length, 1);
  assert.equal(requests.length, 1);
});

test("no other token helps against insufficient_scope", async () => {
  const { client, calls } = world({
    api: () => new Response("", { status: 401, headers: { "www-authenticate": 'Bearer error="insufficient_scope"' } }),
  });
  await client.token();
  assert.equal((await client.fetch(API)).status, 401);
  assert.equal(calls.length, 1);
});

test("an API that always says 401 doesn't cost a token request per call", async () => {
  const { client, requests } = world({ api: unauthorized });
  for (let i = 0; i < 20; i++) await client.fetch(API);
  assert.ok(requests.length <= 3, `${requests.length} token requests`);
});

test("an answer other than 401 ends the count of refusals", async () => {
  let refuse = true;
  const { client, calls } = world({ api: (request) => (refuse && sent(request) !== "Bearer token-2" ? unauthorized() : new Response("ok")) });
  await client.token();
  assert.equal((await client.fetch(API)).status, 200);
  refuse = false;
  await client.fetch(API);
  refuse = true;
  assert.deepEqual(calls.map(sent), ["Bearer token-1", "Bearer token-2", "Bearer token-2"]);
});

test("if the new token can't be had, its error is the caller's", async () => {
  const { client } = world({ api: unauthorized, answer: (n) => (n === 1 ? tokenAnswer("one") : Response.json({ error: "invalid_client" }, { status: 401 })) });
  await client.token();
  await assert.rejects(client.fetch(API), { code: "invalid_client" });
});

test("redirects within the origin keep the token", async () => {
  const { client, calls } = world({ api: (_, n) => (n < 3 ? redirect(`/v1/hop-${n}`) : new Response("there")) });
  assert.equal(await (await client.fetch(API)).text(), "there");
  assert.deepEqual(calls.map(({ url }) => new URL(url).pathname), ["/v1/wallets", "/v1/hop-1", "/v1/hop-2"]);
  assert.deepEqual(calls.map(sent), ["Bearer token-1", "Bearer token-1", "Bearer token-1"]);
});

test("at another origin nothing of ours is on the request, on the way back neither", async () => {
  const places = ["https://elsewhere.example/", "https://api.phoenixwallet.io/v1/back"];
  const { client, calls } = world({ api: (_, n) => (n <= 2 ? redirect(places[n - 1], 307) : new Response("there")) });
  const response = await client.fetch(API, { headers: { cookie: "a=b", "x-mine": "1" } });
  assert.equal(await response.text(), "there");
  assert.deepEqual(calls.map(sent), ["Bearer token-1", null, null]);
  assert.deepEqual(calls.map(({ headers }) => headers.get("cookie")), ["a=b", null, null]);
  assert.deepEqual(calls.map(({ headers }) => headers.get("x-mine")), ["1", "1", "1"]);
});

test("a 401 of another origin says nothing about our token", async () => {
  const { client, calls } = world({ api: (_, n) => (n === 1 ? redirect("https://elsewhere.example/") : unauthorized()) });
  await client.token();
  assert.equal((await client.fetch(API)).status, 401);
  assert.equal(calls.length, 2);
  assert.equal(client.peek().accessToken, "token-1");
});

test("301, 302 and 303 turn a POST into a GET without a body, 307 and 308 don't", async () => {
  for (const [status, method] of [[301, "GET"], [302, "GET"], [303, "GET"], [307, "POST"], [308, "POST"]]) {
    const { client, calls } = world({ api: (_, n) => (n === 1 ? redirect("/next", status) : new Response("ok")) });
    await client.fetch(API, { method: "POST", body: "x", headers: { "content-type": "text/plain" } });
    assert.equal(calls[1].method, method, String(status));
    assert.equal(calls[1].body, method === "GET" ? undefined : "x");
    assert.equal(calls[1].headers.get("content-type"), method === "GET" ? null : "text/plain");
  }
});

test("301 and 302 leave other methods alone, 303 leaves HEAD alone", async () => {
  for (const [status, before, after] of [[301, "PUT", "PUT"], [302, "DELETE", "DELETE"], [303, "PUT", "GET"], [303, "HEAD", "HEAD"]]) {
    const { client, calls } = world({ api: (_, n) => (n === 1 ? redirect("/next", status) : new Response(null)) });
    await client.fetch(API, { method: before });
    assert.equal(calls[1].method, after);
  }
});

test("twenty redirects are followed, and no more", async () => {
  const { client, calls } = world({ api: (_, n) => (n <= 20 ? redirect(`/${n}`) : new Response("ok")) });
  assert.equal((await client.fetch(API)).status, 200);
  assert.equal(calls.length, 21);
  const endless = world({ api: () => redirect("/again") });
  await assert.rejects(endless.client.fetch(API), TypeError);
  assert.equal(endless.calls.length, 21);
});

test("a stream can't follow a redirect that wants it again", async () => {
  const { client } = world({ api: () => redirect("/next", 307) });
  await assert.rejects(client.fetch(API, { method: "POST", body: new Blob(["x"]).stream() }), TypeError);
});

test("redirect: manual and redirect: error mean what they mean to fetch", async () => {
  const { client } = world({ api: () => redirect("/next") });
  const response = await client.fetch(API, { redirect: "manual" });
  assert.equal(response.status, 302);
  await assert.rejects(client.fetch(API, { redirect: "error" }), TypeError);
  await assert.rejects(client.fetch(new Request(API, { redirect: "error" })), TypeError);
});

test("a redirect to something that is not HTTP is refused", async () => {
  const { client } = world({ api: () => redirect("file:///etc/passwd") });
  await assert.rejects(client.fetch(API), TypeError);
});

test("a signal ends the waiting for the token, and the request", async () => {
  const reason = new Error("enough");
  const { client } = world({ answer: () => new Promise(() => {}) });
  const controller = new AbortController();
  const gone = client.fetch(API, { signal: controller.signal });
  await quiet();
  controller.abort(reason);
  await assert.rejects(gone, reason);

  const other = world({ api: ({ signal }) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))) });
  const again = new AbortController();
  const ended = other.client.fetch(new Request(API, { signal: again.signal }));
  await quiet();
  again.abort(reason);
  await assert.rejects(ended, reason);
});

test("what the API's transport throws is the caller's as it is", async () => {
  const cause = new TypeError("fetch failed");
  const { client } = world({ api: () => Promise.reject(cause) });
  await assert.rejects(client.fetch(API), cause);
});

test("headers tells what to put on a request that somebody else sends", async () => {
  const { client } = world();
  assert.deepEqual(await client.headers("GET", API), { Authorization: "Bearer token-1" });
  await assert.rejects(client.headers("GET", "not a URL"), { code: "origin_not_allowed" });
});
