// Registering a client, and looking after what was registered, over a transport of the test's.
import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { RegisteredClient, register } from "remint";

const BASE = "https://auth.example.com";
const PROFILE = {
  name: "server",
  title: "Server",
  grants: ["client_credentials"],
  token: { endpoint: `${BASE}/token` },
  endpoints: { registration: `${BASE}/register` },
  api_origins: ["https://api.example.com"],
};
const INFORMATION = {
  client_id: "s6BhdRkqt3", client_secret: "canary-secret", client_id_issued_at: 1_700_000_000, client_secret_expires_at: 0,
  registration_access_token: "canary-access", registration_client_uri: `${BASE}/register/s6BhdRkqt3`, client_name: "Nightly job",
};

/** What a server answers in turn, and what it was sent. */
function server(...answers) {
  const requests = [];
  const http = async (url, init) => {
    requests.push({ url, ...init, headers: Object.fromEntries(init.headers) });
    const answer = answers.shift();
    return typeof answer === "function" ? answer(init) : answer;
  };
  return { http, requests };
}

test("a client registers itself, and prints no secret of it", async () => {
  const { http, requests } = server(Response.json(INFORMATION, { status: 201 }));
  const metadata = { client_name: "Nightly job", grant_types: ["client_credentials"] };
  const client = await register(PROFILE, { register: { metadata, initialAccessToken: "canary-initial" } }, { http });
  const [{ url, method, redirect, body, headers }] = requests;
  assert.deepEqual([url, method, redirect, JSON.parse(body)], [`${BASE}/register`, "POST", "manual", metadata]);
  assert.equal(headers.authorization, "Bearer canary-initial");
  assert.ok(client instanceof RegisteredClient);
  assert.deepEqual([client.clientId, client.clientSecret, client.clientIdIssuedAt, client.clientSecretExpiresAt], ["s6BhdRkqt3", "canary-secret", 1_700_000_000, undefined]);
  assert.deepEqual([client.registrationAccessToken, client.registrationClientUri], ["canary-access", INFORMATION.registration_client_uri]);
  assert.deepEqual(client.metadata, { client_name: "Nightly job" });
  assert.doesNotMatch(`${inspect(client, { showHidden: true })} ${JSON.stringify(client)} ${client}`, /canary/);
});

test("a registration is read, replaced and ended with what the server gave for it", async () => {
  const { http, requests } = server(
    Response.json(INFORMATION, { status: 201 }), Response.json(INFORMATION), Response.json({ ...INFORMATION, client_name: "Other" }), new Response(null, { status: 204 }),
  );
  const client = await register(PROFILE, { register: { metadata: '{"client_name":"Nightly job"}' } }, { http });
  assert.equal((await register(PROFILE, { read: client }, { http })).metadata.client_name, "Nightly job");
  const { clientId, registrationAccessToken, registrationClientUri } = client;
  const update = { clientId, registrationAccessToken, registrationClientUri, metadata: { client_name: "Other" } };
  assert.equal((await register(PROFILE, { update }, { http })).metadata.client_name, "Other");
  assert.equal(await register(PROFILE, { delete: client }, { http }), undefined);
  assert.deepEqual(requests.map(({ method }) => method), ["POST", "GET", "PUT", "DELETE"]);
  assert.ok(requests.slice(1).every(({ url, headers }) => url === registrationClientUri && headers.authorization === "Bearer canary-access"));
});

test("where the endpoint is in the server's metadata, that is read first", async () => {
  const { endpoints: _, token, ...rest } = PROFILE;
  const discovered = { ...rest, token: {}, discovery: { issuer: BASE } };
  const metadata = { issuer: BASE, token_endpoint: token.endpoint, registration_endpoint: `${BASE}/r` };
  const { http, requests } = server(Response.json(metadata), Response.json(INFORMATION, { status: 201 }));
  assert.equal((await register(discovered, { register: { metadata: {} } }, { http })).clientId, "s6BhdRkqt3");
  assert.deepEqual(requests.map(({ method, url }) => [method, url.replace(BASE, "")]), [["GET", "/.well-known/oauth-authorization-server"], ["POST", "/r"]]);
});

test("what the server refuses, and what does not arrive, is a typed error without a secret", async () => {
  const cases = [
    [Response.json({ error: "invalid_client_metadata", error_description: "canary" }, { status: 400 }), { code: "invalid_client_metadata", name: "ServerError" }],
    [new Response("canary", { status: 503 }), { code: "server_unavailable" }],
    [() => Promise.reject(Object.assign(new Error("canary"), { code: "ECONNREFUSED" })), { code: "transport_failed", retryable: true }],
    [() => Promise.reject(Object.assign(new Error("canary"), { code: "ECONNRESET" })), { code: "transport_failed", retryable: false }],
    [new Response("x".repeat(300_000)), { code: "answer_too_large" }],
    [({ signal }) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))), { code: "timeout", retryable: false }],
  ];
  // The signal's timer holds no process, and a test would end before it.
  const held = setTimeout(() => {}, 10_000);
  for (const [answer, expected] of cases) {
    const { http } = server(answer);
    await assert.rejects(register(PROFILE, { register: { metadata: { client_name: "canary" }, initialAccessToken: "canary" } }, { http, requestTimeout: 0.1 }), (error) => {
      for (const [member, value] of Object.entries(expected)) assert.equal(error[member], value, inspect(error));
      assert.doesNotMatch(inspect(error), /canary/);
      return true;
    });
  }
  clearTimeout(held);
});

test("what is wrong is said before anything is sent", async () => {
  const { http, requests } = server();
  for (const [request, options] of [
    [undefined], [{}], [{ register: {} }], [{ register: { metadata: 5 } }], [{ register: { metadata: [] } }], [{ read: {}, delete: {} }], [{ read: {} }], [{ other: {} }],
    [{ register: { metadata: {} } }, { clientId: "someone" }], [{ register: { metadata: {} } }, { requestTimeout: "1" }],
  ]) {
    await assert.rejects(register(PROFILE, request, { http, ...options }), { code: "invalid_option", name: "UsageError" }, JSON.stringify(request));
  }
  assert.deepEqual(requests, []);
});
