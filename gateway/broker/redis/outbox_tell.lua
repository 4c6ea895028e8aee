-- Take what happened at an owner, in order.  What it tells is numbered, so that nothing counts twice, and nothing that
-- was lost here goes unnoticed.  KEYS: notices, owners, counts, vacating, channels of the owner, clients of the owner,
-- what the owner told, pub/sub channel.  ARGV[3..]: owner, grace ms, most notices, number of the first (0: all that is
-- there, told to a lane that did not know the owner); then for each: what it did, key, notice (see outbox.py).
-- Returns how many notices were dropped, and the number of the last thing told.  Instead of the first there is -1
-- where the owner's lease has run out or it never had one, and -2 where something is missing before these; nothing was
-- done then.
local stream, counts, vacating, channels, clients = KEYS[1], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local last, first = tonumber(redis.call('GET', KEYS[7]) or '0'), tonumber(ARGV[6])
if not redis.call('ZSCORE', KEYS[2], ARGV[3]) then
    return { -1, last }
elseif first > last + 1 then
    return { -2, last }
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

local known = first > 0 and last + 1 - first or 0
for at = 7 + 3 * known, #ARGV, 3 do
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
if first > 0 then
    last = math.max(last, first - 1 + (#ARGV - 6) / 3)
    redis.call('SET', KEYS[7], whole(last))
end
redis.call(ARGV[2], KEYS[8], 'n')
return { dropped, last }
