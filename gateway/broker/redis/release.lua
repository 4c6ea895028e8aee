-- Keep a session no longer, since its connection is gone.  KEYS: held.  ARGV[3..]: session, client.
-- Returns 0 where it was taken from that client, or is another client's now; else 1, also where nothing is known.
local kept = redis.call('HGET', KEYS[1], ARGV[3])
if not kept then
    return 1
end
local client = string.match(kept, '^%S+')
if client ~= ARGV[4] then
    return 0
end
redis.call('HDEL', KEYS[1], ARGV[3])
return kept == client and 0 or 1
