-- Begin a new life of a channel whose count went back, unless somebody did already; tell every interested node.
-- KEYS: meta, stream, channel.  ARGV[3..]: candidate epoch, idle ms, the epoch that ends.
-- Returns the epoch and newest offset that hold from now on.
local epoch, top = life(KEYS[1], KEYS[2], ARGV[3], ARGV[4])
if epoch == ARGV[5] then
    epoch, top = ARGV[3], 0
    redis.call('DEL', KEYS[2])
    redis.call('HDEL', KEYS[1], 'r')
    redis.call('HSET', KEYS[1], 'e', epoch, 'o', 0, 'c', 0, 'f', 0)
    redis.call(ARGV[2], KEYS[3], '\146\003' .. cmsgpack.pack(epoch))
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return { epoch, top }
