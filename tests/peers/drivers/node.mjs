// Does to `Client` what it reads, one JSON object per line. See ../README.md.

import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { inspect } from "node:util";

// The package as a user has it: installed in a project of its own, or wherever Node finds it from here.
const project = process.env.REMINT_NODE_PROJECT;
const { Client, RemintError } = createRequire(project ? join(project, "package.json") : import.meta.url)("remint");

const clients = new Map();
const states = new Map();

const verbs = {
  client({ name, profile, options, lossy }) {
    const state = { notices: [], rotated: [], losses: 0 };
    if (lossy) options.http = losing(state);
    if (options.signing_key) {
      const { pem: key, alg, kid } = options.signing_key;
      options.signing_key = { key, alg, kid };
    }
    clients.set(name, new Client(profile, { ...camelCased(options), onNotice: (notice) => state.notices.push(notice) }));
    states.set(name, state);
    return null;
  },

  async token({ client, min_ttl: minTtl, force }) {
    return shown(await clients.get(client).token({ minTtl, force }));
  },

  async tokens({ client, callers }) {
    const tokens = await Promise.all(Array.from({ length: callers }, () => clients.get(client).token()));
    return tokens.map(shown);
  },

  async call({ client, url }) {
    const { status } = await clients.get(client).fetch(url);
    return status;
  },

  authorization_url({ client, redirect_uri: redirectUri, scope }) {
    return clients.get(client).authorizationUrl({ redirectUri, scope });
  },

  async exchange({ client, view, callback, session, subject }) {
    const token = await clients.get(client).exchange(callback, session, { subject, onRotated: derived(client, view) });
    clients.set(view, clients.get(client).withSubject(subject));
    return shown(token);
  },

  adopt({ client, view, subject, refresh_token: refreshToken }) {
    clients.set(view, clients.get(client).withSubject(subject, { refreshToken, onRotated: derived(client, view) }));
    return null;
  },

  rotated: ({ client }) => states.get(client).rotated,
  notices: ({ client }) => states.get(client).notices.splice(0),

  lose_answers({ client, count }) {
    states.get(client).losses = count;
    return null;
  },
};

/** The user's own transport, which can lose an answer that has arrived. */
function losing(state) {
  return async (url, init) => {
    const response = await fetch(url, init);
    if (state.losses === 0) return response;
    state.losses -= 1;
    await response.arrayBuffer();
    throw Object.assign(new Error("the answer was lost on its way"), { code: "ECONNRESET" });
  };
}

function derived(client, view) {
  const state = states.get(client);
  states.set(view, state);
  state.rotated = [];
  return (refreshToken) => state.rotated.push(refreshToken);
}

function camelCased(options) {
  const camelCase = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
  return Object.fromEntries(Object.entries(options).map(([name, value]) => [camelCase(name), value]));
}

function shown(token) {
  const { accessToken: access_token, tokenType: token_type, scope } = token;
  return { access_token, token_type, expires_in: token.expiresIn(), scope, shown: `${token} ${inspect(token)} ${JSON.stringify(token)}` };
}

async function obey({ verb, ...words }) {
  try {
    return { ok: await verbs[verb](words) };
  } catch (error) {
    if (!(error instanceof RemintError)) return { broken: inspect(error) };
    const { code, message, status, retryable, oauthError: oauth_error, hint = null, ambiguous } = error;
    const family = error.name.replace("Error", "").toLowerCase();
    return { error: { code, message, family, status, retryable, oauth_error, hint, ambiguous, shown: `${inspect(error)} ${JSON.stringify(error)}` } };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await obey(JSON.parse(line))));
}
await Promise.all([...clients.values()].map((client) => client.close()));
