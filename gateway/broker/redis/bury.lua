-- Forget an owner whose members are gone.  It cannot come back under its name for a day.
-- KEYS: leases, claims, graves.  ARGV[3]: owner.
local now = now_ms()
redis.call('ZREM', KEYS[1], ARGV[3])
redis.call('HDEL', KEYS[2], ARGV[3])
redis.call('ZADD', KEYS[3], whole(now), ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', whole(now - 86400000))
return 1
