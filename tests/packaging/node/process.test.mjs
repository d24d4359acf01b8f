// A process ends when its work ends, and what it prints when it dies holds no secret.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { test } from "node:test";
import { NODES, project, tokenServer } from "./project.mjs";

/** Runs a program to its end; how it ended, what it printed, and after how long. */
function run(node, cwd, args) {
  return new Promise((resolve) => {
    const started = performance.now();
    const child = spawn(node, args, { cwd, timeout: 30_000, env: { ...process.env, NODE_OPTIONS: "" } });
    let text = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (text += chunk));
    child.on("close", (code, signal) => resolve({ code, signal, text, seconds: (performance.now() - started) / 1000 }));
  });
}

const PREAMBLE = `
const { Client } = require("remint");
const url = process.argv[2];
let offset = 0;
const clock = { wall: () => Date.now() + offset, boot: () => performance.now() + offset };
const options = {
  clientId: "a", clientSecret: "canary-secret", tokenEndpoint: url + "/oauth/token", baseUrl: url, allowLoopbackHttp: true, clock,
};
`;

for (const node of NODES) {
  test(`${node.includes("node-2") ? node.match(/node-(\d+)/)[1] : process.version}: a client that isn't closed holds no process`, async () => {
    const { url } = await tokenServer();
    const cwd = project({ "main.cjs": `${PREAMBLE}new Client("phoenix-wallet", options).fetch(url + "/v1").then((r) => r.text()).then(() => console.log("done"));` });
    const { code, text, seconds } = await run(node, cwd, ["main.cjs", url]);
    assert.equal(text, "done\n");
    assert.equal(code, 0);
    assert.ok(seconds < 8, `${seconds} s`);
  });
}

test("a caller who waits holds the process until there is a token", async () => {
  const { url } = await tokenServer({ delay: 1500 });
  const cwd = project({ "main.cjs": `${PREAMBLE}new Client("phoenix-wallet", options).token().then(() => console.log("token"));` });
  const { code, text } = await run(process.execPath, cwd, ["main.cjs", url]);
  assert.deepEqual([code, text], [0, "token\n"]);
});

test("a caller who waits for the next attempt holds the process, too", async () => {
  const cwd = project({
    "main.cjs": `${PREAMBLE}
let attempts = 0;
const body = () => [Buffer.from(JSON.stringify({ access_token: "t", token_type: "Bearer", expires_in: 60 }))];
const http = async () => (++attempts === 1 ? { status: 503, headers: [], body: null } : { status: 200, headers: [["content-type", "application/json"]], body: body() });
new Client("phoenix-wallet", { ...options, http }).token().then(() => console.log("token", attempts));`,
  });
  const { code, text } = await run(process.execPath, cwd, ["main.cjs", "http://127.0.0.1:1"]);
  assert.deepEqual([code, text], [0, "token 2\n"]);
});

test("a refresh that nobody waits for holds the process no longer than requestTimeout", async () => {
  const { url, seen } = await tokenServer();
  const cwd = project({
    "main.cjs": `${PREAMBLE}
const client = new Client("phoenix-wallet", { ...options, requestTimeout: 2 });
(async () => {
  await client.token();
  await fetch(url + "/hang");
  offset = 3_400_000;
  await client.token();
  console.log("done");
})();`,
  });
  const running = run(process.execPath, cwd, ["main.cjs", url]);
  const poll = setInterval(() => seen.calls > 0 && (seen.delay = 60_000), 1);
  const { code, text, seconds } = await running;
  clearInterval(poll);
  assert.deepEqual([code, text], [0, "done\n"]);
  assert.ok(seconds < 8, `${seconds} s`);
});

test("a timer of a failed refresh holds no process", async () => {
  const cwd = project({
    "main.cjs": `${PREAMBLE}
const client = new Client("phoenix-wallet", { ...options, http: async () => ({ status: 503, headers: [["retry-after", "600"]], body: null }) });
client.token({ timeout: 1 }).catch((error) => console.log(error.code, error.retryAfter > 500));`,
  });
  const { code, text, seconds } = await run(process.execPath, cwd, ["main.cjs", "http://127.0.0.1:1"]);
  assert.deepEqual([code, text], [0, "server_unavailable true\n"]);
  assert.ok(seconds < 5, `${seconds} s`);
});

test("an error that nobody catches shows no secret", async () => {
  const cwd = project({
    "main.cjs": `${PREAMBLE}
const http = async (url, init) => { throw Object.assign(new Error("failed: " + init.body), { config: init, cause: new Error(init.body) }); };
new Client("phoenix-wallet", { ...options, http }).token({ timeout: 0.1 });`,
  });
  const { code, text } = await run(process.execPath, cwd, ["main.cjs", "http://127.0.0.1:1"]);
  assert.equal(code, 1);
  assert.match(text, /transport_failed/);
  assert.match(text, /\[cause\]: \[Getter\]/);
  assert.doesNotMatch(text, /canary/);
});
