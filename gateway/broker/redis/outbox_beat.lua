-- Renew an owner's lease on a lane, and say how things stand there.  The lane is for one of the living owners, each of
-- whom has as many lanes as the others, or one more: who holds it and should not has to give it back (outbox_release).
-- KEYS: owners, holder, vacating, notices, order of dead letters, what the owner told.
-- ARGV[3..]: owner, lease ms, number of the lane.  Returns 1 if the lease was known, the number of the last thing that
-- the owner told, 1 if it holds the lane, 1 if it should, the newest entry that there ever was, how many notices and
-- dead letters there are; then two lists: owners whose leases have run out, and channels that are due to be vacated,
-- each followed by when; both are empty for who does not hold the lane.
local now, owner, lease = now_ms(), ARGV[3], tonumber(ARGV[4])
local known = redis.call('ZSCORE', KEYS[1], owner) and 1 or 0
redis.call('ZADD', KEYS[1], whole(now + lease), owner)
local living = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. whole(now), '+inf')
table.sort(living)
local chosen = living[tonumber(ARGV[5]) % #living + 1] == owner
local holder = redis.call('GET', KEYS[2])
local holds = holder == owner or (not holder and chosen)
local told = tonumber(redis.call('GET', KEYS[6]) or '0')
local answer = { known, told, holds and 1 or 0, chosen and 1 or 0, '0-0', 0, 0, {}, {} }
if not holds then
    return answer
end
redis.call('SET', KEYS[2], owner, 'PX', whole(lease))
if redis.call('EXISTS', KEYS[4]) == 1 then
    local about = redis.call('XINFO', 'STREAM', KEYS[4])
    for at = 1, #about, 2 do
        if about[at] == 'last-generated-id' then
            answer[5] = about[at + 1]
        end
    end
end
answer[6] = redis.call('XLEN', KEYS[4])
answer[7] = redis.call('ZCARD', KEYS[5])
answer[8] = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', whole(now), 'LIMIT', 0, 8)
answer[9] = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', whole(now), 'WITHSCORES', 'LIMIT', 0, 200)
return answer
