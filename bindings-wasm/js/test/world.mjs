// A world in which time stands still until told, and in which the token endpoint is a function.
import { setImmediate } from "node:timers/promises";
import { Client } from "remint";

export const SECRET = "canary-secret+/%&: odd";

/** Both clocks, and timers that go off when `advance` passes them. */
export class ManualClock {
  #now = 0;
  #timers = new Set();

  wall = () => 1_700_000_000_000 + this.#now;
  boot = () => this.#now;
  timer = (ms, run, hold) => {
    const timer = { at: this.#now + ms, run, hold };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  };

  get timers() {
    return [...this.#timers];
  }

  async advance(ms) {
    const end = this.#now + ms;
    for (;;) {
      await quiet();
      const due = this.timers.filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.#timers.delete(due);
      this.#now = Math.max(this.#now, due.at);
      due.run();
    }
    this.#now = end;
    await quiet();
  }
}

/** Lets everything run that needs no time. */
export async function quiet() {
  for (let i = 0; i < 5; i++) await setImmediate();
}

export function tokenAnswer(token, members = {}) {
  return Response.json({ access_token: token, token_type: "Bearer", expires_in: 3600, ...members });
}

/**
 * A client in such a world. `answer` is called with the number of each token request, from 1, and the request;
 * `api` with each API request.
 */
export function world({ answer = (n) => tokenAnswer(`token-${n}`), api = () => new Response("ok"), ...options } = {}) {
  const clock = new ManualClock();
  const requests = [];
  const calls = [];
  const notices = [];
  const client = new Client("phoenix-wallet", {
    clientId: "someone",
    clientSecret: SECRET,
    scope: ["wallets:read"],
    clock,
    onNotice: (notice) => notices.push(notice),
    http: async (url, init) => {
      const request = { url, ...init, headers: new Headers(init.headers) };
      if (url.endsWith("/oauth/token")) {
        requests.push(request);
        return answer(requests.length, request);
      }
      calls.push(request);
      return api(request, calls.length);
    },
    ...options,
  });
  return { client, clock, requests, calls, notices, names: () => notices.map(({ notice }) => notice) };
}

export const API = "https://api.phoenixwallet.io/v1/wallets";
