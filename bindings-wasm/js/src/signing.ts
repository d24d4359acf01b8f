import type { JsonWebKey, KeyObject } from "node:crypto";
import { misuse } from "./errors.js";

/** A key that the client signs with: assertions (`private_key_jwt`, RFC 7523 section 2.2), requests (RFC 9101), or proofs. */
export interface PrivateKey {
  /** A `KeyObject`, a JWK, or PEM: PKCS #8, SEC 1 or PKCS #1. It never leaves `node:crypto`. */
  readonly key: object | string;
  /** `ES256`, `ES384`, `EdDSA`, `RS256` or `PS256`. Only an RSA key leaves a choice: the server's metadata chooses, and PS256 comes first. */
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

/** Whether tokens of another type than DPoP are refused, which they are unless told otherwise. */
export interface ProofRules {
  readonly required?: boolean | undefined;
}

/** The key that tokens are bound to (DPoP, RFC 9449). One that is held elsewhere needs its public half as a JWK. */
export type ProofKey =
  | (Omit<PrivateKey, "kid"> & ProofRules)
  | (Omit<RemoteKey, "kid" | "name"> & { readonly jwk: object; readonly name?: string | undefined } & ProofRules);

export type Algorithm = "ES256" | "ES384" | "EdDSA" | "RS256" | "PS256";

/** A private key by itself: PEM, a JWK, or a `KeyObject`. */
export type PlainKey = string | { readonly kty?: string | undefined } | { readonly type: string; readonly export: unknown };

/** As much of Node's `KeyObject` as keeping a key takes; `node:crypto` has the rest. */
export interface GeneratedKey {
  readonly type: "private";
  export(options: { format: "jwk" }): object;
  export(options: { format: "pem"; type: "pkcs8" }): string;
}

/** What the core is told of a key, and how to sign with it. */
export interface Signer {
  readonly key: { readonly name: string; readonly [member: string]: unknown };
  readonly sign: RemoteKey["sign"];
}

/** A new private key: a `KeyObject`, for `signingKey` or `dpop`. RSA keys have 3072 bits, and take their time. */
export function generateKey(alg: Algorithm = "ES256"): GeneratedKey {
  const { generateKeyPairSync: pair } = crypto();
  switch (alg) {
    case "ES256":
    case "ES384":
      return pair("ec", { namedCurve: `P-${alg.slice(2)}` }).privateKey as GeneratedKey;
    case "EdDSA":
      return pair("ed25519").privateKey as GeneratedKey;
    case "RS256":
    case "PS256":
      return pair("rsa", { modulusLength: 3072 }).privateKey as GeneratedKey;
    default:
      throw misuse("`alg` must be ES256, ES384, EdDSA, RS256 or PS256");
  }
}

/** Checks that the key of the option `signingKey` fits its algorithm before anything is sent. */
export function toSigner(given: object | string): Signer {
  const wish = unwrapped("signingKey", given);
  if ("sign" in wish) {
    const { sign, name, alg, kid } = wish;
    return { key: { name, alg, ...(kid === undefined ? {} : { kid }) }, sign };
  }
  const key = toPrivateKey("signingKey", wish.key);
  const kid = wish.kid ?? (isJwk(wish.key) ? (wish.key as { kid?: string }).kid : undefined);
  const fits = algorithms("signingKey", key, wish.alg);
  const alg = fits.length === 1 ? fits[0] : fits;
  return { key: { name: thumbprint(publicJwk(key)), alg, ...(kid === undefined ? {} : { kid }) }, sign: signing(key) };
}

/** The same of the option `dpop`. `true` is a new key, which lives as long as the client. */
export function toProver(given: object | string | true): Signer {
  const fresh = given === true || given === "generate";
  const wish = unwrapped("dpop", fresh ? generateKey() : given);
  const rules = wish.required === undefined ? {} : { required: wish.required };
  if ("sign" in wish) {
    const { sign, alg, jwk } = wish;
    if (!isJwk(jwk)) throw misuse("`dpop.jwk` is missing: a key held elsewhere needs its public half as a JWK");
    const name = wish.name ?? thumbprint(jwk as JsonWebKey);
    return { key: { name, alg, jwk, ...rules }, sign };
  }
  const key = toPrivateKey("dpop", wish.key);
  const jwk = publicJwk(key);
  return { key: { name: thumbprint(jwk), alg: algorithms("dpop", key, wish.alg)[0], jwk, ...rules }, sign: signing(key) };
}

type Wish = (PrivateKey | (RemoteKey & { readonly jwk?: unknown })) & ProofRules;

/** A key by itself, or with what is said about it. */
function unwrapped(option: string, given: object | string): Wish {
  if (typeof given === "string" || isJwk(given) || isKeyObject(given)) return { key: given };
  if (typeof given !== "object" || given === null || !("key" in given || "sign" in given)) {
    throw misuse(`the option \`${option}\` must be a private key, or an object with \`key\` or \`sign\``);
  }
  if ("sign" in given && typeof given.sign !== "function") throw misuse(`\`${option}.sign\` must be a function`);
  return given as Wish;
}

// Node's types stay out of the declarations: not every consumer has them.
function toPrivateKey(option: string, key: PrivateKey["key"]): KeyObject {
  if (isKeyObject(key)) {
    if (key.type === "private") return key;
    throw misuse(`\`${option}.key\` is a public key: signing takes the private one`);
  }
  try {
    return crypto().createPrivateKey(isJwk(key) ? { key: key as JsonWebKey, format: "jwk" } : (key as string));
  } catch {
    // The error's own text may hold a part of the key.
    throw misuse(`\`${option}.key\` is not a private key: give a KeyObject, a JWK, or PEM (PKCS #8, SEC 1 or PKCS #1) without a passphrase`);
  }
}

/** The algorithms that a key can sign with, the better one first; the one that is wanted, if it is among them. */
function algorithms(option: string, key: KeyObject, wanted: Algorithm | undefined): readonly Algorithm[] {
  const { namedCurve, modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  const fits = fitting(key);
  const kind = namedCurve ?? key.asymmetricKeyType;
  if (fits.length === 0) throw misuse(`\`${option}.key\` is of the kind \`${kind}\`, which is not supported: use P-256, P-384, Ed25519 or RSA`);
  if (fits.includes("PS256") && modulusLength < 2048) throw misuse(`\`${option}.key\` is an RSA key of ${modulusLength} bits: use one of 2048 or more`);
  if (wanted === undefined) return fits;
  if (!fits.includes(wanted)) throw misuse(`\`${option}.alg\` is \`${wanted}\`, but the key is of the kind \`${kind}\`: use ${fits.join(" or ")}`);
  return [wanted];
}

function signing(key: KeyObject): RemoteKey["sign"] {
  const { sign } = crypto();
  return (input, alg) => {
    const { hash, ...how } = HOW[alg];
    return sign(hash, input, { key, ...how });
  };
}

function publicJwk(key: KeyObject): JsonWebKey {
  return crypto().createPublicKey(key as never).export({ format: "jwk" });
}

/** The key's thumbprint (RFC 7638 section 3): its name in the cache key. */
function thumbprint({ crv, e, kty, n, x, y }: JsonWebKey): string {
  // In the order of the names, absent ones left out, which is what the RFC wants hashed.
  return crypto().createHash("sha256").update(JSON.stringify({ crv, e, kty, n, x, y })).digest("base64url");
}

/** Whether a server's signature is good: `key` is a public JWK as JSON text, `signature` base64url, for ECDSA r and s. */
export function isSigned(key: string, alg: string, input: string, signature: string): boolean {
  const { createPublicKey, verify } = crypto();
  try {
    const publicKey = createPublicKey({ key: JSON.parse(key) as JsonWebKey, format: "jwk" });
    if (!fitting(publicKey).includes(alg as Algorithm)) return false;
    const { hash, ...how } = HOW[alg as Algorithm];
    return verify(hash, Buffer.from(input), { key: publicKey, ...how }, Buffer.from(signature, "base64url"));
  } catch {
    // It is no signature of this key's, nor of any.
    return false;
  }
}

/** The algorithms that keys of this kind are for, the better one first. */
function fitting({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): readonly Algorithm[] {
  const { namedCurve } = asymmetricKeyDetails ?? {};
  return FITTING[`${asymmetricKeyType}${namedCurve === undefined ? "" : `:${namedCurve}`}`] ?? [];
}

function isJwk(key: unknown): boolean {
  return typeof key === "object" && key !== null && "kty" in key;
}

function isKeyObject(key: unknown): key is KeyObject {
  return typeof key === "object" && key !== null && "asymmetricKeyType" in key;
}

/** Loaded when first needed: it would double the time that an import takes. */
function crypto(): typeof import("node:crypto") {
  return require("node:crypto") as typeof import("node:crypto");
}

const FITTING: Readonly<Record<string, readonly Algorithm[]>> = {
  "ec:prime256v1": ["ES256"],
  "ec:secp384r1": ["ES384"],
  ed25519: ["EdDSA"],
  rsa: ["PS256", "RS256"],
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
