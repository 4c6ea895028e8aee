-- Give a lane back, and wake whoever should hold it.  KEYS: holder, pub/sub channel.  ARGV[3]: owner.  Returns 1, or 0
-- where it was another's already.
if redis.call('GET', KEYS[1]) ~= ARGV[3] then
    return 0
end
redis.call('DEL', KEYS[1])
redis.call(ARGV[2], KEYS[2], 'h')
return 1
