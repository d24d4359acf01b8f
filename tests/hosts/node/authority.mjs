// The local authority as a child of the test, and a lane of it for each test.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { after } from "node:test";
import { Client } from "remint";

export const CLIENT_ID = "demo-client";
export const SECRET = "s3cret+/%&: odd";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const [program, ...words] = process.env.REMINT_AUTHORITY?.split(" ") ?? ["cargo", "run", "--quiet", "--package", "authority", "--"];
const child = spawn(program, [...words, "--exit-with-stdin", "--quiet"], { cwd: root, stdio: ["pipe", "pipe", "inherit"] });
const [line] = await Promise.race([
  once(createInterface(child.stdout), "line"),
  once(child, "exit").then(() => Promise.reject(new Error("the authority did not start"))),
]);
export const authority = JSON.parse(line);
export const ca = readFileSync(authority.ca);
after(() => child.stdin.end());

let lanes = 0;

/** A corner of the authority that no other test sees. */
export class Lane {
  name = `node-${process.pid}-${++lanes}`;

  url(provider, { origin = "http" } = {}) {
    return `${authority[origin]}/${this.name}/${provider}`;
  }

  async control(method, path, body) {
    const init = body === undefined ? {} : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
    const response = await fetch(`${authority.http}/${this.name}/control/${path}`, { method, ...init });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text === "" ? undefined : JSON.parse(text);
  }

  fault(rule) {
    return this.control("POST", "faults", rule);
  }

  settings(settings) {
    return this.control("PUT", "settings", settings);
  }

  /** How many token requests arrived. */
  async tokenRequests() {
    return (await this.control("GET", "counters")).token.total;
  }

  /** A client of one of the five providers, as its documentation would have it, and where its API is. */
  client(provider, options = {}) {
    const base = this.url(provider, options);
    const token = provider === "personify" ? "/connect/token" : "/oauth/token";
    const own = {
      "phoenix-security": { baseUrl: base },
      "phoenix-wallet": { tokenEndpoint: base + token, baseUrl: base, scope: ["wallets:read"] },
      "phoenix-market": { tokenEndpoint: base + token, iframeUrl: `${base}/embed`, apiOrigins: [new URL(base).origin] },
      personify: { tokenEndpoint: base + token, baseUrl: base, tenantId: "demo-tenant" },
      rapidomize: {
        grant: "authorization_code",
        tokenEndpoint: base + token,
        authorizationEndpoint: `${base}/oauth/authorize`,
        issuer: base,
        redirectUri: "https://app.example/callback",
        baseUrl: base,
      },
    }[provider];
    const { origin: _, ...rest } = options;
    return new Client(provider, {
      clientId: CLIENT_ID,
      clientSecret: SECRET,
      allowLoopbackHttp: base.startsWith("http:"),
      ...own,
      ...rest,
    });
  }
}

/** Both clocks of this machine, which can be moved on. */
export class MovedClock {
  offset = 0;
  wall = () => Date.now() + this.offset;
  boot = () => performance.now() + this.offset;
}

/** How many milliseconds a promise took. */
export async function timed(promise) {
  const started = performance.now();
  await promise;
  return performance.now() - started;
}

/** Fails instead of hanging. */
export function within(seconds, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`hangs: no outcome after ${seconds} s`)), seconds * 1000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
