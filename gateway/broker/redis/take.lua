-- Take a session that is kept for a connection.  KEYS: held.  ARGV[3]: session.  Returns its record, or nothing.
local kept = redis.call('HGET', KEYS[1], ARGV[3])
if not kept then
    return false
end
local client, at = string.match(kept, '^(%S+) ()')
if not client then
    return false
end
redis.call('HSET', KEYS[1], ARGV[3], client)
return string.sub(kept, at)
