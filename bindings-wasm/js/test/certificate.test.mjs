// Certificates of the client's own: presented, renewed, and never mixed up.
import assert from "node:assert/strict";
import { X509Certificate, createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Client } from "remint";
import { selfSigned } from "./self-signed.mjs";

const [server, first, second] = ["server", "first", "second"].map(selfSigned);
const thumbprint = ({ certificate }) => createHash("sha256").update(new X509Certificate(certificate).raw).digest("base64url");

/** Which certificate came with each request, and on how many connections. */
const seen = { tokens: [], calls: [], connections: 0 };
const listener = createServer({ cert: server.certificate, key: server.key, requestCert: true, rejectUnauthorized: false }, (request, response) => {
  const { raw } = request.socket.getPeerCertificate();
  const shown = raw === undefined ? undefined : createHash("sha256").update(raw).digest("base64url");
  request.resume();
  response.setHeader("content-type", "application/json");
  seen[request.url === "/token" ? "tokens" : "calls"].push(shown);
  response.end(JSON.stringify({ access_token: `token-${seen.tokens.length}`, token_type: "Bearer", expires_in: 3600 }));
});
listener.on("secureConnection", () => seen.connections++);
listener.listen(0, "127.0.0.1");
await once(listener, "listening");
const origin = `https://127.0.0.1:${listener.address().port}`;
const folder = mkdtempSync(join(tmpdir(), "remint-"));
after(() => {
  listener.closeAllConnections();
  listener.close();
  rmSync(folder, { recursive: true });
});

const PROFILE = {
  name: "bound",
  title: "Bound",
  grants: ["client_credentials"],
  token: { endpoint: `${origin}/token`, client_auth: ["self_signed_tls_client_auth"] },
  api_origins: [origin],
};

function client(clientCertificate, options = {}) {
  Object.assign(seen, { tokens: [], calls: [], connections: 0 });
  return new Client(PROFILE, { clientId: "someone", certificateBound: true, ca: server.certificate, clientCertificate, ...options });
}

test("the certificate is shown to the token endpoint and to the API", async () => {
  const own = client(first);
  assert.equal((await own.fetch(`${origin}/api`)).status, 200);
  assert.deepEqual([seen.tokens, seen.calls], [[thumbprint(first)], [thumbprint(first)]]);
});

test("files that were replaced are noticed: another certificate, other connections, another token", async () => {
  const files = { certificate: join(folder, "tls.crt"), key: join(folder, "tls.key") };
  const write = (pair) => ["certificate", "key"].forEach((name) => writeFileSync(files[name], pair[name]));
  write(first);
  const own = client(files);
  await own.token();
  await own.token({ force: true });
  assert.equal(seen.connections, 1);

  // Between the two files nothing fits, and nobody notices.
  writeFileSync(files.certificate, `${second.certificate}\n`);
  await own.token({ force: true });
  assert.deepEqual(seen.tokens, Array(3).fill(thumbprint(first)));

  writeFileSync(files.key, second.key);
  await own.token({ force: true });
  await own.fetch(`${origin}/api`);
  assert.deepEqual(seen.tokens.slice(3), [thumbprint(second)]);
  assert.deepEqual(seen.calls, [thumbprint(second)]);
  assert.equal(seen.connections, 2);
});

test("a certificate is replaced by hand", async () => {
  const own = client(first);
  const { accessToken } = await own.token();
  own.renew({ clientCertificate: second });
  assert.notEqual((await own.token()).accessToken, accessToken);
  assert.deepEqual(seen.tokens, [first, second].map(thumbprint));
});

for (const [what, pair, words] of [
  ["without its key", { certificate: first.certificate }, /`key`/],
  ["with another's key", { certificate: first.certificate, key: second.key }, /is not the key of/],
  ["that is none", { certificate: "-----BEGIN CERTIFICATE-----\ncanary", key: first.key }, /certificate` is not PEM/],
  ["with a key that is none", { certificate: first.certificate, key: "-----BEGIN PRIVATE KEY-----\ncanary" }, /key` is not PEM/],
  ["that isn't there", { certificate: join(folder, "missing.pem"), key: first.key }, /missing\.pem.*ENOENT/],
]) {
  test(`a certificate ${what} is refused before anything is sent`, () => {
    assert.throws(() => client(pair), (error) => {
      assert.equal(error.code, "invalid_option");
      assert.match(error.message, words);
      assert.doesNotMatch(error.message, /canary/);
      return true;
    });
  });
}

test("a transport of the user's has certificates of its own", () => {
  assert.throws(() => client(first, { ca: undefined, http: fetch }), { code: "invalid_option" });
  assert.throws(() => new Client("phoenix-wallet", { clientId: "a", clientSecret: "b" }).renew({ clientCertificate: first }), /without `clientCertificate`/);
});
