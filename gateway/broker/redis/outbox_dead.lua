-- Look at dead letters, or take them out.  KEYS: dead letters, their order, notices, pub/sub channel.
-- ARGV[3..]: "list", and how many; or "replay" or "drop", and ids (none: all of them, up to a thousand).
-- Returns dead letters for "list"; else how many there were.
local ids = {}
if ARGV[3] == 'list' then
    ids = redis.call('ZRANGE', KEYS[2], 0, tonumber(ARGV[4]) - 1)
    return #ids > 0 and redis.call('HMGET', KEYS[1], unpack(ids)) or {}
elseif #ARGV == 3 then
    ids = redis.call('ZRANGE', KEYS[2], 0, 999)
else
    for at = 4, #ARGV do
        ids[#ids + 1] = ARGV[at]
    end
end
local found = 0
for _, id in ipairs(ids) do
    local letter = redis.call('HGET', KEYS[1], id)
    if letter then
        found = found + 1
        redis.call('HDEL', KEYS[1], id)
        redis.call('ZREM', KEYS[2], id)
        if ARGV[3] == 'replay' then
            -- 8 digits that say how long the notice is, the notice, and what is known of its end
            redis.call('XADD', KEYS[3], '*', 'n', string.sub(letter, 9, 8 + tonumber(string.sub(letter, 1, 8))))
        end
    end
end
if found > 0 then
    redis.call(ARGV[2], KEYS[4], 'n')
end
return found
