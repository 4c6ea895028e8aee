-- Forget notices that were taken; keep one that was given up.  KEYS: notices, dead letters, their order.
-- ARGV[3..]: most dead letters, id and dead letter ("" for none), when it was given up, then entries.  Returns how many
-- dead letters were dropped.
if #ARGV >= 7 then
    redis.call('XDEL', KEYS[1], unpack(ARGV, 7))
end
local dropped = 0
if ARGV[4] ~= '' then
    local score = tonumber(ARGV[6])
    local newest = redis.call('ZRANGE', KEYS[3], -1, -1, 'WITHSCORES')[2]
    if newest then
        score = math.max(score, tonumber(newest) + 1 / 1024) -- no two have the same
    end
    redis.call('HSET', KEYS[2], ARGV[4], ARGV[5])
    redis.call('ZADD', KEYS[3], string.format('%.17g', score), ARGV[4])
    while redis.call('ZCARD', KEYS[3]) > tonumber(ARGV[3]) do
        local oldest = redis.call('ZRANGE', KEYS[3], 0, 0)[1]
        redis.call('ZREM', KEYS[3], oldest)
        redis.call('HDEL', KEYS[2], oldest)
        dropped = dropped + 1
    end
end
return dropped
