-- Look at dead letters, or take them out.  KEYS: dead letters, their order, notices, pub/sub channel.
-- ARGV[3..]: "list", the least place, and how many; or "replay" or "drop", and ids.  Returns places and dead letters in
-- turn for "list", the oldest first; else how many there were.
if ARGV[3] == 'list' then
    local answer = {}
    local found = redis.call('ZRANGEBYSCORE', KEYS[2], ARGV[4], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[5])
    for at = 1, #found, 2 do
        answer[#answer + 1] = found[at + 1]
        answer[#answer + 1] = redis.call('HGET', KEYS[1], found[at]) or ''
    end
    return answer
end
local found = {}
for at = 4, #ARGV do
    local place = redis.call('ZSCORE', KEYS[2], ARGV[at])
    if place and redis.call('HEXISTS', KEYS[1], ARGV[at]) == 1 then
        found[#found + 1] = { tonumber(place), ARGV[at] }
    end
end
table.sort(found, function(a, b)
    return a[1] < b[1]
end)
local taken = 0
for _, one in ipairs(found) do
    local id = one[2]
    local letter = redis.call('HGET', KEYS[1], id)
    if letter then -- an id that was named twice is there once
        taken = taken + 1
        redis.call('HDEL', KEYS[1], id)
        redis.call('ZREM', KEYS[2], id)
        if ARGV[3] == 'replay' then
            -- 8 digits that say how long the notice is, the notice, and what is known of its end
            redis.call('XADD', KEYS[3], '*', 'n', string.sub(letter, 9, 8 + tonumber(string.sub(letter, 1, 8))))
        end
    end
end
if taken > 0 then
    redis.call(ARGV[2], KEYS[4], 'n')
end
return taken
