// Many callers at once.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Lane, MovedClock, timed, within } from "./authority.mjs";

const crowd = (count, call) => Promise.all(Array.from({ length: count }, (_, index) => call(index)));
const HOUR = 3_600_000;

test("1,000 callers on a cold key cause one token request", async () => {
  const lane = new Lane();
  await lane.settings({ token_latency_ms: 100 });
  const client = lane.client("phoenix-wallet");
  const tokens = await within(30, crowd(1000, () => client.token()));
  assert.equal(new Set(tokens.map(({ accessToken }) => accessToken)).size, 1);
  assert.equal(await lane.tokenRequests(), 1);
});

test("1,000 callers at the soft margin cause one request, and none of them waits for it", async () => {
  const lane = new Lane();
  const clock = new MovedClock();
  const client = lane.client("phoenix-wallet", { clock });
  const first = await client.token();
  await lane.settings({ token_latency_ms: 2000 });
  clock.offset = HOUR - 200_000;
  let tokens;
  const took = await timed(crowd(1000, () => client.token()).then((all) => (tokens = all)));
  assert.ok(took < 1000, `${took} ms`);
  assert.ok(tokens.every(({ accessToken }) => accessToken === first.accessToken));
  await client.close();
  assert.equal(await lane.tokenRequests(), 2);
});

test("1,000 callers at the hard margin wait for the one request", async () => {
  const lane = new Lane();
  const clock = new MovedClock();
  const client = lane.client("phoenix-wallet", { clock });
  const first = await client.token();
  await lane.settings({ token_latency_ms: 300 });
  clock.offset = HOUR - 20_000;
  const tokens = await within(30, crowd(1000, () => client.token()));
  const [next, ...others] = new Set(tokens.map(({ accessToken }) => accessToken));
  assert.notEqual(next, first.accessToken);
  assert.deepEqual(others, []);
  assert.equal(await lane.tokenRequests(), 2);
});

test("1,000 keys at once cause 1,000 requests, and none waits for another", async () => {
  const lane = new Lane();
  const scopes = Array.from({ length: 1000 }, (_, index) => `scope-${index}`);
  await lane.control("POST", "clients", { client_id: "many", client_secret: "x", scopes });
  await lane.settings({ token_latency_ms: 1000 });
  // A busy machine may take a while for a thousand connections.
  const client = lane.client("phoenix-market", { clientId: "many", clientSecret: "x", requestTimeout: 60 });
  const took = await timed(within(60, crowd(1000, (index) => client.withScope(scopes[index]).token({ timeout: 60 }))));
  const { token } = await lane.control("GET", "counters");
  assert.equal(token.total, 1000);
  // One after the other they would take 1,000 s.
  assert.ok(took < 30_000, `${took} ms`);
  assert.ok(token.running_max > 100, `${token.running_max} at once`);
});

test("a slow key does not delay another", async () => {
  const lane = new Lane();
  await lane.control("POST", "clients", { client_id: "two", client_secret: "x", scopes: ["slow", "fast"] });
  const client = lane.client("phoenix-market", { clientId: "two", clientSecret: "x" });
  await lane.fault({ endpoint: "token", hold: true });
  const slow = client.withScope("slow").token();
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.ok((await timed(client.withScope("fast").token())) < 5_000);
  await lane.control("POST", "release");
  await slow;
});

test("300 callers cancelled at random harm nobody", async () => {
  const lane = new Lane();
  await lane.settings({ token_latency_ms: 500 });
  const client = lane.client("phoenix-wallet");
  const results = await within(
    30,
    Promise.allSettled(
      Array.from({ length: 1000 }, (_, index) => {
        if (index % 10 >= 3) return client.token();
        const controller = new AbortController();
        setTimeout(() => controller.abort(), Math.random() * 400);
        return client.token({ signal: controller.signal });
      }),
    ),
  );
  assert.equal(results.filter(({ status }) => status === "fulfilled").length, 700);
  assert.ok(results.every(({ status, reason }) => status === "fulfilled" || reason.name === "AbortError"));
  assert.equal(await lane.tokenRequests(), 1);
  assert.ok(client.peek() !== undefined);
});

test("even if all who wait are cancelled, the request fills the cache", async () => {
  const lane = new Lane();
  await lane.settings({ token_latency_ms: 300 });
  const client = lane.client("phoenix-wallet");
  await Promise.allSettled(Array.from({ length: 20 }, () => client.token({ signal: AbortSignal.timeout(50) })));
  await client.token();
  assert.equal(await lane.tokenRequests(), 1);
});

test("100 API calls with a revoked token cost one token request, and all succeed", async () => {
  const lane = new Lane();
  const client = lane.client("personify");
  await client.token();
  await lane.control("POST", "revoke", {});
  const api = `${lane.url("personify")}/v1/people`;
  const responses = await within(60, crowd(100, () => client.fetch(api, { method: "POST", body: "x" })));
  assert.ok(responses.every(({ ok }) => ok));
  await Promise.all(responses.map((response) => response.text()));
  assert.equal(await lane.tokenRequests(), 2);
});
