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
