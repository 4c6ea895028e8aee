-- Return a channel's state, and keep it from being forgotten.
-- KEYS: meta, stream, then an idempotency key if there is one.  ARGV[3..]: candidate epoch, idle ms.
-- Returns epoch, version, the state or "", and "EPOCH:VERSION" where the idempotency key was known or "".
local epoch, top = life(KEYS[1], KEYS[2], ARGV[3], ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
local known = KEYS[3] and redis.call('GET', KEYS[3])
return { epoch, top, redis.call('HGET', KEYS[1], 's') or '', known or '' }
