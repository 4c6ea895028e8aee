-- Renew an owner's lease on a lane; hold the lane where nobody does.  KEYS: owners, holder, vacating.
-- ARGV[3..]: owner, lease ms.  Returns 1 if the lease was known, 1 if the lane is held, then two lists: owners whose
-- leases have run out, and channels that are due to be vacated; both are empty for who does not hold the lane.
local now, owner, lease = now_ms(), ARGV[3], tonumber(ARGV[4])
local known = redis.call('ZSCORE', KEYS[1], owner) and 1 or 0
redis.call('ZADD', KEYS[1], whole(now + lease), owner)
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= owner then
    return { known, 0, {}, {} }
end
redis.call('SET', KEYS[2], owner, 'PX', whole(lease))
return {
    known, 1,
    redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', whole(now), 'LIMIT', 0, 8),
    redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', whole(now), 'LIMIT', 0, 200),
}
