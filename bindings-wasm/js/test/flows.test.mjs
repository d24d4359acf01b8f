// What is more than one question for a token: people on other devices, tokens for tokens, and what a server knows of one.
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { inspect } from "node:util";
import { Client } from "remint";
import { ManualClock, quiet, tokenAnswer } from "./world.mjs";

const BASE = "https://auth.example.com";
const PROFILE = {
  name: "server",
  title: "Server",
  grants: ["client_credentials", "authorization_code", "device_code", "ciba", "token_exchange", "jwt_bearer"],
  token: { endpoint: `${BASE}/token`, client_auth: ["client_secret_basic", "none"] },
  authorization: { endpoint: `${BASE}/authorize`, issuer: BASE },
  endpoints: {
    device_authorization: `${BASE}/device`,
    backchannel_authentication: `${BASE}/ciba`,
    pushed_authorization_request: `${BASE}/par`,
    introspection: `${BASE}/introspect`,
    revocation: `${BASE}/revoke`,
  },
  api_origins: ["https://api.example.com"],
};
const pending = () => Response.json({ error: "authorization_pending" }, { status: 400 });
const DEVICE = { device_code: "canary-device", user_code: "WDJB-MJHT", verification_uri: "https://example.com/device", expires_in: 600, interval: 5 };

/** A client, and what arrives at each endpoint. `answers` has a function for each, called with the request's number and its form. */
function world(answers, options = {}) {
  const clock = new ManualClock();
  const requests = [];
  const client = new Client(PROFILE, {
    clientId: "someone",
    clientSecret: "canary-secret",
    clock,
    http: async (url, init) => {
      const path = new URL(url).pathname.slice(1);
      const form = Object.fromEntries(new URLSearchParams(init.body));
      requests.push({ path, form, body: init.body });
      return answers[path](requests.filter((request) => request.path === path).length, form);
    },
    ...options,
  });
  return { client, clock, requests, forms: (path) => requests.filter((request) => request.path === path).map(({ form }) => form) };
}

function devices(token) {
  return world({ device: () => Response.json(DEVICE), token }, { grant: "device_code", scope: "a" });
}

test("a person authorizes on another device", async () => {
  const { client, clock, forms } = devices((n) => (n < 3 ? pending() : tokenAnswer("token", { refresh_token: "canary-refresh" })));
  const asked = await client.deviceAuthorization({ scope: ["a", "b"], parameters: { hint: "x" } });
  assert.deepEqual({ ...asked }, {
    userCode: "WDJB-MJHT", verificationUri: DEVICE.verification_uri, verificationUriComplete: undefined, qrText: DEVICE.verification_uri, expiresIn: 600, interval: 5,
  });
  assert.deepEqual(forms("device"), [{ scope: "a b", hint: "x" }]);
  const rotated = [];
  const polled = client.poll(asked.session, { subject: "ann", onRotated: (token, subject) => rotated.push([token, subject]) });
  await clock.advance(15_000);
  assert.equal((await polled).accessToken, "token");
  assert.deepEqual(forms("token"), Array(3).fill({ grant_type: "urn:ietf:params:oauth:grant-type:device_code", device_code: "canary-device" }));
  assert.deepEqual(rotated, [["canary-refresh", "ann"]]);
  assert.equal(client.withSubject("ann").peek(), undefined);
  assert.equal((await client.withSubject("ann").token()).accessToken, "token");
});

test("printing what a person is shown shows no session", async () => {
  const { client } = devices();
  const asked = await client.deviceAuthorization();
  const begun = await world({}, { grant: "authorization_code", redirectUri: "https://app.example/" }).client.authorizationUrl();
  for (const value of [asked, begun]) {
    assert.ok(value.session.length > 40);
    const text = `${inspect(value, { depth: 9, showHidden: true, getters: true })}${JSON.stringify(value)}${Object.values(value)}`;
    assert.ok(!text.includes(value.session), text);
  }
  assert.ok(inspect(asked).includes("WDJB-MJHT"));
});

test("who gives up ends the polls, and may poll again", async () => {
  const { client, clock, forms } = devices((n) => (n < 3 ? pending() : tokenAnswer("token")));
  const { session } = await client.deviceAuthorization();
  const controller = new AbortController();
  const reason = new Error("gave up");
  const gone = assert.rejects(client.poll(session, { signal: controller.signal }), reason);
  await clock.advance(6_000);
  controller.abort(reason);
  await gone;
  await clock.advance(60_000);
  assert.equal(forms("token").length, 1);

  const late = assert.rejects(client.poll(session, { timeout: 7 }), { code: "timeout" });
  await clock.advance(60_000);
  await late;
  assert.equal(forms("token").length, 2);

  const polled = client.poll(session);
  await clock.advance(6_000);
  assert.equal((await polled).accessToken, "token");
});

test("nobody answers, or says no", async () => {
  const { client, clock } = devices(pending);
  const { session } = await client.deviceAuthorization();
  const expired = assert.rejects(client.poll(session), { code: "authorization_expired" });
  await clock.advance(700_000);
  await expired;
  const other = devices(() => Response.json({ error: "access_denied" }, { status: 400 }));
  const denied = other.client.deviceAuthorization().then(({ session }) => assert.rejects(other.client.poll(session), { code: "access_denied" }));
  await other.clock.advance(6_000);
  await denied;
  await assert.rejects(client.poll("made up"), { code: "invalid_option" });
});

test("a person is asked on a device of their own", async () => {
  const ciba = () => Response.json({ auth_req_id: "canary-request", expires_in: 120, interval: 2 });
  const { client, clock, forms } = world({ ciba, token: () => tokenAnswer("token") }, { grant: "ciba", scope: "openid" });
  const asked = await client.backchannelAuthentication({ loginHint: "ann", bindingMessage: "W4SCT", requestedExpiry: 90, acrValues: "gold" });
  assert.deepEqual({ ...asked }, { expiresIn: 120, interval: 2 });
  assert.deepEqual(forms("ciba"), [{ scope: "openid", login_hint: "ann", binding_message: "W4SCT", requested_expiry: "90", acr_values: "gold" }]);
  const polled = client.poll(asked.session, { subject: "ann" });
  await clock.advance(3_000);
  assert.equal((await polled).accessToken, "token");
  assert.equal(forms("token")[0].auth_req_id, "canary-request");
  await assert.rejects(client.backchannelAuthentication({}), { code: "invalid_option" });
});

test("what a server knows of a token, and its end", async () => {
  let revocations = 0;
  const { client, forms } = world({
    token: (n) => tokenAnswer(`token-${n}`),
    introspect: () => Response.json({ active: true, sub: "ann", ext: { deep: [1] } }),
    revoke: () => (revocations++, new Response(null, { status: 200 })),
  });
  const token = await client.token();
  assert.deepEqual(await client.introspect(token, { hint: "access_token" }), { active: true, sub: "ann", ext: { deep: [1] } });
  assert.deepEqual(forms("introspect"), [{ token: "token-1", token_type_hint: "access_token" }]);
  await client.revoke();
  assert.deepEqual(forms("revoke"), [{ token: "token-1", token_type_hint: "access_token" }]);
  assert.equal(client.peek(), undefined);
  assert.equal((await client.token()).accessToken, "token-2");
  await client.revoke({ token: "another" });
  assert.equal((await client.token()).accessToken, "token-2");
  assert.equal(revocations, 2);
});

test("a function gives the token to be exchanged, for whoever it is", async () => {
  const asked = [];
  const { client, forms } = world({ token: (n) => tokenAnswer(`token-${n}`, { issued_token_type: "urn:ietf:params:oauth:token-type:access_token" }) }, {
    grant: "token_exchange",
    subjectToken: async (subject) => (asked.push(subject), `of-${subject}`),
    actorToken: () => "actor",
    subjectTokenType: "jwt",
  });
  await client.withSubject("ann").token();
  await client.withSubject("ann").token();
  await client.withSubject("bob", { subjectToken: "held" }).token();
  assert.deepEqual(asked, ["ann"]);
  assert.deepEqual(forms("token").map(({ subject_token }) => subject_token), ["of-ann", "held"]);
  assert.equal(forms("token")[0].subject_token_type, "urn:ietf:params:oauth:token-type:jwt");
  assert.equal(forms("token")[0].actor_token, "actor");
});

test("a file is read again each time, and named where it is missing", async () => {
  const folder = mkdtempSync(join(tmpdir(), "remint-"));
  const subjectTokenFile = join(folder, "token");
  const answer = { token: (n) => tokenAnswer(`token-${n}`, { issued_token_type: "urn:ietf:params:oauth:token-type:access_token" }) };
  const { client, forms } = world(answer, { grant: "token_exchange", subjectTokenFile });
  for (const text of ["first\n", "second\r\n"]) {
    writeFileSync(subjectTokenFile, text);
    await client.token({ force: true });
  }
  assert.deepEqual(forms("token").map(({ subject_token }) => subject_token), ["first", "second"]);
  rmSync(folder, { recursive: true });
  const other = world(answer, { grant: "token_exchange", subjectTokenFile });
  let isOver = false;
  const message = `${subjectTokenFile}\` can't be read (ENOENT)`;
  const failed = assert.rejects(other.client.token(), (error) => error.code === "host_error" && error.message.includes(message)).finally(() => (isOver = true));
  // Files are read in a time of their own.
  while (!isOver) await setTimeout(2).then(() => other.clock.advance(10));
  await failed;
  assert.throws(() => world(answer, { grant: "token_exchange", subjectTokenFile, subjectToken: () => "x" }), { code: "invalid_option" });
});

test("an assertion is the grant, signed here or made elsewhere", async () => {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const common = { grant: "jwt_bearer", clientAuth: "none", clientSecret: undefined, clientId: undefined };
  const own = world({ token: () => tokenAnswer("token") }, {
    ...common, signingKey: privateKey, assertionAudience: BASE, assertionIssuer: "me@example.com", assertionClaims: { team_name: "x" },
  });
  await own.client.withSubject("ann").token();
  const [{ grant_type, assertion }] = own.forms("token");
  assert.equal(grant_type, "urn:ietf:params:oauth:grant-type:jwt-bearer");
  const { iss, sub, aud, team_name } = JSON.parse(Buffer.from(assertion.split(".")[1], "base64url"));
  assert.deepEqual([iss, sub, aud, team_name], ["me@example.com", "ann", BASE, "x"]);

  const given = world({ token: () => tokenAnswer("token") }, { ...common, assertion: (subject) => `eyJ.${subject}.x` });
  await given.client.withSubject("ann").token();
  assert.equal(given.forms("token")[0].assertion, "eyJ.ann.x");
});

test("each resource has a token of its own", async () => {
  const { client, requests } = world({ token: (n) => tokenAnswer(`token-${n}`) });
  const [a, b] = ["https://a.example", "https://b.example"];
  const both = client.withResource(a, b);
  const tokens = [];
  for (const view of [client, client.withResource(a), both, client.withResource(a), client.withScope("x").withResource(a)]) tokens.push((await view.token()).accessToken);
  assert.deepEqual(tokens, ["token-1", "token-2", "token-3", "token-2", "token-4"]);
  assert.deepEqual(requests.map(({ body }) => new URLSearchParams(body).getAll("resource")), [[], [a], [a, b], [a]]);
  await assert.rejects(client.withResource("no uri").token(), { code: "invalid_option" });
});

test("an authorization request is pushed, with its details", async () => {
  const par = () => Response.json({ request_uri: "urn:x:1", expires_in: 60 }, { status: 201 });
  const { client, forms } = world({ par }, { grant: "authorization_code", redirectUri: "https://app.example/", pushedAuthorization: true });
  const details = [{ type: "payment", amount: "1" }];
  const { url } = await client.authorizationUrl({ authorizationDetails: details, timeout: 5 });
  assert.deepEqual(Object.fromEntries(new URL(url).searchParams), { client_id: "someone", request_uri: "urn:x:1" });
  assert.deepEqual(JSON.parse(forms("par")[0].authorization_details), details);
  assert.equal(forms("par")[0].code_challenge_method, "S256");
});

test("who waits for the URL may stop waiting", async () => {
  const { client } = world({ par: () => new Promise(() => {}) }, { grant: "authorization_code", redirectUri: "https://app.example/", pushedAuthorization: true });
  const controller = new AbortController();
  const reason = new Error("gave up");
  const gone = assert.rejects(client.authorizationUrl({ signal: controller.signal }), reason);
  await quiet();
  controller.abort(reason);
  await gone;
});

test("arguments of the wrong kind are named", async () => {
  const { client } = world({});
  await assert.rejects(client.poll(7), /`session`/);
  await assert.rejects(client.introspect(7), /`token`/);
  await assert.rejects(client.backchannelAuthentication({ loginHint: 7 }), /`loginHint`/);
  await assert.rejects(client.deviceAuthorization({ parameters: { x: 7 } }), /`parameters\.x`/);
  assert.throws(() => client.withSubject("ann", { subjectToken: 7 }), /`subjectToken`/);
  assert.throws(() => client.withResource(7), /`resource`/);
});
