// Nothing that can be printed, serialized or thrown may hold a secret.
import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { MessageChannel } from "node:worker_threads";
import { Client } from "remint";
import { Core } from "remint/core";
import { API, SECRET, quiet, tokenAnswer, world } from "./world.mjs";

const TOKEN = "canary-token";

/** Everything that a logger could make of a value. */
function printed(value) {
  return [
    inspect(value, { depth: 10, showHidden: true, getters: true }),
    inspect(value, { depth: 0 }),
    JSON.stringify(value),
    String(value),
    `${value?.stack} ${value?.message} ${value?.name}`,
    Object.entries(value ?? {}).flat(5).map(String).join(" "),
  ].join("\n");
}

function assertSilent(value, what) {
  const text = printed(value);
  for (const canary of [TOKEN, SECRET, encodeURIComponent(SECRET), "canary"]) {
    assert.ok(!text.includes(canary), `${what} shows ${canary}: ${text.slice(0, 400)}`);
  }
}

test("clients, tokens and notices print no secret", async () => {
  const { client, notices } = world({ answer: () => tokenAnswer(TOKEN) });
  const token = await client.token();
  assertSilent({ token: [token, new Map([[token, token]])] }, "a token inside of something");
  assertSilent(token, "a token");
  assertSilent(client, "a client");
  assertSilent(client.withSubject("alice"), "a view");
  assertSilent(notices, "the notices");
  assert.ok(inspect(token).includes("Bearer"));
  assert.equal(token.accessToken, TOKEN);
});

test("a client or token that is sent to a worker arrives without a secret, or not at all", async () => {
  const { client } = world({ answer: () => tokenAnswer(TOKEN) });
  const token = await client.token();
  assert.throws(() => structuredClone(client), { name: "DataCloneError" });
  assertSilent(structuredClone(token), "a cloned token");
  const { port1, port2 } = new MessageChannel();
  assert.throws(() => port1.postMessage(client), { name: "DataCloneError" });
  port1.close();
  port2.close();
});

test("no error prints a secret, whatever the server or the host say", async () => {
  const dirty = [
    () => Response.json({ error: "invalid_client", error_description: SECRET, error_uri: `https://x/${SECRET}` }, { status: 401 }),
    () => Response.json({ error: SECRET }, { status: 400 }),
    () => new Response(`<html>${SECRET}</html>`, { status: 502 }),
    () => new Response(`{"access_token": "${TOKEN}", `, { status: 200 }),
    () => tokenAnswer(`${TOKEN}\r\nx: y`),
    () => tokenAnswer(TOKEN, { token_type: SECRET }),
    () => tokenAnswer(TOKEN, { expires_in: SECRET }),
    () => new Response(null, { status: 302, headers: { location: `https://x/?${SECRET}` } }),
    (_, request) => Promise.reject(Object.assign(new Error("request failed"), { config: { data: request.body } })),
    (_, request) => Promise.reject(new Error(`request failed: ${request.body}`)),
    () => Promise.reject(`thrown ${SECRET}`),
  ];
  for (const answer of dirty) {
    const { client, clock, notices } = world({ answer });
    const outcome = client.token({ timeout: 1 }).then(
      () => undefined,
      (error) => error,
    );
    await clock.advance(2_000);
    const error = await outcome;
    assert.ok(error instanceof Error, String(answer));
    assert.equal(typeof error.code, "string");
    assert.doesNotMatch(inspect(error, { depth: 10 }), /canary/, String(answer));
    assert.doesNotMatch(JSON.stringify(error), /canary/, String(answer));
    assert.doesNotMatch(`${error} ${error.stack}`, /canary/, String(answer));
    assertSilent(notices, "the notices");
  }
});

test("the cause of an error is there for the program, and only named when printed", async () => {
  const cause = Object.assign(new Error(SECRET), { code: "ECONNRESET", config: SECRET });
  const { client, clock } = world({ answer: () => Promise.reject(cause) });
  const failed = client.token({ timeout: 0.01 }).catch((error) => error);
  await clock.advance(1_000);
  const error = await failed;
  assert.equal(error.cause, cause);
  assert.match(inspect(error), /\[cause\]: Error \(ECONNRESET\)/);
  assert.doesNotMatch(inspect(error), /canary/);
});

test("a wrong option is named without its value where that may be secret", () => {
  for (const clientSecret of [`${SECRET}\n`, `${SECRET}\u0000`, { secret: SECRET }, [SECRET]]) {
    assert.throws(() => new Client("phoenix-wallet", { clientId: "a", clientSecret }), (error) => {
      assertSilent(error, "the error");
      return error.message.includes("`clientSecret`");
    });
  }
  assert.throws(() => new Client("phoenix-wallet", { clientId: "a", clientSecret: SECRET, apiToken: SECRET }), (error) => {
    assertSilent(error, "the error");
    return true;
  });
});

test("the step machine's records print no secret", () => {
  const core = new Core({ profile: "phoenix-wallet", client_id: "a", client_secret: SECRET });
  const exchange = core.build({ client_credentials: {} });
  const body = Buffer.from(JSON.stringify({ access_token: TOKEN, token_type: "Bearer", expires_in: 60 }));
  const record = exchange.finish(200, [], body, { wall: 0, boot: 0 });
  assert.equal(record.access_token, TOKEN);
  assert.doesNotMatch(inspect([core, exchange, record], { depth: 5 }), /canary/);
});

test("what fetch attaches is not left on the request of the caller", async () => {
  const { client } = world({ answer: () => tokenAnswer(TOKEN) });
  const headers = new Headers({ "x-mine": "1" });
  const request = new Request(API, { headers });
  await client.fetch(request);
  await client.fetch(API, { headers });
  await quiet();
  assert.deepEqual([...headers], [["x-mine", "1"]]);
  assert.deepEqual([...request.headers], [["x-mine", "1"]]);
});
