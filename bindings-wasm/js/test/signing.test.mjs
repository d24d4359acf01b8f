// Keys for `private_key_jwt`: what is signed, by whom, and which keys are refused.
import assert from "node:assert/strict";
import { createPrivateKey, generateKeyPairSync, verify } from "node:crypto";
import test from "node:test";
import { Client, generateKey } from "remint";
import { ManualClock, tokenAnswer } from "./world.mjs";

const PROFILE = {
  name: "signed",
  title: "Signed",
  grants: ["client_credentials"],
  token: { endpoint: "https://auth.example.com/token", client_auth: ["private_key_jwt"] },
  api_origins: ["https://api.example.com"],
};
// RFC 8037 appendix A.1.
const PUBLISHED = {
  kty: "OKP",
  crv: "Ed25519",
  d: "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
  x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
};

function world(options) {
  const assertions = [];
  const client = new Client(PROFILE, {
    clientId: "someone",
    clock: new ManualClock(),
    http: async (url, init) => {
      const form = new URLSearchParams(init.body);
      assert.equal(form.get("client_assertion_type"), "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
      assertions.push(form.get("client_assertion"));
      return tokenAnswer(`token-${assertions.length}`);
    },
    ...options,
  });
  return { client, assertions };
}

function signed(assertion) {
  const [header, claims, signature] = assertion.split(".");
  const decoded = (part) => Buffer.from(part, "base64url");
  return { header: JSON.parse(decoded(header)), claims: JSON.parse(decoded(claims)), data: Buffer.from(`${header}.${claims}`), signature: decoded(signature) };
}

const pair = (type, options) => generateKeyPairSync(type, options);
const rsa = pair("rsa", { modulusLength: 2048 });
const p256 = pair("ec", { namedCurve: "P-256" });
const p384 = pair("ec", { namedCurve: "P-384" });
const ed = pair("ed25519", {});

for (const [alg, keys, key, hash, how] of [
  ["ES256", p256, p256.privateKey, "sha256", { dsaEncoding: "ieee-p1363" }],
  ["ES384", p384, p384.privateKey.export({ type: "sec1", format: "pem" }), "sha384", { dsaEncoding: "ieee-p1363" }],
  ["EdDSA", ed, ed.privateKey.export({ format: "jwk" }), null, {}],
  ["RS256", rsa, rsa.privateKey.export({ type: "pkcs1", format: "pem" }), "sha256", {}],
  ["PS256", rsa, rsa.privateKey.export({ type: "pkcs8", format: "pem" }), "sha256", { padding: 6, saltLength: 32 }],
]) {
  test(`${alg} signs what its public key verifies, anew for each request`, async () => {
    const { client, assertions } = world({ signingKey: { key, alg, kid: "k1" }, assertionAudience: "https://auth.example.com" });
    await client.token();
    await client.token({ force: true });
    const [first, second] = assertions.map(signed);
    assert.deepEqual(first.header, { alg, typ: "client-authentication+jwt", kid: "k1" });
    assert.deepEqual([first.claims.iss, first.claims.sub, first.claims.aud], ["someone", "someone", "https://auth.example.com"]);
    assert.equal(first.claims.exp - first.claims.iat, 60);
    assert.notEqual(first.claims.jti, second.claims.jti);
    assert.ok(verify(hash, first.data, { key: keys.publicKey, ...how }, first.signature));
  });
}

test("an RSA key that nobody says more about signs with the better algorithm", async () => {
  const { client, assertions } = world({ signingKey: rsa.privateKey, assertionAudience: "https://a" });
  await client.token();
  assert.equal(signed(assertions[0]).header.alg, "PS256");
});

test("keys that are made here leave as JWK or PEM, and come back", async () => {
  for (const alg of ["ES256", "ES384", "EdDSA"]) {
    const made = generateKey(alg);
    for (const key of [made, made.export({ format: "jwk" }), made.export({ format: "pem", type: "pkcs8" })]) {
      const { client, assertions } = world({ signingKey: key, assertionAudience: "https://a" });
      await client.token();
      assert.equal(signed(assertions[0]).header.alg, alg);
    }
  }
  assert.throws(() => generateKey("HS256"), { code: "invalid_option" });
});

test("a key is replaced without a restart", async () => {
  const { client, assertions } = world({ signingKey: { key: p256.privateKey, kid: "old" }, assertionAudience: "https://a" });
  await client.token();
  client.renew({ signingKey: { key: ed.privateKey, kid: "new" } });
  await client.token({ force: true });
  assert.deepEqual(assertions.map((assertion) => signed(assertion).header.kid), ["old", "new"]);
  assert.throws(() => client.renew({ signingKey: { key: p256.privateKey, alg: "EdDSA" } }), { code: "invalid_option" });
});

test("a JWK's own kid is named, and its thumbprint keeps its tokens apart", async () => {
  const { client, assertions } = world({ signingKey: { key: { ...PUBLISHED, kid: "own" } }, assertionAudience: "https://a" });
  await client.token();
  const { header, data, signature } = signed(assertions[0]);
  assert.deepEqual([header.alg, header.kid], ["EdDSA", "own"]);
  assert.ok(verify(null, data, createPrivateKey({ key: PUBLISHED, format: "jwk" }), signature));
});

test("a key held elsewhere signs through a function that may wait", async () => {
  const sign = async (input, alg) => {
    assert.equal(alg, "EdDSA");
    const { sign } = await import("node:crypto");
    return sign(null, input, ed.privateKey);
  };
  const { client, assertions } = world({ signingKey: { sign, alg: "EdDSA", name: "kms/1" }, assertionAudience: "https://a" });
  await client.token();
  const { data, signature } = signed(assertions[0]);
  assert.ok(verify(null, data, ed.publicKey, signature));
});

test("a signer that fails is the cause of the error", async () => {
  const cause = new Error("the HSM is locked");
  const { client } = world({ signingKey: { sign: () => Promise.reject(cause), alg: "ES256", name: "k" }, assertionAudience: "https://a" });
  await assert.rejects(client.token({ timeout: 0.05 }), (error) => error.code === "host_error" && error.cause === cause);
});

test("an assertion from elsewhere is read again for each request", async () => {
  const texts = ["eyJhIjoxfQ.e30.c2ln", "eyJhIjoyfQ.e30.c2ln"];
  const { client, assertions } = world({ clientAssertion: async () => texts[assertions.length] });
  await client.token();
  await client.token({ force: true });
  assert.deepEqual(assertions, texts);
});

for (const [what, signingKey, words] of [
  ["another algorithm", { key: p256.privateKey, alg: "RS256" }, /use ES256/],
  ["a weak RSA key", { key: pair("rsa", { modulusLength: 1024 }).privateKey, alg: "RS256" }, /1024 bits/],
  ["another curve", { key: pair("ec", { namedCurve: "secp256k1" }).privateKey }, /secp256k1/],
  ["a public key", { key: p256.publicKey }, /private/],
  ["no key", { key: "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----" }, /not a private key/],
  ["no function", { sign: "x", alg: "ES256", name: "k" }, /function/],
]) {
  test(`${what} is refused before anything is sent`, () => {
    assert.throws(() => world({ signingKey, assertionAudience: "https://a" }), (error) => {
      assert.equal(error.code, "invalid_option");
      assert.match(error.message, words);
      assert.doesNotMatch(error.message, /canary/);
      return true;
    });
  });
}
