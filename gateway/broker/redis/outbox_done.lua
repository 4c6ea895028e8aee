-- Forget notices that were taken; keep one that was given up.  KEYS: notices, dead letters, their order.
-- ARGV[3..]: most dead letters, id and dead letter ("" for none), then entries.  Returns how many dead letters were
-- dropped.
if #ARGV >= 6 then
    redis.call('XDEL', KEYS[1], unpack(ARGV, 6))
end
local dropped = 0
if ARGV[4] ~= '' then
    redis.call('HSET', KEYS[2], ARGV[4], ARGV[5])
    redis.call('ZADD', KEYS[3], whole(now_ms()), ARGV[4])
    while redis.call('ZCARD', KEYS[3]) > tonumber(ARGV[3]) do
        local oldest = redis.call('ZPOPMIN', KEYS[3])[1]
        redis.call('HDEL', KEYS[2], oldest)
        dropped = dropped + 1
    end
end
return dropped
