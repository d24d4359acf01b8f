// What each of the five providers' documentation promises, against a server that checks it strictly.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { connect } from "node:net";
import { test } from "node:test";
import { inspect } from "node:util";
import { SECRET, Lane, authority, ca } from "./authority.mjs";

for (const provider of ["phoenix-security", "phoenix-wallet", "phoenix-market", "personify"]) {
  test(`${provider}: a token, an API call, and recovery after a revocation`, async () => {
    const lane = new Lane();
    const client = lane.client(provider);
    const api = `${lane.url(provider)}/v1/wallets`;
    const first = await (await client.fetch(api)).json();
    assert.equal(first.ok, true);
    assert.equal(first.token_number, 1);
    await lane.control("POST", "revoke", {});
    const second = await client.fetch(api, { method: "POST", body: "x" }).then((response) => response.json());
    if (provider === "phoenix-wallet") {
      // The token was for reading, and the API says so. No other token would help.
      assert.equal(second.ok, undefined);
    } else {
      assert.equal(second.token_number, 2);
      assert.equal(second.body_bytes, 1);
    }
    const log = await lane.control("GET", "log?kind=token");
    assert.deepEqual(log.flatMap(({ problems }) => problems), []);
  });

  test(`${provider}: over TLS, with an authority of its own`, async () => {
    const lane = new Lane();
    const client = lane.client(provider, { origin: "https", ca });
    const response = await client.fetch(`${lane.url(provider, { origin: "https" })}/v1/wallets`);
    assert.equal((await response.json()).ok, true);
    await client.close();
  });
}

test("a certificate that nobody signed is refused before anything is sent, and the error names `ca`", async () => {
  const lane = new Lane();
  const client = lane.client("phoenix-wallet", { origin: "https" });
  await assert.rejects(client.token({ timeout: 1 }), (error) => {
    assert.equal(error.code, "transport_failed");
    assert.match(error.hint, /`ca`/);
    return true;
  });
  assert.equal(await lane.tokenRequests(), 0);
});

test("through a proxy: it sees where to, and nothing of what is said there", async (t) => {
  const lane = new Lane();
  const seen = [];
  const proxy = createServer().on("connect", (request, socket) => {
    seen.push([request.url, request.headers["proxy-authorization"]]);
    if (request.headers["proxy-authorization"] !== `Basic ${Buffer.from("user:p@ss").toString("base64")}`) {
      return socket.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    }
    const [host, port] = request.url.split(":");
    const upstream = connect(Number(port), host, () => socket.write("HTTP/1.1 200 OK\r\n\r\n"));
    upstream.pipe(socket).pipe(upstream);
    for (const end of [socket, upstream]) end.on("error", () => [socket, upstream].forEach((each) => each.destroy()));
  });
  await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  // Also when an assertion fails: what listens would keep the run alive.
  t.after(() => {
    proxy.closeAllConnections();
    proxy.close();
  });
  const address = `127.0.0.1:${proxy.address().port}`;
  const api = `${lane.url("personify", { origin: "https" })}/v1/x`;

  const client = lane.client("personify", { origin: "https", ca, proxy: `http://user:p%40ss@${address}` });
  assert.equal((await (await client.fetch(api, { method: "POST", body: "x" })).json()).body_bytes, 1);
  assert.ok(seen.length >= 1 && seen.every(([to]) => to === new URL(api).host));

  const refused = lane.client("personify", { origin: "https", ca, proxy: `http://canary@${address}` });
  // Time for all three attempts, so that the last one decides and not the clock.
  await assert.rejects(refused.token({ timeout: 10 }), (error) => {
    assert.equal(error.code, "transport_failed");
    assert.doesNotMatch(inspect(error), /canary/);
    return /407/.test(error.cause.message);
  });
  const absent = lane.client("personify", { origin: "https", ca, proxy: "http://127.0.0.1:9" });
  await assert.rejects(absent.token({ timeout: 10 }), { code: "transport_failed" });
  await client.close();
});

test("rapidomize: the code flow, rotation, and a reused refresh token", async () => {
  const lane = new Lane();
  const rotated = [];
  const client = lane.client("rapidomize");
  const { url, session } = await client.authorizationUrl();
  assert.equal(new URL(url).searchParams.get("code_challenge_method"), "S256");
  const redirect = await fetch(url, { redirect: "manual" });
  const callback = redirect.headers.get("location");
  const token = await client.exchange(callback, session, {
    subject: "alice",
    onRotated: (refreshToken, subject) => void rotated.push([refreshToken, subject]),
  });
  assert.equal(token.tokenType, "Bearer");

  const alice = client.withSubject("alice");
  const api = `${lane.url("rapidomize")}/v1/things`;
  assert.equal((await (await alice.fetch(api)).json()).ok, true);
  const next = await alice.token({ force: true });
  assert.notEqual(next.accessToken, token.accessToken);
  assert.equal((await (await alice.fetch(api)).json()).ok, true);
  assert.ok(rotated.length >= 1);
  assert.equal(rotated.at(-1)[1], "alice");
  assert.notEqual(rotated[0][0], rotated.at(-1)[0]);

  // The callback is good once.
  await assert.rejects(client.exchange(callback, session, { subject: "alice" }), { code: "state_mismatch" });
  // A user whom nobody authorized has no token.
  await assert.rejects(client.withSubject("bob").token(), { code: "reauthorization_required" });
});

test("rapidomize: a callback may be a URL, a query or its parameters", async () => {
  const lane = new Lane();
  const client = lane.client("rapidomize");
  for (const shape of [(url) => url, (url) => url.search, (url) => url.searchParams, (url) => Object.fromEntries(url.searchParams)]) {
    const { url, session } = await client.authorizationUrl();
    const redirect = await fetch(url, { redirect: "manual" });
    const callback = new URL(redirect.headers.get("location"));
    const token = await client.exchange(shape(callback), session, { subject: "alice" });
    assert.equal(token.tokenType, "Bearer");
  }
});

test("rapidomize: a refresh token out of your database, and the new one back into it", async () => {
  const lane = new Lane();
  const { refresh_token: refreshToken } = await lane.control("POST", "mint", { provider: "rapidomize", subject: "carol" });
  let saved = refreshToken;
  const client = lane.client("rapidomize");
  const carol = client.withSubject("carol", {
    refreshToken,
    onRotated: async (next) => {
      await new Promise((resolve) => setTimeout(resolve, 50));
      saved = next;
    },
  });
  await carol.token();
  // It was awaited before the access token was handed out.
  assert.notEqual(saved, refreshToken);
  const again = lane.client("rapidomize").withSubject("carol", { refreshToken: saved });
  assert.equal((await (await again.fetch(`${lane.url("rapidomize")}/v1/me`)).json()).subject, "carol");
});

test("rapidomize: an API token goes as Basic, in the header that you choose, or insecurely into a URL", async () => {
  const lane = new Lane();
  const base = lane.url("rapidomize");
  for (const authHeader of ["Authorization", "x-rpz-auth"]) {
    const client = lane.client("rapidomize", {
      grant: "api_token",
      apiToken: "t0ken+/%&: odd",
      authHeader,
      clientSecret: undefined,
      redirectUri: undefined,
    });
    const answer = await (await client.fetch(`${base}/v1/things`)).json();
    assert.equal(answer.ok, true, JSON.stringify(answer));
    assert.equal(answer.credential, "api_token");
    const { url, headers } = await client.insecureUrl(`${base}/v1/things`);
    assert.equal(headers["cache-control"], "no-store");
    assert.equal((await (await fetch(url)).json()).ok, true);
  }
  assert.equal(await lane.tokenRequests(), 0);
});

test("phoenix-market: the page in the iframe takes the token in its URL", async () => {
  const lane = new Lane();
  const client = lane.client("phoenix-market");
  const { url } = await client.insecureUrl(`${lane.url("phoenix-market")}/embed?page=1`);
  assert.equal(new URL(url).searchParams.get("page"), "1");
  assert.equal((await fetch(url)).status, 200);
  await assert.rejects(lane.client("phoenix-wallet").insecureUrl(`${lane.url("phoenix-wallet")}/x`), { code: "invalid_option" });
});

test("a redirect to another origin takes the token off, one within the origin keeps it", async () => {
  const lane = new Lane();
  const client = lane.client("personify");
  const base = lane.url("personify");
  const through = async (to) => (await client.fetch(`${base}/v1/redirect?${new URLSearchParams({ to })}`)).json();
  const elsewhere = await through(`${authority.other}/${lane.name}/echo`);
  for (const name of ["authorization", "x-tenant-id"]) assert.ok(!elsewhere.header_names.includes(name), name);
  const here = await through(`${authority.http}/${lane.name}/echo`);
  for (const name of ["authorization", "x-tenant-id"]) assert.ok(here.header_names.includes(name), name);
});

test("a wrong secret is told once, with what to do, and isn't tried again at once", async () => {
  const lane = new Lane();
  const client = lane.client("phoenix-wallet", { clientSecret: `${SECRET}?` });
  for (let i = 0; i < 20; i++) await assert.rejects(client.token(), { code: "invalid_client" });
  assert.equal(await lane.tokenRequests(), 1);
});
