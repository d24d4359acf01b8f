// Proofs of possession (RFC 9449), and APIs that want more of a person (RFC 9470).
import assert from "node:assert/strict";
import { createHash, createPublicKey, verify } from "node:crypto";
import { test } from "node:test";
import { inspect } from "node:util";
import { Client, generateKey } from "remint";
import { ManualClock, tokenAnswer } from "./world.mjs";

const API = "https://api.example.com/things?page=2";
const PROFILE = {
  name: "bound",
  title: "Bound",
  grants: ["client_credentials"],
  token: { endpoint: "https://auth.example.com/token", client_auth: ["client_secret_basic"] },
  api_origins: ["https://api.example.com"],
};

/** A client with a key, and every request that it sends. `answer` is called with the number of each token request, `api` of each call. */
function world({ answer = (n) => tokenAnswer(`token-${n}`, { token_type: "DPoP" }), api = () => new Response("ok"), ...options } = {}) {
  const [tokens, calls, notices] = [[], [], []];
  const client = new Client(PROFILE, {
    clientId: "someone",
    clientSecret: "secret",
    dpop: true,
    clock: new ManualClock(),
    onNotice: ({ notice }) => notices.push(notice),
    http: async (url, init) => {
      const headers = new Headers(init.headers);
      const request = { url, method: init.method, body: init.body, headers, proof: headers.has("dpop") ? opened(headers.get("dpop")) : undefined };
      if (url.startsWith("https://auth.")) return answer(tokens.push(request), request);
      return api(calls.push(request), request);
    },
    ...options,
  });
  return { client, tokens, calls, notices };
}

/** What a proof says, once its signature is verified with the key that it names. */
function opened(proof) {
  const [header, claims, signature] = proof.split(".");
  const { jwk, alg, typ } = JSON.parse(Buffer.from(header, "base64url"));
  assert.equal(typ, "dpop+jwt");
  const how = { ES256: ["sha256", { dsaEncoding: "ieee-p1363" }], PS256: ["sha256", { padding: 6, saltLength: 32 }], EdDSA: [null, {}] }[alg];
  const key = createPublicKey({ key: jwk, format: "jwk" });
  assert.ok(verify(how[0], Buffer.from(`${header}.${claims}`), { key, ...how[1] }, Buffer.from(signature, "base64url")));
  return { alg, jwk, ...JSON.parse(Buffer.from(claims, "base64url")) };
}

const hashed = (token) => createHash("sha256").update(token).digest("base64url");
const wantsNonce = (nonce) => new Response(null, { status: 401, headers: { "www-authenticate": 'DPoP error="use_dpop_nonce"', "dpop-nonce": nonce } });

test("each request has a proof of its own, for its own address", async () => {
  const { client, tokens, calls } = world();
  await client.fetch(API);
  await client.fetch(API, { method: "POST", body: "x" });
  const [{ proof: atServer }] = tokens;
  assert.deepEqual([atServer.htm, atServer.htu, atServer.ath], ["POST", "https://auth.example.com/token", undefined]);
  assert.deepEqual(calls.map(({ proof }) => [proof.htm, proof.htu, proof.ath]), [
    ["GET", "https://api.example.com/things", hashed("token-1")],
    ["POST", "https://api.example.com/things", hashed("token-1")],
  ]);
  assert.equal(calls[0].headers.get("authorization"), "DPoP token-1");
  assert.equal(new Set([atServer, ...calls.map(({ proof }) => proof)].map(({ jti }) => jti)).size, 3);
  const { DPoP, Authorization } = await client.headers("DELETE", API);
  assert.deepEqual([opened(DPoP).htm, Authorization], ["DELETE", "DPoP token-1"]);
});

test("a nonce that an API asks for is used at once, and the token is kept", async () => {
  const { client, tokens, calls } = world({
    api: (n, { proof }) => (proof.nonce === "n2" ? new Response("ok") : proof.nonce === "n1" && n < 4 ? new Response("ok", { headers: { "dpop-nonce": "n2" } }) : wantsNonce("n1")),
  });
  assert.equal((await client.fetch(API)).status, 200);
  assert.equal((await client.fetch(new Request(API, { method: "POST", body: "x" }))).status, 200);
  assert.deepEqual(calls.map(({ proof }) => proof.nonce), [undefined, "n1", "n2"]);
  assert.equal(tokens.length, 1);
});

test("an API that is never content is asked twice", async () => {
  const { client, tokens, calls } = world({ api: (n) => wantsNonce(`n${n}`) });
  assert.equal((await client.fetch(API)).status, 401);
  assert.deepEqual([calls.length, tokens.length], [2, 1]);
});

test("a nonce that the token endpoint asks for is used at once", async () => {
  const refusal = () => Response.json({ error: "use_dpop_nonce" }, { status: 400, headers: { "dpop-nonce": "t1" } });
  const { client, tokens } = world({ answer: (n) => (n === 1 ? refusal() : tokenAnswer("token", { token_type: "DPoP" })) });
  await client.token();
  assert.deepEqual(tokens.map(({ proof }) => proof.nonce), [undefined, "t1"]);
  assert.notEqual(tokens[0].proof.jti, tokens[1].proof.jti);
});

test("a body that is gone is not sent with another proof", async () => {
  const { client, calls, notices } = world({ api: () => wantsNonce("n1") });
  const body = new ReadableStream({ pull: (controller) => (controller.enqueue(Buffer.from("x")), controller.close()) });
  assert.equal((await client.fetch(API, { method: "POST", body, duplex: "half" })).status, 401);
  assert.equal(calls.length, 1);
  assert.ok(notices.includes("body_not_replayable"));
});

test("a redirect has a proof for where it leads, and none elsewhere", async () => {
  const to = ["https://api.example.com/moved", "https://elsewhere.example/"];
  const { client, calls } = world({ api: (n) => (n <= 2 ? new Response(null, { status: 302, headers: { location: to[n - 1] } }) : new Response("ok")) });
  await client.fetch(API);
  assert.deepEqual(calls.map(({ proof }) => proof?.htu), ["https://api.example.com/things", "https://api.example.com/moved", undefined]);
  assert.equal(calls[2].headers.get("authorization"), null);
});

for (const status of [401, 403]) {
  test(`a step-up with ${status} is an error that says what is asked for`, async () => {
    const challenge = 'DPoP error="insufficient_user_authentication", acr_values="gold silver", max_age="300"';
    const { client, tokens, calls } = world({ api: () => new Response("who?", { status, headers: { "www-authenticate": challenge } }) });
    const wanted = { name: "ServerError", code: "insufficient_user_authentication", acrValues: "gold silver", maxAge: 300, status };
    await assert.rejects(client.fetch(API), wanted);
    assert.deepEqual([calls.length, tokens.length], [1, 1]);
    await assert.rejects(client.reject(await client.token(), "GET", API, status, [["www-authenticate", challenge]]), wanted);
  });
}

test("who sends requests themselves is told to try again with other headers", async () => {
  const { client } = world();
  const token = await client.token();
  await client.headers("GET", API);
  const { headers } = wantsNonce("n7");
  assert.equal(await client.reject(token, "GET", API, 401, headers), "retry");
  assert.equal(opened((await client.headers("GET", API)).DPoP).nonce, "n7");
});

test("keys come in every form, and from elsewhere", async () => {
  const key = generateKey("EdDSA");
  const jwk = key.export({ format: "jwk" });
  const { d, ...publicHalf } = jwk;
  const { sign } = await import("node:crypto");
  for (const dpop of [key, jwk, key.export({ format: "pem", type: "pkcs8" }), { key, alg: "EdDSA" },
    { sign: async (input) => sign(null, input, key), alg: "EdDSA", jwk: publicHalf }]) {
    const { client, calls } = world({ dpop });
    await client.fetch(API);
    assert.deepEqual([calls[0].proof.alg, calls[0].proof.jwk.x], ["EdDSA", jwk.x]);
  }
  assert.equal(d.length, 43);
});

test("another key means another token", async () => {
  const { client, calls } = world();
  await client.fetch(API);
  client.renew({ dpop: "generate" });
  await client.fetch(API);
  assert.deepEqual(calls.map(({ headers }) => headers.get("authorization")), ["DPoP token-1", "DPoP token-2"]);
  assert.notEqual(calls[0].proof.jwk.x, calls[1].proof.jwk.x);
});

test("a signer that fails is the cause of the error", async () => {
  const cause = new Error("canary: the HSM is locked");
  const { d, ...jwk } = generateKey().export({ format: "jwk" });
  const { client } = world({ dpop: { sign: () => Promise.reject(cause), alg: "ES256", jwk } });
  await assert.rejects(client.token({ timeout: 0.05 }), (error) => {
    assert.doesNotMatch(inspect([error, client]), /canary/);
    return error.code === "host_error" && error.cause === cause && d !== undefined;
  });
});

for (const [what, dpop, words] of [
  ["a key that doesn't fit", { key: generateKey("ES384"), alg: "ES256" }, /`dpop\.alg`.*use ES384/],
  ["a function without its public key", { sign: () => {}, alg: "ES256" }, /`dpop\.jwk`/],
  ["a private key in its place", { sign: () => {}, alg: "ES256", jwk: generateKey().export({ format: "jwk" }) }, /private/],
  ["something else", 7, /`dpop`/],
]) {
  test(`${what} is refused before anything is sent`, () => {
    assert.throws(() => world({ dpop }), (error) => error.code === "invalid_option" && words.test(error.message));
  });
}
