-- Add what a node let a user spend, and return what all nodes did.  KEYS: the user's meter.
-- ARGV[3..]: messages and bytes spent, and how many of each the level sinks by in a second.
local old = redis.call('HMGET', KEYS[1], 'm', 'b', 't')
local now = now_ms()
local passed = math.max(0, now - (tonumber(old[3]) or now)) / 1000
local left_ms, levels = 0, {}
for i = 1, 2 do
    local rate = tonumber(ARGV[4 + i])
    levels[i] = math.max(0, (tonumber(old[i]) or 0) - rate * passed) + tonumber(ARGV[2 + i])
    if rate > 0 then
        left_ms = math.max(left_ms, math.ceil(levels[i] / rate * 1000))
    end
end
local m, b = string.format('%.3f', levels[1]), string.format('%.3f', levels[2])
redis.call('HSET', KEYS[1], 'm', m, 'b', b, 't', whole(now))
redis.call('PEXPIRE', KEYS[1], left_ms + 1000)
return { m, b }
