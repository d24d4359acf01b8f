// Measures us and the peers in one run, and prints how they compare.
import { execFileSync } from "node:child_process";
import { createHash, randomUUID, sign } from "node:crypto";
import { readFileSync, readdirSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { performance } from "node:perf_hooks";
import { brotliDecompressSync, gzipSync } from "node:zlib";

import { ConfidentialClientApplication } from "@azure/msal-node";
import { OAuth2Client as Badgateway, OAuth2Fetch } from "@badgateway/oauth2-client";
import { OAuth2Client as Google } from "google-auth-library";
import { SignJWT } from "jose";
import * as oauth from "oauth4webapi";
import * as openid from "openid-client";
import { Client, generateKey } from "remint";
import { Core } from "remint/core";

import { compare, grouped, limits, median, report, work } from "./measure.mjs";
import { stores } from "./stores.mjs";

const ENDPOINT = "https://auth.phoenixwallet.io/oauth/token";
const ID = "wallet-client";
const SECRET = "s3cr3t-of-the-wallet";
const SCOPE = "wallets:read wallets:write";
const TOKEN = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.".padEnd(800, "abcdefghijklmnopqrstuvwxyz");
const ANSWER = JSON.stringify({ access_token: TOKEN, token_type: "Bearer", expires_in: 3600, scope: SCOPE });
const JSON_HEADERS = { "content-type": "application/json" };
const answer = () => new Response(ANSWER, { headers: JSON_HEADERS });

async function cachedToken() {
  const remint = new Client("phoenix-wallet", { clientId: ID, clientSecret: SECRET, scope: SCOPE, http: async () => answer() });
  await remint.token();

  const google = new Google();
  google.setCredentials({ access_token: TOKEN, expiry_date: Date.now() + 3_600_000 });

  const configuration = new openid.Configuration({ issuer: "https://auth.phoenixwallet.io", token_endpoint: ENDPOINT }, ID, SECRET);
  configuration[openid.customFetch] = async () => answer();
  const openidCache = new OpenidCache(configuration);
  await openidCache.getToken();

  const manager = new TokenManager(ID, SECRET);
  await manager.getToken();

  const badgateway = new OAuth2Fetch({
    client: new Badgateway({ server: "https://auth.phoenixwallet.io", clientId: ID, clientSecret: SECRET }),
    getNewToken: () => ({ accessToken: TOKEN, expiresAt: Date.now() + 3_600_000, refreshToken: null }),
    scheduleRefresh: false,
  });
  await badgateway.getToken();

  const msal = msalClient();
  const msalToken = () => msal.acquireTokenByClientCredential({ scopes: ["https://api.phoenixwallet.io/.default"] });
  await msalToken();

  const [wall, boot] = [Date.now() + 3_600_000, performance.now() + 3_600_000];
  const twoClocks = () => (Date.now() < wall && performance.now() < boot ? TOKEN : undefined);
  const twoClocksAwaited = async () => twoClocks();

  const isAsync = true;
  await compare("Cached token, awaited", work("`await client.token()`", () => remint.token(), { isAsync }), [
    work("google-auth-library `getAccessToken()`", () => google.getAccessToken(), { isAsync, target: 1 }),
    work("@badgateway/oauth2-client `getToken()`", () => badgateway.getToken(), { isAsync, target: 1 }),
    work("TokenManager by hand (phoenix-wallet's sample)", () => manager.getToken(), { isAsync, target: 1 }),
    work("openid-client, cached by hand", () => openidCache.getToken(), { isAsync, target: 1 }),
    work("two clock reads in an async function", twoClocksAwaited, { isAsync }),
  ]);
  // Apart from the others: the garbage that it makes is collected in somebody else's turn.
  await compare("Cached token, awaited, of a library with much to do", work("`await client.token()`", () => remint.token(), { isAsync }), [
    work("msal-node `acquireTokenByClientCredential()`", msalToken, { isAsync, target: 1 }),
  ]);
  await compare("Cached token, at once", work("`client.peek()`", () => remint.peek()), [
    // At most 1.1 × two clock reads.
    work("two clock reads", twoClocks, { target: 0.91 }),
  ]);
}

async function exchange() {
  const core = new Core({ profile: "phoenix-wallet", client_id: ID, client_secret: SECRET, scope: SCOPE.split(" ") });
  const body = Buffer.from(ANSWER);
  const headers = Object.entries(JSON_HEADERS);
  const now = { wall: Date.now(), boot: performance.now() };
  const ours = () => core.build({ client_credentials: {} }).finish(200, headers, body, now);

  const server = { issuer: "https://auth.phoenixwallet.io", token_endpoint: ENDPOINT };
  const client = { client_id: ID };
  const auth = oauth.ClientSecretPost(SECRET);
  const options = { [oauth.customFetch]: async () => answer() };
  const oauth4webapi = async () => {
    const response = await oauth.clientCredentialsGrantRequest(server, client, auth, { scope: SCOPE }, options);
    return oauth.processClientCredentialsResponse(server, client, response);
  };

  const configuration = new openid.Configuration(server, ID, SECRET);
  configuration[openid.customFetch] = async () => answer();
  const openidClient = () => openid.clientCredentialsGrant(configuration, { scope: SCOPE });

  const isAsync = true;
  await compare("Build a request, read an 800-byte token", work("`core.build()`, `finish()`", ours), [
    work("oauth4webapi", oauth4webapi, { isAsync, target: 5 }),
    work("openid-client", openidClient, { isAsync }),
    work("the platform's part of those two: `Response`, its `json()`", async () => answer().json(), { isAsync }),
  ]);
}

/** What a client signs, per piece; `node:crypto` does the arithmetic for us, the platform's WebCrypto for jose. */
async function signed() {
  const key = generateKey("ES256");
  const { crv, kty, x, y } = key.export({ format: "jwk" });
  const api = "https://api.example.com/things";
  const alone = () => sign("sha256", Buffer.alloc(300), { key, dsaEncoding: "ieee-p1363" });
  const isAsync = true;

  const profile = (method) => ({
    name: "server",
    title: "Server",
    grants: ["client_credentials"],
    token: { endpoint: ENDPOINT, client_auth: [method] },
    api_origins: ["https://api.example.com"],
  });
  const bound = new Client(profile("client_secret_basic"), {
    clientId: ID,
    clientSecret: SECRET,
    dpop: key,
    http: async () => new Response(ANSWER.replace("Bearer", "DPoP"), { headers: JSON_HEADERS }),
  });
  await bound.token();
  const proof = () => {
    const ath = createHash("sha256").update(TOKEN).digest("base64url");
    const claims = { jti: randomUUID(), htm: "GET", htu: api, ath };
    return new SignJWT(claims).setProtectedHeader({ typ: "dpop+jwt", alg: "ES256", jwk: { crv, kty, x, y } }).setIssuedAt().sign(key);
  };
  await compare("A DPoP proof for an API request, ES256", work("`await client.headers()`", () => bound.headers("GET", api), { isAsync }), [
    work("jose `SignJWT`", proof, { isAsync, target: 1 }),
    work("`node:crypto`'s `sign()` alone", alone),
  ]);

  const asserting = new Core({
    profile: profile("private_key_jwt"), client_id: ID, signing_key: { name: "k", alg: "ES256" }, assertion_audience: ENDPOINT, policy: { max_keys: 10_000_000 },
  });
  const now = { wall: Date.now(), boot: 0 };
  const entropy = new Uint8Array(32);
  let users = 0;
  // Up to the request that has it. Nobody answers: each is for another user.
  const asserted = () => {
    const [{ sign: op, input }] = asserting.handle({ ask: { want: { subject: `user-${++users}` } } }, now, entropy).operations;
    const signature = sign("sha256", Buffer.from(input), { key, dsaEncoding: "ieee-p1363" }).toString("base64url");
    return asserting.handle({ signed: { op, signature } }, now, entropy).operations;
  };
  const assertion = () => {
    const claims = { iss: ID, sub: ID, aud: ENDPOINT, jti: randomUUID() };
    return new SignJWT(claims).setProtectedHeader({ alg: "ES256" }).setIssuedAt().setExpirationTime("60s").sign(key);
  };
  await compare("A `private_key_jwt` assertion in its request, ES256", work("`core.handle()` twice, and `node:crypto`'s `sign()`", asserted), [
    work("jose `SignJWT`, without the request", assertion, { isAsync, target: 1 }),
  ]);
}

/** Fresh processes, each timing one import. */
async function coldStart() {
  const imports = [
    ["remint", "remint"],
    ["remint, and a first token", "remint", "await new module.Client('phoenix-wallet', { clientId: 'a', clientSecret: 'b', http }).token()"],
    ["oauth4webapi", "oauth4webapi"],
    ["openid-client", "openid-client"],
    ["@badgateway/oauth2-client", "@badgateway/oauth2-client"],
    ["google-auth-library", "google-auth-library"],
    ["@azure/msal-node", "@azure/msal-node"],
  ];
  const run = ([, name, then = ""]) => {
    const program = `const body = '{"access_token":"a","token_type":"Bearer","expires_in":60}';
      const http = async () => ({ status: 200, headers: [["content-type", "application/json"]], body: [Buffer.from(body)] });
      const start = performance.now();
      const module = await import(${JSON.stringify(name)});
      ${then};
      console.log(performance.now() - start);
      process.exit();`;
    return Number(execFileSync(process.execPath, ["--input-type=module", "--eval", program], { cwd: import.meta.dirname }));
  };
  const rounds = [];
  for (let i = 0; i < 16; i++) rounds.push(imports.map(run));
  // The first one reads files that are not in memory yet.
  rounds.shift();
  report("Cold start: `import` in a fresh process", "ms", rounds, imports.map(([name]) => ({ name })));
  limits("Cold start", [["`import`", median(rounds.map(([own]) => own)), 12, "ms"]]);
}

function size() {
  const require = createRequire(import.meta.url);
  const remint = require.resolve("remint/package.json").replace(/package\.json$/, "");
  const wasm = brotliDecompressSync(Buffer.from(require(`${remint}dist/glue.js`).wasm, "base64"));
  const lock = JSON.parse(readFileSync(new URL("package-lock.json", import.meta.url)));
  const { dependencies } = lock.packages[""];
  limits("Size", [
    ["remint, unpacked", bytes(remint) / 1000, 350, "KB"],
    ["its wasm, gzipped", gzipSync(wasm, { level: 9 }).length / 1000, 100, "KB"],
    ["its wasm", wasm.length / 1000, undefined, "KB"],
    ...Object.keys(dependencies).map((name) => {
      const closure = [...needed(name, lock.packages)];
      const size = closure.reduce((sum, path) => sum + bytes(new URL(`${path}/`, import.meta.url).pathname), 0);
      return [`${name}, ${closure.length} packages`, size / 1000, undefined, "KB"];
    }),
  ]);
}

/** The cache's cost for each key, and an acquire's as keys grow. */
function keys() {
  const most = 100_000;
  const core = new Core({ profile: "phoenix-wallet", client_id: ID, client_secret: SECRET, policy: { max_keys: 10_000_000 } });
  const now = { wall: 1.7e12, boot: 1e6 };
  const entropy = new Uint8Array(32);
  const headers = Object.entries(JSON_HEADERS);
  const token = TOKEN.slice(0, 128);
  const body = Buffer.from(JSON.stringify({ access_token: token, token_type: "Bearer", expires_in: 3600 }));
  const ask = (key) => ({ ask: { want: { subject: `user-${key}` } } });

  const memory = () => process.memoryUsage().arrayBuffers + process.memoryUsage().external;
  const before = memory();
  let added = 0;
  const rows = [];
  for (const count of [10, 100, 1_000, 10_000, most]) {
    for (; added < count; added++) {
      const [{ send }] = core.handle(ask(added), now, entropy).operations;
      core.received(send, 200, headers, body, now, entropy);
    }
    const times = [];
    // More rounds at first, until it is compiled.
    for (let round = rows.length === 0 ? -30 : 0; round < 15; round++) {
      const start = performance.now();
      for (let i = 0; i < 500; i++) core.handle(ask(Math.floor(Math.random() * count)), now, entropy);
      if (round >= 0) times.push(((performance.now() - start) * 1e6) / 500);
    }
    rows.push([count, median(times)]);
  }
  console.log("\n| Keys | ns for an acquire through the core | of that with 10 keys |\n|---:|---:|---:|");
  for (const [count, time] of rows) console.log(`| ${grouped(count)} | ${grouped(time)} | ${(time / rows[0][1]).toFixed(2)} × |`);
  console.log(`\nMemory for each of ${grouped(most)} keys, beside the token's own bytes: ${grouped((memory() - before) / most - token.length)} bytes.`);
}

/** As phoenix-wallet's documentation has it, but for the network. */
class TokenManager {
  constructor(clientId, clientSecret) {
    this.clientId = clientId;
    this.clientSecret = clientSecret;
    this.token = null;
    this.expiresAt = null;
  }
  async getToken() {
    if (this.token && this.expiresAt > Date.now() + 300000) {
      return this.token;
    }
    const response = answer();
    const data = await response.json();
    this.token = data.access_token;
    this.expiresAt = Date.now() + data.expires_in * 1000;
    return this.token;
  }
}

/** What somebody writes around openid-client, which has no cache. */
class OpenidCache {
  constructor(configuration) {
    this.configuration = configuration;
  }
  async getToken() {
    if (!(this.tokens?.expiresIn() > 60)) {
      this.tokens = await openid.clientCredentialsGrant(this.configuration, { scope: SCOPE });
    }
    return this.tokens.access_token;
  }
}

function msalClient() {
  const authority = "https://login.microsoftonline.com/11111111-1111-1111-1111-111111111111";
  const metadata = {
    issuer: `${authority}/v2.0`,
    authorization_endpoint: `${authority}/oauth2/v2.0/authorize`,
    token_endpoint: `${authority}/oauth2/v2.0/token`,
    jwks_uri: `${authority}/discovery/v2.0/keys`,
  };
  const reply = async () => ({ status: 200, headers: {}, body: { access_token: TOKEN, token_type: "Bearer", expires_in: 3600 } });
  return new ConfidentialClientApplication({
    auth: { clientId: ID, clientSecret: SECRET, authority, authorityMetadata: JSON.stringify(metadata) },
    system: { networkClient: { sendGetRequestAsync: reply, sendPostRequestAsync: reply } },
  });
}

/** A package and all that it depends on, as the lock file has them. */
function needed(name, packages, from = "", found = new Set()) {
  // The nearest `node_modules` above counts.
  let at = from;
  while (!(`${at}node_modules/${name}` in packages)) at = at.replace(/node_modules\/(@[^/]+\/)?[^/]+\/$/, "");
  const path = `${at}node_modules/${name}`;
  if (!found.has(path)) {
    found.add(path);
    for (const next of Object.keys(packages[path].dependencies ?? {})) needed(next, packages, `${path}/`, found);
  }
  return found;
}

function bytes(folder) {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return files.reduce((sum, file) => sum + statSync(`${file.parentPath ?? file.path}/${file.name}`).size, 0);
}

console.log(`Node ${process.version}`);
await cachedToken();
await exchange();
await signed();
await coldStart();
size();
keys();
await stores();
