-- Take what happened at an owner, in order.  KEYS: notices, owners, counts, vacating, channels of the owner,
-- clients of the owner, pub/sub channel.  ARGV[3..]: owner, grace ms, most notices; then for each: what it did, key,
-- notice (see outbox.py).  Returns how many notices were dropped, or -1, and nothing was done, where the owner's
-- lease has run out or it never had one.
local stream, counts, vacating, channels, clients = KEYS[1], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
if not redis.call('ZSCORE', KEYS[2], ARGV[3]) then
    return -1
end
local grace, room, dropped = tonumber(ARGV[4]), tonumber(ARGV[5]) - redis.call('XLEN', stream), 0

local function put(notice)
    if room <= 0 then
        dropped = dropped + 1
        return
    end
    room = room - 1
    redis.call('XADD', stream, '*', 'n', notice)
end

for at = 6, #ARGV, 3 do
    local did, key, notice = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    if did == 'n' then
        put(notice)
    elseif did == 'o' then
        if redis.call('SADD', channels, key) == 1 and redis.call('HINCRBY', counts, key, 1) == 1 then
            if redis.call('ZREM', vacating, key) == 0 and notice ~= '' then
                put(notice)
            end
        end
    elseif did == 'v' then
        if redis.call('SREM', channels, key) == 1 and redis.call('HINCRBY', counts, key, -1) <= 0 then
            redis.call('HDEL', counts, key)
            redis.call('ZADD', vacating, whole(now_ms() + grace), key)
        end
    elseif did == 'c' then
        redis.call('HSET', clients, key, notice)
    elseif did == 'd' then
        redis.call('HDEL', clients, key)
        put(notice)
    end
end
redis.call(ARGV[2], KEYS[7], 'n')
return dropped
