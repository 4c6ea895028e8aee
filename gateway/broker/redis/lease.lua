-- Renew an owner's lease, and claim owners whose leases have run out, to be buried by the caller.
-- KEYS: leases, claims, graves.  ARGV[3..]: owner, lease ms, 1 to claim, 1 to begin where nothing is known.
-- Returns 1 where the lease was held, 0 where nothing was known of it (it is held from now on, if it is to begin,
-- and nothing was done if not), -1 where somebody claimed it (it is not renewed: take another name); then the
-- claimed owners.
local now, owner = now_ms(), ARGV[3]
if redis.call('HEXISTS', KEYS[2], owner) == 1 or redis.call('ZSCORE', KEYS[3], owner) then
    return { -1 }
end
local result = { redis.call('ZSCORE', KEYS[1], owner) and 1 or 0 }
if result[1] == 0 and ARGV[6] ~= '1' then
    return result
end
redis.call('ZADD', KEYS[1], whole(now + tonumber(ARGV[4])), owner)
if ARGV[5] ~= '1' then
    return result
end
for _, other in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', whole(now), 'LIMIT', 0, 8)) do
    local claim = redis.call('HGET', KEYS[2], other)
    if not claim or tonumber(claim) <= now then
        redis.call('HSET', KEYS[2], other, whole(now + tonumber(ARGV[4])))
        result[#result + 1] = other
    end
end
return result
