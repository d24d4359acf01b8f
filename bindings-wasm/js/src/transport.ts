import type { HttpAnswer } from "./options.js";

export type FailureKind = "not_sent" | "maybe_sent" | "timeout" | "too_large" | "host_error";

/** A request that ended in a way that the core has a name for. */
export class TransportFailure extends Error {
  constructor(readonly kind: FailureKind) {
    super(kind);
  }
}

/** Reads a body of at most `cap` bytes. */
export async function readBody(body: HttpAnswer["body"], cap: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  // Leaving the loop early cancels the rest of the body.
  for await (const chunk of (body ?? []) as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > cap) throw new TransportFailure("too_large");
    chunks.push(chunk);
  }
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
}

/** Whether a request that failed may have reached the server. Only what is sure not to have left is `not_sent`. */
export function failureKind(error: unknown): FailureKind {
  if (error instanceof TransportFailure) return error.kind;
  return NEVER_LEFT.test(innermostCode(error)) || isCertificateFailure(error) ? "not_sent" : "maybe_sent";
}

/** Whether the server's certificate was refused. */
export function isCertificateFailure(error: unknown): boolean {
  return CERTIFICATE.test(innermostCode(error));
}

/** Like `fetch`, for servers whose certificates are signed by `ca`: the global one can't be told. */
export function fetchWithCa(ca: string | Uint8Array | readonly (string | Uint8Array)[]): typeof fetch {
  const https = require("node:https") as typeof import("node:https");
  const { Readable } = require("node:stream") as typeof import("node:stream");
  const agent = new https.Agent({ ca: ca as string | Buffer, keepAlive: true });
  return async (input, init) => {
    const request = new Request(input, init);
    if (!request.url.startsWith("https:")) return fetch(request);
    const headers = Object.fromEntries(request.headers);
    const body = request.body === null ? undefined : Buffer.from(await request.arrayBuffer());
    return new Promise((resolve, reject) => {
      const { method, signal } = request;
      https
        .request(request.url, { agent, method, headers: { "accept-encoding": "identity", ...headers }, signal }, (answer) => {
          const lines = new Headers();
          const { rawHeaders, statusCode: status = 0, statusMessage: statusText = "" } = answer;
          for (let i = 0; i < rawHeaders.length; i += 2) lines.append(rawHeaders[i]!, rawHeaders[i + 1]!);
          const empty = method === "HEAD" || status === 204 || status === 205 || status === 304;
          if (empty) answer.resume();
          const stream = empty ? null : (Readable.toWeb(answer) as ReadableStream<Uint8Array>);
          resolve(new Response(stream, { status, statusText, headers: lines }));
        })
        .on("error", reject)
        .end(body);
    });
  };
}

/** `fetch` wraps what happened in a TypeError, and several addresses of one host in an AggregateError. */
function innermostCode(error: unknown): string {
  let code = "";
  for (let depth = 0; typeof error === "object" && error !== null && depth < 5; depth++) {
    const { code: own, cause } = error as { code?: unknown; cause?: unknown };
    if (typeof own === "string") code = own;
    error = cause;
  }
  return code;
}

const NEVER_LEFT = /^(ECONNREFUSED|ENOTFOUND|EAI_[A-Z]+|EHOSTUNREACH|ENETUNREACH|UND_ERR_CONNECT_TIMEOUT|ERR_SSL_.*|EPROTO)$/;
const CERTIFICATE = /^(CERT_.*|ERR_TLS_CERT_.*|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_.*|HOSTNAME_MISMATCH)$/;
