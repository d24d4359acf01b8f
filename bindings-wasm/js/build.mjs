// Makes dist/ out of src/ and of what the generator left in build/native/.
import { execFileSync } from "node:child_process";
import { copyFileSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants } from "node:zlib";
import { buildSync } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, "dist");
const require = createRequire(import.meta.url);

rmSync(dist, { recursive: true, force: true });
const tsc = join(dirname(require.resolve("typescript/package.json")), "bin/tsc");
execFileSync(process.execPath, [tsc, "--project", here], { stdio: "inherit" });

// The glue as CommonJS with the wasm inside: a bundler has no file to lose, and a process no second instance.
// The glue's own way of finding the file by `import.meta.url` isn't reachable from `initSync`, and is left out.
const native = join(here, "build/native");
const wasm = readFileSync(join(native, "remint_native_bg.wasm"));
const quality = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: wasm.length };
writeFileSync(join(native, "wasm.txt"), brotliCompressSync(wasm, { params: quality }).toString("base64"));
buildSync({
  stdin: {
    contents: `export { Core, Registrar, initSync } from "./remint_native.js"; export { default as wasm } from "./wasm.txt";`,
    resolveDir: native,
  },
  outfile: join(dist, "glue.js"),
  bundle: true,
  format: "cjs",
  platform: "node",
  target: "node20",
  loader: { ".txt": "text" },
  // Some test environments, such as Jest's jsdom, hide these.
  banner: { js: 'const { TextDecoder, TextEncoder } = require("node:util");' },
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: "none",
});

// One implementation for both kinds of importer, so that a process has one cache.
const entries = ["index", "core", "file", "redis"];
for (const entry of entries) {
  const names = Object.keys(require(join(dist, `${entry}.js`)));
  writeFileSync(join(dist, `${entry}.mjs`), `export { ${names.join(", ")} } from "./${entry}.js";\n`);
  writeFileSync(join(dist, `${entry}.d.mts`), `export * from "./${entry}.js";\n`);
}

// Declarations that no entry leads to would only speak of files that aren't shipped.
const reachable = new Set();
const visit = (name) => {
  if (reachable.has(name)) return;
  reachable.add(name);
  for (const [, next] of readFileSync(join(dist, name), "utf8").matchAll(/["']\.\/([\w-]+)\.js["']/g)) visit(`${next}.d.ts`);
};
entries.forEach((entry) => visit(`${entry}.d.ts`));
for (const name of readdirSync(dist)) {
  if (name.endsWith(".d.ts") && !reachable.has(name)) rmSync(join(dist, name));
}

// npm packs nothing from outside of the package's folder.
for (const name of ["LICENSE-APACHE", "LICENSE-MIT"]) copyFileSync(join(here, "../..", name), join(here, name));
