-- Take back all that an owner had: its channels may become vacant, its clients are told to be gone.  In one piece, so
-- that an owner which comes back enters with everything anew.  KEYS: notices, owners, counts, vacating, channels of
-- the owner, clients of the owner, what the owner told, holder, pub/sub channel.  ARGV[3..]: owner, grace ms, 1 if it
-- takes leave itself.  Returns 1, or 0 where the owner is back.
local now, owner, leaves = now_ms(), ARGV[3], ARGV[5] == '1'
local lease = redis.call('ZSCORE', KEYS[2], owner)
if not leaves and lease and tonumber(lease) > now then
    return 0
end
for _, channel in ipairs(redis.call('SMEMBERS', KEYS[5])) do
    if redis.call('HINCRBY', KEYS[3], channel, -1) <= 0 then
        redis.call('HDEL', KEYS[3], channel)
        redis.call('ZADD', KEYS[4], whole(now + tonumber(ARGV[4])), channel)
    end
end
for _, notice in ipairs(redis.call('HVALS', KEYS[6])) do
    redis.call('XADD', KEYS[1], '*', 'n', notice)
end
redis.call('DEL', KEYS[5], KEYS[6])
redis.call('ZREM', KEYS[2], owner)
if leaves then
    redis.call('DEL', KEYS[7])
else
    redis.call('PEXPIRE', KEYS[7], 3600000) -- should it come back, it learns what was taken from it
end
if redis.call('GET', KEYS[8]) == owner then
    redis.call('DEL', KEYS[8])
end
redis.call(ARGV[2], KEYS[9], 'h')
return 1
