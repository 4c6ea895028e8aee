-- Return a channel's epoch, newest offset and restarts of the server, and keep it from being forgotten.
-- KEYS: meta, stream.  ARGV[3..]: candidate epoch, idle ms.
local epoch, top = life(KEYS[1], KEYS[2], ARGV[3], ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return { epoch, top, redis.call('HGET', KEYS[1], 'r') or '' }
