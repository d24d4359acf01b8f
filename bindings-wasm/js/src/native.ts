import type * as Glue from "../build/native/remint_native.js";

export type NativeExchange = Glue.Exchange;
export type NativeCore = Glue.Core;
export type NativeRegistrar = Glue.Registrar;
export type NativeRegistration = Glue.Registration;

let glue: typeof Glue | undefined;

/** The compiled core, one instance per thread. Compiling waits for the first use, so that an import costs next to nothing. */
export function native(): typeof Glue {
  if (glue === undefined) {
    if (globalThis.process?.versions?.node === undefined) {
      throw new Error("remint runs in Node.js only: a client secret has no place in a browser. Get tokens on your back end");
    }
    const { brotliDecompressSync } = require("node:zlib") as typeof import("node:zlib");
    const loaded = require("./glue.js") as typeof Glue & { wasm: string };
    loaded.initSync({ module: brotliDecompressSync(Buffer.from(loaded.wasm, "base64")) });
    glue = loaded;
  }
  return glue;
}
