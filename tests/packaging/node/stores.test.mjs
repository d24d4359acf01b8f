// The shared stores as users install them, and the one of the examples over a real SQLite, in each Node that has one.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { NODES, output, project, tokenServer } from "./project.mjs";

const texts = { "contract.mjs": "../../hosts/node/contract.mjs", "sqlite-store.mjs": "../../../examples/node/stores/sqlite-store.mjs" };
const files = Object.fromEntries(Object.entries(texts).map(([name, path]) => [name, readFileSync(new URL(path, import.meta.url), "utf8")]));

const CONTRACT = `
import { DatabaseSync } from "node:sqlite";
import { contract } from "./contract.mjs";
import { SqliteStore } from "./sqlite-store.mjs";
contract("SQLite", () => new SqliteStore(new DatabaseSync("contract.db")));
`;
const PROCESS = `
import { Client } from "remint";
import { FileStore } from "remint/file";
const [url, kind] = process.argv.slice(2);
const sqlite = async () => {
  const [{ DatabaseSync }, { SqliteStore }] = [await import("node:sqlite"), await import("./sqlite-store.mjs")];
  return new SqliteStore(new DatabaseSync("tokens.db"));
};
const store = kind === "sqlite" ? await sqlite() : new FileStore("tokens");
const client = new Client("phoenix-wallet", {
  clientId: "a", clientSecret: "canary-secret", tokenEndpoint: url + "/oauth/token", baseUrl: url, allowLoopbackHttp: true, store,
  storeKeys: [{ id: "1", key: Buffer.alloc(32, 1) }],
  // A busy machine is no reason to ask for a second one.
  policy: { storeTimeout: 30 },
});
console.log((await client.token()).accessToken);
await client.close();
`;

// All of them before the first test: whoever waits between two tests may find that the run is over.
const versions = await Promise.all(NODES.map((node) => output(node, ["--version"])));

for (const [at, node] of NODES.entries()) {
  const version = versions[at];
  const kinds = Number(version.match(/\d+/)[0]) < 22 ? ["file"] : ["file", "sqlite"];

  for (const kind of kinds) {
    test(`Node ${version}: processes that share tokens by ${kind} ask for one, and what is stored is unreadable`, async () => {
      const { url, seen } = await tokenServer({ delay: 200 });
      const cwd = project({ ...files, "main.mjs": PROCESS });
      const said = await Promise.all(Array.from({ length: 5 }, () => output(node, ["--no-warnings", "main.mjs", url, kind], { cwd })));
      assert.deepEqual([...new Set(said)], ["canary-token-1"]);
      assert.equal(seen.tokens, 1);
      const grep = await output("sh", ["-c", 'grep -rac canary tokens* | cut -d: -f2 | sort -u'], { cwd });
      assert.equal(grep, "0");
    });
  }

  if (kinds.includes("sqlite")) {
    test(`Node ${version}: the example's store over SQLite does what a store must`, async () => {
      const cwd = project({ ...files, "sqlite.test.mjs": CONTRACT });
      const text = await output(node, ["--no-warnings", "--test-reporter=tap", "sqlite.test.mjs"], { cwd, env: { NODE_TEST_CONTEXT: "" } });
      assert.match(text, /# pass 6\n# fail 0/);
    });
  }
}
