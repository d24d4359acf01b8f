// The ways in which programs come by the package, and run it.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { test } from "node:test";
import vm from "node:vm";
import { build } from "esbuild";
import webpack from "webpack";
import { MAIN, NODES, folder, output, project, tokenServer, tool } from "./project.mjs";

const ESM = `import { Client } from "remint";\n${MAIN}\nawait main();\n`;
const CJS = `const { Client } = require("remint");\n${MAIN}\nmain();\n`;
const { url, seen } = await tokenServer();

for (const node of NODES) {
  const version = await output(node, ["--version"]);
  test(`Node ${version} imports it, requires it, and exits by itself`, async () => {
    const cwd = project({ "main.mjs": ESM, "main.cjs": CJS });
    assert.equal(await output(node, ["main.mjs", url], { cwd }), "works");
    assert.equal(await output(node, ["main.cjs", url], { cwd }), "works");
  });

  test(`Node ${version}: each worker thread has an instance of its own`, async () => {
    const cwd = project({
      "main.mjs": `
import { Worker, isMainThread } from "node:worker_threads";
import { Client } from "remint";
${MAIN.replace("process.argv[2]", "process.env.URL")}
await main();
if (isMainThread) {
  await Promise.all(Array.from({ length: 4 }, () => new Promise((resolve, reject) => {
    new Worker(new URL(import.meta.url)).on("error", reject).on("exit", resolve);
  })));
}`,
    });
    const before = seen.tokens;
    assert.equal(await output(node, ["main.mjs"], { cwd, env: { URL: url } }), Array(5).fill("works").join("\n"));
    assert.equal(seen.tokens - before, 5);
  });
}

test("import and require give the same classes: a process has one implementation", async () => {
  const cwd = project({
    "main.mjs": `
import { createRequire } from "node:module";
import * as esm from "remint";
import * as core from "remint/core";
import * as file from "remint/file";
import * as redis from "remint/redis";
const require = createRequire(import.meta.url);
const names = ["Client", "Token", "RemintError", "UsageError", "ServerError", "TransportError"];
console.log(names.every((name) => esm[name] !== undefined && esm[name] === require("remint")[name])
  && core.Core === require("remint/core").Core && core.UsageError === esm.UsageError
  && file.FileStore === require("remint/file").FileStore && redis.RedisStore === require("remint/redis").RedisStore);`,
  });
  assert.equal(await output(process.execPath, ["main.mjs"], { cwd }), "true");
});

test("importing it compiles nothing", async () => {
  const cwd = project({
    "main.cjs": `
const { Client } = require("remint");
const loaded = () => Object.keys(require.cache).some((name) => name.endsWith("glue.js"));
const before = loaded();
new Client("phoenix-wallet", { clientId: "a", clientSecret: "b" });
console.log(before, loaded());`,
  });
  assert.equal(await output(process.execPath, ["main.cjs"], { cwd }), "false true");
});

for (const [format, source] of [["esm", ESM], ["cjs", CJS]]) {
  test(`esbuild bundles it as ${format}, and the bundle runs where nothing is installed`, async () => {
    const cwd = project({ "main.js": source }, { type: format === "esm" ? "module" : "commonjs" });
    const name = format === "esm" ? "bundle.mjs" : "bundle.cjs";
    const options = { format, platform: "node", bundle: true, write: false, logLevel: "silent", absWorkingDir: cwd };
    // Node's own modules are required by a CommonJS file inside of an ESM bundle.
    const banner = format === "esm" ? { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' } : {};
    const { outputFiles, warnings } = await build({ ...options, banner, entryPoints: ["main.js"] });
    assert.deepEqual(warnings, []);
    const alone = folder({ [name]: outputFiles[0].text });
    assert.equal(await output(process.execPath, [name, url], { cwd: alone }), "works");
  });
}

test("webpack bundles it, and the bundle runs where nothing is installed", async () => {
  const cwd = project({ "main.js": CJS });
  const stats = await new Promise((resolve, reject) => {
    webpack(
      { context: cwd, entry: "./main.js", target: "node20", mode: "production", output: { path: join(cwd, "out"), filename: "main.cjs" } },
      (error, result) => (error ? reject(error) : resolve(result)),
    );
  });
  assert.deepEqual(stats.compilation.errors, []);
  assert.deepEqual(stats.compilation.warnings.filter(({ name }) => !/Limit|Recommendation/.test(name)), []);
  const alone = folder({ "main.cjs": readFileSync(join(cwd, "out/main.cjs"), "utf8") });
  assert.equal(await output(process.execPath, ["main.cjs", url], { cwd: alone }), "works");
});

test("a serverless function is one minified file", async () => {
  const handler = CJS.replace("process.argv[2]", "process.env.URL").replace("main();\n", "exports.handler = () => main();\n");
  const cwd = project({ "handler.js": handler });
  const { outputFiles } = await build({
    entryPoints: ["handler.js"], absWorkingDir: cwd, bundle: true, minify: true, platform: "node", target: "node20", write: false,
  });
  const alone = folder({
    "index.js": outputFiles[0].text,
    "runtime.js": 'const { handler } = require("./index.js"); handler().then(() => handler());',
  });
  assert.equal(await output(process.execPath, ["runtime.js"], { cwd: alone, env: { URL: url } }), "works\nworks");
});

for (const environment of ["node", "jsdom"]) {
  test(`Jest runs it, environment ${environment}`, async () => {
    const cwd = project({
      "main.test.js": `
const { Client } = require("remint");
test("a token", async () => {
  const answer = { access_token: "t", token_type: "Bearer", expires_in: 60 };
  const http = async () => ({ status: 200, headers: [["content-type", "application/json"]], body: [Buffer.from(JSON.stringify(answer))] });
  const client = new Client("phoenix-wallet", { clientId: "a", clientSecret: "b", http });
  expect((await client.token()).accessToken).toBe("t");
  expect(client.peek().authorization).toBe("Bearer t");
});`,
    });
    const jest = join(tool("jest"), "bin/jest.js");
    const testEnvironment = environment === "node" ? "node" : tool("jest-environment-jsdom");
    await output(process.execPath, [jest, "--rootDir", cwd, "--env", testEnvironment, "--watchman=false"], { cwd, env: { CI: "true" } });
  });
}

test("undici's own fetch works as the transport, with a dispatcher of the user's", async () => {
  const cwd = project({
    "main.cjs": `
const undici = require(process.env.UNDICI);
const { Client } = require("remint");
let dispatched = 0;
const dispatcher = new undici.Agent().compose((dispatch) => (...args) => { dispatched++; return dispatch(...args); });
const http = (url, init) => undici.fetch(url, { ...init, dispatcher });
${MAIN.replace("clientId:", "http, clientId:")}
main().then(() => console.log(dispatched));`,
  });
  const undici = createRequire(import.meta.url).resolve("undici");
  assert.equal(await output(process.execPath, ["main.cjs", url], { cwd, env: { UNDICI: undici } }), "works\n2");
});

test("where there is no Node it says so when a client is made, not before", async () => {
  const cwd = project({ "main.js": 'globalThis.remint = require("remint");' });
  const { outputFiles } = await build({ entryPoints: ["main.js"], absWorkingDir: cwd, bundle: true, platform: "node", write: false });
  const browser = vm.createContext({ fetch: () => {}, require: createRequire(import.meta.url) });
  vm.runInContext(outputFiles[0].text, browser);
  assert.throws(() => vm.runInContext('new remint.Client("phoenix-wallet", { clientId: "a", clientSecret: "b" })', browser), /runs in Node\.js only/);
});

test("two copies of the package in one process don't disturb each other", async () => {
  const cwd = project({
    "main.cjs": `
const first = require("remint");
for (const name of Object.keys(require.cache)) delete require.cache[name];
const second = require("remint");
if (first.Client === second.Client) throw new Error("one copy");
${MAIN.replace("new Client", "new first.Client")}
new second.Client("phoenix-wallet", { clientId: "a", clientSecret: "b" });
main();`,
  });
  assert.equal(await output(process.execPath, ["main.cjs", url], { cwd }), "works");
});
