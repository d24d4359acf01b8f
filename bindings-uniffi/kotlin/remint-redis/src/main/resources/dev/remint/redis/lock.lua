-- Takes, extends or (ttl 0) gives back the lease of one record.
-- KEYS: the record's hash: `r` record, `o` the lease's owner, `u` its end in ms of this server's clock.
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
