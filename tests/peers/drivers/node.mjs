// Does to `Client` what it reads, one JSON object per line. See ../README.md.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { inspect } from "node:util";

// The package as a user has it: installed in a project of its own, or wherever Node finds it from here.
const project = process.env.REMINT_NODE_PROJECT;
const requireOurs = createRequire(project ? join(project, "package.json") : import.meta.url);
const { Client, RemintError, register } = requireOurs("remint");
const { FileStore } = requireOurs("remint/file");
const { RedisStore } = requireOurs("remint/redis");
// What users bring, as the tests of the host have it.
const requireTheirs = createRequire(new URL("../../hosts/node/package.json", import.meta.url));

const clients = new Map();
const states = new Map();
/** Connections to Redis: they are the user's to close. */
const connections = [];

const verbs = {
  client({ name, profile, options, lossy }) {
    const state = { notices: [], rotated: [], losses: 0 };
    if (lossy) options.http = losing(state);
    for (const [option, given] of Object.entries(options)) {
      const { pem: key, generate, ...rest } = Object(given);
      if (["signing_key", "dpop"].includes(option)) options[option] = key ? { key, ...rest } : generate ? true : given;
      if (["subject_token", "actor_token", "assertion"].includes(option)) options[option] = () => given;
    }
    if (options.ca) options.ca = readFileSync(options.ca);
    if (options.store) options.store = toStore(options.store);
    clients.set(name, new Client(profile, { ...camelCased(options), onNotice: (notice) => state.notices.push({ ...notice, why: notice.cause?.message }) }));
    states.set(name, state);
    return null;
  },

  async token({ client, min_ttl: minTtl, force, timeout }) {
    return shown(await clients.get(client).token({ minTtl, force, timeout }));
  },

  async tokens({ client, callers }) {
    const tokens = await Promise.all(Array.from({ length: callers }, () => clients.get(client).token()));
    return tokens.map(shown);
  },

  async call({ client, url, method }) {
    const { status } = await clients.get(client).fetch(url, { method });
    return status;
  },

  async authorization_url({ client, ...options }) {
    const { url, session } = await clients.get(client).authorizationUrl(camelCased(options));
    return { url, session };
  },

  async device_authorization({ client, scope }) {
    return pending(await clients.get(client).deviceAuthorization({ scope }));
  },

  async backchannel({ client, ...options }) {
    return pending(await clients.get(client).backchannelAuthentication(camelCased(options)));
  },

  async poll({ client, view, session, subject }) {
    const token = await clients.get(client).poll(session, { subject, onRotated: derived(client, view) });
    clients.set(view, clients.get(client).withSubject(subject));
    return shown(token);
  },

  async introspect({ client, token, hint }) {
    const claims = await clients.get(client).introspect(token, { hint });
    return { active: claims.active, claims };
  },

  async invalidate({ client }) {
    await clients.get(client).invalidate();
    return null;
  },

  async revoke({ client, token, hint }) {
    await clients.get(client).revoke({ token, hint });
    return null;
  },

  with_resource({ client, resource, view }) {
    derived(client, view);
    clients.set(view, clients.get(client).withResource(...[resource].flat()));
    return null;
  },

  with_subject({ client, subject, view, ...tokens }) {
    derived(client, view);
    clients.set(view, clients.get(client).withSubject(subject, camelCased(tokens)));
    return null;
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

  async register({ profile, options, request }) {
    const [[word, members]] = Object.entries(request);
    if (options.ca) options.ca = readFileSync(options.ca);
    const client = await register(profile, { [word]: camelCased(members) }, camelCased(options));
    if (client === undefined) return null;
    const { clientSecret, registrationAccessToken } = client;
    return snakeCased({ ...client, clientSecret, registrationAccessToken, shown: `${client} ${inspect(client)} ${JSON.stringify(client)}` });
  },

  rotated: ({ client }) => states.get(client).rotated,
  notices: ({ client }) => states.get(client).notices.splice(0),

  lose_answers({ client, count }) {
    states.get(client).losses = count;
    return null;
  },
};

/** Where the words don't say which client, one half of all processes has the one and the other half the other. */
function toStore({ file, prefix, client = process.pid % 2 === 0 ? "node-redis" : "ioredis", ...server }) {
  if (file !== undefined) return new FileStore(file);
  const redis = (client === "ioredis" ? ioRedis : nodeRedis)(server);
  redis.on("error", () => {});
  if (client !== "ioredis") redis.connect().catch(() => {});
  connections.push(redis);
  return new RedisStore(redis, { prefix });
}

function nodeRedis({ redis: url, sentinel, master, cluster }) {
  const { createClient, createCluster, createSentinel } = requireTheirs("redis");
  if (sentinel !== undefined) return createSentinel({ name: master, sentinelRootNodes: sentinel.map(toPlace) });
  return cluster === undefined ? createClient({ url }) : createCluster({ rootNodes: cluster.map((place) => ({ url: `redis://${place}` })) });
}

function ioRedis({ redis: url, sentinel, master, cluster }) {
  const { Cluster, Redis } = requireTheirs("ioredis");
  if (sentinel !== undefined) return new Redis({ name: master, sentinels: sentinel.map(toPlace) });
  return cluster === undefined ? new Redis(url) : new Cluster(cluster.map(toPlace));
}

function toPlace(text) {
  const [host, port] = text.split(":");
  return { host, port: Number(port) };
}

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

function pending(asked) {
  return { ...snakeCased(asked), session: asked.session, shown: `${inspect(asked)} ${JSON.stringify(asked)}` };
}

function snakeCased(members) {
  const snakeCase = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return Object.fromEntries(Object.entries(members).map(([name, value]) => [snakeCase(name), value]));
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
    const { code, message, status, retryable, oauthError: oauth_error, hint = null, ambiguous, acrValues: acr_values, maxAge: max_age } = error;
    const family = error.name.replace("Error", "").toLowerCase();
    const facts = { code, message, family, status, retryable, oauth_error, hint, ambiguous, acr_values, max_age };
    return { error: { ...facts, shown: `${inspect(error)} ${JSON.stringify(error)}` } };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await obey(JSON.parse(line))));
}
await Promise.all([...clients.values()].map((client) => client.close()));
for (const redis of connections) (redis.destroy ?? redis.disconnect).call(redis);
// What holds the process then is a fault.
setTimeout(() => console.error(`still open: ${process.getActiveResourcesInfo()}; of ${connections.map((redis) => redis.constructor.name)}`), 10_000).unref();
