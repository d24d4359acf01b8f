// What Redis runs: the same text in every language, so that it is in the server once.
import { createHash } from "node:crypto";

/** A script, and what Redis knows it by. */
export interface Script {
  readonly text: string;
  readonly sha: string;
}

function script(text: string): Script {
  return { text, sha: createHash("sha1").update(text).digest("hex") };
}

/** Takes, extends or gives back a lease. */
export const LOCK = script(`\
-- Takes, extends or (ttl 0) gives back the lease of one record.
-- KEYS: the record's hash: \`r\` record, \`o\` the lease's owner, \`u\` its end in ms of this server's clock.
-- ARGV: owner; ttl in ms.
-- Answers {1, 0, record}, or {0, ms until the other's lease ends, record}; without a record, it is nil.
local held = redis.call('HMGET', KEYS[1], 'r', 'o', 'u')
local ttl = tonumber(ARGV[2])
if ttl == 0 then
  if held[2] == ARGV[1] then
    redis.call('HDEL', KEYS[1], 'o', 'u')
  end
  return {1, 0, held[1]}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if held[2] and held[2] ~= ARGV[1] and tonumber(held[3]) > now then
  return {0, tonumber(held[3]) - now, held[1]}
end
redis.call('HSET', KEYS[1], 'o', ARGV[1], 'u', now + ttl)
-- The record keeps its own, later, end.
if redis.call('PTTL', KEYS[1]) < ttl then
  redis.call('PEXPIRE', KEYS[1], ttl)
end
return {1, 0, held[1]}
`);

/** Writes a record if another is what it has to be. */
export const SAVE = script(`\
-- Writes a record if the one that is stored is the one that the writer has seen.
-- KEYS: the record's hash, see lock.lua.
-- ARGV: the text that must be stored now, empty: nothing; record; ttl in ms; the owner whose lease ends with this, or empty;
--       channel; message.
-- Answers {1}, or {0, what is stored}.
local held = redis.call('HMGET', KEYS[1], 'r', 'o', 'u')
if (held[1] or '') ~= ARGV[1] then
  return {0, held[1]}
end
local life = tonumber(ARGV[3])
redis.call('HSET', KEYS[1], 'r', ARGV[2])
if held[2] == ARGV[4] then
  redis.call('HDEL', KEYS[1], 'o', 'u')
elseif held[2] then
  local time = redis.call('TIME')
  life = math.max(life, tonumber(held[3]) - time[1] * 1000 - math.floor(time[2] / 1000))
end
redis.call('PEXPIRE', KEYS[1], life)
-- Who may not publish has saved all the same: others then see it a little later.
redis.pcall('PUBLISH', ARGV[5], ARGV[6])
return {1}
`);
