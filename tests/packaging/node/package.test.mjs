// What is in the package, and what tools think of it.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { brotliDecompressSync, gzipSync } from "node:zlib";
import { createRequire } from "node:module";
import { output, project, tarball, tool } from "./project.mjs";

const dir = join(project(), "node_modules/remint");
const files = readdirSync(dir, { recursive: true }).filter((name) => statSync(join(dir, name)).isFile());
const manifest = JSON.parse(readFileSync(join(dir, "package.json"), "utf8"));

test("it holds what users need, and nothing else", () => {
  const kinds = new Set(files.map((name) => name.replace(/^dist\/[\w-]+\./, "dist/*.")));
  const known = ["README.md", "LICENSE-APACHE", "LICENSE-MIT", "package.json", "dist/*.js", "dist/*.mjs", "dist/*.d.ts", "dist/*.d.mts"];
  assert.deepEqual([...kinds].sort(), known.sort());
  assert.equal(manifest.dependencies, undefined);
  assert.equal(manifest.scripts.install ?? manifest.scripts.postinstall ?? manifest.scripts.prepare, undefined);
});

test("it is at most 570 KB unpacked", () => {
  const size = files.reduce((sum, name) => sum + statSync(join(dir, name)).size, 0);
  assert.ok(size <= 570 * 1024, `${size} bytes`);
});

test("the wasm is in it once", () => {
  const holders = files.filter((name) => statSync(join(dir, name)).size > 50_000);
  assert.deepEqual(holders, ["dist/glue.js"]);
  const { wasm } = createRequire(join(dir, "x.js"))("./dist/glue.js");
  const bytes = brotliDecompressSync(Buffer.from(wasm, "base64"));
  assert.equal(bytes.subarray(0, 4).toString("latin1"), "\0asm");
  console.log(`# wasm: ${bytes.length} bytes, ${gzipSync(bytes, { level: 9 }).length} gzipped`);
});

test("no path or host of the machine that built it is in it", () => {
  const { wasm } = createRequire(join(dir, "x.js"))("./dist/glue.js");
  const texts = [...files.map((name) => readFileSync(join(dir, name), "latin1")), brotliDecompressSync(Buffer.from(wasm, "base64")).toString("latin1")];
  for (const text of texts) assert.doesNotMatch(text, /\/root\/|\/home\/\w|\/work\/|\.cargo\/registry/);
});

test("publint has nothing to say", async () => {
  await output(process.execPath, [join(tool("publint"), "src/cli.js"), dir, "--strict"]);
});

test("attw has nothing to say", async () => {
  const text = await output(process.execPath, [join(tool("@arethetypeswrong/cli"), "dist/index.js"), tarball, "--format", "ascii"]);
  assert.match(text, /No problems found/);
});

const IMPORTS = `
import { Client, type Conflict, type GeneratedKey, type Held, type Locked, type Saved, ServerError, type Store, StoreDown, type Token, generateKey } from "remint";
import { Core } from "remint/core";
import { FileStore } from "remint/file";
import { RedisStore } from "remint/redis";
`;

test("the declarations satisfy the strictest consumer, as ESM and as CommonJS", async () => {
  const body = `
class OwnStore implements Store {
  async load(key: string): Promise<string | undefined> {
    return key;
  }
  async lock(key: string, owner: string, ttl: number): Promise<Locked | Held> {
    return owner === key ? { locked: true } : { locked: false, retryIn: ttl, record: null };
  }
  async save(_key: string, expect: string | undefined, record: string): Promise<Saved | Conflict> {
    if (record === "") throw new StoreDown("full");
    return expect === record ? { saved: true } : { saved: false, record };
  }
}
export async function use(): Promise<string> {
  const client = new Client("phoenix-wallet", {
    clientId: "a", clientSecret: async () => "b", scope: ["wallets:read"], requestTimeout: 5, policy: { softMargin: 60 },
    tokenEndpoint: "https://a.example/token", region: "eu", onNotice: ({ notice, detail }) => console.log(notice, detail),
    http: fetch,
  });
  const custom = new Client({ name: "x", title: "X", grants: ["client_credentials"] }, { http: (url, init) => fetch(url, init) });
  const drop: typeof fetch = client.fetch;
  const token: Token = await client.token({ minTtl: 60, signal: AbortSignal.timeout(1000) });
  const peeked: Token | undefined = custom.peek();
  const verdict: "pass" | "retry" | "give_up" = await client.reject(token, "GET", "https://a.example/", 401, new Headers());
  const alice: Client = client.withSubject("alice", { refreshToken: "r", onRotated: async (next: string) => void next });
  const made: GeneratedKey = generateKey("EdDSA");
  const pem: string = made.export({ format: "pem", type: "pkcs8" });
  const bound = new Client("phoenix-wallet", { dpop: { key: made, required: false }, signingKey: pem, clientCertificate: { certificate: "a", key: "b" } });
  bound.renew({ dpop: true, signingKey: { sign: async (input: Uint8Array) => input, alg: "ES256", name: "kms/1" } });
  const { userCode, expiresIn, session: asked } = await bound.withResource("https://a.example").deviceAuthorization({ scope: "x", timeout: 5 });
  const polled: Token = await bound.poll(asked, { subject: userCode, signal: AbortSignal.timeout(expiresIn) });
  const { active, sub } = await bound.introspect(polled);
  await bound.revoke(active ? { token: polled, hint: String(sub) } : {});
  const redis = { hGet: async () => null, eval: async () => [1], evalSha: async (sha: string, what: { keys: string[] }) => [sha, what], isOpen: true };
  const stores: Store[] = [new FileStore("tokens"), new RedisStore(redis, { prefix: "a:", insecurePlaintext: false }), new OwnStore()];
  for (const store of stores) new Client("phoenix-wallet", { store, storeKeys: [{ id: "a", key: new Uint8Array(32) }] });
  // @ts-expect-error A store has three functions.
  new Client("phoenix-wallet", { store: { load: async () => "" } });
  // @ts-expect-error A request to a person on their own device names them.
  await bound.backchannelAuthentication();
  const { url, session } = await alice.authorizationUrl({ redirectUri: "https://app.example/" });
  await alice.exchange(new URL(url), session, { subject: "alice" });
  await client.close();
  try {
    await drop("https://a.example/");
  } catch (error) {
    if (error instanceof ServerError) return error.code + String(error.retryAfter ?? 0);
  }
  const core = new Core({ profile: "phoenix-wallet" });
  const { method, body } = core.build({ client_credentials: {} });
  const step = core.handle({ ask: {} }, { wall: 0, boot: 0 }, new Uint8Array(32));
  // @ts-expect-error A token is not made by hand, and not written to.
  token.accessToken = "x";
  // @ts-expect-error Seconds are numbers.
  await client.token({ minTtl: "60" });
  return [token.accessToken, peeked?.expiresIn(), verdict, method, body, step.settled?.length].join();
}
`;
  const source = `${IMPORTS}${body}`;
  const cwd = project({ "esm.mts": source, "cjs.cts": source, "types.d.ts": "" });
  const types = ["--typeRoots", join(tool("@types/node"), ".."), "--types", "node"];
  const strict = "--noEmit --strict --exactOptionalPropertyTypes --noUncheckedIndexedAccess --skipLibCheck false --target es2022".split(" ");
  const tsc = join(tool("typescript"), "bin/tsc");
  for (const [module, resolution, libs, also] of [
    ["nodenext", "nodenext", "es2023", types],
    ["preserve", "bundler", "es2023", types],
    ["preserve", "bundler", "es2023,dom,dom.iterable", ["--types", ""]],
  ]) {
    const words = ["--module", module, "--moduleResolution", resolution, "--lib", libs, ...also];
    // The declarations of @types/node need newer libraries than some consumers have; ours must not.
    await output(process.execPath, [tsc, ...strict, ...words, "esm.mts", "cjs.cts"], { cwd });
  }
});
