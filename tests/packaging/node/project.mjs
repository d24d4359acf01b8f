// Empty projects outside of the checkout, with the packed package in them as a user would have it.
import { execFile, execFileSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const scratch = mkdtempSync(join(tmpdir(), "remint-packaging-"));
after(() => rmSync(scratch, { recursive: true, force: true }));

/** The packed package: the newest one that `cargo xtask package node` left, or the one that `REMINT_TGZ` names. */
export const tarball = process.env.REMINT_TGZ ?? packed();

function packed() {
  const folder = fileURLToPath(new URL("../../../target/packages/", import.meta.url));
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => /^remint-\d.*\.tgz$/.test(name)) : [];
  if (names.length !== 1) throw new Error(`one package is expected in target/packages, not ${names.length}: run \`cargo xtask package node\``);
  return join(folder, names[0]);
}

/** The folder of a tool that this folder's package-lock.json lists. */
export function tool(name) {
  return fileURLToPath(new URL(`node_modules/${name}`, import.meta.url));
}

/** The interpreters that the package has to work with. */
export const NODES = [
  process.execPath,
  ...["22", "24"].map((version) => join(tool(`node-${version}-${process.platform}-${process.arch}`), "bin/node")),
];

let installed;

/** A project with these files and the package installed. */
export function project(files = {}, manifest = {}) {
  if (installed === undefined) {
    installed = join(scratch, "installed");
    mkdirSync(installed);
    writeFileSync(join(installed, "package.json"), '{"private":true}');
    execFileSync("npm", ["install", "--offline", "--no-package-lock", tarball], { cwd: installed, stdio: ["ignore", "ignore", "pipe"] });
  }
  const dir = mkdtempSync(join(scratch, "project-"));
  cpSync(join(installed, "node_modules"), join(dir, "node_modules"), { recursive: true });
  write(dir, { "package.json": JSON.stringify({ private: true, ...manifest }), ...files });
  return dir;
}

/** A folder with nothing but these files. */
export function folder(files) {
  const dir = mkdtempSync(join(scratch, "folder-"));
  write(dir, files);
  return dir;
}

function write(dir, files) {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, name)), { recursive: true });
    writeFileSync(join(dir, name), text);
  }
}

/** Runs a program, which must end well; its output. */
export async function output(program, args, { cwd, env = {} } = {}) {
  try {
    const { stdout } = await run(program, args, { cwd, env: { ...process.env, NODE_OPTIONS: "", ...env }, timeout: 120_000 });
    return stdout.trim();
  } catch (error) {
    throw new Error(`${args.join(" ")} failed:\n${error.stdout}\n${error.stderr}`);
  }
}

/** A token endpoint and an API, as small as they can be. `delay` is in milliseconds. */
export async function tokenServer({ delay = 0, lifetime = 3600 } = {}) {
  const seen = { tokens: 0, calls: 0, delay };
  const server = createServer((request, response) => {
    request.resume();
    const answer = () => {
      response.setHeader("content-type", "application/json");
      if (request.url === "/oauth/token") {
        seen.tokens++;
        response.end(JSON.stringify({ access_token: `canary-token-${seen.tokens}`, token_type: "Bearer", expires_in: lifetime }));
      } else {
        seen.calls++;
        response.end(JSON.stringify({ authorization: request.headers.authorization ?? null }));
      }
    };
    setTimeout(answer, request.url === "/oauth/token" ? seen.delay : 0);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${server.address().port}`, seen };
}

/** A program's text that makes a client of such a server, whose address is its first argument, and says that it works. */
export const MAIN = `
const url = process.argv[2];
const client = new Client("phoenix-wallet", {
  clientId: "a", clientSecret: "canary-secret", tokenEndpoint: url + "/oauth/token", baseUrl: url, allowLoopbackHttp: true,
});
async function main() {
  const { authorization } = await (await client.fetch(url + "/v1/wallets")).json();
  if (!authorization.startsWith("Bearer canary-token-")) throw new Error(authorization);
  if (client.peek().authorization !== authorization) throw new Error("another token");
  console.log("works");
}
`;
