// Answers to authorization requests that the server has signed (JARM): node:crypto checks the signature, the core everything else.
import assert from "node:assert/strict";
import { createPublicKey, sign } from "node:crypto";
import { test } from "node:test";
import { Client, generateKey } from "remint";
import { ManualClock, tokenAnswer } from "./world.mjs";

const BASE = "https://auth.example.com";
const PROFILE = {
  name: "server",
  title: "Server",
  grants: ["authorization_code"],
  token: { endpoint: `${BASE}/token`, client_auth: ["client_secret_basic"] },
  authorization: { endpoint: `${BASE}/authorize`, issuer: BASE },
  endpoints: { jwks: `${BASE}/jwks` },
  api_origins: ["https://api.example.com"],
};
const HOW = {
  ES256: ["sha256", { dsaEncoding: "ieee-p1363" }],
  ES384: ["sha384", { dsaEncoding: "ieee-p1363" }],
  EdDSA: [null, {}],
  RS256: ["sha256", {}],
  PS256: ["sha256", { padding: 6, saltLength: 32 }],
};
const KEYS = Object.fromEntries(Object.keys(HOW).map((alg) => [alg, generateKey(alg)]));

/** A client whose server has these keys, and what the browser brings back, signed with `key`. */
async function cameBack(alg, published, key) {
  const clock = new ManualClock();
  const forms = [];
  const client = new Client(PROFILE, {
    clientId: "someone", clientSecret: "canary-secret", clock, responseMode: "jwt", authorizationSignedResponseAlg: alg, redirectUri: "https://app.example.com/cb",
    http: async (url, { body }) => {
      if (url === `${BASE}/jwks`) return Response.json({ keys: [{ ...createPublicKey(published).export({ format: "jwk" }), kid: "k" }] });
      forms.push(Object.fromEntries(new URLSearchParams(body)));
      return tokenAnswer("token");
    },
  });
  const { url, session } = await client.authorizationUrl({ redirectUri: "https://app.example.com/cb" });
  const encoded = (part) => Buffer.from(JSON.stringify(part)).toString("base64url");
  const state = new URL(url).searchParams.get("state");
  const claims = { iss: BASE, aud: "someone", exp: Math.floor(clock.wall() / 1000) + 600, code: "canary-code", state };
  const input = `${encoded({ alg, kid: "k" })}.${encoded(claims)}`;
  const [hash, how] = HOW[alg];
  const signature = sign(hash, Buffer.from(input), { key, ...how });
  return { client, session, input, signature, forms };
}

const callback = (input, signature) => `https://app.example.com/cb?response=${input}.${signature.toString("base64url")}`;

for (const alg of Object.keys(HOW)) {
  test(`${alg}: a signature of the server's is good, and no other`, async () => {
    const { client, session, input, signature, forms } = await cameBack(alg, KEYS[alg], KEYS[alg]);
    const flipped = Buffer.from(signature);
    flipped[flipped.length - 1] ^= 1;
    // Cut off, another's, of no length that there is: each is refused alike, and the code stays unused.
    for (const wrong of [flipped, signature.subarray(1), Buffer.alloc(signature.length), Buffer.from("x")]) {
      await assert.rejects(client.exchange(callback(input, wrong), session), (error) => {
        assert.equal(error.name, "ServerError");
        assert.doesNotMatch(`${error} ${JSON.stringify(error)}`, /canary/);
        return true;
      });
    }
    assert.deepEqual(forms, []);
    assert.equal((await client.exchange(callback(input, signature), session)).accessToken, "token");
    assert.equal(forms[0].code, "canary-code");
  });

  test(`${alg}: a signature by another key of that kind is refused`, async () => {
    const { client, session, input, signature, forms } = await cameBack(alg, KEYS[alg], generateKey(alg));
    await assert.rejects(client.exchange(callback(input, signature), session), { name: "ServerError" });
    assert.deepEqual(forms, []);
  });
}
