// Runs behaviour vectors against the Node package: `node node.mjs DIR`.
//
// Every vector runs on the step machine of `remint/core`; those about callers run once more through `Client`, with
// transport, clock and entropy injected. The format is described in ../README.md. What a vector says and this runner
// does not understand is a failure, never a skip.

import { createHash } from "node:crypto";
import { readFileSync, readdirSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { join, relative } from "node:path";

// The package as a user has it: installed in a project of its own, or wherever Node finds it from here.
const project = process.env.REMINT_NODE_PROJECT;
const require = createRequire(project ? join(project, "package.json") : import.meta.url);
const { Client } = require("remint");
const { Core, Registrar, Registration } = require("remint/core");

/** What differs, or what is not understood. */
class Problem extends Error {}

function fail(text) {
  throw new Problem(text);
}

// Files.

function* vectorFiles(directory) {
  for (const name of readdirSync(directory).sort()) {
    const path = join(directory, name);
    if (statSync(path).isDirectory()) {
      if (!["runners", "node_modules"].includes(name) && !name.startsWith(".")) yield* vectorFiles(path);
    } else if (name.endsWith(".json") && !["index.json", "schema.json"].includes(name)) {
      yield path;
    }
  }
}

function vectorsOf(path) {
  let content;
  try {
    content = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    fail(`  is not JSON: ${error.message}`);
  }
  if (Array.isArray(content)) return content;
  if (typeof content !== "object" || content === null) fail("  holds neither a vector nor a list of vectors");
  if (!("vectors" in content)) return [content];
  const fields = new Fields("a file", content);
  fields.some(["about", "$schema"]);
  const vectors = fields.take("vectors");
  fields.end();
  return Array.isArray(vectors) ? vectors : fail("  `vectors` must be a list");
}

/** The members of an object, taken out one by one so that none is passed over. */
class Fields {
  constructor(what, value) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) fail(`  ${what} must be an object`);
    this.what = what;
    this.left = new Map(Object.entries(value));
  }

  take(name) {
    const value = this.left.get(name);
    this.left.delete(name);
    return value;
  }

  some(names) {
    return Object.fromEntries(names.filter((name) => this.left.has(name)).map((name) => [name, this.take(name)]));
  }

  end() {
    for (const name of this.left.keys()) fail(`  \`${name}\` of ${this.what} is not understood`);
  }
}

// Comparing.

const shown = (value) => (value === undefined ? "nothing" : JSON.stringify(value));
const difference = (at, expected, came) => `    ${at}\n      expected ${shown(expected)}\n      came     ${shown(came)}`;
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** An absent field of an object is not compared; `null` stands for absence. */
function subset(at, expected, came, differences) {
  if (isObject(expected) && isObject(came)) {
    for (const [name, value] of Object.entries(expected)) {
      const place = `${at}.${name}`;
      if (name === "headers") compareHeaders(place, value, came.headers, differences);
      else if (name === "body") compareBody(place, value, came.body, differences);
      else if (name === "body_bytes") subset(place, value, came.body, differences);
      else if (name === "names" && "fail" in came) compareNames(place, value, came, differences);
      else subset(place, value, came[name], differences);
    }
  } else if (Array.isArray(expected) && Array.isArray(came) && expected.length === came.length) {
    expected.forEach((value, index) => subset(`${at}[${index}]`, value, came[index], differences));
  } else if (expected !== (came ?? null)) {
    differences.push(difference(at, expected, came));
  }
}

/** A list of pairs is the whole list, in any order; an object names some lines, `null` one that must not be there. */
function compareHeaders(at, expected, came = [], differences) {
  if (isObject(expected)) {
    for (const [name, value] of Object.entries(expected)) {
      const found = came.filter(([known]) => known.toLowerCase() === name.toLowerCase()).map(([, line]) => line);
      const same = value === null ? found.length === 0 : found.length === 1 && found[0] === value;
      if (!same) differences.push(difference(`${at}.${name}`, value, found.join(" | ")));
    }
    return;
  }
  const sorted = (lines) => lines.map(([name, value]) => `${name.toLowerCase()}: ${value}`).sort();
  if (shown(sorted(expected)) !== shown(sorted(came))) differences.push(difference(at, expected, came));
}

/** Neither the order of a form's fields nor the choice between `.` and `%2E` means anything. */
function compareBody(at, expected, came, differences) {
  const fields = (text) => JSON.stringify([...new URLSearchParams(text)].map(([name, value], index) => [name, index, value]).sort(
    ([a, i], [b, j]) => (a < b ? -1 : a > b ? 1 : i - j)).map(([name, , value]) => [name, value]));
  const same = expected === null ? came === undefined : typeof came === "string" && fields(expected) === fields(came);
  if (!same) differences.push(difference(at, expected, came));
}

/** An error's words are no contract, but what they name is. */
function compareNames(at, expected, failure, differences) {
  const words = `${failure.message ?? ""}: ${failure.hint ?? ""}`;
  if (!words.includes(expected)) differences.push(difference(at, expected, words));
}

const OUTPUTS = ["answer", "operations", "settled", "withdraw", "request", "token", "client", "deleted", "fail"];

function compareOutcome(expected, outcome) {
  const differences = [];
  for (const name of OUTPUTS) {
    if (name in expected) subset(name, expected[name], outcome[name], differences);
    else if (outcome[name] !== undefined) differences.push(difference(name, undefined, outcome[name]));
  }
  const listed = expected.notices ?? [];
  const came = (outcome.notices ?? []).map(noticeText);
  const same = listed.length === came.length && listed.every((notice, index) => isNotice(notice, came[index]));
  if (!same) differences.push(difference("notices", listed, came));
  return differences;
}

const noticeText = ({ notice, detail }) => (detail === undefined || detail === null ? notice : `${notice}:${detail}`);
/** A notice is `code` or `code:detail`; a code alone leaves the detail open. */
const isNotice = (expected, came) => expected === came || came.startsWith(`${expected}:`);

/** Nothing secret may be in an error, a notice or the URL of a token request. */
function leaks(outcome, canaries) {
  const places = [["fail", outcome.fail], ["notices", outcome.notices]];
  if (outcome.answer?.fail !== undefined) places.push(["answer", outcome.answer]);
  for (const operation of outcome.operations ?? []) places.push(["operations.request.url", operation.request?.url]);
  return canaries.flatMap((canary) =>
    places.filter(([, value]) => shown(value).includes(canary)).map(([at, value]) => `    ${at}\n      shows the secret \`${canary}\`: ${shown(value)}`));
}

// What is kept from one step for a later one.

class Kept {
  values = new Map();

  keep(keep, outcome) {
    for (const [name, pointer] of Object.entries(keep)) {
      const [path, field] = pointer.split("?");
      let found = path.slice(1).split("/").reduce((value, part) => value?.[part], outcome);
      if (typeof found !== "string") fail(`  nothing to keep at \`${path}\` in ${shown(outcome)}`);
      if (field !== undefined) {
        found = new URLSearchParams(found.slice(found.indexOf("?") + 1)).get(field);
        if (found === null) fail(`  \`${name}\`: no such field`);
      }
      this.values.set(name, found);
    }
  }

  fill(value) {
    if (typeof value === "string") {
      for (const [name, kept] of this.values) value = value.replaceAll(`{${name}}`, () => kept);
      return value;
    }
    if (Array.isArray(value)) return value.map((item) => this.fill(item));
    if (isObject(value)) return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, this.fill(item)]));
    return value;
  }

  check(checks) {
    for (const check of checks) {
      const fields = new Fields("a check", check);
      const name = fields.take("value");
      const value = this.get(name);
      const { length, alphabet, s256_of: verifier, differs_from: other, same_as: twin, without } = fields.some(
        ["length", "alphabet", "s256_of", "differs_from", "same_as", "without"]);
      fields.end();
      if (length !== undefined && (value.length < length[0] || value.length > length[1])) fail(`  \`${name}\` has ${value.length} characters`);
      if (alphabet !== undefined && !(ALPHABETS[alphabet] ?? fail(`  the alphabet \`${alphabet}\` is not understood`)).test(value)) {
        fail(`  \`${name}\` leaves its alphabet, ${alphabet}`);
      }
      if (verifier !== undefined && value !== createHash("sha256").update(this.get(verifier)).digest("base64url")) {
        fail(`  \`${name}\` is not the S256 challenge of \`${verifier}\``);
      }
      if (other !== undefined && value === this.get(other)) fail(`  \`${name}\` and \`${other}\` are the same`);
      if (twin !== undefined && value !== this.get(twin)) fail(`  \`${name}\` and \`${twin}\` are not the same`);
      if (without !== undefined && value.includes(without)) fail(`  \`${name}\` contains \`${without}\``);
    }
  }

  get(name) {
    return this.values.get(name) ?? fail(`  nothing was kept as \`${name}\``);
  }
}

const ALPHABETS = { vschar: /^[ -~]*$/, unreserved: /^[A-Za-z0-9\-._~]*$/, base64url: /^[A-Za-z0-9\-_]*$/ };

// What a vector sets.

function readGiven(value) {
  const fields = new Fields("`given`", value);
  const common = { ...(fields.take("options") ?? {}) };
  const profile = fields.take("profile");
  if (profile !== undefined) common.profile = profile;
  const processes = Object.entries(fields.take("processes") ?? {}).map(([name, own]) => [name, complete({ ...common, ...own })]);
  const start = { wall: fields.take("wall0") ?? 1_700_000_000_000, boot: fields.take("boot0") ?? 0 };
  const entropy = readEntropy(fields.take("entropy") ?? "zeros");
  fields.end();
  const options = complete(common);
  // There is no client yet where one is registered.
  const { client_id, client_secret, ...registrar } = options;
  return { options, registrar, processes: new Map(processes), start, entropy };
}

/** What nearly every client needs is not written in every vector; `null` takes it away. */
function complete(given) {
  const options = { ...given };
  options.client_id = "client_id" in options ? options.client_id : "id";
  const hasNoSecret = options.client_auth === "none" || "client_secret_provided" in options || "api_token" in options;
  if (!hasNoSecret && !("client_secret" in options)) options.client_secret = "secret";
  return Object.fromEntries(Object.entries(options).filter(([, option]) => option !== null));
}

/** `zeros`, or up to 64 hexadecimal digits with zeros behind them. */
function readEntropy(text) {
  const bytes = new Uint8Array(32);
  if (text === "zeros") return bytes;
  if (!/^([0-9a-f]{2}){0,32}$/i.test(text)) fail(`  the entropy \`${text}\` is not understood`);
  bytes.set(Buffer.from(text, "hex"));
  return bytes;
}

/** `at` moves both clocks from where they began, `wall` and `boot` set one. */
function readClocks(fields, { start }) {
  const at = fields.take("at") ?? 0;
  return { wall: fields.take("wall") ?? start.wall + at, boot: fields.take("boot") ?? start.boot + at };
}

const WORDS = ["ask", "start", "renewed", "cancel", "received", "failed", "provided", "signed", "verified", "stored", "tick", "attach", "answered",
  "changed", "invalidate", "forked", "close", "drop", "build", "registration", "finish", "simulate", "event"];

function wordOf(step) {
  const words = WORDS.filter((word) => word in step);
  return words.length === 1 ? words[0] : fail(`  a step has exactly one of these: ${WORDS.join(", ")}`);
}

/** An HTTP answer: `json`, `text` or `base64` is its body. With `json` comes its media type, unless `headers` has one. */
function readAnswer(fields) {
  const status = fields.take("status") ?? fail("  an answer needs a `status`");
  const headers = readLines(fields.take("headers"));
  const bodies = fields.some(["json", "text", "base64"]);
  if (Object.keys(bodies).length > 1) fail("  an answer has one of `json`, `text` and `base64`");
  let body = Buffer.alloc(0);
  if ("json" in bodies) {
    if (!headers.some(([name]) => name.toLowerCase() === "content-type")) headers.push(["content-type", "application/json"]);
    body = Buffer.from(JSON.stringify(bodies.json));
  } else if ("text" in bodies) {
    body = Buffer.from(bodies.text);
  } else if ("base64" in bodies) {
    body = Buffer.from(bodies.base64, "base64");
  }
  return { status, headers, body };
}

const readLines = (lines = []) => (Array.isArray(lines) ? lines : Object.entries(lines)).map(([name, value]) => [name, value]);

/** The errors of the package, as the core writes them: milliseconds, snake case. */
function failureOf(error) {
  if (typeof error?.code !== "string" || typeof error.retryable !== "boolean") throw error;
  const { code, message, hint, status, retryable, retryAfter, oauthError, pointer, lifetime, ambiguous, acrValues, maxAge } = error;
  const family = { UsageError: "usage", ServerError: "server", TransportError: "transport" }[error.name] ?? error.name;
  const millis = (seconds) => (seconds === undefined ? undefined : Math.round(seconds * 1000));
  return { fail: code, family, message, hint, status, retryable, retry_after: millis(retryAfter), oauth_error: oauthError,
    pointer, lifetime: millis(lifetime), ambiguous: ambiguous || undefined, acr_values: acrValues, max_age: maxAge };
}

// The step machine.

function runOnMachine(vector) {
  const fields = new Fields("a vector", vector);
  fields.some(["id", "title", "covers", "client"]);
  const canaries = fields.take("canaries") ?? [];
  const given = readGiven(fields.take("given"));
  const refused = fields.take("refused");
  const steps = fields.take("steps") ?? [];
  fields.end();

  try {
    new Core(given.options);
  } catch (error) {
    const failure = failureOf(error);
    if (refused === undefined) fail(`  the configuration is refused: ${shown(failure)}`);
    const differences = leaks({ fail: failure }, canaries);
    subset("refused", refused, failure, differences);
    if (differences.length > 0) fail(differences.join("\n"));
    return;
  }
  if (refused !== undefined) fail("  the configuration is accepted, and should not be");
  const processes = new Map();
  const kept = new Kept();
  steps.forEach((step, index) => {
    try {
      const fields = new Fields("a step", kept.fill(step));
      const name = fields.take("process") ?? "";
      if (!processes.has(name)) processes.set(name, { core: new Core(given.processes.get(name) ?? given.options), registrar: given.registrar, calls: new Map() });
      runStep(processes.get(name), given, fields, step, kept, canaries);
    } catch (error) {
      throw error instanceof Problem ? new Problem(`  step ${index + 1} ${shown(step)}\n${error.message}`) : error;
    }
  });
}

function runStep(process, given, fields, step, kept, canaries) {
  const now = readClocks(fields, given);
  const own = fields.take("entropy");
  const entropy = own === undefined ? given.entropy : readEntropy(own);
  const word = wordOf(step);
  const value = fields.take(word);
  if (word === "simulate") {
    simulate(process.core, now, entropy, value);
    return fields.end();
  }
  const times = fields.take("times") ?? 1;
  const { keep, check } = fields.some(["keep", "check"]);
  const act = actOf(process, word, value, fields, now, entropy);
  let expected = fields.some([...OUTPUTS, "notices"]);
  fields.end();
  for (let i = 0; i < times; i++) {
    const outcome = act();
    if (keep !== undefined) {
      kept.keep(keep, outcome);
      expected = kept.fill(expected);
    }
    const differences = [...compareOutcome(expected, outcome), ...leaks(outcome, canaries)];
    if (differences.length > 0) fail(differences.join("\n"));
  }
  if (check !== undefined) kept.check(check);
}

/** What a step does, as a function that gives what came of it. */
function actOf(process, word, value, fields, now, entropy) {
  const { core, calls } = process;
  const handle = (event, label) => () => {
    const outcome = core.handle(event, now, entropy);
    // The core may give this caller another call to go on with.
    const given = outcome.answer?.call ?? outcome.answer?.again;
    if (label !== undefined && given !== undefined) calls.set(label, given);
    return outcome;
  };
  const call = (label) => calls.get(label) ?? label;
  switch (word) {
    case "ask": {
      const ask = fields.some(["want", "min_ttl", "force", "deadline", "after"]);
      const repeated = fields.take("call");
      if (repeated !== undefined) ask.call = call(repeated);
      return handle({ ask }, value);
    }
    case "start":
      return handle({ start: { flow: value, ...fields.some(["deadline", "after"]) } });
    case "renewed":
      return handle({ renewed: value });
    case "cancel":
    case "tick":
      return handle({ [word]: { flight: value } });
    case "failed":
      return handle({ failed: { op: value, ...fields.some(["kind"]) } });
    case "provided":
      return handle({ provided: { op: value, ...fields.some(["value"]) } });
    case "signed":
      return handle({ signed: { op: value, ...fields.some(["signature"]) } });
    case "verified":
      return handle({ verified: { op: value, ...fields.some(["valid"]) } });
    case "stored":
      return handle({ stored: { op: value, ...fields.some(["result"]) } });
    case "received": {
      const { status, headers, body } = readAnswer(fields);
      return () => core.received(value, status, headers, body, now, entropy);
    }
    case "attach":
      return handle({ attach: { call: call(value), ...fields.some(["want", "method", "url", "insecure_query", "after"]) } }, value);
    case "answered": {
      const headers = readLines(fields.take("headers"));
      return handle({ answered: { call: call(value), headers, ...fields.some(["want", "url", "status"]) } }, value);
    }
    // `true` stands for what is meant most often: everything changed, the client's own token.
    case "changed":
      return handle({ changed: value === true ? {} : { key: value } });
    case "invalidate":
      return handle({ invalidate: value === true ? {} : { want: value } });
    case "forked":
    case "close":
      return value === true || shown(value) === "{}" ? handle({ [word]: {} }) : fail(`  \`${word}: ${shown(value)}\` is not understood`);
    case "event":
      return handle(value);
    case "drop":
      return () => ({});
    case "build":
      return () => {
        try {
          const exchange = core.build(value);
          process.built = { exchange, started: now };
          return requestOf(exchange);
        } catch (error) {
          return { fail: failureOf(error) };
        }
      };
    case "registration":
      return () => {
        try {
          return registered(process, new Registrar(process.registrar).build(value));
        } catch (error) {
          return { fail: failureOf(error) };
        }
      };
    case "finish": {
      const { status, headers, body } = readAnswer(fields);
      const { exchange, registration, started } = process.built ?? fail("  there is nothing to finish: `build` it first");
      return () => {
        process.built = undefined;
        try {
          if (registration !== undefined) return registered(process, registration.finish(status, headers, body, now));
          const token = exchange.finish(status, headers, body, started);
          const { access_token, token_type, lifetime, scope, refresh_token, oddities } = token;
          return { token: { access_token, token_type, lifetime, scope, refresh_token, oddities: oddities.map(noticeText) } };
        } catch (error) {
          return { fail: failureOf(error) };
        }
      };
    }
  }
}

const requestOf = ({ method, url, headers, body }) => ({ request: { method, url, headers, body } });

/** What a registration's answer, or its being built, leads to. */
function registered(process, outcome) {
  if (outcome === null) return { deleted: {} };
  if (!(outcome instanceof Registration)) return { client: outcome };
  process.built = { registration: outcome };
  return requestOf(outcome);
}

/** A stretch of time with a caller at every tick and a server that always says the same: see ../README.md. */
function simulate(core, start, entropy, value) {
  const fields = new Fields("`simulate`", value);
  const { for: length, every, latency, requests_at_most: bound, served = true } = fields.some(
    ["for", "every", "latency", "requests_at_most", "served"]);
  if ([length, every, latency, bound].some((number) => typeof number !== "number")) fail("  `simulate` lacks a number");
  const { status, headers, body } = readAnswer(fields);
  fields.end();

  const agenda = [];
  const add = (at, due) => {
    let place = agenda.length;
    while (place > 0 && agenda[place - 1].at > at) place--;
    agenda.splice(place, 0, { at, due });
  };
  let nextAsk = 0;
  let waiters = [];
  let [requests, callers] = [0, 0];
  for (;;) {
    // Callers come in order; they need no place on the agenda.
    const isAsk = nextAsk <= length && (agenda.length === 0 || nextAsk <= agenda[0].at);
    if (!isAsk && agenda.length === 0) break;
    const { at, due } = isAsk ? { at: nextAsk, due: { ask: true } } : agenda.shift();
    if (at > length) break;
    if (isAsk) {
      nextAsk += every;
      callers += 1;
    }
    const now = { wall: start.wall + at, boot: start.boot + at };
    const events = [isAsk ? { event: { ask: {} }, deadline: now.boot + 30_000 } : due];
    while (events.length > 0) {
      const { event, answer, deadline } = events.pop();
      const step = answer === undefined
        ? core.handle(event, now, entropy)
        : core.received(answer, status, headers, Buffer.from(body.toString().replaceAll("{n}", requests)), now, entropy);
      for (const operation of step.operations ?? []) {
        if (operation.send !== undefined) {
          requests += 1;
          add(at + latency, { answer: operation.send });
        } else if (operation.sleep !== undefined) {
          add(Math.max(operation.until - start.boot, at), { event: { tick: { flight: operation.sleep } } });
        } else {
          fail(`  an operation that a simulation cannot answer: ${shown(operation)}`);
        }
      }
      if (deadline !== undefined) {
        const { wait, until = deadline, use, expires } = step.answer;
        if (wait !== undefined) waiters.push({ deadline, wait, until });
        else if (use !== undefined && (!served || expires <= now.boot)) fail(`  a caller got a token that was not to be had at ${now.boot}`);
        else if (use === undefined && served) fail(`  a caller was not served at ${now.boot}: ${shown(step.answer)}`);
      }
      const settled = step.settled ?? [];
      const woken = waiters.filter(({ wait, until }) => settled.includes(wait) || until <= now.boot);
      waiters = waiters.filter((waiter) => !woken.includes(waiter));
      for (const { wait, deadline } of woken) events.push({ event: { ask: { after: wait, deadline } }, deadline });
    }
  }
  if (requests > bound) fail(`    requests\n      expected at most ${bound}\n      came     ${requests}, for ${callers} callers`);
}

// The client.

/** Everything around a client under test: clocks, timers, the wire. */
class World {
  timers = new Set();
  requests = [];
  notices = [];

  constructor({ start, entropy }) {
    Object.assign(this, start);
    this.entropy = entropy;
  }

  options() {
    return {
      clock: {
        wall: () => this.wall,
        boot: () => this.boot,
        timer: (ms, run) => {
          const timer = { due: this.boot + ms, run };
          this.timers.add(timer);
          return () => this.timers.delete(timer);
        },
      },
      random: (size) => this.entropy.slice(0, size),
      http: (url, { method, headers, body }) => new Promise((resolve, reject) => {
        this.requests.push({ url, method, headers: [...headers], body, resolve, reject });
      }),
      onNotice: (notice) => this.notices.push(noticeText(notice)),
    };
  }

  /** Sets the clocks and fires what is due. */
  async moveTo({ wall, boot }) {
    Object.assign(this, { wall, boot });
    await quiet();
    for (let due; (due = [...this.timers].filter((timer) => timer.due <= this.boot).sort((a, b) => a.due - b.due)[0]) !== undefined; ) {
      this.timers.delete(due);
      due.run();
      await quiet();
    }
  }
}

/** Lets everything that can go on go on. */
async function quiet() {
  for (let i = 0; i < 4; i++) await new Promise((resolve) => setImmediate(resolve));
}

const camelCased = (options) => Object.fromEntries(Object.entries(options).map(([name, value]) =>
  [name === "aside" ? "backgroundRefresh" : name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase()), value]));

/** One caller of `client.token()`. */
function caller(promise) {
  const state = { promise };
  promise.then((token) => (state.token = token), (error) => (state.error = error));
  return state;
}

async function runOnClient(vector) {
  const { given: setting, steps, canaries = [] } = vector;
  const given = readGiven(setting);
  const { profile, ...options } = given.options;
  const world = new World(given);
  const client = new Client(profile, { ...camelCased(options), ...world.options() });
  const callers = new Map();
  const sent = new Map();
  for (let index = 0; index < steps.length; ) {
    // The waiters who ask again belong to the moment that woke them.
    const first = index;
    const moment = [steps[index++]];
    const clocks = readClocks(new Fields("a step", moment[0]), given);
    while (index < steps.length && "after" in steps[index] && shown(readClocks(new Fields("a step", steps[index]), given)) === shown(clocks)) {
      moment.push(steps[index++]);
    }
    try {
      await playMoment(world, client, callers, sent, moment, clocks, canaries);
    } catch (error) {
      throw error instanceof Problem ? new Problem(`  step ${first + 1} ${shown(moment[0])}\n${error.message}`) : error;
    }
  }
}

async function playMoment(world, client, callers, sent, moment, clocks, canaries) {
  world.notices.length = 0;
  const before = world.requests.length;
  const differences = [];
  await world.moveTo(clocks);
  await play(world, client, callers, sent, moment[0], differences);
  await quiet();

  const expected = moment.flatMap(({ operations = [] }) => operations).filter(({ send }) => send !== undefined);
  const came = world.requests.slice(before);
  if (came.length !== expected.length) differences.push(difference("requests", expected.length, came.length));
  expected.forEach(({ send, request }, index) => {
    sent.set(send, came[index]);
    if (request !== undefined && came[index] !== undefined) subset("request", request, came[index], differences);
  });
  for (const step of moment) {
    if ("ask" in step) (callers.get(step.ask) ?? []).forEach((state) => compareCaller(world, step.answer, state, canaries, differences));
  }
  const telling = (notice) => !["joined", "served_while_failing"].includes(notice);
  const listed = moment.flatMap(({ notices = [] }) => notices).filter(telling).sort();
  const heard = world.notices.filter(telling).sort();
  if (listed.length !== heard.length || !listed.every((notice, index) => isNotice(notice, heard[index]))) {
    differences.push(difference("notices", listed, heard));
  }
  for (const canary of canaries) if (world.notices.some((notice) => notice.includes(canary))) differences.push(`    a notice shows \`${canary}\``);
  if (differences.length > 0) fail(differences.join("\n"));
}

async function play(world, client, callers, sent, step, differences) {
  const word = wordOf(step);
  const view = (want = {}) => {
    let seen = client;
    if (want.subject !== undefined) seen = seen.withSubject(want.subject);
    if (want.scope !== undefined) seen = seen.withScope(want.scope);
    if (want.resource !== undefined) seen = seen.withResource(...want.resource);
    return seen;
  };
  const operation = () => sent.get(step[word]) ?? fail(`  no request is called \`${step[word]}\``);
  switch (word) {
    case "ask": {
      if ("after" in step) return;
      const { want, min_ttl = 0, force, deadline, times = 1 } = step;
      const timeout = deadline === undefined ? undefined : (deadline - world.boot) / 1000;
      const states = [];
      for (let i = 0; i < times; i++) {
        const abort = new AbortController();
        // A caller without wishes takes the short way, as most do.
        const plain = min_ttl === 0 && force === undefined && timeout === undefined && times > 1;
        const promise = plain ? view(want).token() : view(want).token({ minTtl: min_ttl / 1000, force, timeout, signal: abort.signal });
        states.push(Object.assign(caller(promise), { abort }));
      }
      callers.set(step.ask, states);
      return;
    }
    case "received": {
      const fields = new Fields("a step", step);
      const { status, headers, body } = readAnswer(fields);
      const lines = new Headers();
      for (const [name, value] of headers) lines.append(name, value);
      const answer = new Response([204, 304].includes(status) ? null : body, { status, headers: lines });
      if (!headers.some(([name]) => name.toLowerCase() === "content-type")) answer.headers.delete("content-type");
      operation().resolve(answer);
      return;
    }
    case "failed": {
      const code = { not_sent: "ECONNREFUSED", maybe_sent: "ECONNRESET" }[step.kind] ?? fail(`  \`${step.kind}\` is not understood`);
      operation().reject(Object.assign(new TypeError("fetch failed"), { cause: Object.assign(new Error(code), { code }) }));
      return;
    }
    case "attach": {
      const answer = await settledOf(view(step.want).headers(step.method, step.url));
      const came = answer.error === undefined ? { headers: Object.entries(answer.value) } : failureOf(answer.error);
      subset("answer", step.answer, came, differences);
      return;
    }
    case "answered": {
      const { token } = callers.get(step.answered)[0];
      const { url, status } = step;
      const answer = await settledOf(view(step.want).reject(token, "GET", url, status, readLines(step.headers)));
      subset("answer", step.answer, answer.value ?? failureOf(answer.error), differences);
      return;
    }
    case "start": {
      const { adopt } = step.start;
      if (adopt === undefined || adopt.on_rotated) fail("  of the flows only a plain `adopt` is understood in a run through the client");
      const { want, refresh_token: refreshToken, subject_token: subjectToken, actor_token: actorToken } = adopt;
      client.withSubject(want.subject, { refreshToken, subjectToken, actorToken });
      return;
    }
    case "drop":
      for (const { abort } of callers.get(step.drop)) abort.abort();
      callers.delete(step.drop);
      return;
    case "invalidate":
      await view(step.invalidate === true ? {} : step.invalidate).invalidate();
      return;
    case "close":
      void client.close();
      return;
    case "tick":
      return;
    default:
      fail(`  \`${word}\` is not understood in a run through the client`);
  }
}

const settledOf = (promise) => promise.then((value) => ({ value }), (error) => ({ error }));

function compareCaller(world, expected, { token, error }, canaries, differences) {
  const failure = error === undefined ? undefined : failureOf(error);
  if ("wait" in expected) {
    if (token !== undefined || error !== undefined) differences.push(difference("caller", "waits", token?.generation ?? failure));
  } else if ("use" in expected) {
    const { use, generation, expires, expires_wall, token_type, scope, authorization } = expected;
    const came = token === undefined ? failure : {
      use: token.accessToken, generation: token.generation, token_type: token.tokenType, scope: token.scope,
      authorization: token.authorization, expires_wall: Math.round(token.expiresAt * 1000),
      expires: world.boot + Math.round(token.expiresIn() * 1000),
    };
    subset("caller", JSON.parse(JSON.stringify({ use, generation, expires, expires_wall, token_type, scope, authorization })), came ?? "waits", differences);
  } else {
    subset("caller", expected, failure ?? (token === undefined ? "waits" : token.generation), differences);
    for (const canary of canaries) if (`${error?.stack} ${shown(failure)}`.includes(canary)) differences.push(`    an error shows \`${canary}\``);
  }
}

// All of it.

const [directory, ...rest] = process.argv.slice(2);
if (directory === undefined || rest.length > 0) {
  console.error("a directory is expected: node node.mjs DIR");
  process.exit(2);
}
let [passed, failed] = [0, 0];
async function count(name, run) {
  try {
    await run();
    passed += 1;
  } catch (error) {
    failed += 1;
    console.log(`FAILED ${name}\n${error instanceof Problem ? error.message : error.stack}\n`);
  }
}
for (const path of vectorFiles(directory)) {
  const file = relative(directory, path);
  let vectors = [];
  try {
    vectors = vectorsOf(path);
  } catch (error) {
    await count(file, () => Promise.reject(error));
  }
  for (const [index, vector] of vectors.entries()) {
    const name = `${file}${vector.id === undefined ? ` #${index + 1}` : `: ${vector.id}`}: ${vector.title}`;
    await count(name, () => runOnMachine(vector));
    const isAboutCallers = vector.client ?? vector.steps?.some((step) => "drop" in step) ?? false;
    if (isAboutCallers) await count(`${name} (through Client)`, () => runOnClient(vector));
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
