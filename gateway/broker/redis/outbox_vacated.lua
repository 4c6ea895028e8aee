-- Tell of channels that are still due to be vacated.  KEYS: notices, vacating.  ARGV[3..]: for each its name, when it was
-- due, and the notice.  Returns how many there were.
local now, told = now_ms(), 0
for at = 3, #ARGV, 3 do
    if redis.call('ZSCORE', KEYS[2], ARGV[at]) == ARGV[at + 1] and tonumber(ARGV[at + 1]) <= now then
        redis.call('ZREM', KEYS[2], ARGV[at])
        redis.call('XADD', KEYS[1], '*', 'n', ARGV[at + 2])
        told = told + 1
    end
end
return told
