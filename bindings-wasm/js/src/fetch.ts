import { setTimeout } from "node:timers/promises";
import type { Driver, View } from "./driver.js";

/** One API call: the token on it, redirects followed, one repetition after a 401 where the core says so. */
export async function call(driver: Driver, view: View, input: string | URL | Request, init: RequestInit = {}): Promise<Response> {
  // By its shape: there are other implementations of `Request` than the global one.
  const request = typeof input === "object" && "url" in input ? input : undefined;
  const url = request?.url ?? String(input);
  const mode = init.redirect ?? request?.redirect ?? "follow";
  const signal = init.signal ?? request?.signal ?? null;
  const body = init.body ?? (request?.body ? await buffered(request.body) : undefined);
  const { want } = view;
  const wish = JSON.stringify(want);

  for (let repeated: string | undefined, again: string | undefined; ; ) {
    const hop: Hop = {
      url: new URL(url),
      method: (init.method ?? request?.method ?? "GET").toUpperCase(),
      headers: new Headers(init.headers ?? request?.headers),
      body,
    };
    const { call, headers } = await driver.attach(view, { call: repeated }, line(hop), signal, again);
    let ours: typeof headers | undefined = headers;
    let response: Response;

    for (let hops = 0; ; hops++) {
      for (const [name, value] of ours ?? []) hop.headers.set(name, value);
      response = (await driver.http(hop.url.href, {
        ...init,
        ...(isReplayable(hop.body) ? {} : { duplex: "half" }),
        method: hop.method,
        headers: hop.headers,
        body: hop.body,
        redirect: "manual",
        signal,
      })) as Response;
      const location = REDIRECTS.has(response.status) ? response.headers.get("location") : null;
      if (location === null || mode === "manual") break;
      await response.body?.cancel();
      if (mode === "error") throw new TypeError("fetch failed: the answer is a redirect, and `redirect` is \"error\"");
      if (hops === MAX_HOPS) throw new TypeError(`fetch failed: more than ${MAX_HOPS} redirects`);
      const from = hop.url.origin;
      follow(hop, location, response.status);
      if (hop.url.origin !== from) {
        // What was meant for the one origin is nobody else's, and stays off however the redirects go on.
        for (const [name] of ours ?? []) hop.headers.delete(name);
        for (const name of CREDENTIALS) hop.headers.delete(name);
        ours = undefined;
      } else if (ours !== undefined) {
        // A proof is for one address.
        ours = (await driver.attached(view, call, line(hop), signal))?.headers ?? ours;
      }
    }

    // The core has to hear of every refusal, of the first answer after one that is none, and of every nonce.
    const { status } = response;
    const isRefusal = status === 401 || status === 403 || response.headers.has("dpop-nonce");
    if (ours === undefined || (!isRefusal && !driver.refused.has(wish))) return response;
    if (driver.refused.size > MAX_REFUSED) driver.refused.clear();
    if (status === 401) driver.refused.add(wish);
    else driver.refused.delete(wish);
    let verdict: ReturnType<Driver["answered"]>;
    try {
      verdict = driver.answered(view, call, hop.url.href, status, [...response.headers]);
    } catch (error) {
      await response.body?.cancel();
      throw error;
    }
    if (verdict === "pass" || verdict === "give_up") return response;
    if (!isReplayable(body)) {
      driver.notify({ notice: "body_not_replayable" });
      return response;
    }
    await response.body?.cancel();
    again = typeof verdict === "object" ? verdict.again : undefined;
    if (again === undefined) repeated = call;
  }
}

interface Hop {
  url: URL;
  method: string;
  headers: Headers;
  body: RequestInit["body"] | undefined;
}

function line({ method, url }: Hop): { method: string; url: string } {
  return { method, url: url.href };
}

/** The next request of a chain of redirects (Fetch standard, HTTP-redirect fetch). */
function follow(hop: Hop, location: string, status: number): void {
  hop.url = new URL(location, hop.url);
  if (hop.url.protocol !== "http:" && hop.url.protocol !== "https:") {
    throw new TypeError("fetch failed: a redirect to an address that is not HTTP");
  }
  const toGet = status === 303 ? hop.method !== "GET" && hop.method !== "HEAD" : status < 303 && hop.method === "POST";
  if (toGet) {
    hop.method = "GET";
    hop.body = undefined;
    for (const name of ["content-encoding", "content-language", "content-location", "content-type", "content-length"]) {
      hop.headers.delete(name);
    }
  } else if (!isReplayable(hop.body)) {
    throw new TypeError("fetch failed: the body can be sent only once, and a redirect asks for it again");
  }
}

/** Whether a body can be sent twice. A stream is used up by the first time. */
function isReplayable(body: unknown): boolean {
  if (body === undefined || body === null || typeof body === "string" || ArrayBuffer.isView(body)) return true;
  return REPLAYABLE.has(Object.prototype.toString.call(body));
}

/**
 * A `Request` has its body as a stream even where it was made of a string. What is small and there at once is read, so that it
 * is sent with its length and can be sent again; what isn't goes on as a stream.
 */
async function buffered(stream: ReadableStream<Uint8Array>): Promise<Uint8Array | ReadableStream<Uint8Array>> {
  const reader = stream.getReader();
  const chunks: Uint8Array[] = [];
  let next = reader.read();
  const late = setTimeout(PATIENCE, undefined, { ref: false });
  for (let size = 0; size <= MAX_BUFFERED; next = reader.read()) {
    const read = await Promise.race([next, late]);
    if (read === undefined) break;
    if (read.done) return Buffer.concat(chunks);
    chunks.push(read.value);
    size += read.value.length;
  }
  return new ReadableStream({
    async pull(controller) {
      const chunk = chunks.shift();
      if (chunk !== undefined) return controller.enqueue(chunk);
      const { done, value } = await next;
      if (done) return controller.close();
      next = reader.read();
      controller.enqueue(value);
    },
    cancel: (reason) => reader.cancel(reason),
  });
}

const REPLAYABLE = new Set(["ArrayBuffer", "Blob", "File", "FormData", "URLSearchParams"].map((name) => `[object ${name}]`));
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const MAX_HOPS = 20;
/** How much of a `Request` is read before it is sent, in bytes, and for how long, in milliseconds. */
const MAX_BUFFERED = 65_536;
const PATIENCE = 50;
/** More are forgotten: then the core hears of their next success a little later. */
const MAX_REFUSED = 10_000;
/** What the caller may have put on the request for this origin alone. */
const CREDENTIALS = ["authorization", "proxy-authorization", "cookie", "host"];
