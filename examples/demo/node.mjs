// The demo's Node side: one client of one provider, told line by line what to do. `cargo xtask demo` runs it.
import { createInterface } from "node:readline";
import { Client } from "remint";

const [provider, base] = process.argv.slice(2);
const options = JSON.parse(process.env.DEMO_OPTIONS);
const api = `${base}/v1/wallets`;
let client = new Client(provider, options);

const steps = {
  // A client that holds nothing yet.
  new() {
    client = new Client(provider, options);
    return {};
  },

  // The client for one user, whose refresh token comes from a database.
  subject(name, refreshToken) {
    client = client.withSubject(name, { refreshToken });
    return {};
  },

  async sign_in() {
    const { url, session } = await client.authorizationUrl({ redirectUri: options.redirectUri });
    const consent = await fetch(url, { redirect: "manual" });
    return about(await client.exchange(consent.headers.get("location"), session));
  },

  async token() {
    return about(await client.token());
  },

  async call() {
    const answer = await client.fetch(api);
    return { status: answer.status };
  },

  async crowd(size) {
    const callers = Array.from({ length: Number(size) }, () => client.token());
    const tokens = await Promise.all(callers);
    return { tokens: new Set(tokens.map((token) => token.accessToken)).size };
  },
};

function about(token) {
  return { expires_in: token.expiresIn() };
}

for await (const line of createInterface({ input: process.stdin })) {
  const [step, ...words] = line.split(" ");
  let result;
  try {
    result = { ok: true, ...(await steps[step](...words)) };
  } catch (error) {
    result = { ok: false, detail: String(error) };
  }
  console.log(JSON.stringify({ provider, step, ...result }));
}
