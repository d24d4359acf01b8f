import type { JsonWebKey, KeyObject } from "node:crypto";
import { misuse } from "./errors.js";

/** A key that the client signs with (`private_key_jwt`, RFC 7523 section 2.2). */
export interface PrivateKey {
  /** A `KeyObject`, a JWK, or PEM: PKCS #8, SEC 1 or PKCS #1. It never leaves `node:crypto`. */
  readonly key: object | string;
  /** `ES256`, `ES384`, `EdDSA`, `RS256` or `PS256`. An elliptic curve leaves no choice; an RSA key does. */
  readonly alg?: Algorithm | undefined;
  /** What the server knows the key by; a JWK's own unless given. */
  readonly kid?: string | undefined;
}

/** A key held elsewhere: a KMS, an HSM, an enclave. */
export interface RemoteKey {
  /** Gives the raw signature of `input`: for ECDSA r and s (RFC 7518 section 3.4), not DER. */
  readonly sign: (input: Uint8Array, alg: Algorithm) => Uint8Array | Promise<Uint8Array>;
  readonly alg: Algorithm;
  /** Tells this key's tokens from another's: the key's id or version there. */
  readonly name: string;
  readonly kid?: string | undefined;
}

export type Algorithm = "ES256" | "ES384" | "EdDSA" | "RS256" | "PS256";

/** What the core is told of the key, and how to sign with it. */
export interface Signer {
  readonly key: { readonly name: string; readonly alg: string; readonly kid?: string };
  readonly sign: RemoteKey["sign"];
}

/** Checks that the key fits its algorithm before anything is sent. */
export function toSigner(given: PrivateKey | RemoteKey): Signer {
  if (typeof given !== "object" || given === null) throw misuse("the option `signingKey` must be an object with `key` or `sign`");
  if ("sign" in given) {
    const { sign, name, alg, kid } = given;
    if (typeof sign !== "function") throw misuse("`signingKey.sign` must be a function");
    return { key: { name, alg, ...(kid === undefined ? {} : { kid }) }, sign };
  }
  const key = toPrivateKey(given.key);
  const alg = algorithmOf(key, given.alg);
  const kid = given.kid ?? (isJwk(given.key) ? (given.key as { kid?: string }).kid : undefined);
  const { hash, ...how } = HOW[alg];
  const { sign } = crypto();
  return {
    key: { name: thumbprint(key), alg, ...(kid === undefined ? {} : { kid }) },
    sign: (input) => sign(hash, input, { key, ...how }),
  };
}

// Node's types stay out of the declarations: not every consumer has them.
function toPrivateKey(key: PrivateKey["key"]): KeyObject {
  if (typeof key === "object" && key !== null && "asymmetricKeyType" in key) {
    if ((key as KeyObject).type === "private") return key as KeyObject;
    throw misuse("`signingKey.key` is a public key: signing takes the private one");
  }
  try {
    return crypto().createPrivateKey(isJwk(key) ? { key: key as JsonWebKey, format: "jwk" } : (key as string));
  } catch {
    // The error's own text may hold a part of the key.
    throw misuse("`signingKey.key` is not a private key: give a KeyObject, a JWK, or PEM (PKCS #8, SEC 1 or PKCS #1) without a passphrase");
  }
}

function algorithmOf(key: KeyObject, wanted: Algorithm | undefined): Algorithm {
  const { namedCurve, modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  const fits: readonly Algorithm[] = FITTING[`${key.asymmetricKeyType}${namedCurve === undefined ? "" : `:${namedCurve}`}`] ?? [];
  const kind = namedCurve ?? key.asymmetricKeyType;
  if (fits.length === 0) throw misuse(`\`signingKey.key\` is of the kind \`${kind}\`, which is not supported: use P-256, P-384, Ed25519 or RSA`);
  if (fits.includes("RS256") && modulusLength < 2048) throw misuse(`\`signingKey.key\` is an RSA key of ${modulusLength} bits: use one of 2048 or more`);
  if (wanted === undefined && fits.length > 1) throw misuse(`\`signingKey.alg\` is missing: an RSA key can sign with ${fits.join(" and ")}`);
  if (wanted !== undefined && !fits.includes(wanted)) throw misuse(`\`signingKey.alg\` is \`${wanted}\`, but the key is of the kind \`${kind}\`: use ${fits.join(" or ")}`);
  return wanted ?? fits[0]!;
}

/** The key's thumbprint (RFC 7638 section 3): its name in the cache key. */
function thumbprint(key: KeyObject): string {
  const { createHash, createPublicKey } = crypto();
  const { crv, e, kty, n, x, y } = createPublicKey(key as never).export({ format: "jwk" });
  // In the order of the names, absent ones left out, which is what the RFC wants hashed.
  return createHash("sha256").update(JSON.stringify({ crv, e, kty, n, x, y })).digest("base64url");
}

function isJwk(key: unknown): boolean {
  return typeof key === "object" && key !== null && "kty" in key;
}

/** Loaded when first needed: it would double the time that an import takes. */
function crypto(): typeof import("node:crypto") {
  return require("node:crypto") as typeof import("node:crypto");
}

const FITTING: Readonly<Record<string, readonly Algorithm[]>> = {
  "ec:prime256v1": ["ES256"],
  "ec:secp384r1": ["ES384"],
  ed25519: ["EdDSA"],
  rsa: ["RS256", "PS256"],
  "rsa-pss": ["PS256"],
};
const HOW = {
  ES256: { hash: "sha256", dsaEncoding: "ieee-p1363" },
  ES384: { hash: "sha384", dsaEncoding: "ieee-p1363" },
  EdDSA: { hash: null },
  RS256: { hash: "sha256" },
  // RSA_PKCS1_PSS_PADDING, with a salt as long as the hash (RFC 7518 section 3.5).
  PS256: { hash: "sha256", padding: 6, saltLength: 32 },
} as const;
