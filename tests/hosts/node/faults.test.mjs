// Each way in which the authority can misbehave: the outcome that is expected, no hang, no secret in what is said.
import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { SECRET, Lane, MovedClock, within } from "./authority.mjs";

const passing = { code: "server_unavailable", retryable: true };
const lost = { code: "transport_failed", retryable: true };
const garbled = { code: "unexpected_answer", retryable: false };

// With a rule that never ends, what a caller with two seconds of patience is told.
const LASTING = [
  ["500", { status: 500 }, { ...passing, status: 500 }],
  ["502 with a page", { status: 502, body: "<html>", content_type: "text/html" }, { ...passing, status: 502 }],
  ["503", { status: 503 }, { ...passing, status: 503 }],
  ["503 with Retry-After in seconds", { status: 503, retry_after: "7" }, { ...passing, status: 503, least: 6 }],
  ["429 with Retry-After as a date", { status: 429, retry_after: "date+9" }, { ...passing, status: 429, least: 7 }],
  ["408", { status: 408 }, { ...passing, status: 408 }],
  ["an OAuth error in a 503", { status: 503, error: "invalid_client" }, { ...passing, status: 503 }],
  ["invalid_client", { status: 401, error: "invalid_client" }, { code: "invalid_client", retryable: false, status: 401 }],
  ["invalid_scope", { status: 400, error: "invalid_scope" }, { code: "invalid_scope", retryable: false, status: 400 }],
  ["a bare 401", { status: 401 }, { code: "invalid_client", retryable: false, status: 401 }],
  ["a bare 403", { status: 403 }, { ...garbled, status: 403 }],
  ["a bare 404", { status: 404 }, { ...garbled, status: 404 }],
  ["a code that nobody knows", { status: 400, error: "whatever" }, { ...garbled, status: 400 }],
  ["garbage", { garbage: true }, { ...garbled, status: 200 }],
  ["an empty 200", { status: 200, body: "" }, { ...garbled, status: 200 }],
  ["a page with 200", { body: "<html></html>", content_type: "text/html" }, { ...garbled, status: 200 }],
  ["a redirect", { redirect: "https://elsewhere.example/" }, { ...garbled, status: 307 }],
  ["100 MB", { body_bytes: 104_857_600 }, { code: "answer_too_large", retryable: false }],
  ["a connection cut before", { cut: "before" }, lost],
  ["a connection cut after processing", { cut: "after_processing" }, lost],
  ["a connection cut after the headers", { cut: "after_headers" }, lost],
  ["a connection cut in the body", { cut: "mid_body" }, lost],
  ["no answer", { hold: true }, { code: "timeout", retryable: true }],
  ["a body byte by byte", { slow_body_ms_per_byte: 100 }, { code: "timeout", retryable: true }],
];

for (const [name, rule, expected] of LASTING) {
  test(`${name}, for good: ${expected.code}`, async () => {
    const lane = new Lane();
    await lane.fault({ endpoint: "token", count: null, ...rule });
    const notices = [];
    const client = lane.client("phoenix-wallet", { requestTimeout: 0.7, onNotice: (notice) => notices.push(notice) });
    const results = await within(20, Promise.allSettled(Array.from({ length: 20 }, () => client.token({ timeout: 2 }))));
    for (const { status, reason } of results) {
      assert.equal(status, "rejected");
      const { least, ...fields } = expected;
      for (const [field, value] of Object.entries(fields)) assert.equal(reason[field], value, `${field} of ${inspect(reason)}`);
      if (least !== undefined) assert.ok(reason.retryAfter >= least, `retryAfter ${reason.retryAfter}`);
      for (const text of [inspect(reason, { depth: 9 }), JSON.stringify(reason), String(reason)]) {
        assert.ok(!text.includes(SECRET) && !text.includes(encodeURIComponent(SECRET)), text);
      }
    }
    assert.ok(!JSON.stringify(notices).includes(SECRET));
    assert.ok((await lane.tokenRequests()) <= 5);
    await lane.control("POST", "release");
    await within(10, client.close());
  });
}

for (const [name, rule] of LASTING) {
  test(`${name}, while a token is in hand: nobody fails`, async () => {
    const lane = new Lane();
    const clock = new MovedClock();
    const client = lane.client("phoenix-wallet", { clock, requestTimeout: 0.5 });
    const { accessToken } = await client.token();
    await lane.fault({ endpoint: "token", count: null, ...rule });
    for (const left of [200_000, 20_000]) {
      clock.offset = 3_600_000 - left;
      const tokens = await within(20, Promise.all(Array.from({ length: 50 }, () => client.token())));
      assert.ok(tokens.every((token) => token.accessToken === accessToken));
    }
    await lane.control("POST", "release");
    await within(10, client.close());
  });
}

for (const [name, rule] of LASTING.filter(([, , { retryable }]) => retryable)) {
  if (rule.retry_after !== undefined) continue;
  test(`${name}, once: the next attempt succeeds within the caller's patience`, async () => {
    const lane = new Lane();
    await lane.fault({ endpoint: "token", ...rule });
    const client = lane.client("phoenix-wallet", { requestTimeout: 1 });
    const token = await within(20, client.token());
    assert.equal(token.tokenType, "Bearer");
    assert.equal(await lane.tokenRequests(), 2);
    await lane.control("POST", "release");
    await client.close();
  });
}

test("nothing listens: the caller is told so, and no error holds the request", async () => {
  const lane = new Lane();
  const client = lane.client("phoenix-wallet", { tokenEndpoint: "http://127.0.0.1:9/token" });
  await assert.rejects(within(20, client.token({ timeout: 1 })), (error) => {
    assert.equal(error.code, "transport_failed");
    assert.ok(error.cause instanceof Error);
    assert.ok(!inspect(error, { depth: 9 }).includes(encodeURIComponent(SECRET)));
    return true;
  });
});

for (const [name, settings] of [
  ["expires_in as a string", { expires_in: "3600" }],
  ["expires_in as 1e3", { expires_in: 1e3 }],
  ["no expires_in", { omit_expires_in: true }],
  ["a Date 10 minutes ahead", { date_skew_s: 600 }],
  ["a Date 10 minutes behind", { date_skew_s: -600 }],
  ["an access token of 16 KB", { token_bytes: 16_000 }],
]) {
  test(`${name}: the token is kept`, async () => {
    const lane = new Lane();
    await lane.settings(settings);
    const client = lane.client("phoenix-wallet");
    await client.token();
    await client.token();
    assert.ok(client.peek().expiresIn() > 800);
    assert.equal(await lane.tokenRequests(), 1);
  });
}

test("a lifetime of one second costs no token request per call", async () => {
  const lane = new Lane();
  await lane.settings({ lifetime_s: 1 });
  const client = lane.client("phoenix-wallet");
  const started = performance.now();
  let calls = 0;
  while (performance.now() - started < 3_000) {
    assert.ok((await client.token()).expiresIn() > 0);
    calls++;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  const requests = await lane.tokenRequests();
  assert.ok(requests <= 8, `${requests} requests for ${calls} calls in 3 s`);
});

test("an answer that was lost after a rotation costs one more attempt, not the user's consent", async () => {
  const lane = new Lane();
  await lane.settings({ reuse_grace_s: 60 });
  const { refresh_token: refreshToken } = await lane.control("POST", "mint", { provider: "rapidomize", subject: "dave" });
  await lane.fault({ endpoint: "token", grant: "refresh_token", cut: "after_processing" });
  const dave = lane.client("rapidomize").withSubject("dave", { refreshToken });
  assert.equal((await within(20, dave.token())).tokenType, "Bearer");
});

test("an answer that was lost after a rotation, without grace: authorize again, and the error says why", async () => {
  const lane = new Lane();
  const { refresh_token: refreshToken } = await lane.control("POST", "mint", { provider: "rapidomize", subject: "erin" });
  await lane.fault({ endpoint: "token", grant: "refresh_token", cut: "after_processing" });
  const erin = lane.client("rapidomize").withSubject("erin", { refreshToken });
  await assert.rejects(within(20, erin.token()), (error) => {
    assert.equal(error.code, "reauthorization_required");
    assert.equal(error.ambiguous, true);
    return true;
  });
});

test("phoenix-security: a 401 with an empty body and no challenge gets another token", async () => {
  const lane = new Lane();
  const client = lane.client("phoenix-security");
  await client.token();
  await lane.control("POST", "revoke", {});
  assert.equal((await client.fetch(`${lane.url("phoenix-security")}/v1/assets`)).status, 200);
  assert.equal(await lane.tokenRequests(), 2);
});
