import { misuse } from "./errors.js";
import { type Connections, type Tls, agentFor } from "./transport.js";

/** The certificate that the client shows to servers (mutual TLS, RFC 8705). */
export interface ClientCertificate {
  /** PEM, the client's own certificate first; or a path, which is read again when the file has changed. */
  readonly certificate: string;
  /** Its private key: PEM, or a path. */
  readonly key: string;
}

interface Pair {
  readonly tlsId: string;
  readonly agent: Connections;
  readonly files: string;
}

/** A certificate and its key as they are now, with connections of their own. */
export class Certificate {
  #given: ClientCertificate;
  #pair: Pair;

  constructor(given: ClientCertificate, private readonly tls: Tls) {
    this.#given = given;
    this.#pair = load(given, tls);
  }

  /** The thumbprint (RFC 8705 section 3.1). */
  get tlsId(): string {
    return this.#pair.tlsId;
  }

  get agent(): Connections {
    return this.#pair.agent;
  }

  /** Looks at the files; the new thumbprint if there is another certificate. */
  renewed(): string | undefined {
    const before = this.#pair;
    try {
      if (fingerprint(this.#given) !== before.files) this.#pair = load(this.#given, this.tls);
    } catch {
      // Two files are not replaced in one moment: what is there serves until both fit.
    }
    return this.#pair.tlsId === before.tlsId ? undefined : this.#pair.tlsId;
  }

  replace(given: ClientCertificate): string {
    this.#pair = load(given, this.tls);
    this.#given = given;
    return this.#pair.tlsId;
  }
}

function load(given: ClientCertificate, tls: Tls): Pair {
  if (typeof given !== "object" || given === null || typeof given.certificate !== "string" || typeof given.key !== "string") {
    throw misuse("the option `clientCertificate` needs `certificate` and `key`, each PEM or a path");
  }
  const { X509Certificate, createHash, createPrivateKey } = require("node:crypto") as typeof import("node:crypto");
  // Taken first: a change while the files are read is then seen the next time.
  const files = fingerprint(given);
  const [cert, key] = [read("certificate", given.certificate), read("key", given.key)];
  const own = parsed("certificate", () => new X509Certificate(cert));
  if (!own.checkPrivateKey(parsed("key", () => createPrivateKey(key)))) {
    throw misuse("`clientCertificate.key` is not the key of `clientCertificate.certificate`: give the two that belong together");
  }
  return { tlsId: createHash("sha256").update(own.raw).digest("base64url"), agent: agentFor({ ...tls, cert, key }), files };
}

/** Tells whether files have changed. PEM text never does. */
function fingerprint({ certificate, key }: ClientCertificate): string {
  const { statSync } = require("node:fs") as typeof import("node:fs");
  return [certificate, key].filter((text) => !isPem(text)).map((path) => {
    const found = statSync(path, { throwIfNoEntry: false });
    return `${found?.mtimeMs} ${found?.size}`;
  }).join();
}

function read(member: string, given: string): string {
  if (isPem(given)) return given;
  try {
    return (require("node:fs") as typeof import("node:fs")).readFileSync(given, "utf8");
  } catch (error) {
    throw misuse(`\`clientCertificate.${member}\` is the file \`${given}\`, which can't be read (${(error as { code?: string }).code}): give a path, or PEM`);
  }
}

function parsed<T>(member: string, parse: () => T): T {
  try {
    return parse();
  } catch {
    // The error's own text may hold a part of the key.
    throw misuse(`\`clientCertificate.${member}\` is not PEM that can be read: a key must have no passphrase`);
  }
}

function isPem(text: string): boolean {
  return text.includes("-----BEGIN ");
}
