// Rounds: each measures everybody once, so that whatever else the machine does hits all alike, and only what was measured in
// one round is compared.
import { performance } from "node:perf_hooks";

const ROUNDS = 31;
const ROUND_MS = 4;

/** Something to do, and how long it takes. `target`: how many times as long as ours it has to take at least. */
export const work = (name, run, { target, isAsync = false } = {}) => ({ name, target, time: isAsync ? timeAsync(run) : timeSync(run) });

const timeSync = (run) => async (count) => {
  const start = performance.now();
  for (let i = 0; i < count; i++) run();
  return ((performance.now() - start) * 1e6) / count;
};

const timeAsync = (run) => async (count) => {
  const start = performance.now();
  for (let i = 0; i < count; i++) await run();
  return ((performance.now() - start) * 1e6) / count;
};

/** Prints how long we take, and how much longer the others do. */
export async function compare(title, ours, others) {
  const all = [ours, ...others];
  const counts = [];
  for (const { time } of all) counts.push(await enough(time));
  const rounds = [];
  for (let i = 0; i < ROUNDS; i++) {
    const round = [];
    for (const [at, { time }] of all.entries()) round.push(await time(counts[at]));
    rounds.push(round);
  }
  report(title, "ns", rounds, all);
}

/** The same table for what was measured elsewhere: one number for each subject in each round. */
export function report(title, unit, rounds, [ours, ...others]) {
  const own = median(rounds.map((round) => round[0]));
  const lines = [`| ${title} | ${unit} | as long as ours | target | |`, "|---|---:|---:|---:|---|", `| ${ours.name} | ${grouped(own)} | | | |`];
  for (const [at, { name, target }] of others.entries()) {
    const ratio = median(rounds.map((round) => round[at + 1] / round[0]));
    const verdict = target === undefined ? " | " : `${target} × | ${ratio >= target ? "met" : "missed"}`;
    lines.push(`| ${name} | ${grouped(own * ratio)} | ${ratio.toFixed(2)} × | ${verdict} |`);
  }
  console.log(`\n${lines.join("\n")}`);
}

/** A table of what has to stay below a limit. */
export function limits(title, rows) {
  const lines = [`| ${title} | | target | |`, "|---|---:|---:|---|"];
  for (const [name, value, limit, unit] of rows) {
    const verdict = limit === undefined ? " | " : `${limit} ${unit} | ${value <= limit ? "met" : "missed"}`;
    lines.push(`| ${name} | ${grouped(value)} ${unit} | ${verdict} |`);
  }
  console.log(`\n${lines.join("\n")}`);
}

/** How often something is done in one round; finding out warms it up. */
async function enough(time) {
  let count = 10;
  for (let step = 0; step < 40; step++) {
    const ms = ((await time(count)) * count) / 1e6;
    if (ms >= ROUND_MS && step > 4) return Math.max(10, Math.round((count * ROUND_MS) / ms));
    if (ms < ROUND_MS) count *= 2;
  }
  return count;
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

export const grouped = (number) => number.toLocaleString("en", { maximumFractionDigits: number < 100 ? 1 : 0 });
