// Runs the script of a page without a browser, and prints what it shows after so many seconds of its clock.
// node page.mjs URL SECONDS [--first-request-fails]
import { createContext, runInContext } from "node:vm";

const [url, seconds, failure] = process.argv.slice(2);
const elements = { phoenix: { src: "" }, status: { textContent: "Loading …" } };
let now = Date.now();
let asked = 0;
let timers = [];
let underWay = 0;

function later(run, ms, every) {
  // A browser takes what is no number for 0.
  timers.push({ at: now + (Number(ms) || 0), run, every });
}

async function request(path, options) {
  asked++;
  underWay++;
  try {
    if (failure !== undefined && asked === 1) throw new TypeError("Failed to fetch");
    const answer = await fetch(new URL(path, url), options);
    const text = await answer.text();
    return { ok: answer.ok, status: answer.status, headers: answer.headers, json: async () => JSON.parse(text) };
  } finally {
    underWay--;
  }
}

async function quiet() {
  do await new Promise((resolve) => setTimeout(resolve, 5));
  while (underWay > 0);
}

const html = await (await fetch(url)).text();
const script = /<script>([\s\S]*?)<\/script>/.exec(html)[1];
const context = {
  document: { getElementById: (id) => elements[id] },
  fetch: request,
  Date: { now: () => now },
  setTimeout: (run, ms) => later(run, ms),
  setInterval: (run, ms) => later(run, ms, ms),
};
runInContext(script, createContext(context));
await quiet();

for (const end = now + 1000 * Number(seconds); ; ) {
  const [next] = timers.sort((a, b) => a.at - b.at);
  if (next === undefined || next.at > end) break;
  timers.shift();
  now = next.at;
  if (next.every !== undefined) timers.push({ ...next, at: now + next.every });
  const before = asked;
  next.run();
  if (asked > before) await quiet();
}
console.log(JSON.stringify({ src: elements.phoenix.src, status: elements.status.textContent, asked }));
