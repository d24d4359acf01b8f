import type { Agent } from "node:https";
import type { HttpAnswer } from "./options.js";
import { StoreDown } from "./store.js";

export type FailureKind = "not_sent" | "maybe_sent" | "timeout" | "too_large" | "host_error";

/** A request that ended in a way that the core has a name for. */
export class TransportFailure extends Error {
  constructor(
    readonly kind: FailureKind,
    message: string = kind,
  ) {
    super(message);
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

/** What a person should look at, where the host's own error says more than the core can know. */
export function hintOf(error: unknown): { hint?: string } {
  if (error instanceof UnreadableFile || error instanceof StoreDown) return { hint: error.message };
  return isCertificateFailure(error) ? { hint: CERTIFICATE_HINT } : {};
}

/** A credential's file that is not there, or not ours to read. */
export class UnreadableFile extends Error {
  constructor(path: string, cause: unknown) {
    super(`the file \`${path}\` can't be read (${(cause as { code?: string }).code})`);
  }
}

/** Whether the server's certificate was refused. */
function isCertificateFailure(error: unknown): boolean {
  return CERTIFICATE.test(innermostCode(error));
}

/** What `https:` connections are to be made with. */
export interface Tls {
  readonly ca?: string | Uint8Array | readonly (string | Uint8Array)[] | undefined;
  readonly proxy?: string | undefined;
}

/** Node's `https.Agent`, whose type stays out of the declarations: not every consumer has it. */
export type Connections = object;

/** Connections with certificate authorities, a client certificate or a proxy of the user's. They are shared with no other agent's. */
export function agentFor({ ca, proxy, cert, key }: Tls & { cert?: string; key?: string }): Connections {
  const https = require("node:https") as typeof import("node:https");
  const own = Object.entries({ ca: ca as string | Buffer, cert, key }).filter(([, value]) => value !== undefined);
  const agent = new https.Agent({ ...Object.fromEntries(own), keepAlive: true });
  if (proxy !== undefined) Object.assign(agent, { createConnection: tunnel(new URL(proxy)) });
  return agent;
}

/** Like `fetch`, over the connections of an agent: the global one can't be told of any. The agent is asked for at each request. */
export function fetchOver(agentNow: () => Connections): typeof fetch {
  const https = require("node:https") as typeof import("node:https");
  const { Readable } = require("node:stream") as typeof import("node:stream");
  return async (input, init) => {
    const request = new Request(input, init);
    if (!request.url.startsWith("https:")) return fetch(request);
    const headers = { "accept-encoding": "identity", ...Object.fromEntries(request.headers) };
    const body = request.body === null ? undefined : Buffer.from(await request.arrayBuffer());
    const agent = agentNow() as Agent;
    return new Promise((resolve, reject) => {
      const { method, signal } = request;
      const outgoing = https.request(request.url, { agent, method, headers, signal }, (answer) => {
        const lines = new Headers();
        const { rawHeaders, statusCode: status = 0, statusMessage: statusText = "" } = answer;
        for (let i = 0; i < rawHeaders.length; i += 2) lines.append(rawHeaders[i]!, rawHeaders[i + 1]!);
        const empty = method === "HEAD" || status === 204 || status === 205 || status === 304;
        if (empty) answer.resume();
        const stream = empty ? null : (Readable.toWeb(answer) as ReadableStream<Uint8Array>);
        resolve(new Response(stream, { status, statusText, headers: lines }));
      });
      outgoing.on("error", reject).end(body);
    });
  };
}

/** Makes connections that go through a proxy (RFC 9110 section 9.3.6). The proxy sees where to, and nothing more. */
function tunnel(proxy: URL) {
  const tls = require("node:tls") as typeof import("node:tls");
  const { request } = require(proxy.protocol === "https:" ? "node:https" : "node:http") as typeof import("node:http");
  const login = Buffer.from(`${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`).toString("base64");
  return (options: import("node:tls").ConnectionOptions, callback: (error: Error | null, socket?: unknown) => void) => {
    const path = `${options.host}:${options.port}`;
    const headers = { host: path, ...(proxy.username === "" ? {} : { "proxy-authorization": `Basic ${login}` }) };
    request({ host: proxy.hostname, port: proxy.port || (proxy.protocol === "https:" ? 443 : 80), method: "CONNECT", path, headers })
      .on("connect", ({ statusCode }, socket) => {
        if (statusCode === 200) return callback(null, tls.connect({ ...options, socket }));
        socket.destroy();
        callback(new TransportFailure("not_sent", `the proxy answered with status ${statusCode}`));
      })
      .on("error", () => callback(new TransportFailure("not_sent", "the proxy can't be reached")))
      .end();
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
const CERTIFICATE_HINT = "the server's certificate is not trusted: pass its authority as `ca`, or your proxy as `proxy`";
